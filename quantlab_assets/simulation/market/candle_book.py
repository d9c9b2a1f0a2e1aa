"""Lays candles out for the kernel: one strictly ascending stretch of rows a token, in plain arrays.

Where slices and intervals of a token overlap, one candle is chosen for any moment
(docs/simulation.md, "Which candle counts"). Frames whose tokens already stand in order, one
interval each, are used as they are, without a copy: that is how slices come from the lake, and most
of the cost of a run is memory.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.simulation import frames
from quantlab_assets.simulation.compiled.arrays import Integers, frozen
from quantlab_assets.simulation.compiled.parallel import in_slices
from quantlab_assets.simulation.market import merging
from quantlab_assets.simulation.market.candles import Candles

_CHECKED_AT_ONCE = 1 << 18
"""Rows a thread checks before it looks for more."""


@dataclass(frozen=True)
class CandleBook:
    """Candles of the called tokens.

    Alert i has the rows `first[i]` to `last[i]` of `candles`, none if last < first. Within a
    stretch `ts` and the end (`ts + interval_s`) both strictly ascend. Arrays are read-only.
    """

    candles: Candles
    first: Integers
    last: Integers


def lay_out(candles: pl.DataFrame, alerts: pl.DataFrame, threads: int | None = None) -> CandleBook:
    """Arrange checked `candles` for checked `alerts` (see `frames`), with any number of threads.

    Raises `ValidationFailed` naming column and row of the first candle that cannot be one.
    """
    columns = _as_arrays(candles, threads)
    _refuse_bad_rows(columns, threads)
    called = (
        alerts.select("chain", pl.col("mint").alias("token_address"))
        .unique(maintain_order=True)
        .with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("token"))
    )
    chosen, first, last = _choose(candles, columns, called, threads)
    token = (
        alerts.select("chain", pl.col("mint").alias("token_address"))
        .join(called, on=["chain", "token_address"], how="left", maintain_order="left")["token"]
        .to_numpy()
    )
    return CandleBook(
        candles=Candles._make(frozen(column[chosen]) for column in columns),
        first=frozen(first[token]),
        last=frozen(last[token]),
    )


def one_candle_a_moment(candles: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of `candles` that count, with all columns, by chain, token_address and ts.

    This is the choice that `simulate` makes where slices and intervals overlap. Raises
    `ValidationFailed` as it does.
    """
    checked = frames.check_candles(candles)
    columns = _as_arrays(checked, threads=None)
    _refuse_bad_rows(columns, threads=None)
    tokens = (
        checked.select("chain", "token_address")
        .unique()
        .sort("chain", "token_address")
        .with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("token"))
    )
    chosen, first, last = _choose(checked, columns, tokens, threads=None)
    if isinstance(chosen, slice):
        stretches = [np.arange(*ends) for ends in zip(first, last + 1, strict=True)]
        chosen = np.concatenate([np.zeros(0, dtype=np.int64), *stretches])
    return candles[chosen]


def _as_arrays(candles: pl.DataFrame, threads: int | None) -> Candles:
    """Show the columns of a candle frame as arrays, row by row as in the frame."""
    names = Candles._fields
    arrays: dict[str, npt.NDArray[Any]] = {}

    def read(start: int, stop: int) -> None:
        for name in names[start:stop]:
            arrays[name] = _array(candles[name].to_physical())

    in_slices(read, len(names), threads, smallest=1)
    return Candles(**arrays)


def _choose(
    candles: pl.DataFrame, columns: Candles, tokens: pl.DataFrame, threads: int | None
) -> tuple[slice | Integers, Integers, Integers]:
    """Choose the rows of the numbered `tokens` that count.

    Returns the rows (a slice of everything if no choice has to be made) and the first and last
    place of each token in them; a token without candles has its last before its first.
    """
    run_start, run_token = _find_runs(candles, tokens, threads)
    run_stop = np.append(run_start[1:], candles.height)
    order = np.argsort(run_token, kind="stable")
    order = order[np.searchsorted(run_token[order], 0) :]
    run_start, run_stop, run_token = run_start[order], run_stop[order], run_token[order]
    runs_of = np.bincount(run_token, minlength=tokens.height)

    ascending = np.zeros(len(order), dtype=np.bool_)
    in_slices(
        lambda start, stop: merging.find_ascending(
            run_start, run_stop, columns.ts, columns.interval_s, ascending, start, stop
        ),
        len(order),
        threads,
        smallest=16,
    )
    if ascending.all() and runs_of.max(initial=0) <= 1:
        first = np.zeros(len(runs_of), dtype=np.int64)
        last = np.full(len(runs_of), -1, dtype=np.int64)
        first[run_token], last[run_token] = run_start, run_stop - 1
        return slice(None), first, last
    lengths = run_stop - run_start
    before = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))
    rows: Integers = np.arange(before[-1]) + np.repeat(run_start - before[:-1], lengths)
    offset = before[np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(runs_of)))]
    volume = _array(candles["volume"].fill_null(float("nan")))
    counts = np.zeros(len(rows), dtype=np.bool_)

    def settle(start: int, stop: int) -> None:
        for token in range(start, stop):
            mine = rows[offset[token] : offset[token + 1]]
            mine[:] = mine[np.lexsort((columns.interval_s[mine], columns.ts[mine]))]
        merging.find_those_that_count(rows, offset, columns, volume, counts, start, stop)

    in_slices(settle, tokens.height, threads, smallest=16)
    kept = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)))[offset]
    return rows[counts], kept[:-1], kept[1:] - 1


def _find_runs(
    candles: pl.DataFrame, tokens: pl.DataFrame, threads: int | None
) -> tuple[Integers, Integers]:
    """Cut the rows into runs of one token.

    Returns the first row of each run and the number of its token, -1 if `tokens` has it not.
    """
    keys = ["chain", "token_address"]
    changes: dict[str, tuple[Integers, pl.Series]] = {}

    def find(start: int, stop: int) -> None:
        for key in keys[start:stop]:
            changes[key] = _changes(candles[key])

    in_slices(find, len(keys), threads, smallest=1)
    changed = np.zeros(candles.height, dtype=np.bool_)
    for rows, _ in changes.values():
        changed[rows] = True
    starts = np.flatnonzero(changed)
    runs = pl.DataFrame(
        {
            key: changes[key][1].gather(np.searchsorted(changes[key][0], starts, "right") - 1)
            for key in keys
        }
    ).join(tokens, on=keys, how="left", maintain_order="left")
    return starts, runs["token"].fill_null(-1).to_numpy()


def _changes(texts: pl.Series) -> tuple[Integers, pl.Series]:
    """Return the rows that differ from the one before, the first row being one, and their values.

    Frames read from many files come in many chunks, mostly of one token each. Going chunk by chunk
    spares a copy of the text columns, which are the widest.
    """
    rows: list[int] = []
    values: list[str] = []
    offset = 0
    for chunk in texts.get_chunks():
        if not len(chunk):
            continue
        if not values or chunk[0] != values[-1]:
            rows.append(offset)
            values.append(chunk[0])
        if chunk[-1] != chunk[0] or (chunk != chunk[0]).any():
            inside = (chunk != chunk.shift(1)).fill_null(False).arg_true()
            rows.extend((inside + offset).to_list())
            values.extend(chunk.gather(inside).to_list())
        offset += len(chunk)
    return np.array(rows, dtype=np.int64), pl.Series(values, dtype=pl.String)


def _array(series: pl.Series) -> npt.NDArray[Any]:
    """Return the values as one read-only array, shared with the series if they stand together.

    If not they are copied into memory from numpy, which asks for large pages: for frames read from
    many files, faulting in small ones would cost more than the copy.
    """
    if series.n_chunks() == 1:
        return frozen(np.ascontiguousarray(series.to_numpy()))
    parts = [chunk.to_numpy() for chunk in series.get_chunks()]
    return frozen(np.concatenate(parts))


def _refuse_bad_rows(columns: Candles, threads: int | None) -> None:
    rows = len(columns.ts)
    first_bad = np.full(-(-rows // _CHECKED_AT_ONCE), rows, dtype=np.int64)

    def check(start: int, stop: int) -> None:
        for part in range(start, stop):
            first_bad[part] = merging.find_bad_row(
                columns,
                part * _CHECKED_AT_ONCE,
                min((part + 1) * _CHECKED_AT_ONCE, rows),
            )

    in_slices(check, len(first_bad), threads, smallest=1)
    row = int(first_bad.min(initial=rows))
    if row < rows:
        raise ValidationFailed(f"candles: {_fault(columns, row)} in row {row}")


def _fault(columns: Candles, row: int) -> str:
    prices = {name: float(getattr(columns, name)[row]) for name in ("open", "high", "low", "close")}
    for name, price in prices.items():
        if not frames.LOWEST_PRICE <= price <= frames.HIGHEST_PRICE:
            return f"column {name!r} is {price}, which is no price,"
    if prices["high"] < max(prices["open"], prices["close"]):
        return f"column 'high' is {prices['high']}, below open or close,"
    if prices["low"] > min(prices["open"], prices["close"]):
        return f"column 'low' is {prices['low']}, above open or close,"
    if not frames.EARLIEST_TS <= columns.ts[row] <= frames.LATEST_TS:
        return f"column 'ts' is {columns.ts[row]} us after 1970, outside the years 1970 to 2199,"
    longest = frames.LONGEST_INTERVAL_S
    return f"column 'interval_s' is {columns.interval_s[row]}, not 1 to {longest} seconds,"

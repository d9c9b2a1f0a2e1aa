"""Lays candles out for the kernel: one strictly ascending stretch of rows a token, in plain arrays.

Where slices and intervals of a token overlap, one candle is chosen for any moment
(docs/simulation.md, "Which candle counts"). Frames whose tokens already stand in order, one
interval each, are used as they are, without a copy: that is how slices come from the lake, and most
of the cost of a run is memory.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.simulation import merging
from quantlab_assets.simulation.arrays import Floats, Integers, frozen
from quantlab_assets.simulation.parallel import in_slices

LOWEST_PRICE = 1e-50
HIGHEST_PRICE = 1e50
"""Prices outside cannot be real, and ratios of those inside can neither overflow nor vanish."""

_CHECKED_AT_ONCE = 1 << 18
"""Rows a thread checks before it looks for more."""


@dataclass(frozen=True)
class CandleBook:
    """Candles of the called tokens.

    Alert i has the rows `first[i]` to `last[i]`, none if last < first. Within a stretch `ts` and
    the end (`ts + interval_s`) both strictly ascend. Arrays are read-only.
    """

    ts: Integers
    interval_s: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    first: Integers
    last: Integers


def lay_out(candles: pl.DataFrame, alerts: pl.DataFrame, threads: int | None = None) -> CandleBook:
    """Arrange checked `candles` for checked `alerts` (see `frames`), with any number of threads.

    Raises `ValidationFailed` naming column and row of the first candle that cannot be one.
    """
    prices = {name: _floats(candles[name]) for name in ("open", "high", "low", "close")}
    ts, interval_s = _integers(candles["ts"].to_physical()), _integers(candles["interval_s"])
    _refuse_bad_rows(prices, interval_s, threads)

    run_start, run_token, alert_token = _match_tokens(candles, alerts)
    run_stop = np.append(run_start[1:], candles.height)
    order = np.argsort(run_token, kind="stable")
    order = order[np.searchsorted(run_token[order], 0) :]
    run_start, run_stop, run_token = run_start[order], run_stop[order], run_token[order]
    runs_of = np.bincount(run_token, minlength=int(alert_token.max(initial=-1)) + 1)

    ascending = np.zeros(len(order), dtype=np.bool_)
    in_slices(
        lambda start, stop: merging.find_ascending(
            run_start, run_stop, ts, interval_s, ascending, start, stop
        ),
        len(order),
        threads,
        smallest=16,
    )
    if ascending.all() and runs_of.max(initial=0) <= 1:
        first = np.zeros(len(runs_of), dtype=np.int64)
        last = np.full(len(runs_of), -1, dtype=np.int64)
        first[run_token], last[run_token] = run_start, run_stop - 1
        chosen: slice | Integers = slice(None)
    else:
        volume = _floats(candles["volume"].fill_null(float("nan")))
        run_offset = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(runs_of)))
        chosen, kept = merging.merge_tokens(
            run_offset,
            run_start,
            run_stop,
            ascending,
            ts,
            interval_s,
            prices["open"],
            prices["high"],
            prices["low"],
            prices["close"],
            volume,
        )
        last = np.cumsum(kept) - 1
        first = last - kept + 1
    return CandleBook(
        ts=frozen(ts[chosen]),
        interval_s=frozen(interval_s[chosen]),
        open=frozen(prices["open"][chosen]),
        high=frozen(prices["high"][chosen]),
        low=frozen(prices["low"][chosen]),
        close=frozen(prices["close"][chosen]),
        first=frozen(first[alert_token]),
        last=frozen(last[alert_token]),
    )


def _match_tokens(
    candles: pl.DataFrame, alerts: pl.DataFrame
) -> tuple[Integers, Integers, Integers]:
    """Cut the rows into runs of one token, and number the tokens that alerts ask for.

    Returns the first row of each run, each run's token (-1 if nobody asks) and each alert's token.
    """
    called = (
        alerts.select("chain", pl.col("mint").alias("token_address"))
        .unique(maintain_order=True)
        .with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("token"))
    )
    keys = ["chain", "token_address"]
    address, chain = candles["token_address"], candles["chain"]
    changes = (address != address.shift(1)) | (chain != chain.shift(1))
    starts = changes.fill_null(True).arg_true()
    runs = candles.select(keys)[starts].join(called, on=keys, how="left", maintain_order="left")
    alert_token = alerts.select("chain", pl.col("mint").alias("token_address")).join(
        called, on=keys, how="left", maintain_order="left"
    )
    return (
        starts.cast(pl.Int64).to_numpy(),
        runs["token"].fill_null(-1).to_numpy(),
        alert_token["token"].to_numpy(),
    )


def _refuse_bad_rows(prices: dict[str, Floats], interval_s: Integers, threads: int | None) -> None:
    rows = len(interval_s)
    first_bad = np.full(-(-rows // _CHECKED_AT_ONCE), rows, dtype=np.int64)

    def check(start: int, stop: int) -> None:
        for part in range(start, stop):
            first_bad[part] = merging.find_bad_row(
                prices["open"],
                prices["high"],
                prices["low"],
                prices["close"],
                interval_s,
                part * _CHECKED_AT_ONCE,
                min((part + 1) * _CHECKED_AT_ONCE, rows),
                LOWEST_PRICE,
                HIGHEST_PRICE,
            )

    in_slices(check, len(first_bad), threads, smallest=1)
    row = int(first_bad.min(initial=rows))
    if row < rows:
        column, fault = _fault(row, prices, interval_s)
        raise ValidationFailed(f"candles: column {column!r} {fault} in row {row}")


def _fault(row: int, prices: dict[str, Floats], interval_s: Integers) -> tuple[str, str]:
    for name, values in prices.items():
        if not LOWEST_PRICE <= values[row] <= HIGHEST_PRICE:
            return name, f"is {values[row]}, which is not a price,"
    if prices["high"][row] < max(prices["open"][row], prices["close"][row]):
        return "high", f"is {prices['high'][row]}, below open or close,"
    if prices["low"][row] > min(prices["open"][row], prices["close"][row]):
        return "low", f"is {prices['low'][row]}, above open or close,"
    return "interval_s", f"is {interval_s[row]}, not a positive number of seconds,"


def _floats(series: pl.Series) -> Floats:
    return frozen(np.ascontiguousarray(series.to_numpy(), dtype=np.float64))


def _integers(series: pl.Series) -> Integers:
    return frozen(np.ascontiguousarray(series.to_numpy(), dtype=np.int64))

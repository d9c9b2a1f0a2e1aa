"""Candles put in order for coverage: distinct rows by series, then time.

A series is one token, network and interval. Candles that come in order, as those of a slice do, are
taken as they lie in memory; only what several slices hold is sorted and made distinct.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from quantlab_assets.domain.coverage.grid import SERIES_SHIFT
from quantlab_assets.domain.coverage.kernel import (
    Blocks,
    Integers,
    Rows,
    at_once,
    find_rows,
    find_states,
    mark_changes,
    take_stock,
)
from quantlab_assets.domain.time_us import SECOND_US
from quantlab_assets.domain.tokens.networks import network_of_token

SERIES: Final = ["chain", "mint", "network", "interval_s"]

FEW: Final = 16
"""Up to one row in so many is looked at by itself."""


@dataclass(frozen=True, slots=True)
class CandleIndex:
    """Distinct candles by series. `names` describes the series by number; those of one token follow
    one another, the finest interval first."""

    rows: Rows
    blocks: Blocks
    names: pl.DataFrame

    @classmethod
    def of(cls, candles: pl.DataFrame) -> "CandleIndex":
        """Index candles (columns of `ohlcv_slice_v2`); those off their interval's grid are none."""
        candles = candles.rechunk()
        ts = _values(candles["ts"].cast(pl.Int64))
        high, low, volume = (_values(candles[name]) for name in ("high", "low", "volume"))
        state = np.empty(candles.height, np.uint8)
        changes = _Changes(candles)
        at_once([*changes.passes, partial(find_states, high, low, volume, state)], candles.height)
        starts = changes.starts()
        heads = candles[starts].select(
            "chain",
            pl.col("token_address").alias("mint"),
            network_of_token().alias("network"),
            "interval_s",
        )
        names = (
            heads.unique()
            .sort(SERIES)
            .with_row_index("series")
            .with_columns(pl.col("series").cast(pl.Int64))
        )
        number = heads.join(names, on=SERIES, how="left", nulls_equal=True, maintain_order="left")[
            "series"
        ].to_numpy()
        runs = Rows(
            start=starts,
            stop=np.append(starts, candles.height)[1:],
            step_us=heads["interval_s"].to_numpy() * SECOND_US,
            ts=ts,
            state=state,
        )
        blocks, ascending, on_grid = take_stock(runs)
        if not on_grid:
            off_grid = pl.col("ts").cast(pl.Int64) % (pl.col("interval_s") * SECOND_US) != 0
            return cls.of(candles.filter(~off_grid))
        if ascending and len(number) == names.height:
            at = np.argsort(number)
            rows = runs._replace(start=starts[at], stop=runs.stop[at], step_us=runs.step_us[at])
            return cls(rows, blocks, names)
        rows = _distinct(runs, number, names["interval_s"].to_numpy() * SECOND_US)
        return cls(rows, take_stock(rows)[0], names)

    def between(
        self, series: Integers, start: Integers, end: Integers
    ) -> tuple[Integers, Integers]:
        """Positions `[low, high)` of a series' candles with `start <= ts < end`, in seconds."""
        return find_rows(self.rows, series, start * SECOND_US, end * SECOND_US)

    def at(self, position: Integers) -> Integers:
        """The times (seconds) at positions; any number where there is no such position."""
        ts = self.rows.ts
        return (
            ts[np.clip(position, 0, len(ts) - 1)] // SECOND_US
            if len(ts)
            else np.zeros_like(position)
        )


class _Changes:
    """The rows that are not of the series of the row before them.

    Equal strings that lie in one place have equal views. So rows whose views change are few where
    candles were read from files with dictionaries, and only those are compared letter by letter;
    where every row has its own copy of the letters, all are.
    """

    def __init__(self, candles: pl.DataFrame) -> None:
        self._columns = candles.select("chain", "token_address", "token_chain", "interval_s")
        self._begins = [np.zeros(candles.height, np.bool_) for _ in self._columns.columns]
        self.passes = [
            partial(mark_changes, _bits(column), begins)
            for column, begins in zip(self._columns, self._begins, strict=True)
        ]

    def starts(self) -> Integers:
        """The rows, ascending, once the passes are done."""
        height = self._columns.height
        if height == 0:
            return np.empty(0, np.int64)
        nulls = any(0 < column.null_count() < height for column in self._columns)
        marked = np.concatenate([np.flatnonzero(begins) for begins in self._begins])
        if nulls or FEW * len(marked) > height:
            differs = _differ(self._columns, pl.all().shift().name.suffix("_before"))
            return np.flatnonzero(np.append(True, differs[1:]))
        marked = np.unique(marked)
        before = self._columns[marked - 1]
        differs = _differ(self._columns[marked], before.rename(lambda name: f"{name}_before"))
        return np.append(0, marked[differs])


def _differ(columns: pl.DataFrame, before: pl.DataFrame | pl.Expr) -> npt.NDArray[np.bool_]:
    """Which rows differ in any column from those of the same columns named `..._before`."""
    given = before if isinstance(before, pl.Expr) else before.get_columns()
    return (
        columns.with_columns(given)
        .select(
            pl.any_horizontal(
                pl.col(name).ne_missing(pl.col(f"{name}_before")) for name in columns.columns
            )
        )
        .to_series()
        .to_numpy()
    )


def _bits(column: pl.Series) -> Integers:
    """The bits of a column's values as whole numbers, (rows, n): of a text its view, or half."""
    if column.dtype != pl.String:
        return _values(column).reshape(-1, 1)
    array = column.to_arrow(compat_level=pl.CompatLevel.newest())
    views = np.frombuffer(array.buffers()[1], np.int64)
    return views[2 * array.offset : 2 * (array.offset + len(array))].reshape(-1, 2)


def _distinct(runs: Rows, number: Integers, step_us: Integers) -> Rows:
    """The rows of runs, given the number of the series of each run, as distinct rows by series."""
    series = np.repeat(number, runs.stop - runs.start)
    keys = (series << SERIES_SHIFT) + runs.ts // SECOND_US
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    firsts = np.flatnonzero(np.append(True, sorted_keys[1:] != sorted_keys[:-1]))
    kept = order[firsts]
    bounds = np.searchsorted(series[kept], np.arange(len(step_us) + 1))
    return Rows(
        start=bounds[:-1],
        stop=bounds[1:],
        step_us=step_us,
        ts=_read_only(runs.ts[kept]),
        # A candle held by several slices was traded if it was in any of them.
        state=np.bitwise_or.reduceat(runs.state[order], firsts),
    )


def _values(column: pl.Series) -> npt.NDArray[Any]:
    """The values of a column, where they lie if possible; a null number is NaN."""
    return _read_only(column.rechunk().to_numpy())


def _read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array as the compiled passes know it: they are compiled anew for a writable one."""
    values.flags.writeable = False
    return values

"""What the slices of each series cover together: their windows, merged where they touch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from quantlab_assets.domain.coverage.grid import SERIES_SHIFT, Ints
from quantlab_assets.domain.time_us import SECOND_US
from quantlab_assets.domain.tokens.networks import network_of_token

if TYPE_CHECKING:
    from quantlab_assets.domain.coverage.candle_index import CandleIndex


@dataclass(frozen=True, slots=True)
class MergedWindows:
    """What a series' slices cover, in seconds; windows of a series neither touch nor overlap."""

    series: Ints
    start: Ints
    end: Ints
    interval_s: Ints

    def holding(self, series: Ints, ts: Ints) -> Ints:
        """Number of the window of the series that holds a time, -1 if none does."""
        if len(self.series) == 0:
            return np.full(len(series), -1, dtype=np.int64)
        at = np.searchsorted(
            (self.series << SERIES_SHIFT) + self.start, (series << SERIES_SHIFT) + ts, "right"
        )
        place = np.maximum(at - 1, 0)
        inside = (at > 0) & (self.series[place] == series) & (ts < self.end[place])
        return np.where(inside, place, -1)


def merged_windows(windows: pl.DataFrame, index: "CandleIndex") -> MergedWindows:
    """The windows (`WINDOW_SCHEMA`) of the series that have candles; those of one series that
    overlap or touch become one."""
    fitted = windows.select(
        "chain",
        "mint",
        network_of_token().alias("network"),
        "interval_s",
        (pl.col("window_start").cast(pl.Int64) // SECOND_US).alias("start"),
        (pl.col("window_end").cast(pl.Int64) // SECOND_US).alias("end"),
    )
    joined = index.names.join(
        fitted, on=["chain", "mint", "network", "interval_s"], nulls_equal=True
    ).sort("series", "start", "end")
    reached = pl.col("end").cum_max().over("series").shift(1).over("series")
    merged = (
        joined.with_columns((pl.col("start") > reached).fill_null(True).cum_sum().alias("block"))
        .group_by("series", "block", maintain_order=True)
        .agg(pl.col("start").min(), pl.col("end").max(), pl.col("interval_s").first())
    )
    return MergedWindows(
        *(merged[column].to_numpy() for column in ("series", "start", "end", "interval_s"))
    )

"""Gaps: every stretch of missing candles inside the windows of slices."""

from datetime import datetime

import numpy as np
import polars as pl

from quantlab_assets.domain.artifacts.seed_types import COVERAGE_GAPS
from quantlab_assets.domain.coverage.frames import as_type
from quantlab_assets.domain.coverage.grid import ceil_to, pick, whole_seconds
from quantlab_assets.domain.coverage.windows import merged_windows
from quantlab_assets.domain.time_us import SECOND_US


def coverage_gaps(
    candles: pl.DataFrame, windows: pl.DataFrame, newest_ts: datetime | None
) -> pl.DataFrame:
    """Every stretch of missing candles inside the windows of slices, by token and interval; columns
    of the type `coverage_gaps`. `[gap_start, gap_end)`; what is newer than `newest_ts` is no gap.

    `head` gaps reach the window's start, `tail` gaps its end, `inner` gaps have candles on both
    sides. Windows of one series that touch count as one.
    """
    from quantlab_assets.domain.coverage.candle_index import CandleIndex
    from quantlab_assets.domain.coverage.kernel import find_holes

    index = CandleIndex.of(candles)
    merged = merged_windows(windows, index)
    step = merged.interval_s
    start = ceil_to(merged.start, step)
    end = merged.end if newest_ts is None else np.minimum(merged.end, whole_seconds(newest_ts) + 1)
    end = np.maximum(ceil_to(end, step), start)
    low, high = index.between(merged.series, start, end)
    empty = low == high
    first = np.where(empty, end, index.at(low))
    after_last = np.where(empty, end, index.at(high - 1) + step)

    row, series = find_holes(index.rows)
    hole_start, hole_end = index.at(row), index.at(row + 1)
    home = merged.holding(series, hole_start)
    inner = (home >= 0) & (hole_end < pick(end, home))
    series, hole_end = series[inner], hole_end[inner]
    hole_start = hole_start[inner] + index.rows.step_us[series] // SECOND_US
    gaps = pl.DataFrame(
        {
            "series": np.concatenate((merged.series, series, merged.series)),
            "start": np.concatenate((start, hole_start, after_last)),
            "end": np.concatenate((first, hole_end, end)),
            "kind": ["head"] * len(start) + ["inner"] * len(series) + ["tail"] * len(start),
        }
    ).filter(pl.col("end") > pl.col("start"))
    frame = (
        gaps.join(index.names, on="series", how="left")
        .with_columns(
            _utc("start").alias("gap_start"),
            _utc("end").alias("gap_end"),
            ((pl.col("end") - pl.col("start")) // pl.col("interval_s")).alias("missing_candles"),
        )
        .unique(COVERAGE_GAPS.schema.names)
    )
    return as_type(frame, COVERAGE_GAPS)


def _utc(column: str) -> pl.Expr:
    """Seconds since 1970 as a UTC time."""
    return (pl.col(column) * SECOND_US).cast(pl.Datetime("us", "UTC"))

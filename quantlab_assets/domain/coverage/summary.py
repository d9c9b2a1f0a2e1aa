"""Coverage counted by day, chain, caller and horizon."""

from collections.abc import Mapping
from datetime import date

import numpy as np
import polars as pl

from quantlab_assets.domain.artifacts.seed_types import COVERAGE_SUMMARY
from quantlab_assets.domain.coverage.counts import GRADE_COUNTED
from quantlab_assets.domain.coverage.frames import as_type


def coverage_summary(days: Mapping[date, pl.DataFrame]) -> pl.DataFrame:
    """Coverage counted by day, chain, caller and horizon; columns of the type `coverage_summary`.

    `days` maps a UTC day to its rows of `alert_forward_coverage`; `covered` counts grade `good`.
    """
    keys = ["day", "chain", "caller_name_norm", "horizon_h"]
    rows = [
        frame.select(pl.lit(day, dtype=pl.Date).alias("day"), *keys[1:], "grade", "coverage_ratio")
        for day, frame in sorted(days.items())
    ]
    if not rows:
        return as_type(pl.DataFrame(COVERAGE_SUMMARY.empty()), COVERAGE_SUMMARY)
    # Sorted by ratio too, and summed in that order: the mean must not depend on row order.
    ordered = pl.concat(rows).sort([*keys, "coverage_ratio"])
    starts = np.flatnonzero(ordered.select(pl.struct(keys).rle_id()).to_series().diff() != 0)
    starts = np.concatenate(([0], starts)) if ordered.height else starts
    counts = ordered.group_by(keys, maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("alerts"),
        *(
            (pl.col("grade") == grade).sum().cast(pl.Int64).alias(column)
            for column, grade in GRADE_COUNTED.items()
        ),
    )
    ratios = ordered["coverage_ratio"].to_numpy()
    sums = np.add.reduceat(ratios, starts) if len(starts) else ratios
    frame = counts.with_columns(pl.Series("sum", sums, dtype=pl.Float64)).with_columns(
        (pl.col("sum") / pl.col("alerts")).alias("mean_ratio")
    )
    return as_type(frame, COVERAGE_SUMMARY)

"""Forward coverage: how much of the time around each call its candles cover, and why not all of it.

Candles become sorted arrays by series (`candle_index`); what a horizon holds is found in them by
compiled passes (`kernel`). Both are imported when coverage is measured, not before: compiled code
takes its time to load. What a horizon should hold, and what is missing of it, is in `horizons`.
docs/candles.md has the rules. Gaps and sums over days are modules beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from quantlab_assets.domain.artifacts.seed_types import ALERT_FORWARD_COVERAGE
from quantlab_assets.domain.coverage.counts import NO_CANDLES
from quantlab_assets.domain.coverage.frames import as_type
from quantlab_assets.domain.coverage.grid import Ints, pick, whole_seconds
from quantlab_assets.domain.coverage.horizons import Due, Flags, Missing, candles_due, candles_held
from quantlab_assets.domain.coverage.windows import MergedWindows, merged_windows
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.slices.grades import STANDARD_GRADING, Grading
from quantlab_assets.domain.time_us import SECOND_US
from quantlab_assets.domain.tokens.networks import AMBIGUOUS, OUTCOME, TAKEN, networks_taken

if TYPE_CHECKING:
    from quantlab_assets.domain.coverage.candle_index import CandleIndex

HORIZONS_H: Final = (-4, 1, 4, 12, 24, 48)
"""Hours after the call; negative ones end at the call."""
MAX_HORIZON_H: Final = 24 * 366


def forward_coverage(
    alerts: pl.DataFrame,
    candles: pl.DataFrame,
    windows: pl.DataFrame,
    newest_ts: datetime | None,
    horizons: Sequence[int] = HORIZONS_H,
    grading: Grading = STANDARD_GRADING,
) -> pl.DataFrame:
    """One row for each alert and horizon; columns of the type `alert_forward_coverage`.

    `alerts` has alert_id, chain, token_chain, mint, caller_name_norm, alert_ts_utc; `candles` the
    columns of `ohlcv_slice_v2`, of any number of slices, in any order; `windows` what those slices
    cover (`WINDOW_SCHEMA`); `newest_ts` the newest candle the source had when they were made (null:
    unknown). An alert is covered by the candles it takes (`networks_taken`), and by none if it is
    ambiguous. Raises `ValidationFailed` for horizons of 0, given twice, or over a year.
    """
    _check_horizons(horizons)
    from quantlab_assets.domain.coverage.candle_index import CandleIndex

    index = CandleIndex.of(candles)
    asked = _asked(alerts, index)
    measured = _cover(asked, np.array(horizons, dtype=np.int64), index, windows, newest_ts, grading)
    frame = measured.join(
        alerts.with_row_index("alert").select(
            "alert", "alert_id", "chain", "mint", "caller_name_norm", "alert_ts_utc"
        ),
        on="alert",
        how="left",
    )
    distinct = alerts["alert_id"].n_unique() == alerts.height
    return as_type(frame, ALERT_FORWARD_COVERAGE, keys_are_unique=distinct)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Alerts with the token whose candles they take. `finest` and `intervals` are the number of the
    token's first series and how many it has; -1 and 0 where an alert takes none."""

    alert: Ints
    alert_us: Ints
    finest: Ints
    intervals: Ints
    ambiguous: Flags


def _check_horizons(horizons: Sequence[int]) -> None:
    wrong = [h for h in horizons if h == 0 or abs(h) > MAX_HORIZON_H]
    if wrong or len(set(horizons)) != len(horizons):
        raise ValidationFailed(
            f"coverage horizons {list(horizons)}: give different whole hours,"
            f" none 0 and none over {MAX_HORIZON_H}"
        )


def _asked(alerts: pl.DataFrame, index: "CandleIndex") -> _Asked:
    """Every alert once, with the token it takes."""
    tokens = index.names.group_by("chain", "mint", "network").agg(
        pl.col("series").min().alias("finest"), pl.len().cast(pl.Int64).alias("intervals")
    )
    taken = networks_taken(
        alerts.with_row_index("alert").select(
            "alert",
            "chain",
            "mint",
            "token_chain",
            pl.col("alert_ts_utc").cast(pl.Int64).alias("alert_us"),
        ),
        tokens.rename({"network": "token_chain"}),
    )
    # Where the outcome is not `taken`, the network is null, and so may be that of candles.
    asked = (
        taken.join(
            tokens.with_columns(pl.lit(TAKEN).cast(OUTCOME).alias("outcome")),
            on=["chain", "mint", "network", "outcome"],
            how="left",
            nulls_equal=True,
        ).sort("finest", "alert_us", "alert")  # neighbouring searches stay in the processor's cache
    )
    return _Asked(
        alert=asked["alert"].cast(pl.Int64).to_numpy(),
        alert_us=asked["alert_us"].to_numpy(),
        finest=asked["finest"].fill_null(-1).to_numpy(),
        intervals=asked["intervals"].fill_null(0).to_numpy(),
        ambiguous=(asked["outcome"] == AMBIGUOUS).to_numpy(),
    )


def _cover(
    asked: _Asked,
    horizons: Ints,
    index: "CandleIndex",
    windows: pl.DataFrame,
    newest_ts: datetime | None,
    grading: Grading,
) -> pl.DataFrame:
    """Measure every alert and horizon."""
    from quantlab_assets.domain.coverage.kernel import measure

    hours = np.tile(horizons, len(asked.alert))
    pair = np.repeat(np.arange(len(asked.alert)), len(horizons))
    held = measure(
        asked.alert_us,
        asked.finest,
        asked.intervals,
        horizons * 3600 * SECOND_US,
        index.rows,
        index.blocks,
    )
    wanted = candles_due(asked.alert_us[pair], hours, held.series, index)
    there = candles_held(wanted, held, index)
    ratio = np.where(wanted.expected > 0, there.actual / np.maximum(wanted.expected, 1), 0.0)
    causes = {
        AMBIGUOUS: asked.ambiguous[pair],
        "no_slice": wanted.expected == 0,
        "dead": (held.active == 0) & there.present & (ratio >= grading.partial),
        "ok": ratio >= grading.good,
        "beyond_window": _beyond(wanted, held.series, merged_windows(windows, index)),
        "not_elapsed": _not_elapsed(wanted, newest_ts),
        **_where_missing(there.missing),
    }
    grades = {
        NO_CANDLES: ~there.present,
        "good": ratio >= grading.good,
        "partial": ratio >= grading.partial,
    }
    return pl.DataFrame(
        {
            "alert": asked.alert[pair],
            "horizon_h": hours,
            "interval_s": wanted.step,
            "expected_candles": wanted.expected,
            "actual_candles": there.actual,
            "traded_candles": held.traded,
            "coverage_ratio": ratio,
            "first_candle_delay_s": there.delay,
            "longest_gap_s": there.longest,
            "grade": _first_true(grades, "poor"),
            "reason": _first_true(causes, "gaps"),
            "present": there.present,
            "has_series": wanted.has_series,
        }
    ).with_columns(
        pl.col("alert").cast(pl.UInt32),
        pl.when("has_series").then("interval_s"),
        pl.when("present").then("first_candle_delay_s"),
        pl.when(pl.col("expected_candles") > 0).then("longest_gap_s"),
    )


def _beyond(wanted: Due, series: Ints, merged: MergedWindows) -> Flags:
    """Which horizons reach out of the windows of the slices they take, if these are known."""
    home = merged.holding(series, wanted.first_point)
    outside = (home < 0) | (wanted.last_point >= pick(merged.end, home))
    return np.isin(series, merged.series) & outside


def _not_elapsed(wanted: Due, newest_ts: datetime | None) -> Flags:
    """Which horizons expect candles after the newest that the source had."""
    if newest_ts is None:
        return np.zeros(len(wanted.expected), dtype=np.bool_)
    return wanted.last_point > whole_seconds(newest_ts)


def _where_missing(missing: Missing) -> dict[str, Flags]:
    """Which horizons miss the most at their start, and which at their end."""
    late, early, holes = missing
    return {
        "starts_late": (late >= early) & (late >= holes) & (late > 0),
        "ends_early": (early >= holes) & (early > 0),
    }


def _first_true(conditions: Mapping[str, Flags], otherwise: str) -> pl.Series:
    """For each place the name of the first condition that holds there."""
    numbers = np.select(list(conditions.values()), list(range(len(conditions))), len(conditions))
    return pl.Series([*conditions, otherwise]).gather(numbers)

"""Forward coverage: how much of the time around each call its candles cover, and why not all of it.

Candles become sorted arrays by series (`candle_index`); what a horizon holds is found in them by
compiled passes (`kernel`). Both are imported when coverage is measured, not before: compiled code
takes its time to load. docs/candles.md has the rules. Gaps and sums over days are modules beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from quantlab_assets.domain.artifacts.seed_types import ALERT_FORWARD_COVERAGE
from quantlab_assets.domain.coverage.frames import as_type
from quantlab_assets.domain.coverage.grid import Ints, ceil_to, pick, whole_seconds
from quantlab_assets.domain.coverage.windows import merged_windows
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.slices.grades import STANDARD_GRADING, Grading
from quantlab_assets.domain.time_us import SECOND_US
from quantlab_assets.domain.tokens.networks import AMBIGUOUS, OUTCOME, TAKEN, networks_taken

if TYPE_CHECKING:
    from quantlab_assets.domain.coverage.candle_index import CandleIndex

HORIZONS_H: Final = (-4, 1, 4, 12, 24, 48)
"""Hours after the call; negative ones end at the call."""
MAX_HORIZON_H: Final = 24 * 366

Flags = npt.NDArray[np.bool_]


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
    covered = _cover(asked, np.array(horizons, dtype=np.int64), index, windows, newest_ts, grading)
    frame = covered.join(
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
    alert_us = asked.alert_us[pair]
    edge_us = alert_us + hours * 3600 * SECOND_US
    start = ceil_to(np.minimum(alert_us, edge_us), SECOND_US) // SECOND_US
    end = ceil_to(np.maximum(alert_us, edge_us), SECOND_US) // SECOND_US
    rows = index.rows
    horizon = measure(
        asked.alert_us,
        asked.finest,
        asked.intervals,
        horizons * 3600 * SECOND_US,
        rows,
        index.blocks,
    )
    series, low, high = horizon.series, horizon.low, horizon.high
    has_series = series >= 0
    step = np.where(has_series, pick(rows.step_us, series) // SECOND_US, 1)
    first_point = ceil_to(start, step)
    expected = np.where(has_series, (ceil_to(end, step) - first_point) // step, 0)
    actual = high - low
    present = actual > 0
    last_point = first_point + (expected - 1) * step
    first, last = index.at(low), index.at(high - 1)
    head = np.where(present, (first - first_point) // step, 0)
    tail = np.where(present, (last_point - last) // step, 0)
    inner = expected - actual - head - tail
    longest_inner = np.maximum(horizon.longest_us // SECOND_US - step, 0)
    longest = np.where(
        present, np.maximum(np.maximum(head, tail) * step, longest_inner), expected * step
    )
    ratio = np.where(expected > 0, actual / np.maximum(expected, 1), 0.0)
    candles_before = has_series & (low > pick(rows.start, series))
    candles_after = has_series & (high < pick(rows.stop, series))
    merged = merged_windows(windows, index)
    home = merged.holding(series, first_point)
    windowed = np.isin(series, merged.series)
    beyond = windowed & ((home < 0) | (last_point >= pick(merged.end, home)))
    not_elapsed = (
        np.zeros(len(series), dtype=np.bool_)
        if newest_ts is None
        else last_point > whole_seconds(newest_ts)
    )

    late = np.where(candles_before, 0, np.where(present, head, 1 * candles_after))
    early = np.where(candles_after, 0, np.where(present, tail, 1 * candles_before))
    holes = np.where(present, inner + head + tail - late - early, 0)
    silent = (horizon.active == 0) & present
    reason = _first_true(
        {
            AMBIGUOUS: asked.ambiguous[pair],
            "no_slice": expected == 0,
            "dead": silent & (ratio >= grading.partial),
            "ok": ratio >= grading.good,
            "beyond_window": beyond,
            "not_elapsed": not_elapsed,
            "starts_late": (late >= early) & (late >= holes) & (late > 0),
            "ends_early": (early >= holes) & (early > 0),
        },
        "gaps",
    )
    grade = _first_true(
        {"none": ~present, "good": ratio >= grading.good, "partial": ratio >= grading.partial},
        "poor",
    )
    return pl.DataFrame(
        {
            "alert": asked.alert[pair],
            "horizon_h": hours,
            "interval_s": step,
            "expected_candles": expected,
            "actual_candles": actual,
            "traded_candles": horizon.traded,
            "coverage_ratio": ratio,
            "first_candle_delay_s": first - start,
            "longest_gap_s": longest,
            "grade": grade,
            "reason": reason,
            "present": present,
            "has_series": has_series,
        }
    ).with_columns(
        pl.col("alert").cast(pl.UInt32),
        pl.when("has_series").then("interval_s"),
        pl.when("present").then("first_candle_delay_s"),
        pl.when(pl.col("expected_candles") > 0).then("longest_gap_s"),
    )


def _first_true(conditions: Mapping[str, Flags], otherwise: str) -> pl.Series:
    """For each place the name of the first condition that holds there."""
    numbers = np.select(list(conditions.values()), list(range(len(conditions))), len(conditions))
    return pl.Series([*conditions, otherwise]).gather(numbers)

"""Analyse how much of the time around a day's calls its slices cover."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from quantlab_assets.domain.artifacts.records import ArtifactDraft, PartitionOutput
from quantlab_assets.domain.artifacts.seed_types import (
    ALERT_FORWARD_COVERAGE,
    COVERAGE_GAPS,
    COVERAGE_SUMMARY,
)
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.coverage.forward import HORIZONS_H, forward_coverage
from quantlab_assets.domain.coverage.frames import to_table
from quantlab_assets.domain.coverage.gaps import coverage_gaps
from quantlab_assets.domain.coverage.summary import coverage_summary
from quantlab_assets.domain.slices.grades import STANDARD_GRADING, Grading
from quantlab_assets.domain.slices.key import iso_utc
from quantlab_assets.domain.slices.plan import SliceWindow
from quantlab_assets.domain.slices.windows import planned_windows

ALERT_COLUMNS = ("alert_id", "chain", "token_chain", "mint", "caller_name_norm", "alert_ts_utc")


@dataclass(frozen=True, slots=True)
class DayCoverage:
    """Coverage of one day: by alert and horizon, and the gaps behind it."""

    forward: PartitionOutput
    gaps: PartitionOutput


def coverage_of_day(
    day: date,
    alerts: pl.LazyFrame | pl.DataFrame,
    slices: pl.LazyFrame | pl.DataFrame,
    newest_ts: datetime | None,
    *,
    windows: pl.DataFrame | None = None,
    horizons: Sequence[int] = HORIZONS_H,
    grading: Grading = STANDARD_GRADING,
) -> DayCoverage:
    """Coverage of a UTC day's alerts (`alerts_v1`) by its slices (`ohlcv_slice_v2`).

    `newest_ts` is what the slices' publications recorded. `windows` are those of the slices' keys
    (`slices.windows_of`); without them those that the alerts ask for by default. Raises
    `ValidationFailed` for impossible horizons.
    """
    called = alerts.lazy().select(ALERT_COLUMNS).collect()
    candles = slices.lazy().collect()
    covered = planned_windows(called, candles, SliceWindow()) if windows is None else windows
    forward = forward_coverage(called, candles, covered, newest_ts, horizons, grading)
    gaps = coverage_gaps(candles, covered, newest_ts)
    params = {
        "newest_ts": None if newest_ts is None else iso_utc(newest_ts),
        "horizons_h": list(horizons),
        "good_from": grading.good,
        "partial_from": grading.partial,
    }
    grades = dict(forward.group_by("grade").len().sort("grade").iter_rows())
    reasons = dict(forward.group_by("reason").len().sort("reason").iter_rows())
    return DayCoverage(
        forward=PartitionOutput(
            drafts=_drafts(ALERT_FORWARD_COVERAGE, day, forward, params),
            counts={
                "alerts": called.height,
                "rows": forward.height,
                **{f"grade_{grade}": count for grade, count in grades.items()},
                **{f"reason_{reason}": count for reason, count in reasons.items()},
            },
        ),
        gaps=PartitionOutput(
            drafts=_drafts(COVERAGE_GAPS, day, gaps, {"newest_ts": params["newest_ts"]}),
            counts={
                "gaps": gaps.height,
                "missing_candles": int(gaps["missing_candles"].sum()),
            },
        ),
    )


def summarise_coverage(
    days: Mapping[str, pl.LazyFrame] | Mapping[str, pl.DataFrame],
) -> PartitionOutput:
    """Coverage by day, chain, caller and horizon, over the days (`YYYY-MM-DD`) there are."""
    frames = {date.fromisoformat(day): days[day].lazy().collect() for day in sorted(days)}
    summary = coverage_summary(frames)
    draft = ArtifactDraft(
        artifact_type=COVERAGE_SUMMARY.name,
        logical_key=COVERAGE_SUMMARY.keys[0],
        table=to_table(summary, COVERAGE_SUMMARY),
    )
    return PartitionOutput(
        drafts=(draft,) if summary.height else (),
        counts={"days": len(frames), "rows": summary.height},
    )


def _drafts(
    artifact_type: ArtifactType, day: date, frame: pl.DataFrame, params: Mapping[str, object]
) -> tuple[ArtifactDraft, ...]:
    """The day's artifact, or none if the day has no row."""
    if frame.is_empty():
        return ()
    return (
        ArtifactDraft(
            artifact_type=artifact_type.name,
            logical_key=artifact_type.key(day=day.isoformat()),
            table=to_table(frame, artifact_type),
            params=params,
        ),
    )

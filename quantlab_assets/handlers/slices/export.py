"""Export the candles around a day's calls as slices: one artifact a token, interval and window."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, Final

import polars as pl

from quantlab_assets.domain.artifacts.records import ArtifactDraft, PartitionOutput
from quantlab_assets.domain.artifacts.seed_types import CANDLES_QUARANTINE, OHLCV_SLICE
from quantlab_assets.domain.candles.normalise import RULES_VERSION
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.slices.grades import GRADES, STANDARD_GRADING, Grading
from quantlab_assets.domain.slices.key import SliceKey, iso_utc
from quantlab_assets.domain.slices.plan import SliceWindow, plan_slices
from quantlab_assets.domain.slices.quality import slice_quality, slice_tags
from quantlab_assets.ports.candle_source import (
    CandleRejects,
    CandleSource,
    CandleWindow,
    WindowCandles,
)

PLAN_COLUMNS: Final = ("chain", "mint", "token_chain", "alert_ts_utc")
DEFAULT_WINDOW: Final = SliceWindow()


def slices_of_day(
    day: date,
    alerts: pl.LazyFrame | pl.DataFrame,
    source: CandleSource,
    settings: SliceWindow = DEFAULT_WINDOW,
    grading: Grading = STANDARD_GRADING,
) -> PartitionOutput:
    """All slices of the tokens called on a UTC day, and what was refused of them.

    `alerts` are the day's rows of `alerts_v1`. A token, network or interval without a single candle
    in its window gives no slice; coverage reports it as `no_slice`. The loose drafts are the
    refused rows of the files that hold the day's tokens, or nobody knows which.

    Raises `ValidationFailed` for an alert of another day: it belongs to another partition.
    """
    called = alerts.lazy().select(PLAN_COLUMNS).collect()
    strays = called.filter(pl.col("alert_ts_utc").dt.date() != day)
    if strays.height:
        raise ValidationFailed(
            f"slices of {day}: {strays.height} alerts are of another day; give that day's only"
        )
    plan = plan_slices(called, settings)
    newest = source.newest_ts()
    unit = source.volume_unit()
    drafts: list[ArtifactDraft] = []
    refused = [*source.unresolved()] if plan else []
    grades: dict[str, int] = dict.fromkeys(GRADES, 0)
    duplicates = conflicts = tokens_without = 0
    wanted = [
        CandleWindow(planned.chain, planned.mint, planned.start, planned.end) for planned in plan
    ]
    for token in source.windows(wanted):
        for series in token.candles:
            draft = _slice(series, settings, newest, unit, grading)
            drafts.append(draft)
            grades[draft.tags["grade"]] += 1
            duplicates += series.duplicates
            conflicts += series.conflicts
        refused += token.rejects
        tokens_without += not token.candles
    loose = _refused_rows(refused)
    return PartitionOutput(
        drafts=tuple(sorted(drafts, key=lambda draft: draft.logical_key)),
        loose=loose,
        counts={
            "tokens_called": len(plan),
            "tokens_without_candles": tokens_without,
            "slices": len(drafts),
            "candles": sum(draft.table.num_rows for draft in drafts),
            **{f"slices_{grade}": count for grade, count in grades.items()},
            "duplicate_rows": duplicates,
            "conflicting_rows": conflicts,
            "quarantined_rows": sum(draft.table.num_rows for draft in loose),
            "files_with_quarantine": len(loose),
        },
    )


def newest_ts_of(params: Iterable[Mapping[str, Any]]) -> datetime | None:
    """The newest candle time the source had when slices were made, from their publications' params;
    of several the latest. None if no publication says it."""
    recorded = [str(entry["newest_ts"]) for entry in params if entry.get("newest_ts")]
    return max((datetime.fromisoformat(text) for text in recorded), default=None)


def _slice(
    series: WindowCandles,
    settings: SliceWindow,
    newest: datetime | None,
    unit: str | None,
    grading: Grading,
) -> ArtifactDraft:
    quality = slice_quality(series.table, series.interval_s, series.start, series.end, grading)
    return ArtifactDraft(
        artifact_type=OHLCV_SLICE.name,
        logical_key=SliceKey(series.token, series.interval_s, series.start, series.end).format(),
        table=series.table,
        tags=slice_tags(series.token, series.interval_s, quality, unit)
        | {"duplicate_rows": str(series.duplicates), "conflicting_rows": str(series.conflicts)},
        sources=series.sources,
        params={
            "window_from": iso_utc(series.start),
            "window_to": iso_utc(series.end),
            "pre_s": settings.pre_s,
            "post_s": settings.post_s,
            "newest_ts": None if newest is None else iso_utc(newest),
            "rules_version": RULES_VERSION,
        },
    )


def _refused_rows(rejects: Iterable[CandleRejects]) -> tuple[ArtifactDraft, ...]:
    """The quarantine of every file that holds a token called, one artifact a file's content.

    So is that of files whose token nobody can tell: they might hold one.
    """
    by_content: dict[str, dict[str, CandleRejects]] = {}
    for refused in rejects:
        by_content.setdefault(refused.source.sha256, {})[refused.source.name] = refused
    drafts = []
    for sha256, group in sorted(by_content.items()):
        rows = pl.concat([refused.rows for refused in group.values()]).unique().sort(pl.all())
        name = min(group)
        drafts.append(
            ArtifactDraft(
                artifact_type=CANDLES_QUARANTINE.name,
                logical_key=CANDLES_QUARANTINE.key(source=sha256.removeprefix("sha256:")[:16]),
                table=rows.to_arrow().cast(CANDLES_QUARANTINE.schema),
                tags={"file": name},
                sources=(group[name].source,),
                params={"rules_version": RULES_VERSION},
            )
        )
    return tuple(drafts)

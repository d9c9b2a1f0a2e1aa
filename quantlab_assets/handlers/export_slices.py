"""Export the candles around a day's calls as slices: one artifact a token, interval and window."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

import polars as pl
import pyarrow as pa

from quantlab_assets.domain.artifact_types import CANDLES_QUARANTINE, OHLCV_SLICE
from quantlab_assets.domain.artifacts import ArtifactDraft, PartitionOutput
from quantlab_assets.domain.candles import RULES_VERSION
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.slices import (
    PlannedSlice,
    SliceWindow,
    iso_utc,
    plan_slices,
    slice_key,
    slice_quality,
    slice_tags,
)
from quantlab_assets.ports.candle_source import CandleRejects, CandleSeries, CandleSource

PLAN_COLUMNS: Final = ("chain", "mint", "token_chain", "alert_ts_utc")
DEFAULT_WINDOW: Final = SliceWindow()


def slices_of_day(
    day: date,
    alerts: pl.LazyFrame | pl.DataFrame,
    source: CandleSource,
    settings: SliceWindow = DEFAULT_WINDOW,
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
    drafts: list[ArtifactDraft] = []
    grades = dict.fromkeys(("good", "partial", "poor"), 0)
    candles = duplicates = conflicts = tokens_without = 0
    for planned in plan:
        before = len(drafts)
        for series in source.available(planned.chain, planned.mint):
            draft = _slice(planned, series, source, settings, newest)
            if draft is None:
                continue
            drafts.append(draft)
            grades[draft.tags["grade"]] += 1
            candles += draft.table.num_rows
            duplicates += series.duplicates
            conflicts += series.conflicts
        tokens_without += len(drafts) == before
    loose = _refused_rows(plan, source.rejects())
    return PartitionOutput(
        drafts=tuple(sorted(drafts, key=lambda draft: draft.logical_key)),
        loose=loose,
        counts={
            "tokens_called": len(plan),
            "tokens_without_candles": tokens_without,
            "slices": len(drafts),
            "candles": candles,
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
    planned: PlannedSlice,
    series: CandleSeries,
    source: CandleSource,
    settings: SliceWindow,
    newest: datetime | None,
) -> ArtifactDraft | None:
    """One slice, or None where the series has no candle in the window or is of another network."""
    start, end = planned.window(series.interval_s)
    if not planned.wants(series.token) or series.last_ts < start or series.first_ts >= end:
        return None
    batches = list(source.candles(series.token, series.interval_s, start, end))
    table = pa.Table.from_batches(batches, schema=OHLCV_SLICE.schema)
    if table.num_rows == 0:
        return None
    return ArtifactDraft(
        artifact_type=OHLCV_SLICE.name,
        logical_key=slice_key(series.token, series.interval_s, start, end),
        table=table,
        tags=slice_tags(
            series.token,
            series.interval_s,
            slice_quality(table, series.interval_s, start, end),
            source.volume_unit(),
        ),
        sources=series.sources,
        params={
            "window_from": iso_utc(start),
            "window_to": iso_utc(end),
            "pre_s": settings.pre_s,
            "post_s": settings.post_s,
            "newest_ts": None if newest is None else iso_utc(newest),
            "rules_version": RULES_VERSION,
        },
    )


def _refused_rows(
    plan: Sequence[PlannedSlice], rejects: Sequence[CandleRejects]
) -> tuple[ArtifactDraft, ...]:
    """The quarantine of every file that holds a token called, one artifact a file's content.

    So is that of files whose token nobody can tell: they might hold one.
    """
    called = {(planned.chain, planned.mint) for planned in plan}
    by_content: dict[str, list[CandleRejects]] = {}
    for refused in rejects:
        tokens = {(token.chain, token.address) for token in refused.tokens}
        if not tokens or tokens & called:
            by_content.setdefault(refused.source.sha256, []).append(refused)
    drafts = []
    for sha256, group in sorted(by_content.items()):
        rows = pl.concat([refused.rows for refused in group]).unique().sort(pl.all())
        drafts.append(
            ArtifactDraft(
                artifact_type=CANDLES_QUARANTINE.name,
                logical_key=CANDLES_QUARANTINE.key(source=sha256.removeprefix("sha256:")[:16]),
                table=rows.to_arrow().cast(CANDLES_QUARANTINE.schema),
                tags={"file": min(refused.source.name for refused in group)},
                sources=(min((r.source for r in group), key=lambda s: s.name),),
                params={"rules_version": RULES_VERSION},
            )
        )
    return tuple(drafts)

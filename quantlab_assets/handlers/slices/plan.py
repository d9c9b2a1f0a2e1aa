"""Say what an export of slices would do, day by day. Nothing is published."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

import polars as pl

from quantlab_assets.domain.artifacts.canonical_order import canonical_table
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.identity import artifact_id_of
from quantlab_assets.domain.artifacts.records import Artifact, ArtifactDraft, ArtifactFilter
from quantlab_assets.domain.artifacts.seed_types import ALERTS as ALERTS_TYPE
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.assets import ALERTS, ASSETS, SLICES
from quantlab_assets.domain.slices.grades import STANDARD_GRADING, Grading
from quantlab_assets.domain.slices.key import SliceKey
from quantlab_assets.domain.slices.plan import PlannedSlice, SliceWindow, plan_slices
from quantlab_assets.handlers.slices.export import DEFAULT_WINDOW, PLAN_COLUMNS, slices_of_day
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.candle_source import CandleSource

COVERAGE: Final = ASSETS.of(job="slices_and_coverage", group="coverage")
"""The assets whose partitions hold a day's coverage."""

Outcome = Literal["new", "unchanged", "changed", "removed", "no_candles"]
"""What exporting would make of a slice: publish it, find it there, supersede the one of its key,
supersede it since nothing asks for it any more, or find no candle of the token."""


@dataclass(frozen=True, slots=True)
class PlannedExport:
    """One window of a token called on a day, and what the source has for it at one interval.

    Without a candle the window is the one asked for, before it is fitted to an interval. `alerts`
    is None for a slice that nothing asks for any more.
    """

    day: date
    chain: str
    token: str
    network: str | None
    alerts: int | None
    interval_s: int | None
    window_from: datetime
    window_to: datetime
    rows: int
    expected: int | None
    grade: str | None
    outcome: Outcome


def days_to_export(
    store: ArtifactStore, first: date | None = None, last: date | None = None
) -> list[date]:
    """The UTC days that have calls or slices, within the limits (both included), in order."""
    return _holding(store, _days_called(store, first, last), (ALERTS, SLICES))


def days_to_analyse(
    store: ArtifactStore, first: date | None = None, last: date | None = None
) -> list[date]:
    """The days of `days_to_export` whose slices were made; also those whose calls and slices are
    gone and whose coverage must follow them."""
    made = set(store.list_head_partitions(SLICES))
    days = [day for day in _days_called(store, first, last) if day.isoformat() in made]
    return _holding(store, days, (ALERTS, SLICES, *COVERAGE))


def _days_called(store: ArtifactStore, first: date | None, last: date | None) -> list[date]:
    """The days whose calls were looked for, within the limits."""
    return [
        day
        for text in store.list_head_partitions(ALERTS)
        if ((day := date.fromisoformat(text)) >= (first or day)) and day <= (last or day)
    ]


def _holding(store: ArtifactStore, days: Sequence[date], assets: Sequence[str]) -> list[date]:
    """Those of the days on which any of the assets has an artifact."""
    heads = [store.get_heads(asset, [day.isoformat() for day in days]) for asset in assets]
    return [day for day in days if any(head[day.isoformat()] for head in heads)]


def plan_export(
    store: ArtifactStore,
    source: CandleSource,
    days: Sequence[date],
    settings: SliceWindow = DEFAULT_WINDOW,
    grading: Grading = STANDARD_GRADING,
) -> Iterator[list[PlannedExport]]:
    """What exporting each day would come to, by token, interval and network; read day by day."""
    names = [day.isoformat() for day in days]
    alerts, slices = store.get_heads(ALERTS, names), store.get_heads(SLICES, names)
    active = {
        artifact.logical_key: artifact.artifact_id
        for artifact in store.list_artifacts(
            ArtifactFilter(artifact_type=OHLCV_SLICE.name, status="active")
        ).artifacts
    }
    for day, name in zip(days, names, strict=True):
        called = _called(store, alerts[name] or ())
        plan = plan_slices(called, settings)
        drafts = slices_of_day(day, called, source, settings, grading).drafts
        by_token: dict[tuple[str, str], PlannedSlice] = {
            (planned.chain, planned.mint): planned for planned in plan
        }
        exports = [_planned(day, draft, by_token, active) for draft in drafts]
        with_candles = {(export.chain, export.token) for export in exports}
        missing = [
            _without_candles(day, planned)
            for at, planned in by_token.items()
            if at not in with_candles
        ]
        kept = {draft.logical_key for draft in drafts}
        gone = [
            _removed(day, artifact)
            for artifact in slices[name] or ()
            if artifact.logical_key not in kept
        ]
        yield sorted(
            [*exports, *missing, *gone],
            key=lambda export: (
                export.chain,
                export.token,
                export.interval_s or 0,
                export.network or "",
            ),
        )


def _called(store: ArtifactStore, artifacts: Sequence[Artifact]) -> pl.DataFrame:
    """The calls of a day, as far as windows depend on them."""
    if not artifacts:
        return pl.DataFrame(ALERTS_TYPE.empty()).select(PLAN_COLUMNS)
    return store.read_verified([artifact.artifact_id for artifact in artifacts], PLAN_COLUMNS)


def _planned(
    day: date,
    draft: ArtifactDraft,
    plan: Mapping[tuple[str, str], PlannedSlice],
    active: Mapping[str, str],
) -> PlannedExport:
    table = canonical_table(draft.table, OHLCV_SLICE)
    identity = artifact_id_of(
        OHLCV_SLICE.name, OHLCV_SLICE.schema_version, draft.logical_key, content_hash(table)
    )
    active_id = active.get(draft.logical_key)
    outcome: Outcome = (
        "new" if active_id is None else "unchanged" if active_id == identity else "changed"
    )
    key = SliceKey.parse(draft.logical_key)
    token = key.token
    return PlannedExport(
        day=day,
        chain=token.chain,
        token=token.address,
        network=token.network,
        alerts=plan[token.chain, token.address].alerts,
        interval_s=key.interval_s,
        window_from=key.start,
        window_to=key.end,
        rows=draft.table.num_rows,
        expected=int(draft.tags["expected_candles"]),
        grade=draft.tags["grade"],
        outcome=outcome,
    )


def _without_candles(day: date, planned: PlannedSlice) -> PlannedExport:
    return PlannedExport(
        day=day,
        chain=planned.chain,
        token=planned.mint,
        network=planned.network,
        alerts=planned.alerts,
        interval_s=None,
        window_from=planned.start,
        window_to=planned.end,
        rows=0,
        expected=None,
        grade=None,
        outcome="no_candles",
    )


def _removed(day: date, artifact: Artifact) -> PlannedExport:
    key = SliceKey.parse(artifact.logical_key)
    return PlannedExport(
        day=day,
        chain=key.token.chain,
        token=key.token.address,
        network=key.token.network,
        alerts=None,
        interval_s=key.interval_s,
        window_from=key.start,
        window_to=key.end,
        rows=artifact.row_count,
        expected=int(artifact.tags["expected_candles"]),
        grade=artifact.tags["grade"],
        outcome="removed",
    )

"""Which days a new raw file changes, by what the lake holds of them.

Asked before anything runs, so that a file which brings nothing new costs no run.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Final

import polars as pl

from quantlab_assets.domain.artifacts.canonical_order import canonical_table
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.identity import artifact_id_of
from quantlab_assets.domain.artifacts.records import Artifact, ArtifactDraft, ArtifactFilter
from quantlab_assets.domain.artifacts.seed_types import (
    ALERTS_QUARANTINE,
    OHLCV_SLICE,
    TELEGRAM_MESSAGES,
)
from quantlab_assets.domain.assets import ALERTS, ASSETS
from quantlab_assets.domain.days import with_days_beside
from quantlab_assets.domain.slices.plan import SliceWindow
from quantlab_assets.domain.telegram.union import union_messages
from quantlab_assets.handlers.ingest.messages import union_of_day
from quantlab_assets.handlers.slices.export import DEFAULT_WINDOW, PLAN_COLUMNS, slices_of_day
from quantlab_assets.ports.alert_source import AlertSource, Export
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.candle_source import CandleSource

_EARLIEST_DAY: Final = date(2020, 1, 1)
"""A day that the graph always has."""


def day_of_undated(store: ArtifactStore) -> date:
    """The day to run for an export without any readable day, so that its records get into
    quarantine: the newest day the lake has messages of, or the graph's first."""
    artifacts = store.list_artifacts(ArtifactFilter(TELEGRAM_MESSAGES.name, "active")).artifacts
    keys = (
        TELEGRAM_MESSAGES.parse_key_of_any_version(artifact.logical_key) for artifact in artifacts
    )
    return max((date.fromisoformat(key["day"]) for key in keys), default=_EARLIEST_DAY)


def days_with_new_messages(
    store: ArtifactStore, asset: str, source: AlertSource
) -> tuple[date, ...]:
    """The days whose messages in the lake would change if `source` were ingested.

    That is a day with a message, or a version of a message, that the lake does not hold; a day
    that never ran; and a day from or to which a message moves because its time is now known
    better (from 23:59 to 00:01 of the next day, say). `asset` is the asset whose heads are the
    lake's messages. If no day changes, but an export has only unreadable records that are not in
    quarantine yet, the answer is `day_of_undated`.
    """
    exports = source.exports()
    own = {day for export in exports for day in export.days}
    days = sorted(with_days_beside(own))
    heads = store.get_heads(asset, [day.isoformat() for day in days])
    changed = {
        day
        for day in days
        if (day in own or heads[day.isoformat()])
        and _brings(store, heads[day.isoformat()], source, day)
    }
    if not changed and any(_is_undated(store, export) for export in exports):
        changed.add(day_of_undated(store))
    return tuple(sorted(changed))


def days_calling(store: ArtifactStore, tokens: Collection[tuple[str, str]]) -> tuple[date, ...]:
    """The days on which any of the tokens, each (chain family, address), was called."""
    alerts = _active_alerts(store)
    if alerts is None or not tokens:
        return ()
    wanted = pl.DataFrame(sorted(tokens), schema=["chain", "mint"], orient="row").lazy()
    days = (
        alerts.join(wanted, on=["chain", "mint"], how="semi")
        .select(pl.col("alert_ts_utc").dt.date().unique().sort())
        .collect()
    )
    return tuple(days.to_series().to_list())


def days_with_new_slices(
    store: ArtifactStore,
    asset: str,
    source: CandleSource,
    days: Sequence[date],
    window: SliceWindow = DEFAULT_WINDOW,
) -> tuple[date, ...]:
    """Those of the days whose slices would differ from what the heads of `asset` hold."""
    heads = store.get_heads(asset, [day.isoformat() for day in days])
    alerts = _active_alerts(store)
    if alerts is None:
        return ()
    changed = []
    for day in days:
        called = alerts.filter(pl.col("alert_ts_utc").dt.date() == day).select(PLAN_COLUMNS)
        drafts = slices_of_day(day, called.collect(), source, window).drafts
        if _ids(heads[day.isoformat()]) != {_id_of(draft) for draft in drafts}:
            changed.append(day)
    return tuple(changed)


def _is_undated(store: ArtifactStore, export: Export) -> bool:
    """Whether nothing of an export has a day, and what it has is not in quarantine yet."""
    if export.days or not export.unreadable:
        return False
    key = ALERTS_QUARANTINE.key(source=export.quarantine_source)
    known = store.find_by_logical_key(ALERTS_QUARANTINE.name, key)
    return all(artifact.status != "active" for artifact in known)


def _brings(
    store: ArtifactStore, head: tuple[Artifact, ...] | None, source: AlertSource, day: date
) -> bool:
    if head is None:
        return True
    kept = [
        pl.DataFrame(store.open(artifact.artifact_id, verify=True).to_table()) for artifact in head
    ]
    brought = [part.messages for part in source.read(day)]
    return not union_of_day(source, day, [*kept, *brought]).equals(union_messages(kept))


def _active_alerts(store: ArtifactStore) -> pl.LazyFrame | None:
    page = store.list_artifacts(ArtifactFilter(ASSETS.type_of(ALERTS), "active"))
    ids = sorted(artifact.artifact_id for artifact in page.artifacts)
    return pl.scan_pyarrow_dataset(store.open_many(ids)) if ids else None


def _ids(artifacts: Iterable[Artifact] | None) -> set[str] | None:
    return None if artifacts is None else {artifact.artifact_id for artifact in artifacts}


def _id_of(draft: ArtifactDraft) -> str:
    table = canonical_table(draft.table, OHLCV_SLICE)
    return artifact_id_of(
        OHLCV_SLICE.name, OHLCV_SLICE.schema_version, draft.logical_key, content_hash(table)
    )

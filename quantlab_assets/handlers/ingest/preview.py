"""What ingesting exports would come to, without writing anything."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from quantlab_assets.domain import assets
from quantlab_assets.domain.artifacts.canonical_order import canonical_table
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.identity import artifact_id_of
from quantlab_assets.domain.artifacts.records import ArtifactDraft, PartitionOutput
from quantlab_assets.domain.artifacts.seed_types import SEED_TYPES
from quantlab_assets.domain.days import with_day_after
from quantlab_assets.domain.telegram.frames import MESSAGES, table_of
from quantlab_assets.domain.telegram.rules import Rules
from quantlab_assets.domain.telegram.senders import with_sender_kinds
from quantlab_assets.handlers.ingest.alerts import alerts_of_days
from quantlab_assets.handlers.ingest.messages import by_bucket, union_of_day
from quantlab_assets.ports.alert_source import AlertSource
from quantlab_assets.ports.artifact_store import ArtifactStore

_TYPES = {artifact_type.name: artifact_type for artifact_type in SEED_TYPES}


@dataclass(frozen=True, slots=True)
class Preview:
    """Sums over the days, by the names that the partitions' counts have; and how many artifacts
    would be new, and how many are there already."""

    counts: Mapping[str, int]
    new_artifacts: int
    deduped_artifacts: int


def preview_ingestion(
    store: ArtifactStore | None, source: AlertSource, days: Sequence[date], rules: Rules
) -> Preview:
    """What the messages and alerts of `days` would be: the union of what `store` holds (None: no
    lake yet) and what `source` brings."""
    counts: Counter[str] = Counter()
    fresh = known = 0
    for day in sorted(days):
        read = {each: _messages(store, source, each, rules) for each in with_day_after([day])}
        messages = read[day]
        extracted = alerts_of_days([day], pl.concat(read[each] for each in sorted(read)), rules)[
            day
        ]
        outputs = (extracted.alerts, extracted.events, extracted.quarantine)
        drafts = [
            *_message_drafts(day, messages),
            *(d for output in outputs for d in output.drafts),
        ]
        new = sum(not _exists(store, draft) for draft in drafts)
        fresh, known = fresh + new, known + len(drafts) - new
        for output in outputs:
            counts.update(_numbers(output))
    return Preview(counts, fresh, known)


def _messages(
    store: ArtifactStore | None, source: AlertSource, day: date, rules: Rules
) -> pl.DataFrame:
    key = day.isoformat()
    frames = [part.messages for part in source.read(day)]
    if store is not None:
        heads = store.get_heads(assets.MESSAGES, [key])[key] or ()
        frames += [
            pl.DataFrame(store.open(head.artifact_id, verify=True).to_table()) for head in heads
        ]
    return with_sender_kinds(union_of_day(source, day, frames), rules).select(MESSAGES.names())


def _message_drafts(day: date, messages: pl.DataFrame) -> list[ArtifactDraft]:
    kind = _TYPES[assets.ASSETS.type_of(assets.MESSAGES)]
    return [
        ArtifactDraft(kind.name, key, table_of(rows, kind))
        for key, rows in sorted(by_bucket(day, messages).items())
    ]


def _exists(store: ArtifactStore | None, draft: ArtifactDraft) -> bool:
    if store is None:
        return False
    kind = _TYPES[draft.artifact_type]
    content = content_hash(canonical_table(draft.table, kind))
    wanted = artifact_id_of(kind.name, kind.schema_version, draft.logical_key, content)
    known = store.find_by_logical_key(kind.name, draft.logical_key)
    return any(artifact.artifact_id == wanted for artifact in known)


def _numbers(output: PartitionOutput) -> dict[str, int]:
    return {name: value for name, value in output.counts.items() if isinstance(value, int)}

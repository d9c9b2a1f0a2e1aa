"""Ingest the Telegram messages of one day: the union of what the lake and the exports have."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import polars as pl

from quantlab_assets.domain.artifacts.records import (
    AdditiveOutput,
    ArtifactDraft,
    ArtifactFilter,
    HeldArtifact,
    PartitionOutput,
    SourceFile,
)
from quantlab_assets.domain.artifacts.seed_types import ALERTS_QUARANTINE, TELEGRAM_MESSAGES
from quantlab_assets.domain.assets import ASSETS, MESSAGES
from quantlab_assets.domain.errors import Conflict
from quantlab_assets.domain.telegram.chats import chat_bucket
from quantlab_assets.domain.telegram.frames import table_of
from quantlab_assets.domain.telegram.rules import Rules
from quantlab_assets.domain.telegram.senders import with_sender_kinds
from quantlab_assets.domain.telegram.union import (
    HTML,
    by_surest_times,
    html_messages,
    union_messages,
)
from quantlab_assets.ports.alert_source import AlertSource, ExportedMessages
from quantlab_assets.ports.artifact_store import ArtifactStore

PSEUDONYM_KEY: Final = "pseudonym_key"
"""The publication parameter that tells under which key people's names were replaced, if any."""
READINGS: Final = "exports"
"""The publication parameter that tells, by export, the clock and the chat it was read by."""


def messages_of_day(
    source: AlertSource, day: date, rules: Rules, *, pseudonym_key: str | None = None
) -> AdditiveOutput:
    """The messages of one UTC day in sixteen artifacts at most, each with all messages of some
    chats; built again whenever the day has changed.

    `sender_kind` is what `rules` make of a sender now. `pseudonym_key` is the fingerprint of the
    key under which the source replaces people's names.

    Unreadable records are published beside them by export: of exports that brought messages of the
    day, and of those that have no readable day at all. Raises `ValidationFailed` for a file that is
    no export.
    """
    exported = source.read(day)
    loose = _unreadable(source, {part.source.sha256 for part in exported})

    def build(held_artifacts: Mapping[str, HeldArtifact]) -> PartitionOutput:
        return _union(day, source, exported, held_artifacts, loose, rules, params)

    params = {"rules_version": rules.version, "rules_hash": rules.digest}
    if pseudonym_key is not None:
        params[PSEUDONYM_KEY] = pseudonym_key
    return AdditiveOutput(build)


def union_of_day(source: AlertSource, day: date, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The union of the messages that the lake holds of a UTC day and those that exports bring
    (`frames`), each message at the surest time known."""
    if any((frame["ingest_source"] == HTML).any() for frame in frames):
        frames = by_surest_times(frames, source.times(html_messages(frames)), day)
    return union_messages(frames)


def check_pseudonym_key(store: ArtifactStore, fingerprint: str | None) -> None:
    """Refuse to mix names and pseudonyms, or pseudonyms of two keys: nobody could tell any more
    who is the same. Raises `Conflict`."""
    newest = store.list_artifacts(ArtifactFilter(ASSETS.type_of(MESSAGES)), limit=1).artifacts
    if not newest:
        return
    [publication] = store.latest_publications([newest[0].artifact_id]).values()
    stored = publication.provenance.params.get(PSEUDONYM_KEY)
    if stored == fingerprint:
        return
    if stored is None:
        raise Conflict(
            "this lake's messages are stored with people's names, and QUANTLAB_PSEUDONYM_KEY is "
            "set; unset it, or ingest into a new lake"
        )
    raise Conflict(
        f"this lake's messages are stored with pseudonyms under the key {stored}; set "
        "QUANTLAB_PSEUDONYM_KEY to the file of that key, or ingest into a new lake"
    )


def _union(
    day: date,
    source: AlertSource,
    exported: Sequence[ExportedMessages],
    held_artifacts: Mapping[str, HeldArtifact],
    loose: tuple[ArtifactDraft, ...],
    rules: Rules,
    params: Mapping[str, Any],
) -> PartitionOutput:
    frames = [pl.DataFrame(artifact.table) for artifact in held_artifacts.values()]
    frames += [part.messages for part in exported]
    union = with_sender_kinds(union_of_day(source, day, frames), rules)
    sources: dict[str, dict[str, SourceFile]] = {}
    readings: dict[str, dict[str, Any]] = {}
    for artifact, rows in zip(held_artifacts.values(), frames, strict=False):
        for key in _keys(day, rows):
            sources.setdefault(key, {}).update({s.sha256: s for s in artifact.sources})
    for part in exported:
        for key in _keys(day, part.messages):
            for file in part.files:
                sources.setdefault(key, {}).setdefault(file.sha256, file)
            if part.reading:
                readings.setdefault(key, {})[part.source.sha256] = part.reading
    buckets = by_bucket(day, union)
    drafts = tuple(
        ArtifactDraft(
            artifact_type=TELEGRAM_MESSAGES.name,
            logical_key=key,
            table=table_of(buckets[key], TELEGRAM_MESSAGES),
            sources=tuple(sources[key][sha256] for sha256 in sorted(sources[key])),
            params={**params, READINGS: readings[key]} if key in readings else params,
        )
        for key in sorted(buckets)
    )
    held_versions = sum(artifact.table.num_rows for artifact in held_artifacts.values())
    return PartitionOutput(
        drafts=drafts,
        loose=loose,
        counts={
            "chats": union["chat_id"].n_unique(),
            "messages": union.select(pl.struct("chat_id", "message_id").n_unique()).item(),
            "versions": union.height,
            "new_versions": union.height - held_versions,
            "exports": len(exported),
            "unreadable_records": sum(draft.table.num_rows for draft in loose),
        },
    )


def by_bucket(day: date, messages: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The messages of a day by the logical key of the artifact that has their chat."""
    chats = messages["chat_id"].unique().to_list()
    keys = pl.col("chat_id").replace_strict(
        chats, [_key(day, chat) for chat in chats], return_dtype=pl.String
    )
    parts = messages.with_columns(keys.alias("key")).partition_by(
        "key", as_dict=True, include_key=False
    )
    return {str(key): rows for (key,), rows in parts.items()}


def _keys(day: date, messages: pl.DataFrame) -> set[str]:
    return {_key(day, chat) for chat in messages["chat_id"].unique().to_list()}


def _key(day: date, chat_id: int) -> str:
    return TELEGRAM_MESSAGES.key(day=day.isoformat(), bucket=chat_bucket(chat_id))


def _unreadable(source: AlertSource, contributing: set[str]) -> tuple[ArtifactDraft, ...]:
    """One quarantine draft for each export with unreadable records that this day answers for."""
    return tuple(
        ArtifactDraft(
            artifact_type=ALERTS_QUARANTINE.name,
            logical_key=ALERTS_QUARANTINE.key(source=export.quarantine_source),
            table=table_of(source.unreadable(export.source), ALERTS_QUARANTINE),
            sources=export.files,
            params={READINGS: {export.source.sha256: export.reading}} if export.reading else {},
        )
        for export in source.exports()
        if export.unreadable and (export.source.sha256 in contributing or not export.days)
    )

"""What is in quarantine, and what becomes of it when it is tried again by today's rules."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

import polars as pl

from quantlab_assets.domain import assets
from quantlab_assets.domain.artifacts.records import (
    Artifact,
    ArtifactFilter,
    Provenance,
    PublishRequest,
    PublishResult,
)
from quantlab_assets.domain.artifacts.seed_types import ALERTS, ALERTS_QUARANTINE, TELEGRAM_MESSAGES
from quantlab_assets.domain.errors import NotFound, ValidationFailed
from quantlab_assets.domain.telegram.chats import chat_bucket
from quantlab_assets.domain.telegram.frames import frame_schema, table_of
from quantlab_assets.handlers.ingest.messages import READINGS
from quantlab_assets.ports.alert_source import Export
from quantlab_assets.ports.artifact_store import ArtifactStore

ROW_MARK: Final = "#"
"""Between the export and the row in the id of an unreadable record."""

QUARANTINED: Final = pl.Schema(
    [
        ("id", pl.String),
        ("day", pl.String),
        ("source", pl.String),
        *frame_schema(ALERTS_QUARANTINE).items(),
    ]
)
"""`id` is `<chat>:<message>`, or `<source>#<row>` of a record that is no message; one of `day` and
`source` (16 hex digits of the export's hash) is set. A message has a row for each of its faults."""

_MESSAGE: Final = ["chat_id", "message_id"]


def quarantined(
    store: ArtifactStore,
    *,
    code: str | None = None,
    day: date | None = None,
    source: str | None = None,
) -> pl.DataFrame:
    """The rows in quarantine (columns `QUARANTINED`), by day and source, then message or row."""
    artifacts = store.list_artifacts(ArtifactFilter(ALERTS_QUARANTINE.name, "active")).artifacts
    wanted: list[tuple[Artifact, dict[str, str]]] = []
    for artifact in sorted(artifacts, key=lambda artifact: artifact.logical_key):
        fields = ALERTS_QUARANTINE.parse_key(artifact.logical_key)
        if day is not None and fields.get("day") != day.isoformat():
            continue
        if source is not None and not fields.get("source", "").startswith(source):
            continue
        wanted.append((artifact, fields))
    frames = [QUARANTINED.to_frame(), *(_rows(store, *partition) for partition in wanted)]
    rows = pl.concat(frames)
    return rows if code is None else rows.filter(pl.col("error_code") == code)


def _rows(store: ArtifactStore, artifact: Artifact, fields: Mapping[str, str]) -> pl.DataFrame:
    rows = pl.DataFrame(store.open(artifact.artifact_id, verify=True).to_table())
    source = fields.get("source")
    number = pl.int_range(1, pl.len() + 1)
    return rows.with_columns(
        pl.format("{}:{}", "chat_id", "message_id").alias("id")
        if source is None
        else pl.format("{}{}{}", pl.lit(source), pl.lit(ROW_MARK), number).alias("id"),
        pl.lit(fields.get("day"), pl.String).alias("day"),
        pl.lit(source, pl.String).alias("source"),
    ).select(QUARANTINED.names())


def with_ids(rows: pl.DataFrame, ids: Sequence[str]) -> pl.DataFrame:
    """The rows of these ids, all of them if there are none. Raises `NotFound` naming an id that is
    not in quarantine."""
    if not ids:
        return rows
    missing = sorted(set(ids) - set(rows["id"].to_list()))
    if missing:
        raise NotFound(f"not in quarantine: {missing[0]}; see quantlab quarantine list --rows")
    return rows.filter(pl.col("id").is_in(list(ids)))


def versions_of(store: ArtifactStore, row_id: str) -> pl.DataFrame:
    """Every version of a message that the lake holds; columns of `telegram_messages`.

    Raises `ValidationFailed` for an id that is no `<chat>:<message>`.
    """
    chat, _, message = row_id.partition(":")
    try:
        chat_id, message_id = int(chat), int(message)
    except ValueError:
        raise ValidationFailed(f"{row_id!r} is no message id; expected <chat>:<message>") from None
    active = store.list_artifacts(ArtifactFilter(TELEGRAM_MESSAGES.name, "active")).artifacts
    fields = {"bucket": chat_bucket(chat_id), "chat": chat}
    of_chat = sorted(
        artifact.artifact_id
        for artifact in active
        for key in [TELEGRAM_MESSAGES.parse_key_of_any_version(artifact.logical_key)]
        if all(key.get(name, value) == value for name, value in fields.items())
    )
    if not of_chat:
        return frame_schema(TELEGRAM_MESSAGES).to_frame()
    return (
        pl.scan_pyarrow_dataset(store.open_many(of_chat))
        .filter((pl.col("chat_id") == chat_id) & (pl.col("message_id") == message_id))
        .sort("edited_ts_utc", "text", nulls_last=False)
        .collect()
    )


def readings_of(store: ArtifactStore, sources: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """How the exports that unreadable records came from were read (their clock and their chat), by
    `source`; only of those that do not say it themselves."""
    readings: dict[str, Mapping[str, Any]] = {}
    for source in sources:
        key = ALERTS_QUARANTINE.key(source=source)
        known = store.find_by_logical_key(ALERTS_QUARANTINE.name, key)
        for params in _params_of(store, known):
            for reading in params.get(READINGS, {}).values():
                readings[source] = reading
    return readings


def _params_of(store: ArtifactStore, artifacts: Sequence[Artifact]) -> Sequence[Mapping[str, Any]]:
    active = [artifact.artifact_id for artifact in artifacts if artifact.status == "active"]
    published = store.latest_publications(active).values()
    return [publication.provenance.params for publication in published]


def became(store: ArtifactStore, before: pl.DataFrame) -> pl.DataFrame:
    """What became of rows with a message (columns `QUARANTINED`) after their days were extracted
    again: adds `outcome` (`calling`, `quarantined`, `ignored`) and `detail`."""
    days = sorted(set(before["day"].drop_nulls().to_list()))
    ids = [
        artifact.artifact_id
        for artifacts in store.get_heads(assets.ALERTS, days).values()
        for artifact in artifacts or ()
    ]
    calls = (
        pl.DataFrame(store.open_many(sorted(ids), verify=True).to_table())
        if ids
        else frame_schema(ALERTS).to_frame()
    )
    calling = (
        calls.select(
            pl.col("alert_chat_id").alias("chat_id"),
            pl.col("alert_message_id").alias("message_id"),
            pl.col("mint"),
        )
        .group_by(_MESSAGE)
        .agg(pl.col("mint").sort().str.join(", ").alias("calls"))
    )
    rows = [quarantined(store, day=date.fromisoformat(day)) for day in days]
    still = (
        pl.concat([QUARANTINED.to_frame(), *rows])
        .group_by(_MESSAGE)
        .agg(pl.col("error_code").unique().sort().str.join(", ").alias("codes"))
    )
    return (
        before.join(calling, on=_MESSAGE, how="left")
        .join(still, on=_MESSAGE, how="left")
        .with_columns(
            pl.when(pl.col("calls").is_not_null())
            .then(pl.lit("calling"))
            .when(pl.col("codes").is_not_null())
            .then(pl.lit("quarantined"))
            .otherwise(pl.lit("ignored"))
            .alias("outcome"),
            pl.coalesce("calls", "codes").alias("detail"),
        )
        .select(*QUARANTINED.names(), "outcome", "detail")
    )


def leave_quarantine(
    store: ArtifactStore, source: str, ids: Sequence[str], provenance: Provenance
) -> PublishResult | None:
    """Publish the unreadable records of an export without those of `ids`, which are messages now.

    None if the export has no such records any more. The raw file stays the source.
    """
    key = ALERTS_QUARANTINE.key(source=source)
    known = store.find_by_logical_key(ALERTS_QUARANTINE.name, key)
    active = [artifact for artifact in known if artifact.status == "active"]
    if not active:
        return None
    [artifact] = active
    rows = quarantined(store, source=source)
    left = rows.filter(~pl.col("id").is_in(list(ids)))
    if left.height == rows.height:
        return None
    [before] = _params_of(store, [artifact])
    kept = {name: before[name] for name in (READINGS,) if name in before}
    params = {**provenance.params, **kept}
    return store.publish_artifact(
        PublishRequest(
            artifact_type=ALERTS_QUARANTINE.name,
            logical_key=key,
            table=table_of(left, ALERTS_QUARANTINE),
            provenance=replace(provenance, params=params),
            sources=tuple(store.get_sources([artifact.artifact_id])[artifact.artifact_id]),
            expected_active=artifact.artifact_id,
        )
    )


def leave_when_read(
    store: ArtifactStore, exports: Iterable[Export], provenance: Provenance
) -> None:
    """Take out of quarantine what was unreadable in exports that are read whole by now, as with a
    time zone that was not known before."""
    for export in exports:
        if not export.unreadable:
            source = export.quarantine_source
            ids = quarantined(store, source=source)["id"].to_list()
            if ids:
                leave_quarantine(store, source, ids, provenance)

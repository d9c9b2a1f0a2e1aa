"""An `AlertSource` over messages held in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.artifacts.seed_types import ALERTS_QUARANTINE
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.domain.telegram.frames import MESSAGES, frame_schema
from quantlab_assets.ports.alert_source import Export, ExportedMessages, RefusedExport

NOTHING_UNREADABLE = frame_schema(ALERTS_QUARANTINE).to_frame()


@dataclass(frozen=True, slots=True)
class HeldExport:
    """An export: its messages (columns of `telegram_messages`) and its unreadable records."""

    source: SourceFile
    messages: pl.DataFrame
    unreadable: pl.DataFrame = field(default_factory=NOTHING_UNREADABLE.clone)


class InMemoryAlertSource:
    """The exports it was given; one with a hash it has already counts once."""

    def __init__(self, exports: Sequence[HeldExport]) -> None:
        by_hash = {held.source.sha256: held for held in reversed(exports)}
        self._exports = [by_hash[sha256] for sha256 in sorted(by_hash)]

    def exports(self) -> Sequence[Export]:
        return [_described(held) for held in self._exports]

    def refused(self) -> Sequence[RefusedExport]:
        return []

    def read(self, day: date) -> Sequence[ExportedMessages]:
        found = [
            ExportedMessages(
                held.source,
                _dated(held).filter(pl.col("ts_utc").dt.date() == day).sort(pl.all()),
            )
            for held in self._exports
        ]
        return [part for part in found if part.messages.height]

    def times(self, messages: pl.DataFrame) -> pl.DataFrame:
        ids = ["chat_id", "message_id"]
        nothing = MESSAGES.to_frame().select(*ids, "ts_utc")
        posted = [_dated(held).select(*ids, "ts_utc") for held in self._exports]
        return (
            pl.concat([nothing, *posted])
            .join(messages.select(ids).unique(), on=ids, how="semi")
            .group_by(ids)
            .agg(pl.col("ts_utc").max())
            .sort(ids)
        )

    def unreadable(self, source: SourceFile) -> pl.DataFrame:
        for held in self._exports:
            if held.source.sha256 == source.sha256:
                return held.unreadable
        raise NotFound(f"{source.name}: no such export")


def _described(held: HeldExport) -> Export:
    rows = held.messages
    days = rows["ts_utc"].dt.date().unique().sort().to_list()
    newest = rows["ts_utc"].dt.replace_time_zone("UTC").max() if rows.height else None
    return Export(
        source=held.source,
        days=tuple(days),
        newest_message_utc=newest,  # type: ignore[arg-type]
        records=rows.height + held.unreadable.height,
        unreadable=held.unreadable.height,
    )


def _dated(held: HeldExport) -> pl.DataFrame:
    """The messages, seen at the newest message time of their export."""
    return held.messages.with_columns(pl.col("ts_utc").max().alias("seen_at_utc"))

"""Where Telegram messages come from: exports in an inbox, read day by day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import polars as pl

from quantlab_assets.domain.artifacts import SourceFile


@dataclass(frozen=True, slots=True)
class Export:
    """One raw export: its file, the UTC days it has messages of, and its newest message time."""

    source: SourceFile
    days: tuple[date, ...]
    newest_message_utc: datetime | None
    records: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class ExportedMessages:
    """The messages of one UTC day in one export; columns of the type `telegram_messages`."""

    source: SourceFile
    messages: pl.DataFrame


@dataclass(frozen=True, slots=True)
class RefusedExport:
    """A file that is no export, by its path below the inbox, and why."""

    path: str
    reason: str


class AlertSource(Protocol):
    """A set of exports. Reading is repeatable; nothing is consumed."""

    def exports(self) -> Sequence[Export]:
        """What there is to read, ordered by hash. Raises `ValidationFailed` naming a file that is
        no export, unless the source was told to leave such files out."""

    def refused(self) -> Sequence[RefusedExport]:
        """The files that are no exports, by path."""

    def read(self, day: date) -> Sequence[ExportedMessages]:
        """The messages of one UTC day from every export that has any, ordered by export hash."""

    def unreadable(self, source: SourceFile) -> pl.DataFrame:
        """Records of one export that could not be read as messages; columns of the type
        `alerts_quarantine`."""

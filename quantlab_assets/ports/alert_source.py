"""Where Telegram messages come from: exports in an inbox, read day by day."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol

import polars as pl

from quantlab_assets.domain.artifacts.identity import canonical_json
from quantlab_assets.domain.artifacts.records import SourceFile


@dataclass(frozen=True, slots=True)
class Export:
    """One raw export: its file, the UTC days it has messages of, and its newest message time.

    An export of several files (the pages of an HTML export) goes by the hash of their hashes in
    `source`, and has the files themselves in `pages`. `reading` says how it was read where it does
    not say so itself: its clock and its chat, as plain values.
    """

    source: SourceFile
    days: tuple[date, ...]
    newest_message_utc: datetime | None
    records: int
    unreadable: int
    pages: tuple[SourceFile, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """The raw files that lineage ends at."""
        return self.pages or (self.source,)

    @property
    def quarantine_source(self) -> str:
        """What its unreadable records go by in quarantine (`source`)."""
        return self.source.sha256.removeprefix("sha256:")[:16]

    @property
    def content(self) -> str:
        """What it holds, by name: the bytes, and how they are read."""
        if not self.reading:
            return self.source.sha256
        reading_hash = hashlib.sha256(canonical_json(dict(self.reading))).hexdigest()
        return f"{self.source.sha256} {reading_hash[:16]}"

    @property
    def surety(self) -> int:
        """How sure its times are, from 0, the surest, to 5. Of two exports of a message the one
        with the lower number says when it was posted.

        0: JSON, which has Unix seconds. HTML shows a clock: 1 if its zone was given, 2 if its
        labels were asked for, 3 if bots' buttons bear the clock out, 4 if they do for half the year
        only, 5 if there are labels and nothing else.
        """
        if not self.reading:
            return 0
        clock = self.reading["clock"]
        if clock["basis"] == "given":
            return 1 if clock["zone"] else 2
        if clock["basis"] == "unconfirmed":
            return 5
        return 4 if clock["undecided_messages"] else 3


@dataclass(frozen=True, slots=True)
class ExportedMessages:
    """The messages of one UTC day in one export; columns of the type `telegram_messages`. `pages`
    and `reading` are the export's."""

    source: SourceFile
    messages: pl.DataFrame
    pages: tuple[SourceFile, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """The raw files that lineage ends at."""
        return self.pages or (self.source,)


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

    def times(self, messages: pl.DataFrame) -> pl.DataFrame:
        """When messages (`chat_id`, `message_id`) were posted, by the surest clock of all exports
        that have them: JSON's, else one that was given, else one that evidence speaks for, else
        labels; of equals the latest time, so that nothing is known too early. Columns `chat_id`,
        `message_id`, `ts_utc`, a row for each message that an export has."""

    def unreadable(self, source: SourceFile) -> pl.DataFrame:
        """Records of one export that could not be read as messages; columns of the type
        `alerts_quarantine`."""

"""A folder of Telegram exports, read day by day.

Each export is parsed once into a Parquet spool named by its hash and the parser's version; the
spool is disposable and is rebuilt when it is missing.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq

from quantlab_assets.adapters.telegram.json_export import (
    PARSER_VERSION,
    STAGED,
    UNREADABLE,
    layout_of,
    read_export,
)
from quantlab_assets.adapters.telegram.structure import FileShape, measure
from quantlab_assets.domain.artifacts import SourceFile
from quantlab_assets.domain.errors import NotFound, StoreUnavailable, ValidationFailed
from quantlab_assets.domain.telegram.frames import MESSAGES
from quantlab_assets.domain.telegram.rules import load_rules
from quantlab_assets.ports.alert_source import Export, ExportedMessages

SOURCE_KIND: Final = "telegram_json"
MAX_RECORD_BYTES: Final = 32 << 20
"""The largest record that is given to the parser, in bytes."""

_MESSAGES, _UNREADABLE, _INDEX = "messages.parquet", "unreadable.parquet", "index.json"
_VERSION_ORDER: Final = ["chat_id", "message_id", "edited_ts_utc", "text", "entities_json"]


@dataclass(frozen=True, slots=True)
class _Spooled:
    """An export and the folder its spool is in."""

    export: Export
    folder: Path


class TelegramInbox:
    """The JSON exports in a folder and its subfolders, as an `AlertSource`.

    `spool` is a folder for disposable files. A file is read again when its size or time changes.
    """

    def __init__(
        self, folder: Path, spool: Path, *, max_record_bytes: int = MAX_RECORD_BYTES
    ) -> None:
        self._folder = folder
        self._spool = spool
        self._max_record_bytes = max_record_bytes
        self._known: dict[tuple[Path, int, int], _Spooled] = {}

    def exports(self) -> Sequence[Export]:
        """What the folder holds, by hash; a copy of a file counts once. See `AlertSource`."""
        return [spooled.export for spooled in self._spooled()]

    def read(self, day: date) -> Sequence[ExportedMessages]:
        """The messages of one UTC day from every export that has any. See `AlertSource`."""
        return [
            ExportedMessages(spooled.export.source, _messages_of(spooled, day))
            for spooled in self._spooled()
            if day in spooled.export.days
        ]

    def unreadable(self, source: SourceFile) -> pl.DataFrame:
        """Records of an export that are no messages. Raises `NotFound`. See `AlertSource`."""
        for spooled in self._spooled():
            if spooled.export.source.sha256 == source.sha256:
                return pl.read_parquet(spooled.folder / _UNREADABLE).select(UNREADABLE.names())
        raise NotFound(f"{source.name} ({source.sha256}) is no longer in {self._folder}")

    def _spooled(self) -> list[_Spooled]:
        by_hash: dict[str, _Spooled] = {}
        for path in self._files():
            key = (path, *_state(path))
            if key not in self._known or not (self._known[key].folder / _INDEX).exists():
                self._known[key] = self._parsed(path)
            by_hash.setdefault(self._known[key].export.source.sha256, self._known[key])
        return [by_hash[sha256] for sha256 in sorted(by_hash)]

    def _files(self) -> list[Path]:
        found = (path for path in self._folder.rglob("*.json") if path.is_file())
        return sorted(path for path in found if not path.name.startswith("."))

    def _parsed(self, path: Path) -> _Spooled:
        state = _state(path)
        shape = measure(path)
        digest = shape.sha256.removeprefix("sha256:")
        folder = self._spool / f"{digest}-{PARSER_VERSION}.{load_rules().version}"
        if not (folder / _INDEX).exists():
            self._parse_into(folder, path, shape)
            if _state(path) != state:
                shutil.rmtree(folder, ignore_errors=True)
                raise StoreUnavailable(f"{path.name}: changed while it was read; try again")
        source = SourceFile(shape.sha256, path.name, shape.size, SOURCE_KIND)
        return _Spooled(_export(source, json.loads((folder / _INDEX).read_text("utf-8"))), folder)

    def _parse_into(self, folder: Path, path: Path, shape: FileShape) -> None:
        """Parse beside `folder`, then rename: a spool that exists is whole."""
        layout = layout_of(path)
        account = layout[0] == "account"
        longest = shape.longest_account_record if account else shape.longest_chat_record
        if longest > self._max_record_bytes:
            raise ValidationFailed(
                f"{path.name}: a record of {longest} bytes, over the limit of "
                f"{self._max_record_bytes}; no message is that large"
            )
        try:
            self._spool.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=".parsing-", dir=self._spool))
        except OSError as error:
            raise StoreUnavailable(f"{self._spool}: cannot write the spool: {error}") from error
        try:
            index = _write(work, read_export(path, layout))
            (work / _INDEX).write_text(json.dumps(index, sort_keys=True), "utf-8")
            _put_in_place(work, folder)
        except OSError as error:
            raise StoreUnavailable(f"{self._spool}: cannot write the spool: {error}") from error
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _state(path: Path) -> tuple[int, int]:
    """What tells that a file has changed: its size and the time it was written."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _write(folder: Path, batches: Iterator[Any]) -> dict[str, Any]:
    """Write the batches to Parquet and return the index."""
    days: set[date] = set()
    newest: datetime | None = None
    readable = unreadable = 0
    schemas = [pl.DataFrame(schema=schema).to_arrow().schema for schema in (STAGED, UNREADABLE)]
    with (
        pq.ParquetWriter(folder / _MESSAGES, schemas[0], compression="zstd") as messages,
        pq.ParquetWriter(folder / _UNREADABLE, schemas[1], compression="zstd") as refused,
    ):
        for batch in batches:
            if batch.messages.height:
                messages.write_table(batch.messages.to_arrow().cast(schemas[0]))
                days.update(batch.messages["ts_utc"].dt.date().unique().to_list())
                latest = batch.messages["ts_utc"].max()
                newest = latest if newest is None else max(newest, latest)
            if batch.unreadable.height:
                refused.write_table(batch.unreadable.to_arrow().cast(schemas[1]))
            readable += batch.messages.height
            unreadable += batch.unreadable.height
    return {
        "days": [day.isoformat() for day in sorted(days)],
        "newest_message_utc": None if newest is None else newest.isoformat(),
        "readable": readable,
        "unreadable": unreadable,
    }


def _put_in_place(work: Path, folder: Path) -> None:
    """Rename the finished spool; another process that was faster wrote the same."""
    try:
        work.rename(folder)
    except OSError:
        if not (folder / _INDEX).exists():
            shutil.rmtree(folder, ignore_errors=True)
            work.rename(folder)


def _export(source: SourceFile, index: dict[str, Any]) -> Export:
    newest = index["newest_message_utc"]
    return Export(
        source=source,
        days=tuple(date.fromisoformat(day) for day in index["days"]),
        newest_message_utc=None if newest is None else datetime.fromisoformat(newest),
        records=index["readable"] + index["unreadable"],
        unreadable=index["unreadable"],
    )


def _messages_of(spooled: _Spooled, day: date) -> pl.DataFrame:
    start = datetime.combine(day, time(), UTC)
    in_day = pl.col("ts_utc").is_between(start, start + timedelta(days=1), closed="left")
    rows = pl.scan_parquet(spooled.folder / _MESSAGES).filter(in_day).collect()
    seen = pl.lit(spooled.export.newest_message_utc, MESSAGES["seen_at_utc"]).alias("seen_at_utc")
    return rows.with_columns(seen).select(MESSAGES.names()).sort(_VERSION_ORDER)

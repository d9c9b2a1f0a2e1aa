"""A folder of Telegram exports, JSON files and pages of HTML, read day by day.

Each export is parsed once into a Parquet spool named by its hash and by what decides how it is
parsed; the spool is disposable and is rebuilt when it is missing.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq

from quantlab_assets.adapters.telegram.container import check_container, in_utf8
from quantlab_assets.adapters.telegram.export_folder import (
    ExportFiles,
    Form,
    ReadingOptions,
    export_files,
    exports_among,
    group_of,
    read_options,
)
from quantlab_assets.adapters.telegram.html import export as html_export
from quantlab_assets.adapters.telegram.json import export as json_export
from quantlab_assets.adapters.telegram.json import rows as json_rows
from quantlab_assets.adapters.telegram.json.export import MAX_RECORD_BYTES
from quantlab_assets.adapters.telegram.json.rows import STAGED, UNREADABLE
from quantlab_assets.adapters.telegram.spool import ROWS_AHEAD, DaysAhead
from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.errors import NotFound, StoreUnavailable, ValidationFailed
from quantlab_assets.domain.telegram.frames import MESSAGES
from quantlab_assets.domain.telegram.pseudonyms import Pseudonyms
from quantlab_assets.domain.telegram.rules import Rules, load_rules
from quantlab_assets.ports.alert_source import Export, ExportedMessages, RefusedExport

SOURCE_KINDS: Final = {"json": json_rows.INGEST_SOURCE, "html": html_export.INGEST_SOURCE}

_ROW_GROUP: Final = 2_000
_PLAIN: Final = "utf-8"
"""Where files of another encoding stand in UTF-8 while they are parsed."""
_MESSAGES, _UNREADABLE, _INDEX = "messages.parquet", "unreadable.parquet", "index.json"
_VERSION_ORDER: Final = ["chat_id", "message_id", "edited_ts_utc", "text", "entities_json"]


_Key = tuple[ExportFiles, tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True)
class _Spooled:
    """An export and the folder its spool is in."""

    export: Export
    folder: Path
    messages: DaysAhead
    reactions: bool
    """Whether any message of the export has reactions; one without tells nothing else."""


class _Changing(StoreUnavailable):
    """A file was written to while it was read."""


class TelegramInbox:
    """The exports in a folder and its subfolders, as an `AlertSource`.

    `spool` is a folder for disposable files. A file is read again when its size or time changes.
    With `skip_refused`, files that are no exports (or are being written) are left out, and
    `refused` says why; without, the first of them raises. `only` names the files that count, by
    their path below the folder; of one page, all that stand with it count. `exact` is the one
    export that counts, whatever its files are called. `options` says how to read what does not say
    so itself, unless a file beside an export does; `override` wins over both. With `pseudonyms`
    nothing that is read, nor the spool, names a person; each key has a spool of its own.
    """

    def __init__(
        self,
        folder: Path,
        spool: Path,
        *,
        rules: Rules | None = None,
        pseudonyms: Pseudonyms | None = None,
        max_record_bytes: int = MAX_RECORD_BYTES,
        skip_refused: bool = False,
        only: Collection[str] | None = None,
        exact: ExportFiles | None = None,
        options: ReadingOptions | None = None,
        override: ReadingOptions | None = None,
    ) -> None:
        self._folder = folder
        self._spool = spool
        self._rules = rules or load_rules()
        self._pseudonyms = pseudonyms
        self._max_record_bytes = max_record_bytes
        self._skip_refused = skip_refused
        self._only = only
        self._exact = exact
        self._options = options or ReadingOptions()
        self._override = override
        self._known: dict[_Key, _Spooled | ValidationFailed] = {}

    def exports(self) -> Sequence[Export]:
        """What the folder holds, by hash; a copy of a file counts once. See `AlertSource`."""
        return [spooled.export for spooled in self._spooled()]

    def read(self, day: date) -> Sequence[ExportedMessages]:
        """The messages of one UTC day from every export that has any. See `AlertSource`."""
        spools = self._spooled()
        return [
            ExportedMessages(
                spooled.export.source,
                _messages_of(spooled, day, ROWS_AHEAD // len(spools)),
                spooled.export.pages,
                spooled.export.reading,
            )
            for spooled in spools
            if day in spooled.export.days
        ]

    def times(self, messages: pl.DataFrame) -> pl.DataFrame:
        """When messages were posted, by the surest clock of all exports. See `AlertSource`."""
        ids = ["chat_id", "message_id"]
        wanted = messages.lazy().select(ids).unique()
        nothing = MESSAGES.to_frame().select(*ids, "ts_utc")
        found = [
            pl.scan_parquet(spooled.folder / _MESSAGES)
            .select(*ids, "ts_utc")
            .join(wanted, on=ids, how="semi")
            .with_columns(pl.lit(spooled.export.surety, pl.Int64).alias("surety"))
            for spooled in self._spooled()
        ]
        return (
            pl.concat([nothing.lazy().with_columns(pl.lit(0, pl.Int64).alias("surety")), *found])
            .sort("surety", "ts_utc", descending=[False, True])
            .group_by(ids, maintain_order=True)
            .agg(pl.col("ts_utc").first())
            .sort(ids)
            .collect()
        )

    def unreadable(self, source: SourceFile) -> pl.DataFrame:
        """Records of an export that are no messages. Raises `NotFound`. See `AlertSource`."""
        for spooled in self._spooled():
            if spooled.export.source.sha256 == source.sha256:
                return pl.read_parquet(spooled.folder / _UNREADABLE).select(UNREADABLE.names())
        raise NotFound(f"{source.name} ({source.sha256}) is no longer in {self._folder}")

    def refused(self) -> Sequence[RefusedExport]:
        """Files that are no exports, by path, each with the reason. See `AlertSource`.

        One that is being written, or is gone by now, is not among them.
        """
        found = []
        for files in self._exports():
            try:
                self._one(files)
            except (_Changing, FileNotFoundError):
                continue
            except ValidationFailed as error:
                found.append(RefusedExport(files.name, str(error)))
        return found

    def _spooled(self) -> list[_Spooled]:
        by_hash: dict[str, _Spooled] = {}
        for files in self._exports():
            try:
                one = self._one(files)
            except (ValidationFailed, _Changing, FileNotFoundError):
                if self._skip_refused:
                    continue
                raise
            by_hash.setdefault(one.export.source.sha256, one)
        return [by_hash[sha256] for sha256 in sorted(by_hash)]

    def _one(self, files: ExportFiles) -> _Spooled:
        """The export as it is known, or parsed now; a refusal is remembered too."""
        key = (files, self._states(files))
        known = self._known.get(key)
        if known is None or (isinstance(known, _Spooled) and not (known.folder / _INDEX).exists()):
            try:
                known = self._parsed(files)
            except ValidationFailed as refusal:
                known = refusal
            self._known[key] = known
        if isinstance(known, ValidationFailed):
            raise ValidationFailed(str(known))
        return known

    def _exports(self) -> list[ExportFiles]:
        if self._exact is not None:
            there = all((self._folder / path).is_file() for path in self._exact.paths)
            return [self._exact] if there else []
        found = exports_among(file.path for file in export_files(self._folder))
        if self._only is None:
            return found
        groups = {group_of(name) for name in self._only}
        return [each for each in found if each.options in groups]

    def _states(self, files: ExportFiles) -> tuple[tuple[int, int], ...]:
        states = [_state(self._folder / path) for path in files.paths]
        options = self._folder / files.options
        return (*states, *([_state(options)] if options.exists() else []))

    def _parsed(self, files: ExportFiles) -> _Spooled:
        states = self._states(files)
        paths = [self._folder / path for path in files.paths]
        options = self._override or read_options(self._folder / files.options) or self._options
        pages = tuple(source_file(path, files.form) for path in paths)
        source = pages[0] if len(pages) == 1 else export_of_pages(pages, paths[0].parent.name)
        digest = source.sha256.removeprefix("sha256:")
        folder = self._spool / f"{digest}-{self._reading(files, options)}"
        if not (folder / _INDEX).exists():
            self._parse_into(folder, files, options)
        if self._states(files) != states:
            # What was hashed may not be what was parsed.
            shutil.rmtree(folder, ignore_errors=True)
            raise _Changing(f"{files.name}: changed while it was read; try again")
        index = json.loads((folder / _INDEX).read_text("utf-8"))
        export = _export(source, pages if len(pages) > 1 else (), index)
        messages = DaysAhead(folder / _MESSAGES, export.days, export.records - export.unreadable)
        return _Spooled(export, folder, messages, index["reactions"])

    def _reading(self, files: ExportFiles, options: ReadingOptions) -> str:
        """What decides, besides the file, what is read of it."""
        key = "named" if self._pseudonyms is None else self._pseudonyms.fingerprint
        rules = self._rules.digest.removeprefix("sha256:")[:8]
        version = {"json": json_export.PARSER_VERSION, "html": html_export.PARSER_VERSION}
        told = hashlib.sha256(options.toml().encode()).hexdigest()[:8]
        return f"{version[files.form]}-{self._max_record_bytes}-{rules}-{key}-{told}"

    def _parse_into(self, folder: Path, files: ExportFiles, options: ReadingOptions) -> None:
        """Parse beside `folder`, then rename: a spool that exists is whole."""
        try:
            self._spool.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=".parsing-", dir=self._spool))
        except OSError as error:
            raise StoreUnavailable(f"{self._spool}: cannot write the spool: {error}") from error
        try:
            plain = work / _PLAIN
            paths = [
                in_utf8(self._folder / path, plain / str(number))
                for number, path in enumerate(files.paths)
            ]
            reading: dict[str, Any] = {}
            if files.form == "json":
                check_container(paths[0])
                batches = json_export.read_export(
                    paths[0],
                    self._rules,
                    self._pseudonyms,
                    max_record_bytes=self._max_record_bytes,
                    timezone=options.timezone,
                )
            else:
                export = html_export.HtmlExport(
                    paths,
                    work,
                    options=options,
                    rules=self._rules,
                    pseudonyms=self._pseudonyms,
                    max_record_bytes=self._max_record_bytes,
                )
                reading = export.reading()
                batches = export.batches()
            index = _write(work, batches) | {"reading": reading}
            (work / html_export.RAW).unlink(missing_ok=True)
            shutil.rmtree(plain, ignore_errors=True)
            (work / _INDEX).write_text(json.dumps(index, sort_keys=True), "utf-8")
            _put_in_place(work, folder)
        except OSError as error:
            raise StoreUnavailable(f"{self._spool}: cannot write the spool: {error}") from error
        finally:
            shutil.rmtree(work, ignore_errors=True)


def export_of_pages(pages: Sequence[SourceFile], name: str) -> SourceFile:
    """What an export of several pages goes by: the hash of their hashes, in their order."""
    listed = "\n".join(page.sha256 for page in pages)
    digest = hashlib.sha256(listed.encode()).hexdigest()
    size = sum(page.size for page in pages)
    return SourceFile(f"sha256:{digest}", name, size, pages[0].kind)


def source_file(path: Path, form: Form) -> SourceFile:
    """A raw file, by its hash. Raises `ValidationFailed` if it may not be read."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except PermissionError as error:
        raise ValidationFailed(
            f"{path.name}: may not be read; give this user the right and touch the file"
        ) from error
    return SourceFile(f"sha256:{digest}", path.name, size, SOURCE_KINDS[form])


def _state(path: Path) -> tuple[int, int]:
    """What tells that a file has changed: its size and the time it was written."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _write(folder: Path, batches: Iterator[Any]) -> dict[str, Any]:
    """Write the batches to Parquet and return the index."""
    days: set[date] = set()
    newest: datetime | None = None
    readable = unreadable = 0
    reactions = False
    schemas = [pl.DataFrame(schema=schema).to_arrow().schema for schema in (STAGED, UNREADABLE)]
    with (
        pq.ParquetWriter(folder / _MESSAGES, schemas[0], compression="zstd") as messages,
        pq.ParquetWriter(folder / _UNREADABLE, schemas[1], compression="zstd") as refused,
    ):
        for batch in batches:
            if batch.messages.height:
                # By time, so that reading a day skips most of the others.
                in_time = batch.messages.sort("ts_utc", maintain_order=True)
                messages.write_table(in_time.to_arrow().cast(schemas[0]), row_group_size=_ROW_GROUP)
                days.update(batch.messages["ts_utc"].dt.date().unique().to_list())
                latest = batch.messages["ts_utc"].max()
                newest = latest if newest is None else max(newest, latest)
            if batch.unreadable.height:
                refused.write_table(batch.unreadable.to_arrow().cast(schemas[1]))
            readable += batch.messages.height
            reactions = reactions or bool(batch.messages["has_reactions"].any())
            unreadable += batch.unreadable.height
    return {
        "days": [day.isoformat() for day in sorted(days)],
        "newest_message_utc": None if newest is None else newest.isoformat(),
        "readable": readable,
        "unreadable": unreadable,
        "reactions": reactions,
    }


def _put_in_place(work: Path, folder: Path) -> None:
    """Rename the finished spool; another process that was faster wrote the same."""
    try:
        work.rename(folder)
    except OSError:
        if not (folder / _INDEX).exists():
            shutil.rmtree(folder, ignore_errors=True)
            work.rename(folder)


def _export(source: SourceFile, pages: tuple[SourceFile, ...], index: dict[str, Any]) -> Export:
    newest = index["newest_message_utc"]
    return Export(
        source=source,
        days=tuple(date.fromisoformat(day) for day in index["days"]),
        newest_message_utc=None if newest is None else datetime.fromisoformat(newest),
        records=index["readable"] + index["unreadable"],
        unreadable=index["unreadable"],
        pages=pages,
        reading=index["reading"],
    )


def _messages_of(spooled: _Spooled, day: date, rows_ahead: int) -> pl.DataFrame:
    rows = spooled.messages.rows_of(day, _VERSION_ORDER, rows_ahead)
    seen = pl.lit(spooled.export.newest_message_utc, MESSAGES["seen_at_utc"]).alias("seen_at_utc")
    told = pl.when(spooled.reactions).then("has_reactions").alias("has_reactions")
    return rows.lazy().with_columns(seen, told).select(MESSAGES.names()).collect()

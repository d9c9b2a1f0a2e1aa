"""`CandleFolder`: the candle source over a folder of CSV and Parquet files."""

import hashlib
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final

import polars as pl

from quantlab_assets.adapters.candle_folder.index import (
    CandleIndex,
    IndexedContent,
    IndexedFile,
    IndexedSeries,
    content_key,
)
from quantlab_assets.adapters.candle_folder.naming import (
    MAPPING_NAME,
    TokenNames,
    read_mapping,
    token_of_file,
)
from quantlab_assets.adapters.candle_folder.parse import FileBytes, parse_files, refused_file
from quantlab_assets.adapters.candle_folder.raw_rows import is_parquet
from quantlab_assets.adapters.candle_folder.window_reader import Entry, Part, WindowReader
from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.candles.normalise import (
    CandleCounts,
)
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.time_us import from_us
from quantlab_assets.domain.tokens.token import Chain, Token, fold_address
from quantlab_assets.ports.candle_source import (
    CandleRejects,
    CandleWindow,
    FoundCandles,
)

OPTIONS_NAME: Final = "candles.toml"
SUFFIXES: Final = frozenset({".csv", ".tsv", ".parquet", ".pq"})
MAX_FILE_BYTES: Final = 2 * 1024**3
MAX_ROWS: Final = 20_000_000
BATCH_ROWS: Final = 1_000_000
BATCH_BYTES: Final = 32 * 1024**2
BATCH_FILES: Final = 200


def read_volume_unit(path: Path) -> str | None:
    """The unit that a `candles.toml` names: `token`, or None for US dollars; None without a file.

    Raises `ValidationFailed` for a file that cannot be understood: a wrong unit is a wrong volume.
    """
    if not path.is_file():
        return None
    try:
        unit = tomllib.loads(path.read_text("utf-8")).get("volume_unit", "usd")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ValidationFailed(f"{path}: cannot be read: {error}") from error
    if unit not in ("usd", "token"):
        raise ValidationFailed(f'{path}: volume_unit is "usd" or "token", not {unit!r}')
    return None if unit == "usd" else str(unit)


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What became of one file of the folder, for the user.

    `refused` is (code, reason) where the file gave no candle at all because of what it is, not of
    its rows; `series` are what it gave; `source` is None if it could not be opened.
    """

    source: SourceFile | None
    path: str
    counts: CandleCounts
    series: tuple[IndexedSeries, ...]
    refused: tuple[str, str] | None


class CandleFolder:
    """All candle files of a folder, sub-folders included. Implements `CandleSource`.

    The folder is read once, at first use; `refresh` looks again. Parsed candles are kept in
    `index_dir` (disposable), named by content, so that a file which changes in the meantime does
    not change what this object answers. A folder that does not exist holds no candles. Files over
    `max_file_bytes` or `max_rows` are refused as `too_large`.
    """

    def __init__(
        self,
        folder: Path,
        index_dir: Path,
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._folder = folder
        self._index_dir = index_dir
        self._max_file_bytes = max_file_bytes
        self._max_rows = max_rows
        self._index: CandleIndex | None = None
        self._entries: tuple[Entry, ...] = ()
        self._unreadable: tuple[FileCheck, ...] = ()
        self._newest: datetime | None = None
        self._rejects: list[CandleRejects] | None = None
        self._mapping_checks: tuple[FileCheck, ...] = ()
        self._by_token: dict[tuple[Chain, str], list[Part]] = {}

    def refresh(self) -> None:
        """Look at the folder again: new and changed files are read, the others are not."""
        self._scan()

    def _scan(self) -> CandleIndex:
        index = CandleIndex(self._index_dir)
        mapping = self._read_mapping()
        entries: list[tuple[Entry, IndexedFile]] = []
        unreadable: list[FileCheck] = []
        unread: list[Path] = []
        for path in self._paths():
            try:
                known = self._known(path, mapping, index)
            except OSError as error:
                unreadable.append(self._unreadable_file(path, error))
                continue
            if known is None:
                unread.append(path)
            else:
                entries.append(known)
        for batch in self._reading(unread, unreadable):
            entries += self._parsed(batch, mapping, index)
        entries.sort(key=lambda entry_and_file: entry_and_file[0].path)
        self._unreadable = tuple(unreadable)
        self._entries = tuple(entry for entry, _ in entries)
        index.save(
            {entry.path: file for entry, file in entries},
            frozenset(entry.content.key for entry in self._entries),
            time.time_ns(),
        )
        self._rejects = None
        newest = [series.last_us for entry in self._entries for series in entry.content.series]
        self._newest = from_us(max(newest)) if newest else None
        self._by_token = {}
        for entry in sorted(self._entries, key=lambda e: (e.source.sha256, e.path)):
            for series in entry.content.series:
                at = (series.token.chain, series.token.address)
                self._by_token.setdefault(at, []).append((entry, series))
        self._index = index
        return index

    def windows(self, wanted: Sequence[CandleWindow]) -> Iterator[FoundCandles]:
        """See `CandleSource`. A file is read once for many windows."""
        index = self._look()
        refused: dict[tuple[Chain, str], list[CandleRejects]] = {}
        for reject in self.rejects():
            for at in sorted({(token.chain, token.address) for token in reject.tokens}):
                refused.setdefault(at, []).append(reject)
        for batch in self._batches(wanted):
            addresses = dict.fromkeys((window.chain, window.address) for window in batch)
            parts = [part for at in addresses for part in self._by_token.get(at, ())]
            reader = WindowReader(index, parts, batch)
            for window in batch:
                rejects = refused.get((window.chain, window.address), ())
                yield FoundCandles(tuple(reader.cut(window)), tuple(rejects))

    def _batches(self, wanted: Iterable[CandleWindow]) -> Iterator[list[CandleWindow]]:
        """The windows in order, as many together as `BATCH_ROWS` candles allow."""
        batch: list[CandleWindow] = []
        rows = 0
        for window in wanted:
            address = fold_address(window.address)
            parts = self._by_token.get((window.chain, address), ())
            batch.append(replace(window, address=address))
            rows += sum(series.rows for _, series in parts)
            if rows > BATCH_ROWS:
                yield batch
                batch, rows = [], 0
        if batch:
            yield batch

    def newest_ts(self) -> datetime | None:
        """See `CandleSource`."""
        self._look()
        return self._newest

    def unresolved(self) -> Sequence[CandleRejects]:
        """See `CandleSource`."""
        return [refused for refused in self.rejects() if not refused.tokens]

    def rejects(self) -> Sequence[CandleRejects]:
        """See `CandleSource`: one record for each file that had any row refused, by path."""
        index = self._look()
        if self._rejects is not None:
            return self._rejects
        self._rejects = [
            CandleRejects(
                source=entry.source,
                rows=pl.read_parquet(index.rejected_path(entry.content.key)),
                tokens=entry.content.tokens,
            )
            for entry in self._entries
            if entry.content.counts.rejected or entry.content.refused
        ]
        return self._rejects

    def check(self) -> Sequence[FileCheck]:
        """What became of every file, by path: rows, candles, refused rows, refused files."""
        self._look()
        checks = [
            FileCheck(
                source=entry.source,
                path=entry.path,
                counts=entry.content.counts,
                series=entry.content.series,
                refused=entry.content.refused,
            )
            for entry in self._entries
        ]
        return sorted([*checks, *self._unreadable, *self._mapping_checks], key=lambda c: c.path)

    def _look(self) -> CandleIndex:
        return self._index if self._index is not None else self._scan()

    def _paths(self) -> list[Path]:
        """The candle files, sorted by their path as text: never in the file system's order."""
        return sorted(
            (
                path
                for path in self._folder.rglob("*")
                if path.suffix.lower() in SUFFIXES
                and not any(part.startswith(".") for part in path.relative_to(self._folder).parts)
                and path.is_file()
                and path != self._folder / MAPPING_NAME
            ),
            key=lambda path: path.relative_to(self._folder).as_posix(),
        )

    def volume_unit(self) -> str | None:
        """What `candles.toml` says: `volume_unit = "token"`; US dollars (None) without it.

        Raises `ValidationFailed` for a file that cannot be understood: a wrong unit is a wrong
        volume.
        """
        return read_volume_unit(self._folder / OPTIONS_NAME)

    def _read_mapping(self) -> TokenNames:
        """`tokens.csv`. One that cannot be used names nothing, and `check` says why."""
        self._mapping_checks = ()
        path = self._folder / MAPPING_NAME
        if not path.is_file():
            return TokenNames()
        try:
            return read_mapping(path.read_bytes().decode("utf-8-sig"))
        except (ValidationFailed, UnicodeDecodeError, OSError) as error:
            refused = ("bad_mapping", f"{error}")
            self._mapping_checks = (FileCheck(None, MAPPING_NAME, CandleCounts(), (), refused),)
            return TokenNames()

    def _known(
        self, path: Path, mapping: TokenNames, index: CandleIndex
    ) -> tuple[Entry, IndexedFile] | None:
        """A file as the index knows it; None if it has to be read."""
        relative = path.relative_to(self._folder).as_posix()
        stat = path.stat()
        file = index.file(relative, stat.st_size, stat.st_mtime_ns)
        if file is None:
            return None
        named = token_of_file(PurePosixPath(relative), mapping)
        content = index.content(self._key(file, named))
        return None if content is None else (_entry(file, content), file)

    def _reading(
        self, paths: Iterable[Path], unreadable: list[FileCheck]
    ) -> Iterator[list[tuple[IndexedFile, bytes | None]]]:
        """The files with their bytes, many at a time; `unreadable` gets those that have none."""
        batch: list[tuple[IndexedFile, bytes | None]] = []
        size = 0
        for path in paths:
            relative = path.relative_to(self._folder).as_posix()
            try:
                file, data = self._read(path, relative, path.stat().st_mtime_ns)
            except OSError as error:
                unreadable.append(self._unreadable_file(path, error))
                continue
            batch.append((file, data))
            size += len(data or b"")
            if size > BATCH_BYTES or len(batch) >= BATCH_FILES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _parsed(
        self,
        batch: Sequence[tuple[IndexedFile, bytes | None]],
        mapping: TokenNames,
        index: CandleIndex,
    ) -> Iterator[tuple[Entry, IndexedFile]]:
        """Files by what parsing them comes to; a content the index has is not parsed again."""
        keys = [
            self._key(file, token_of_file(PurePosixPath(file.path), mapping)) for file, _ in batch
        ]
        missing: dict[str, FileBytes] = {}
        for key, (file, data) in zip(keys, batch, strict=True):
            if index.content(key) is not None:
                continue
            if data is None:
                limit = f"the file has {file.size} bytes; allowed are {self._max_file_bytes}"
                index.add(key, refused_file(PurePosixPath(file.path), "too_large", limit))
            else:
                missing.setdefault(key, FileBytes(PurePosixPath(file.path), data))
        parsed = parse_files(list(missing.values()), mapping, max_rows=self._max_rows)
        for key, parsed_file in zip(missing, parsed, strict=True):
            index.add(key, parsed_file)
        for key, (file, _) in zip(keys, batch, strict=True):
            content = index.content(key)
            assert content is not None
            yield _entry(file, content), file

    def _unreadable_file(self, path: Path, error: OSError) -> FileCheck:
        relative = path.relative_to(self._folder).as_posix()
        refused = ("unreadable_file", f"the file cannot be read: {error.strerror}")
        return FileCheck(None, relative, CandleCounts(), (), refused)

    def _key(self, file: IndexedFile, named: Token | None) -> str:
        limits = (self._max_file_bytes, self._max_rows)
        return content_key(file.sha256, named, file.path, limits)

    def _read(self, path: Path, relative: str, mtime_ns: int) -> tuple[IndexedFile, bytes | None]:
        """The file's bytes and their hash; no bytes if there are too many.

        The modification time is the one from before reading: a file that grew meanwhile is read
        again next time.
        """
        with path.open("rb") as file:
            data = file.read(self._max_file_bytes + 1)
            size = len(data)
            digest = hashlib.sha256(data)
            while block := file.read(1 << 20):
                digest.update(block)
                size += len(block)
        kind = "candles_parquet" if is_parquet(data) else "candles_csv"
        indexed = IndexedFile(relative, size, mtime_ns, f"sha256:{digest.hexdigest()}", kind)
        return indexed, data if size <= self._max_file_bytes else None


def _entry(file: IndexedFile, content: IndexedContent) -> Entry:
    name = PurePosixPath(file.path).name
    return Entry(SourceFile(file.sha256, name, file.size, file.kind), file.path, content)

"""The way of candle files into the inbox: each content once for a token, whole or not at all."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from quantlab_assets.adapters.candle_folder.naming import (
    MAPPING_NAME,
    TokenNames,
    read_mapping,
    token_of_file,
)
from quantlab_assets.adapters.candle_folder.parse import parse_file, refused_file
from quantlab_assets.adapters.candle_folder.raw_rows import is_parquet
from quantlab_assets.adapters.candle_folder.source import (
    MAX_FILE_BYTES,
    MAX_ROWS,
    OPTIONS_NAME,
    SUFFIXES,
    read_volume_unit,
)
from quantlab_assets.adapters.inbox_folder import files_in
from quantlab_assets.adapters.whole_files import copy_checked, sha256_of_file, written
from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.errors import Conflict, NotFound, StoreUnavailable, ValidationFailed
from quantlab_assets.domain.tokens.token import Token
from quantlab_assets.ports.candle_intake import GivenFile, Inserted, Placed

COMPANIONS: Final = (MAPPING_NAME, OPTIONS_NAME)
"""Files that say how others are to be read."""
_HASH_LENGTH: Final = 16


def candle_files_at(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The candle files among paths and below folders, and the `tokens.csv` and `candles.toml`.

    Hidden files of folders are left alone. Raises `NotFound` for a path that is not there or a
    folder without candle files, `ValidationFailed` for a file that the inbox would not look at.
    """
    files: list[Path] = []
    companions: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [path / file.path for file in files_in(path, {*SUFFIXES, ".toml"})]
            kept = [file for file in inside if file.suffix.lower() in SUFFIXES]
            kept = [file for file in kept if file.name != MAPPING_NAME]
            if not kept:
                raise NotFound(f"{path}: no {', '.join(sorted(SUFFIXES))} file in this folder")
            files += kept
            companions += [path / name for name in COMPANIONS if (path / name) in inside]
        elif not path.is_file():
            raise NotFound(f"{path}: no such file or folder")
        elif path.name in COMPANIONS:
            companions.append(path)
        elif path.suffix.lower() in SUFFIXES:
            files.append(path)
        else:
            raise ValidationFailed(
                f"{path}: candle files are named {', '.join(sorted(SUFFIXES))}; rename it"
            )
    return list(dict.fromkeys(files)), list(dict.fromkeys(companions))


def read_names(companions: Iterable[Path]) -> TokenNames:
    """What several `tokens.csv` say. Raises `ValidationFailed` if they cannot be read, or differ
    about a name."""
    tokens: dict[str, Token] = {}
    for path in companions:
        if path.name != MAPPING_NAME or not path.is_file():
            continue
        try:
            named = read_mapping(path.read_bytes().decode("utf-8-sig")).tokens
        except (OSError, UnicodeDecodeError) as error:
            raise ValidationFailed(f"{path}: cannot be read: {error}") from error
        for name, token in named.items():
            if tokens.setdefault(name, token) != token:
                raise ValidationFailed(f"{path}: {name!r} is another token in another {path.name}")
    return TokenNames(tokens)


def read_given(path: Path, names: TokenNames) -> GivenFile:
    """Read a file by the rules of the inbox. Raises `StoreUnavailable` if it cannot be read."""
    name = PurePosixPath(path.name)
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_FILE_BYTES else b""
        sha256 = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if size > MAX_FILE_BYTES:
            sha256 = sha256_of_file(path)
    except OSError as error:
        raise StoreUnavailable(f"{path}: cannot be read: {error.strerror}") from error
    kind = "candles_parquet" if is_parquet(data) else "candles_csv"
    if size > MAX_FILE_BYTES:
        reason = f"the file has {size} bytes; allowed are {MAX_FILE_BYTES}"
        parsed = refused_file(name, "too_large", reason)
    else:
        parsed = parse_file(data, name, names, max_rows=MAX_ROWS)
    codes = parsed.rejected["error_code"].value_counts() if parsed.refused is None else None
    return GivenFile(
        path=path,
        source=SourceFile(sha256, path.name, size, kind),
        counts=parsed.counts,
        tokens=parsed.tokens,
        rejected={} if codes is None else dict(sorted(codes.iter_rows())),
        refused=parsed.refused,
        candles=None if parsed.normalised is None else parsed.normalised.candles,
    )


class GivenFiles:
    """The files of some paths; implements `CandleReader`. `names` are further `tokens.csv`."""

    def __init__(self, paths: Iterable[Path], names: Iterable[Path] = ()) -> None:
        self._files, self.companions = candle_files_at(paths)
        self._names = read_names([*names, *self.companions])

    def files(self) -> Sequence[Path]:
        """See `CandleReader`."""
        return self._files

    def read(self, path: Path) -> GivenFile:
        """See `CandleReader`."""
        return read_given(path, self._names)

    def check_volume_unit(self, unit: str | None) -> None:
        """Raises `ValidationFailed` if a `candles.toml` names another unit of volumes than `unit`,
        that of the table they would go to (None: US dollars)."""
        for path in self.companions:
            if path.name == OPTIONS_NAME and (own := read_volume_unit(path)) != unit:
                raise ValidationFailed(
                    f"{path}: volumes of these files are in {own or 'usd'}, those of the table in"
                    f" {unit or 'usd'}; name their unit as volume_unit in the TOML that"
                    " QUANTLAB_CLICKHOUSE_MAPPING names"
                )


class CandleIntake:
    """The way into an inbox folder; implements `CandleTarget`. Nothing there is overwritten.

    `companions` are a `tokens.csv` and a `candles.toml` that come along. Files that hold no candles
    are left out, those whose token cannot be told are not. `dry_run` changes nothing.
    """

    def __init__(
        self, inbox: Path, companions: Iterable[Path] = (), *, dry_run: bool = False
    ) -> None:
        self._inbox = inbox
        self._companions = tuple(companions)
        self._dry_run = dry_run
        self._names = TokenNames()
        self._by_size: dict[int, list[str]] = {}

    def open(self) -> None:
        """See `CandleTarget`. Raises `Conflict` if the inbox has another `tokens.csv` or
        `candles.toml`: how to join them is not for a program to say."""
        self._names = read_names([self._inbox / MAPPING_NAME, *self._companions])
        for file in files_in(self._inbox, SUFFIXES) if self._inbox.is_dir() else []:
            if file.path != MAPPING_NAME:
                self._by_size.setdefault(file.size, []).append(file.path)
        missing = [path for path in self._companions if not self._has(path)]
        if not self._dry_run:
            for path in missing:
                self._link(path, sha256_of_file(path), (path.name,))

    def put(self, given: GivenFile) -> Placed:
        """See `CandleTarget`. A file keeps its name, since that may tell the token; if another
        content has it, part of the hash is added. Raises `Conflict` if the file has changed since
        it was read, `StoreUnavailable` if it cannot be copied."""
        if given.refused is not None and not given.unresolvable:
            return Placed("left_out")
        twin = self.find(given)
        if twin is not None:
            return Placed("held", twin)
        stem = given.path.stem.lstrip(".") or "candles"
        digest = given.source.sha256.removeprefix("sha256:")
        plain = f"{stem}{given.path.suffix}"
        marked = f"{stem}-{digest[:_HASH_LENGTH]}{given.path.suffix}"
        if self._dry_run:
            return Placed("new", marked if (self._inbox / plain).exists() else plain)
        name = self._link(given.path, given.source.sha256, (plain, marked))
        self._by_size.setdefault(given.source.size, []).append(name)
        return Placed("new", name)

    def finish(self) -> Inserted | None:
        """See `CandleTarget`."""
        return None

    def find(self, given: GivenFile) -> str | None:
        """The file of the inbox with exactly this content whose name tells the same token, by its
        path below the inbox; None if there is none."""
        token = token_of_file(PurePosixPath(given.path.name), self._names)
        for name in self._by_size.get(given.source.size, ()):
            if token_of_file(PurePosixPath(name), self._names) != token:
                continue
            if sha256_of_file(self._inbox / name) == given.source.sha256:
                return name
        return None

    def _has(self, companion: Path) -> bool:
        target = self._inbox / companion.name
        if not target.exists():
            if companion.name == OPTIONS_NAME and self._by_size:
                raise Conflict(
                    f"{companion}: it would change the candles that {self._inbox} has already; copy"
                    " it there yourself if it holds for all of them"
                )
            return False
        if target.read_bytes() != companion.read_bytes():
            raise Conflict(f"{companion}: the inbox has another; put what is missing into {target}")
        return True

    def _link(self, path: Path, sha256: str, names: Sequence[str]) -> str:
        """Write beside, hidden, then link under the first name that is free: a file that the inbox
        shows is whole."""
        try:
            self._inbox.mkdir(parents=True, exist_ok=True)
            with written(self._inbox, lambda to: copy_checked(path, sha256, to)) as part:
                for name in names:
                    try:
                        os.link(part, self._inbox / name)
                    except FileExistsError:
                        if sha256_of_file(self._inbox / name) != sha256:
                            continue
                    return name
        except OSError as error:
            raise StoreUnavailable(
                f"{self._inbox}: cannot take in {path.name}: {error.strerror}"
            ) from error
        raise Conflict(f"{self._inbox}: another file is named {names[-1]} already; rename {path}")

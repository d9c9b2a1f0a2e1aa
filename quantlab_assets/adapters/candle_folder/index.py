"""What was found in each file, kept beside the lake so that no file is parsed twice.

Disposable: parsed candles lie in Parquet files named by what they were made from (the file's hash,
the token its name tells, the rules), and `index.json` says which file has which hash. Delete any of
it and it is made again. Nothing here is authoritative.
"""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from quantlab_assets.adapters.candle_folder.parse import ParsedFile
from quantlab_assets.adapters.whole_files import written
from quantlab_assets.domain.candles.normalise import RULES_VERSION, TOKEN_COLUMNS, CandleCounts
from quantlab_assets.domain.errors import StoreUnavailable
from quantlab_assets.domain.tokens.addresses import evm_networks
from quantlab_assets.domain.tokens.token import Token

FORMAT: Final = 1
RACY_NS: Final = 2_000_000_000
"""A file touched this shortly before the index was written may change again under the same time."""
ROW_GROUP: Final = 50_000
KEEP_GONE_NS: Final = 3_600_000_000_000
"""How long parses of files that are gone stay, for whoever looked at the folder before."""


@dataclass(frozen=True, slots=True)
class IndexedSeries:
    """The candles of one token at one interval in one file; times in UTC microseconds."""

    token: Token
    interval_s: int
    first_us: int
    last_us: int
    rows: int
    duplicates: int
    conflicts: int


@dataclass(frozen=True, slots=True)
class IndexedContent:
    """What parsing one content under one name came to. `key` names its Parquet files."""

    key: str
    counts: CandleCounts
    tokens: tuple[Token, ...]
    series: tuple[IndexedSeries, ...]
    refused: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file as it was when it was read. `path` is relative to the folder."""

    path: str
    size: int
    mtime_ns: int
    sha256: str
    kind: str


def content_key(sha256: str, named: Token | None, path: str, limits: tuple[int, int]) -> str:
    """Names parsed content: the same bytes under a name that tells the same token parse the same.

    The path takes part only where the name tells no token: then it is in the reason.
    """
    name = path if named is None else [named.chain, named.address, named.network]
    rules = [FORMAT, RULES_VERSION, sorted(evm_networks().items()), limits]
    text = json.dumps([rules, sha256, name])
    return hashlib.sha256(text.encode()).hexdigest()[:40]


class CandleIndex:
    """The index of one folder, read once and written back when it changed."""

    def __init__(self, index_dir: Path) -> None:
        self._dir = index_dir
        self._path = index_dir / "index.json"
        self._files: dict[str, IndexedFile] = {}
        self._contents: dict[str, IndexedContent] = {}
        self._written_ns = 0
        self._load()

    def file(self, path: str, size: int, mtime_ns: int) -> IndexedFile | None:
        """The known file, if it cannot have changed since."""
        known = self._files.get(path)
        if known is None or (known.size, known.mtime_ns) != (size, mtime_ns):
            return None
        return None if mtime_ns > self._written_ns - RACY_NS else known

    def content(self, key: str) -> IndexedContent | None:
        """What parsing came to, if its Parquet files are still there."""
        known = self._contents.get(key)
        if known is None or not (self.rejected_path(key)).is_file():
            return None
        return known if not known.series or self.candles_path(key).is_file() else None

    def candles_path(self, key: str) -> Path:
        """Where the parsed candles of a content are, sorted by token, interval and time."""
        return self._dir / f"{key}.candles.parquet"

    def rejected_path(self, key: str) -> Path:
        """Where the refused rows of a content are."""
        return self._dir / f"{key}.rejected.parquet"

    def add(self, key: str, parsed: ParsedFile) -> IndexedContent:
        """Keep what parsing came to."""
        series: tuple[IndexedSeries, ...] = ()
        if parsed.normalised is not None and parsed.normalised.candles.height:
            candles = parsed.normalised.candles
            series = _series(candles)
            _write_parquet(candles, self.candles_path(key))
        _write_parquet(parsed.rejected, self.rejected_path(key))
        content = IndexedContent(key, parsed.counts, parsed.tokens, series, parsed.refused)
        self._contents[key] = content
        return content

    def save(self, files: Mapping[str, IndexedFile], keys: frozenset[str], now_ns: int) -> None:
        """Write back which files there are. What belongs to files that are gone is forgotten now,
        and deleted after a while: somebody may be reading it."""
        contents = {key: self._contents[key] for key in sorted(keys)}
        self._sweep(keys, now_ns)
        if (dict(files), contents) == (self._files, self._contents) and self._path.is_file():
            return
        self._files, self._contents = dict(files), contents
        document = {
            "format": FORMAT,
            "files": [asdict(files[path]) for path in sorted(files)],
            "contents": [asdict(content) for content in contents.values()],
        }
        _replace(self._path, json.dumps(document).encode())

    def parsed(self, key: str) -> pl.LazyFrame:
        """The candles of a content, sorted by token, interval and time. Raises `StoreUnavailable`
        if somebody deleted them."""
        if not self.candles_path(key).is_file():
            raise StoreUnavailable(
                f"the candle index {self._dir} was deleted while it was read; run it again"
            )
        return pl.scan_parquet(self.candles_path(key), glob=False)

    def _sweep(self, keys: frozenset[str], now_ns: int) -> None:
        """Delete what nobody has needed for about `KEEP_GONE_NS`. A file's time says when it was
        needed last: each look at the folder touches what it needs."""
        for path in sorted(self._dir.glob("*.*")):
            key = path.name.split(".", 1)[0]
            if path == self._path:
                continue
            try:
                age_ns = now_ns - path.stat().st_mtime_ns
                if key in keys and age_ns > KEEP_GONE_NS // 10:
                    os.utime(path, ns=(now_ns, now_ns))
                elif key not in keys and age_ns > KEEP_GONE_NS:
                    path.unlink()
            except OSError:  # somebody else's sweep was faster
                continue

    def _load(self) -> None:
        """Read the index; anything unreadable is as good as none."""
        try:
            written_ns = self._path.stat().st_mtime_ns
            document = json.loads(self._path.read_bytes())
            if document["format"] != FORMAT:
                return
            files = [IndexedFile(**entry) for entry in document["files"]]
            contents = [_content(entry) for entry in document["contents"]]
        except (OSError, ValueError, KeyError, TypeError):
            return
        self._written_ns = written_ns
        self._files = {entry.path: entry for entry in files}
        self._contents = {entry.key: entry for entry in contents}


def _content(entry: dict[str, Any]) -> IndexedContent:
    return IndexedContent(
        key=entry["key"],
        counts=CandleCounts(**entry["counts"]),
        tokens=tuple(Token(**token) for token in entry["tokens"]),
        series=tuple(
            IndexedSeries(**{**series, "token": Token(**series["token"])})
            for series in entry["series"]
        ),
        refused=None if entry["refused"] is None else tuple(entry["refused"]),
    )


def _series(candles: pl.DataFrame) -> tuple[IndexedSeries, ...]:
    grouped = (
        candles.group_by(*TOKEN_COLUMNS, "interval_s")
        .agg(
            pl.col("ts").min().cast(pl.Int64).alias("first"),
            pl.col("ts").max().cast(pl.Int64).alias("last"),
            pl.len().alias("rows"),
            pl.col("duplicates").sum(),
            pl.col("conflicts").sum(),
        )
        .sort(*TOKEN_COLUMNS, "interval_s")
    )
    return tuple(
        IndexedSeries(Token(chain, address, network), interval_s, *numbers)
        for chain, address, network, interval_s, *numbers in grouped.iter_rows()
    )


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", row_group_size=ROW_GROUP)
    _replace(path, buffer.getvalue())


def _replace(path: Path, data: bytes) -> None:
    """Put bytes in place atomically, so that a reader never sees half a file.

    Raises `StoreUnavailable` if they cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written(path.parent, lambda file: file.write(data), durable=False) as part:
            part.replace(path)
    except OSError as error:
        raise StoreUnavailable(
            f"the candle index {path.parent} cannot be written: {error.strerror}"
        ) from error

"""Files from bytes to normalised candles, or to the reason why they were refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import polars as pl

from quantlab_assets.adapters.candle_folder.naming import (
    TokenNames,
    token_of_file,
    unresolved,
)
from quantlab_assets.adapters.candle_folder.raw_rows import (
    UnreadableFileError,
    read_rows,
)
from quantlab_assets.domain.candles.columns import declared_interval
from quantlab_assets.domain.candles.normalise import (
    FILE,
    RAW_COLUMNS,
    CandleCounts,
    NormalisedCandles,
    normalise_files,
    reject_file,
)
from quantlab_assets.domain.tokens.addresses import with_tokens
from quantlab_assets.domain.tokens.token import Token


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A file's candles and refused rows. `refused` is (code, reason) of a file refused as a whole.

    `tokens` are all the file is known to be about, also those none of whose rows survived.
    """

    normalised: NormalisedCandles | None
    rejected: pl.DataFrame
    counts: CandleCounts
    tokens: tuple[Token, ...]
    refused: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class FileBytes:
    """A file of the candle folder to be parsed: what its name says, and its content."""

    path: PurePosixPath
    data: bytes


def parse_file(
    data: bytes, path: PurePosixPath, mapping: TokenNames, *, max_rows: int
) -> ParsedFile:
    """Parse one file; never raises for what the file holds."""
    (parsed,) = parse_files([FileBytes(path, data)], mapping, max_rows=max_rows)
    return parsed


def parse_files(
    files: Sequence[FileBytes], mapping: TokenNames, *, max_rows: int
) -> list[ParsedFile]:
    """Parse many files, each as if it were alone: at once, since queries cost more than rows."""
    parsed: dict[int, ParsedFile] = {}
    alike: dict[tuple[object, ...], list[tuple[int, pl.DataFrame, tuple[Token, ...]]]] = {}
    for number, file in enumerate(files):
        outcome = _raw_rows(file, mapping, max_rows)
        if isinstance(outcome, ParsedFile):
            parsed[number] = outcome
        else:
            raw, tokens = outcome
            alike.setdefault(tuple(raw.schema.items()), []).append((number, raw, tokens))
    for group in alike.values():
        rows = pl.concat(
            raw.with_columns(pl.lit(place, dtype=pl.Int64).alias(FILE))
            for place, (_, raw, _) in enumerate(group)
        )
        done = normalise_files(rows, len(group))
        for (number, _, tokens), normalised in zip(group, done, strict=True):
            counts, rejected = normalised.counts, normalised.rejected
            parsed[number] = ParsedFile(normalised, rejected, counts, tokens)
    return [parsed[number] for number in range(len(files))]


def _raw_rows(
    file: FileBytes, mapping: TokenNames, max_rows: int
) -> tuple[pl.DataFrame, tuple[Token, ...]] | ParsedFile:
    """The rows of a file (`RAW_COLUMNS`) and its tokens, or why it is refused."""
    named = token_of_file(file.path, mapping)
    tokens: tuple[Token, ...] = () if named is None else (named,)
    try:
        rows = read_rows(file.data, max_rows=max_rows)
    except UnreadableFileError as error:
        return refused_file(file.path, error.code, error.reason, tokens)
    if rows["address"].null_count() == rows.height:
        if named is None:
            reason = unresolved(file.path)
            return refused_file(file.path, "unresolvable_token", reason, rows=rows.height)
        raw = rows.with_columns(
            pl.lit(named.chain).alias("chain"),
            pl.lit(named.address).alias("token_address"),
            pl.lit(named.network, dtype=pl.String).alias("token_chain"),
        )
    else:
        raw, tokens = with_tokens(rows)
    return raw.with_columns(declared_interval().alias("interval_s")).select(RAW_COLUMNS), tokens


def refused_file(
    path: PurePosixPath,
    code: str,
    reason: str,
    tokens: tuple[Token, ...] = (),
    *,
    rows: int = 0,
) -> ParsedFile:
    """A file that gives no candle because of what it is."""
    return ParsedFile(
        normalised=None,
        rejected=reject_file(code, reason, name=path.name, rows=rows),
        counts=CandleCounts(rows=rows, rejected=rows),
        tokens=tokens,
        refused=(code, reason),
    )

"""One file from bytes to normalised candles, or to the reason why it was refused."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import polars as pl

from quantlab_assets.adapters.candle_files.naming import (
    TokenNames,
    token_of_file,
    unresolved,
)
from quantlab_assets.adapters.candle_files.raw_rows import (
    UnreadableFileError,
    read_rows,
)
from quantlab_assets.domain.candle_columns import declared_interval
from quantlab_assets.domain.candle_tokens import with_tokens
from quantlab_assets.domain.candles import (
    RAW_COLUMNS,
    CandleCounts,
    NormalisedCandles,
    normalise,
    reject_file,
)
from quantlab_assets.domain.tokens import Token


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


def parse_file(
    data: bytes, path: PurePosixPath, mapping: TokenNames, *, max_rows: int
) -> ParsedFile:
    """Parse a file of the candle folder; never raises for what the file holds."""
    named = token_of_file(path, mapping)
    tokens: tuple[Token, ...] = () if named is None else (named,)
    try:
        rows = read_rows(data, max_rows=max_rows)
    except UnreadableFileError as error:
        return refused_file(path, error.code, error.reason, tokens)
    if rows["address"].null_count() == rows.height:
        if named is None:
            return refused_file(path, "unresolvable_token", unresolved(path), rows=rows.height)
        raw = rows.with_columns(
            pl.lit(named.chain).alias("chain"),
            pl.lit(named.address).alias("token_address"),
            pl.lit(named.network, dtype=pl.String).alias("token_chain"),
        )
    else:
        raw, tokens = with_tokens(rows)
    normalised = normalise(
        raw.with_columns(declared_interval().alias("interval_s")).select(RAW_COLUMNS)
    )
    return ParsedFile(normalised, normalised.rejected, normalised.counts, tokens)


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

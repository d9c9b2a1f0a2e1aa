"""The rows of a table as raw candles: in one order whatever the server answers first, cut by
token, each token's rows with a hash of their own."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.identity import canonical_json
from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.candles.columns import declared_interval
from quantlab_assets.domain.candles.normalise import (
    PRICE_COLUMNS,
    QUARANTINE_SCHEMA,
    RAW_COLUMNS,
    REASONS,
    TOKEN_COLUMNS,
    UTC_US,
    NormalisedCandles,
    normalise,
)
from quantlab_assets.domain.tokens.addresses import token_of
from quantlab_assets.domain.tokens.token import Chain, Token
from quantlab_assets.ports.candle_source import CandleRejects

KIND: Final = "clickhouse"
MAX_RAW_TEXT: Final = 2000

Address = tuple[Chain, str]

_VALUES: Final = ("interval_s", "time", *PRICE_COLUMNS, "volume")
_AS_WRITTEN: Final = ("address", "network", "interval", "time", *PRICE_COLUMNS, "volume")
_TIME_BITS: Final = 52
_INTERVAL_BITS: Final = 3
_PLACE_BITS: Final = 8


@dataclass(frozen=True, slots=True)
class _Spelling:
    """A token as a table writes it; `code` stands for both texts in the answer to one query."""

    token: Token
    address: str
    word: str
    code: int


@dataclass(frozen=True, slots=True)
class TokenRows:
    """What a table holds of one address, as far as it was read: as one raw file would."""

    source: SourceFile
    tokens: tuple[Token, ...]
    rejected: pl.DataFrame


@dataclass(frozen=True, slots=True)
class ReadRows:
    """Normalised candles of many addresses, and what was read of each."""

    normalised: NormalisedCandles
    by_address: Mapping[Address, TokenRows]


def normalised_rows(
    answer: pa.Table,
    addresses: Sequence[str],
    networks: Sequence[str],
    *,
    times_are_typed: bool,
    table: str,
) -> ReadRows:
    """Apply the rules for candles to the rows of a query.

    The columns `address` and `network` of the answer are places in `addresses` (all of them full
    addresses) and `networks`, as written in the table.

    A table has no first and no last row. Of rows of one time that differ and have the same volume,
    the one with the largest close, then low, high and open counts as the last.
    """
    rows = pl.DataFrame(answer)
    said = declared_interval() if rows.schema["interval"] == pl.String else pl.col("interval")
    rows = rows.with_columns(
        pl.col("time").cast(UTC_US) if times_are_typed else pl.col("time"),
        said.alias("interval_s"),
    )
    spellings = _spellings(rows, addresses, networks)
    rows = _ordered(_named(rows, spellings, len(networks)))
    # Rows that repeat one exactly have one number and count once in the hash: how many of them
    # there are may depend on what the server has merged.
    distinct = rows.select(
        pl.any_horizontal(
            pl.col(column).ne_missing(pl.col(column).shift())
            for column in ("place", "spelling", *_VALUES)
        )
        | (pl.int_range(pl.len()) == 0)
    ).to_series()
    done = normalise(
        rows.select(
            distinct.cast(pl.Int64).cum_sum().alias("row_number"),
            pl.struct(*_AS_WRITTEN).alias("raw_values"),
            *TOKEN_COLUMNS,
            *_VALUES,
        ).select(RAW_COLUMNS)
    )
    kept = rows.select("place", "spelling", *_VALUES).filter(distinct)
    content = kept.drop("place").rechunk().to_arrow()
    edges = np.searchsorted(kept["place"].to_numpy(), np.arange(len(spellings) + 1))
    cuts = np.searchsorted(done.rejected["row_number"].to_numpy(), edges + 1)
    by_address = {}
    for place, (at, written) in enumerate(spellings.items()):
        first, last = (int(edge) for edge in edges[place : place + 2])
        refused = done.rejected.slice(cuts[place], cuts[place + 1] - cuts[place])
        by_address[at] = TokenRows(
            source=_source(table, at, written, content.slice(first, last - first)),
            tokens=tuple(dict.fromkeys(spelling.token for spelling in written)),
            rejected=_numbered_from(refused, first),
        )
    return ReadRows(done, by_address)


def unresolved_addresses(pairs: Sequence[tuple[str, str]], table: str) -> CandleRejects | None:
    """The quarantine of (address, network) pairs that name no token, a row each; None if none."""
    if not pairs:
        return None
    written = sorted(pairs)
    texts = [canonical_json({"address": a, "network": n}).decode() for a, n in written]
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    rows = pl.DataFrame(
        {
            "row_number": range(1, len(texts) + 1),
            "raw_values": [text[:MAX_RAW_TEXT] for text in texts],
            "error_code": ["unresolvable_token"] * len(texts),
            "error_reason": [REASONS["unresolvable_token"]] * len(texts),
        },
        schema=QUARANTINE_SCHEMA,
    )
    source = SourceFile(f"sha256:{digest}", f"{table} (no token)", sum(map(len, texts)), KIND)
    return CandleRejects(source, rows)


def _spellings(
    rows: pl.DataFrame, addresses: Sequence[str], networks: Sequence[str]
) -> dict[Address, list[_Spelling]]:
    """How the address and network of each token are written in these rows, by address."""
    named: dict[Address, list[_Spelling]] = {}
    for place, number in rows.select("address", "network").unique().iter_rows():
        address, word = addresses[place], networks[number]
        token = token_of(address, word)
        assert token is not None
        spelling = _Spelling(token, address, word, place * len(networks) + number)
        named.setdefault((token.chain, token.address), []).append(spelling)
    return {
        at: sorted(
            named[at],
            key=lambda spelling: (spelling.token.network or "", spelling.address, spelling.word),
        )
        for at in sorted(named)
    }


def _named(
    rows: pl.DataFrame, spellings: Mapping[Address, Sequence[_Spelling]], networks: int
) -> pl.DataFrame:
    """Rows with their token, the place of its address, and which of its spellings they have."""
    known = [
        (place, number, spelling)
        for place, written in enumerate(spellings.values())
        for number, spelling in enumerate(written)
    ]
    codes = np.array([spelling.code for *_, spelling in known], dtype=np.int64)
    lookup = np.zeros(int(codes.max(initial=0)) + 1, dtype=np.int64)
    lookup[codes] = np.arange(len(codes))
    index = lookup[(rows["address"].cast(pl.Int64) * networks + rows["network"]).to_numpy()]
    texts: dict[str, list[str | None]] = {
        "chain": [str(spelling.token.chain) for *_, spelling in known],
        "token_address": [spelling.token.address for *_, spelling in known],
        "token_chain": [spelling.token.network for *_, spelling in known],
        "address": [spelling.address for *_, spelling in known],
        "network": [spelling.word for *_, spelling in known],
    }
    return rows.with_columns(
        *(pl.Series(name, values, dtype=pl.String).gather(index) for name, values in texts.items()),
        pl.Series("place", np.array([place for place, *_ in known], dtype=np.int64)[index]),
        pl.Series("spelling", np.array([number for _, number, _ in known], dtype=np.int64)[index]),
    )


def _ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """By address, interval and time, then by everything else."""
    first = ["place", "interval_s", "time"]
    ordered = rows[_order(rows)]
    repeats = ordered.select(
        pl.all_horizontal(pl.col(column).eq_missing(pl.col(column).shift()) for column in first)
    )
    if not repeats.to_series()[1:].any():
        return ordered
    rest = ("close", "low", "high", "open", "volume", "spelling")
    return rows.sort(*first, *rest, nulls_last=False)


def _order(rows: pl.DataFrame) -> pl.Series:
    """The order by place, interval and time. One number a row sorts several times as fast as three
    columns, where they fit into one."""
    intervals = rows["interval_s"].unique().sort()
    times = rows["time"].cast(pl.Int64, strict=False)
    fits = (
        rows.schema["time"] == UTC_US
        and len(intervals) <= 1 << _INTERVAL_BITS
        and bool((rows["place"] < 1 << _PLACE_BITS).all())
        and times.null_count() == 0
        and bool(times.is_between(0, (1 << _TIME_BITS) - 1).all())
    )
    if not fits:
        by = pl.arg_sort_by("place", "interval_s", "time", nulls_last=False)
        return rows.select(by).to_series()
    ranks = pl.Series(range(len(intervals)), dtype=pl.Int64)
    rank = rows["interval_s"].replace_strict(intervals, ranks, return_dtype=pl.Int64)
    key = (rows["place"] * (1 << _INTERVAL_BITS) + rank) * (1 << _TIME_BITS) + times
    return key.arg_sort()


def _numbered_from(refused: pl.DataFrame, first: int) -> pl.DataFrame:
    """Refused rows of one token, each once, numbered by their place among its distinct rows."""
    if refused.is_empty():
        return refused
    return refused.with_columns(pl.col("row_number") - first).unique().sort(pl.all())


def _source(table: str, at: Address, written: Sequence[_Spelling], content: pa.Table) -> SourceFile:
    """The rows of one address as a raw file: its hash is that of the distinct rows read."""
    names = [[spelling.address, spelling.word] for spelling in written]
    identity = canonical_json([KIND, names, content_hash(content)])
    return SourceFile(
        sha256=f"sha256:{hashlib.sha256(identity).hexdigest()}",
        name=f"{table} of {at[1]}",
        size=content.num_rows * content.num_columns * 8,
        kind=KIND,
    )

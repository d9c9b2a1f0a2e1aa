"""Where candles come from: a folder of files, or a database."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import polars as pl
import pyarrow as pa

from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.tokens.token import Chain, Token


@dataclass(frozen=True, slots=True)
class CandleRejects:
    """Rows of one raw file that were refused; columns of the type `candles_quarantine`.

    `tokens` are those the file is known to be about; none where that could not be told. A file that
    was refused as a whole has one row, numbered 0. A database has no files: what it holds of one
    token counts as one (docs/candles.md).
    """

    source: SourceFile
    rows: pl.DataFrame
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class CandleWindow:
    """What is asked for: an address on every network, `start <= ts < end`, each interval's candles
    from its grid point at or before `start` to the one at or after `end`."""

    chain: Chain
    address: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class WindowCandles:
    """The candles of one token at one interval in a window `[start, end)` on its grid: at least
    one, in time order, columns of `ohlcv_slice_v2`.

    `sources` are the raw files that hold a row of it, and no others. `duplicates` are rows of this
    window that repeated a candle exactly, `conflicts` rows that lost against another candle of
    their time; `table` has neither.
    """

    token: Token
    interval_s: int
    start: datetime
    end: datetime
    table: pa.Table
    sources: tuple[SourceFile, ...] = ()
    duplicates: int = 0
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class FoundCandles:
    """What a source has for one `CandleWindow`: by network and interval, and what was refused of
    the raw files that hold the token."""

    candles: tuple[WindowCandles, ...] = ()
    rejects: tuple[CandleRejects, ...] = ()


class CandleSource(Protocol):
    """Candles by token and interval: valid, one a time, in time order.

    What cannot be reached, or fails midway, raises `StoreUnavailable`; nothing partial is given.
    """

    def windows(self, wanted: Sequence[CandleWindow]) -> Iterator[FoundCandles]:
        """The candles of many windows, one answer each in the order asked: by interval, the finest
        first, then network. Read as it is consumed, in few round trips."""

    def newest_ts(self) -> datetime | None:
        """The newest candle time in the whole source: what it knew when it was read."""

    def volume_unit(self) -> str | None:
        """What volumes are in: `token` for tokens, None for the quote currency (US dollars)."""

    def rejects(self) -> Sequence[CandleRejects]:
        """What was refused of the whole source, by raw file."""

    def unresolved(self) -> Sequence[CandleRejects]:
        """Those of `rejects` that might be about any token, since nobody can tell which."""

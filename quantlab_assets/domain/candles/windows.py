"""Cuts windows out of normalised candles of many tokens, without copying or looping over rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.candles.normalise import TOKEN_COLUMNS
from quantlab_assets.domain.slices.plan import fit_window
from quantlab_assets.domain.time_us import to_us
from quantlab_assets.domain.tokens.token import Chain, Token


@dataclass(frozen=True, slots=True)
class CutWindow:
    """The rows `[first, last)` of a `CandleTable` that one token and interval have in a window."""

    token: Token
    interval_s: int
    start: datetime
    end: datetime
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _Run:
    token: Token
    interval_s: int
    first: int
    last: int


class CandleTable:
    """Normalised candles (`CANDLE_COLUMNS`), one a time, sorted by token, interval and time."""

    def __init__(self, candles: pl.DataFrame) -> None:
        kept = candles.select(OHLCV_SLICE.schema.names).rechunk().to_arrow()
        self._table: pa.Table = kept.cast(OHLCV_SLICE.schema)
        self._ts: npt.NDArray[np.int64] = candles["ts"].cast(pl.Int64).to_numpy()
        self._duplicates = _running(candles["duplicates"])
        self._conflicts = _running(candles["conflicts"])
        self._runs: dict[tuple[Chain, str], list[_Run]] = {}
        of_a_series = pl.struct(*TOKEN_COLUMNS, "interval_s").rle_id()
        runs = candles.group_by(of_a_series.alias("run"), maintain_order=True).agg(
            pl.first(*TOKEN_COLUMNS, "interval_s"), pl.len()
        )
        first = 0
        for _, chain, address, network, interval_s, rows in runs.iter_rows():
            run = _Run(Token(chain, address, network), interval_s, first, first + rows)
            self._runs.setdefault((chain, address), []).append(run)
            first += rows

    def cut(
        self, chain: Chain, address: str, start: datetime, end: datetime
    ) -> Iterator[CutWindow]:
        """The windows of an address that hold a candle, by interval and network."""
        for run in sorted(
            self._runs.get((chain, address), ()),
            key=lambda series: (series.interval_s, series.token.network or ""),
        ):
            opens, closes = fit_window(start, end, run.interval_s)
            times = self._ts[run.first : run.last]
            edges = [to_us(opens), to_us(closes)]
            low, high = (run.first + int(i) for i in np.searchsorted(times, edges))
            if low < high:
                yield CutWindow(run.token, run.interval_s, opens, closes, low, high)

    def rows(self, window: CutWindow) -> pa.Table:
        """The candles of a window, columns of `ohlcv_slice_v2`; a view."""
        return self._table.slice(window.first, window.last - window.first)

    def duplicates(self, window: CutWindow) -> int:
        """Rows that repeated a candle of the window exactly."""
        return int(self._duplicates[window.last] - self._duplicates[window.first])

    def conflicts(self, window: CutWindow) -> int:
        """Rows that lost against a candle of the window."""
        return int(self._conflicts[window.last] - self._conflicts[window.first])


def _running(counts: pl.Series) -> npt.NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(counts.to_numpy(), dtype=np.int64)))

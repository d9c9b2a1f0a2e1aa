"""A candle source that is a data frame."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import polars as pl
import pyarrow as pa

from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.slices.slices import fit_window
from quantlab_assets.domain.tokens.token import Chain, Token
from quantlab_assets.ports.candle_source import (
    CandleRejects,
    CandleSeries,
    CandleWindow,
    FoundCandles,
    WindowCandles,
)

MEMORY = SourceFile(f"sha256:{'0' * 64}", "memory", 0, "candles_csv")


class InMemoryCandles:
    """Candles in a frame of `ohlcv_slice_v2` columns: valid, one a time."""

    def __init__(
        self,
        candles: pl.DataFrame | None = None,
        rejects: Iterable[CandleRejects] = (),
        source: SourceFile = MEMORY,
        volume_unit: str | None = None,
    ) -> None:
        self._volume_unit = volume_unit
        shape = pl.DataFrame(OHLCV_SLICE.empty())
        self._candles = (shape if candles is None else candles.cast(shape.schema)).sort(
            "interval_s", "token_chain", "ts"
        )
        self._rejects = tuple(rejects)
        self._source = source

    def volume_unit(self) -> str | None:
        return self._volume_unit

    def available(self, chain: Chain, address: str) -> Sequence[CandleSeries]:
        address = address.lower() if chain == "evm" else address
        series = (
            self._candles.filter(pl.col("chain") == chain, pl.col("token_address") == address)
            .group_by("interval_s", "token_chain", maintain_order=True)
            .agg(pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last"), pl.len())
        )
        return [
            CandleSeries(
                Token(chain, address, network), interval_s, first, last, rows, (self._source,)
            )
            for interval_s, network, first, last, rows in series.iter_rows()
        ]

    def candles(
        self, token: Token, interval_s: int, start: datetime, end: datetime
    ) -> Iterator[pa.RecordBatch]:
        rows = self._candles.filter(
            pl.col("chain") == token.chain,
            pl.col("token_address")
            == (token.address.lower() if token.chain == "evm" else token.address),
            pl.col("token_chain").eq_missing(pl.lit(token.network, dtype=pl.String)),
            pl.col("interval_s") == interval_s,
            pl.col("ts") >= start,
            pl.col("ts") < end,
        )
        yield from rows.to_arrow().cast(OHLCV_SLICE.schema).to_batches()

    def newest_ts(self) -> datetime | None:
        newest: datetime | None = self._candles.select(pl.col("ts").max()).item()
        return newest

    def windows(self, wanted: Sequence[CandleWindow]) -> Iterator[FoundCandles]:
        for window in wanted:
            found = []
            for series in self.available(window.chain, window.address):
                start, end = fit_window(window.start, window.end, series.interval_s)
                batches = self.candles(series.token, series.interval_s, start, end)
                table = pa.Table.from_batches(batches, schema=OHLCV_SLICE.schema)
                if table.num_rows:
                    found.append(
                        WindowCandles(
                            series.token, series.interval_s, start, end, table, series.sources
                        )
                    )
            rejects = [
                refused
                for refused in self._rejects
                if any(
                    (token.chain, token.address) == (window.chain, window.address)
                    for token in refused.tokens
                )
            ]
            yield FoundCandles(tuple(found), tuple(rejects))

    def unresolved(self) -> Sequence[CandleRejects]:
        return [refused for refused in self._rejects if not refused.tokens]

    def rejects(self) -> Sequence[CandleRejects]:
        return self._rejects

"""A candle source that is a data frame."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import polars as pl

from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.slices.plan import fit_window
from quantlab_assets.domain.tokens.token import Token
from quantlab_assets.ports.candle_source import (
    CandleRejects,
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

    def newest_ts(self) -> datetime | None:
        newest: datetime | None = self._candles.select(pl.col("ts").max()).item()
        return newest

    def windows(self, wanted: Sequence[CandleWindow]) -> Iterator[FoundCandles]:
        for window in wanted:
            rejects = [
                refused
                for refused in self._rejects
                if any(
                    (token.chain, token.address) == (window.chain, window.address)
                    for token in refused.tokens
                )
            ]
            yield FoundCandles(tuple(self._cut(window)), tuple(rejects))

    def _cut(self, window: CandleWindow) -> Iterator[WindowCandles]:
        address = window.address.lower() if window.chain == "evm" else window.address
        held = self._candles.filter(
            pl.col("chain") == window.chain, pl.col("token_address") == address
        )
        for (interval, network), rows in held.group_by(
            "interval_s", "token_chain", maintain_order=True
        ):
            interval_s = int(str(interval))
            start, end = fit_window(window.start, window.end, interval_s)
            inside = rows.filter(pl.col("ts") >= start, pl.col("ts") < end)
            if inside.height:
                yield WindowCandles(
                    Token(window.chain, address, None if network is None else str(network)),
                    interval_s,
                    start,
                    end,
                    inside.to_arrow().cast(OHLCV_SLICE.schema),
                    (self._source,),
                )

    def unresolved(self) -> Sequence[CandleRejects]:
        return [refused for refused in self._rejects if not refused.tokens]

    def rejects(self) -> Sequence[CandleRejects]:
        return self._rejects

"""All that a candle source has of an address, asked for as the lab asks: by a window."""

from datetime import UTC, datetime
from typing import Final

import polars as pl

from quantlab_assets.domain.tokens.token import Chain
from quantlab_assets.ports.candle_source import CandleSource, CandleWindow, WindowCandles

EVER: Final = (datetime(1971, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def series_of(source: CandleSource, chain: Chain, address: str) -> tuple[WindowCandles, ...]:
    """The candles of an address at all times: by interval, then network."""
    (answer,) = source.windows([CandleWindow(chain, address, *EVER)])
    return answer.candles


def span(series: WindowCandles) -> tuple[datetime, datetime, int]:
    """The first and the last candle, and how many there are."""
    times = pl.Series(series.table["ts"])
    return times[0], times[-1], len(times)

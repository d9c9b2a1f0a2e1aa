"""Markets of hundreds of candles, long enough for blocks of candles to be skipped.

Prices move on a grid of eighths and levels are made of quarters and halves, so that they are
touched exactly; markets drift, stand still, jump and have holes.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
from hypothesis import strategies as st

from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_tests.simulation.markets import CANDLE_SCHEMA, START, alert_frame, strategies


@dataclass(frozen=True)
class Market:
    alerts: pl.DataFrame
    candles: pl.DataFrame


def walk(seed: int, candles: int, calm: float, drift: float) -> list[tuple[float, ...]]:
    """Bars of a random walk on eighths: (index on the minute grid, open, high, low, close)."""
    rng = np.random.default_rng(seed)
    price, minute = 80, 0
    bars = []
    for _ in range(candles):
        if rng.random() < 0.02:
            minute += int(rng.integers(1, 90))
        open_ = max(1, price + (int(rng.integers(-8, 9)) if rng.random() < 0.05 else 0))
        step = 0 if rng.random() < calm else round(rng.normal(drift, 2))
        price = max(1, open_ + step)
        top = max(open_, price) + (int(rng.integers(0, 3)) if rng.random() > calm else 0)
        low = max(1, min(open_, price) - (int(rng.integers(0, 3)) if rng.random() > calm else 0))
        bars.append((minute, open_ / 8, top / 8, low / 8, price / 8))
        minute += 1
    return bars


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """One to three tokens, some alerts on each, in a few hundred one-minute candles."""
    rows, alerts = [], []
    for number in range(draw(st.integers(1, 3))):
        bars = walk(
            seed=draw(st.integers(0, 2**32 - 1)),
            candles=draw(st.integers(60, 400)),
            calm=draw(st.sampled_from([0.0, 0.5, 0.95])),
            drift=draw(st.sampled_from([-0.2, 0.0, 0.2, 1.0])),
        )
        mint = f"Mint{number}"
        rows += [
            (mint, "solana", 60, START + timedelta(minutes=minute), *prices, 1.0)
            for minute, *prices in bars
        ]
        for _ in range(draw(st.integers(1, 3))):
            known = START + timedelta(minutes=draw(st.integers(-5, bars[-1][0] + 5)))
            caller = draw(st.sampled_from(["ann", "bob"]))
            alerts.append({"mint": mint, "known_ts_utc": known, "caller_name_norm": caller})
    return Market(alert_frame(alerts), pl.DataFrame(rows, schema=CANDLE_SCHEMA, orient="row"))


@st.composite
def sweeps(draw: st.DrawFn) -> list[Strategy]:
    """Strategies that share ways to enter, so that enough of them meet in one index."""
    some = draw(st.lists(strategies(), min_size=5, max_size=12))
    entries = [strategy.entry for strategy in some[:2]]
    return [
        strategy.model_copy(update={"entry": entries[number % len(entries)]})
        for number, strategy in enumerate(some)
    ]

"""A second opinion from vectorbt on what both can express: one stop and one target."""

import numpy as np
import polars as pl
import pytest

from quantlab_assets.simulation import simulate
from quantlab_tests.simulation.markets import alert_frame, build_strategy, candle_frame

vectorbt = pytest.importorskip("vectorbt")

TOKENS, CANDLES = 40, 300


def bars(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    close = np.exp(np.cumsum(rng.normal(0, 0.03, CANDLES)))
    open_ = np.concatenate(([1.0], close[:-1]))
    wicks = 1 + rng.random((2, CANDLES)) * 0.01
    high, low = np.maximum(open_, close) * wicks[0], np.minimum(open_, close) / wicks[1]
    return np.stack([open_, high, low, close], axis=1)


@pytest.mark.filterwarnings("default")
def test_same_exit_candle():
    market = [bars(seed) for seed in range(TOKENS)]
    candles = pl.concat(
        candle_frame(each.tolist(), token=("solana", f"Mint{number:02d}"))
        for number, each in enumerate(market)
    )
    alerts = alert_frame(
        {"mint": f"Mint{number:02d}", "alert_id": f"a{number:02d}"} for number in range(TOKENS)
    )
    exits = {"stop_loss_pct": 0.3, "take_profits": [{"gain_pct": 0.5, "fraction": 1.0}]}
    ours = simulate(alerts, candles, build_strategy(exit=exits)).trades.sort("alert_id")

    wide = np.stack(market, axis=2)
    entries = np.zeros((CANDLES, TOKENS), dtype=bool)
    entries[0] = True
    portfolio = vectorbt.Portfolio.from_signals(
        wide[:, 3],
        entries,
        price=wide[:, 0],
        open=wide[:, 0],
        high=wide[:, 1],
        low=wide[:, 2],
        sl_stop=0.3,
        tp_stop=0.5,
        stop_entry_price="fillprice",
        freq="1min",
    )
    records = portfolio.orders.records
    closing = records[records["side"] == 1].set_index("col")["idx"]
    theirs = [int(closing.get(number, CANDLES - 1)) + 1 for number in range(TOKENS)]
    assert ours["candles_held"].to_list() == theirs
    assert set(ours["exit_reason"]) >= {"stop_loss", "take_profit"}

"""The result depends on what the frames say, not on how they are laid out or computed."""

import polars as pl
import pytest

from quantlab_assets.simulation import simulate, simulate_many
from quantlab_assets.simulation.market.candle_book import one_candle_a_moment
from quantlab_tests.simulation.agreement import assert_same
from quantlab_tests.simulation.long_markets import walk
from quantlab_tests.simulation.markets import alert_frame, at, build_strategy, candle_frame

STRATEGY = build_strategy(
    exit={
        "stop_loss_pct": 0.25,
        "take_profits": [{"gain_pct": 0.25, "fraction": 0.5}, {"gain_pct": 0.5, "fraction": 0.5}],
        "trailing": {"activation_pct": 0.25, "distance_pct": 0.25},
    },
    sizing={"max_open_positions": 200},
)


@pytest.fixture(scope="module")
def market() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Enough alerts for several threads, and a coarse slice that a fine one overlaps."""
    candles = []
    for number in range(20):
        bars = [bar[1:] for bar in walk(number, 200, calm=0.2, drift=0.0)]
        candles.append(candle_frame(bars, token=("solana", f"Mint{number}")))
    coarse = candle_frame([(10, 11, 9, 10)] * 5, token=("solana", "Mint0"), interval_s=3600)
    alerts = alert_frame(
        {"mint": f"Mint{i % 20}", "known_ts_utc": at(i), "caller_name_norm": f"c{i % 3}"}
        for i in range(600)
    )
    return alerts, pl.concat([*candles, coarse])


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads(market, threads):
    assert_same(
        simulate(*market, STRATEGY, threads=threads), simulate(*market, STRATEGY, threads=1)
    )


def test_threads_of_a_sweep(market):
    many = [build_strategy(exit={"stop_loss_pct": i / 20}) for i in range(1, 9)]
    one, four = (list(simulate_many(*market, many, threads=threads)) for threads in (1, 4))
    for left, right in zip(one, four, strict=True):
        assert_same(left, right)


def test_row_order(market):
    alerts, candles = market
    expected = simulate(alerts, candles, STRATEGY)
    for seed in range(3):
        shuffled = [frame.sample(fraction=1, shuffle=True, seed=seed) for frame in market]
        assert_same(simulate(*shuffled, STRATEGY), expected)


def test_chunks_and_extra_columns(market):
    alerts, candles = market
    pieces = [candles[i : i + 97] for i in range(0, candles.height, 97)]
    chunked = pl.concat(pieces, rechunk=False).with_columns(token_chain=pl.lit("bsc"))
    assert chunked.n_chunks() > 1
    assert_same(simulate(alerts, chunked, STRATEGY), simulate(alerts, candles, STRATEGY))


def test_duplicated_rows_change_nothing(market):
    alerts, candles = market
    doubled = pl.concat([candles, candles.reverse()])
    assert_same(simulate(alerts, doubled, STRATEGY), simulate(alerts, candles, STRATEGY))


def test_tokens_that_nobody_calls_change_nothing(market):
    alerts, candles = market
    other = candle_frame([(1, 2, 0.5, 1)] * 9, token=("solana", "Mint0x"))
    more = pl.concat([other, candles, other])
    assert_same(simulate(alerts, more, STRATEGY), simulate(alerts, candles, STRATEGY))


def test_candles_that_do_not_count_change_nothing(market):
    alerts, candles = market
    chosen = one_candle_a_moment(candles)
    assert chosen.height < candles.height
    assert chosen.equals(one_candle_a_moment(chosen))
    assert chosen.equals(chosen.sort("chain", "token_address", "ts"))
    assert_same(simulate(alerts, chosen, STRATEGY), simulate(alerts, candles, STRATEGY))

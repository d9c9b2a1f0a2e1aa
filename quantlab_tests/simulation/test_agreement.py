"""The engine gives what the reference gives, to the last bit."""

import pytest
from hypothesis import HealthCheck, given, settings

from quantlab_assets.simulation import simulate, simulate_many
from quantlab_tests.simulation import reference
from quantlab_tests.simulation.agreement import assert_agrees, assert_same
from quantlab_tests.simulation.long_markets import Market, markets, sweeps
from quantlab_tests.simulation.markets import (
    Case,
    alert_frame,
    build_strategy,
    candle_frame,
    cases,
    strategies,
)

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)


def quick(examples: int) -> settings:
    return settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=SLOW
    )


def agrees(case: Case) -> None:
    engine = simulate(case.alerts, case.candles, case.strategy)
    assert_agrees(engine, reference.simulate(case.alerts, case.candles, case.strategy))


def agrees_on_long_markets(market: Market, strategy) -> None:
    engine = simulate(market.alerts, market.candles, strategy)
    assert_agrees(engine, reference.simulate(market.alerts, market.candles, strategy))


def sweep_is_one_by_one(market: Market, many) -> None:
    swept = list(simulate_many(market.alerts, market.candles, many))
    assert len(swept) == len(many)
    for strategy, result in zip(many, swept, strict=True):
        assert_same(result, simulate(market.alerts, market.candles, strategy))


@pytest.mark.parametrize("at", [1, 63, 64, 65, 100, 127, 128, 150])
@pytest.mark.parametrize(
    ("touch", "exits", "reason"),
    [
        ((100, 100, 75, 100), {"stop_loss_pct": 0.25}, "stop_loss"),
        (
            (100, 150, 100, 100),
            {"take_profits": [{"gain_pct": 0.5, "fraction": 1.0}]},
            "take_profit",
        ),
    ],
)
def test_one_candle_that_just_touches_among_many_quiet_ones_is_met(touch, exits, reason, at):
    """Quiet candles are passed over many at a time, and the touch is exactly on the level."""
    bars = [(100, 100, 100, 100)] * 200
    bars[at] = touch
    case = Case(alert_frame([{}]), candle_frame(bars), build_strategy(exit=exits))

    trade = simulate(case.alerts, case.candles, case.strategy).trades.row(0, named=True)

    assert (trade["exit_reason"], trade["candles_held"]) == (reason, at + 1)
    agrees(case)


test_small_hostile_markets = quick(150)(given(case=cases())(agrees))
test_long_markets = quick(60)(
    given(market=markets(), strategy=strategies())(agrees_on_long_markets)
)
test_a_sweep_equals_one_at_a_time = quick(30)(
    given(market=markets(), many=sweeps())(sweep_is_one_by_one)
)

night = settings(max_examples=5000, deadline=None, suppress_health_check=SLOW)
test_small_hostile_markets_all_night = pytest.mark.nightly(
    pytest.mark.timeout(3600)(night(given(case=cases())(agrees)))
)
test_long_markets_all_night = pytest.mark.nightly(
    pytest.mark.timeout(3600)(
        night(given(market=markets(), strategy=strategies())(agrees_on_long_markets))
    )
)
test_sweeps_all_night = pytest.mark.nightly(
    pytest.mark.timeout(3600)(night(given(market=markets(), many=sweeps())(sweep_is_one_by_one)))
)

"""The engine gives what the reference gives, to the last bit."""

import pytest
from hypothesis import HealthCheck, given, settings

from quantlab_assets.simulation import simulate, simulate_many
from quantlab_tests.simulation import reference
from quantlab_tests.simulation.agreement import assert_agrees, assert_same
from quantlab_tests.simulation.long_markets import Market, markets, sweeps
from quantlab_tests.simulation.markets import Case, cases, strategies

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

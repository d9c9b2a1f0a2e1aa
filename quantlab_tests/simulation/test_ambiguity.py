"""How far the result hangs on what candles do not tell."""

import math

import polars as pl
import pytest
from hypothesis import given, settings

from quantlab_assets.simulation import simulate
from quantlab_tests.simulation import reference
from quantlab_tests.simulation.markets import (
    Case,
    alert_frame,
    build_strategy,
    candle_frame,
    cases,
)


def metric(result, name: str) -> float | None:
    row = result.metrics.filter(scope="all", metric_name=name)
    return row["metric_value"].item()


def with_intrabar(case: Case, intrabar: str):
    exits = case.strategy.exit.model_copy(update={"intrabar": intrabar})
    return case.strategy.model_copy(update={"exit": exits})


def with_slippage(case: Case, slippage_bps: float):
    costs = case.strategy.costs.model_copy(update={"slippage_bps": slippage_bps})
    return case.strategy.model_copy(update={"costs": costs})


@settings(max_examples=40, deadline=None, derandomize=True)
@given(case=cases())
def test_the_interval_is_that_of_both_orders(case):
    totals = [
        reference.simulate(case.alerts, case.candles, with_intrabar(case, order))
        .metrics.filter(scope="all", metric_name="total_net_pnl")["metric_value"]
        .item()
        for order in ("stop_first", "target_first")
    ]
    result = simulate(case.alerts, case.candles, case.strategy)
    assert metric(result, "net_pnl_pessimistic") == min(totals)
    assert metric(result, "net_pnl_optimistic") == max(totals)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(case=cases())
def test_at_break_even_slippage_nothing_is_won_or_lost(case):
    bps = metric(simulate(case.alerts, case.candles, case.strategy), "break_even_slippage_bps")
    free = simulate(case.alerts, case.candles, with_slippage(case, 0.0))
    if bps is None:
        assert free.trades.height == 0 or metric(free, "total_net_pnl") < 1e-9
    else:
        at_break_even = simulate(case.alerts, case.candles, with_slippage(case, bps))
        assert math.isclose(metric(at_break_even, "total_net_pnl"), 0.0, abs_tol=1e-9)


def test_an_ambiguous_candle_widens_the_interval():
    candles = candle_frame([(100, 100, 100, 100), (100, 150, 70, 100)])
    strategy = build_strategy(
        exit={"stop_loss_pct": 0.25, "take_profits": [{"gain_pct": 0.5, "fraction": 0.5}]}
    )
    result = simulate(alert_frame([{}]), candles, strategy)
    assert result.trades["ambiguous_candles"].to_list() == [1]
    assert metric(result, "total_net_pnl") == pytest.approx(-0.25)
    assert metric(result, "net_pnl_pessimistic") == pytest.approx(-0.25)
    assert metric(result, "net_pnl_optimistic") == pytest.approx(0.125)


def test_without_trades_there_is_no_break_even():
    result = simulate(alert_frame([{}]), candle_frame([]), build_strategy())
    assert metric(result, "net_pnl_pessimistic") == 0
    assert metric(result, "break_even_slippage_bps") is None


def test_no_figure_is_infinite_or_nan():
    candles = candle_frame([(1e-50, 1e50, 1e-50, 1e50)] * 3)
    result = simulate(alert_frame([{}]), candles, build_strategy())
    for frame in (result.trades, result.metrics, result.curves):
        for series in frame.select(pl.col(pl.Float64)):
            assert series.drop_nulls().is_finite().all(), series.name

"""Strategies that make no sense are refused by field; those that do have one text."""

import json

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.experiments.strategy import Exit, Strategy, TakeProfit
from quantlab_tests.simulation.markets import strategies


def ladder(*rungs: tuple[float, float]) -> dict[str, object]:
    return {"take_profits": [{"gain_pct": gain, "fraction": part} for gain, part in rungs]}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"exit": ladder((1, 0.6), (2, 0.6))}, "exit.take_profits: fraction must sum to at most 1"),
        ({"exit": ladder((2, 0.5), (1, 0.5))}, "take_profits.1.gain_pct is 1.0"),
        ({"exit": ladder((1, 0.5), (1, 0.5))}, "gain_pct must be strictly increasing"),
        ({"exit": ladder((0, 0.5))}, "exit.take_profits.0.gain_pct"),
        ({"exit": ladder((1, 0))}, "exit.take_profits.0.fraction"),
        ({"exit": {"breakeven_after_pct": 0}}, "exit.breakeven_after_pct"),
        ({"exit": {"stop_loss_pct": 30}}, "exit.stop_loss_pct"),
        ({"exit": {"trailing": {"activation_pct": 0.5}}}, "exit.trailing.distance_pct"),
        ({"exit": {"intrabar": "both"}}, "exit.intrabar"),
        ({"exit": {"max_hold_s": 1.5}}, "exit.max_hold_s"),
        ({"entry": {"mode": "limit_dip"}}, "entry: dip_pct is required for mode limit_dip"),
        ({"entry": {"dip_pct": 0.1}}, "entry: dip_pct has no meaning for mode next_open"),
        ({"entry": {"delay_s": -1}}, "entry.delay_s"),
        ({"costs": {"fee_bps": "30"}}, "costs.fee_bps"),
        ({"costs": {"fee_bps": True}}, "costs.fee_bps"),
        ({"sizing": {"stake": 0}}, "sizing.stake"),
        ({"sizing": {"max_open_positions": 0}}, "sizing.max_open_positions"),
        ({"name": "x"}, "name: Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense(parts, said):
    with pytest.raises(ValidationFailed) as refused:
        Strategy.from_json(json.dumps(parts))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"costs": {"fee_bps": NaN}}'])
def test_what_is_no_strategy_at_all(text):
    with pytest.raises(ValidationFailed, match="strategy: "):
        Strategy.from_json(text)


def test_canonical_json_has_defaults_and_no_options_that_are_off():
    assert Strategy().canonical_json() == (
        '{"costs":{"fee_bps":30,"slippage_bps":50},'
        '"entry":{"delay_s":0,"max_wait_s":3600,"mode":"next_open"},'
        '"exit":{"intrabar":"stop_first","take_profits":[]},'
        '"sizing":{"initial_capital":100,"stake":1}}'
    )


def test_spelling_does_not_matter():
    spelled = Strategy.from_json('{"costs": {"fee_bps": 30.0}, "exit": {"max_hold_s": null}}')
    assert spelled == Strategy()
    assert spelled.canonical_json() == Strategy.from_json("{}").canonical_json()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(strategy=strategies())
def test_canonical_json_reads_back(strategy):
    text = strategy.canonical_json()
    assert Strategy.from_json(text) == strategy
    assert Strategy.from_json(text).canonical_json() == text


def test_rounding_of_fractions_is_forgiven():
    exits = Exit(take_profits=tuple(TakeProfit(gain_pct=i, fraction=0.1) for i in range(1, 11)))
    assert len(exits.take_profits) == 10


def test_a_strategy_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Strategy().seed = 1  # type: ignore[misc]

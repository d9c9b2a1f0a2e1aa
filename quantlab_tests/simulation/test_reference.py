"""Hand-computed examples of every rule, for reference and engine, then what holds in any market.

Bars are (open, high, low, close), a minute each from START unless a test says otherwise; the alert
comes at START.
"""

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import ClassVar

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from quantlab_assets.simulation import simulate
from quantlab_tests.simulation import reference
from quantlab_tests.simulation.agreement import assert_agrees
from quantlab_tests.simulation.markets import (
    CANDLE_SCHEMA,
    START,
    Case,
    alert_frame,
    at,
    build_strategy,
    candle_frame,
    cases,
)

ONE_ALERT = alert_frame([{}])
FLAT = (4.0, 4.0, 4.0, 4.0)
TICK = timedelta(microseconds=1)


def simulated(alerts, candles, strategy) -> reference.Reference:
    """What the reference says; the engine has to say the same."""
    result = reference.simulate(alerts, candles, strategy)
    assert_agrees(simulate(alerts, candles, strategy), result)
    return result


def trades_of(bars, *, alerts=ONE_ALERT, **rules) -> pl.DataFrame:
    return simulated(alerts, candle_frame(bars), build_strategy(**rules)).trades


def trade_of(bars, **rules) -> dict:
    """The single trade of one alert over minute bars."""
    trades = trades_of(bars, **rules)
    assert trades.height == 1
    return trades.row(0, named=True)


def legs_of(bars, **rules) -> list[tuple[float, float, float, str]]:
    """(seconds after START, fraction, price, reason) of the single trade's legs."""
    result = simulated(ONE_ALERT, candle_frame(bars), build_strategy(**rules))
    (position,) = result.positions
    start = int(START.timestamp()) * 1_000_000
    return [((leg.ts - start) / 1e6, leg.fraction, leg.price, leg.reason) for leg in position.legs]


def codes_of(result: reference.Reference) -> list[tuple[str, str]]:
    return result.diagnostics.select("alert_id", "code").rows()


def ladder(*steps: tuple[float, float]) -> list[dict[str, float]]:
    return [{"gain_pct": gain, "fraction": fraction} for gain, fraction in steps]


def trailing(activation: float, distance: float) -> dict[str, float]:
    return {"activation_pct": activation, "distance_pct": distance}


# ----------------------------------------------------------------------------------------------
# Entry, next_open


class TestNextOpen:
    @pytest.mark.parametrize(
        ("known", "entry"),
        [
            (at(0), at(0)),  # a candle that opens at the order time is used
            (at(0) + TICK, at(60)),  # one that opened before it never is
            (at(59), at(60)),
            (at(-3600), at(0)),  # the wait is inclusive
        ],
    )
    def test_takes_the_first_candle_at_or_after_the_order_time(self, known, entry):
        trades = trades_of([FLAT, FLAT, FLAT], alerts=alert_frame([{"known_ts_utc": known}]))
        assert trades["entry_ts"].to_list() == [entry]

    def test_fills_at_the_open(self):
        assert trade_of([(3.0, 5.0, 2.0, 4.0)])["entry_price"] == 3.0

    def test_counts_delay_from_the_time_the_address_was_known(self):
        alerts = alert_frame([{"alert_ts_utc": at(0), "known_ts_utc": at(30)}])
        trades = trades_of([FLAT] * 5, alerts=alerts, entry={"delay_s": 90})
        assert trades["entry_ts"].to_list() == [at(120)]
        assert trades["alert_ts_utc"].to_list() == [at(0)]

    @pytest.mark.parametrize("known", [at(-3600) - TICK, at(1)])
    def test_no_candle_within_the_wait_is_no_entry_candle(self, known):
        alerts = alert_frame([{"known_ts_utc": known}])
        result = simulated(alerts, candle_frame([FLAT]), build_strategy())
        assert result.trades.is_empty()
        assert result.diagnostics.rows(named=True) == [
            {
                "alert_id": "a0",
                "level": "warning",
                "code": "no_entry_candle",
                "message": reference.MESSAGES["no_entry_candle"],
                "ts": known,
            }
        ]

    def test_a_token_without_any_candle_is_no_candles(self):
        alerts = alert_frame([{"mint": "other"}, {"chain": "evm"}, {}])
        result = simulated(alerts, candle_frame([FLAT]), build_strategy())
        assert codes_of(result) == [("a0", "no_candles"), ("a1", "no_candles")]


# ----------------------------------------------------------------------------------------------
# Entry, limit_dip

DIP = {"mode": "limit_dip", "dip_pct": 0.25, "max_wait_s": 120}


class TestLimitDip:
    def test_may_fill_in_the_reference_candle_at_the_limit(self):
        trade = trade_of([(4.0, 4.0, 3.0, 4.0), FLAT], entry=DIP)
        assert (trade["entry_ts"], trade["entry_price"]) == (at(0), 3.0)

    def test_fills_at_the_open_when_the_market_opens_below_the_limit(self):
        trade = trade_of([FLAT, (2.0, 4.0, 2.0, 4.0)], entry=DIP)
        assert (trade["entry_ts"], trade["entry_price"]) == (at(60), 2.0)

    def test_keeps_the_limit_of_the_reference_candle(self):
        bars = [(4.0, 8.0, 4.0, 8.0), (8.0, 8.0, 6.0, 6.0), (6.0, 6.0, 2.0, 6.0)]
        trade = trade_of(bars, entry=DIP)
        assert (trade["entry_ts"], trade["entry_price"]) == (at(120), 3.0)

    def test_waits_from_the_order_time_inclusive(self):
        dip = (4.0, 4.0, 3.0, 4.0)
        assert trade_of([FLAT, FLAT, dip], entry=DIP)["entry_ts"] == at(120)
        result = simulated(
            ONE_ALERT, candle_frame([FLAT, FLAT, FLAT, dip]), build_strategy(entry=DIP)
        )
        assert codes_of(result) == [("a0", "entry_expired")]

    def test_without_a_reference_candle_is_no_entry_candle(self):
        alerts = alert_frame([{"known_ts_utc": at(60)}])
        result = simulated(alerts, candle_frame([FLAT]), build_strategy(entry=DIP))
        assert codes_of(result) == [("a0", "no_entry_candle")]

    def test_entry_candle_tests_the_stop_but_no_target_and_leaves_the_peak_alone(self):
        exit = {"take_profits": ladder((0.5, 1.0)), "breakeven_after_pct": 0.5}
        bars = [(4.0, 8.0, 3.0, 4.0), (4.0, 4.0, 2.0, 4.0)]
        trade = trade_of(bars, entry=DIP, exit=exit)
        assert (trade["exit_reason"], trade["exit_price"]) == ("end_of_data", 4.0)
        assert trade["peak_multiple"] == 4.0 / 3.0
        assert trade["trough_multiple"] == 2.0 / 3.0

        stopped = trade_of([(4.0, 8.0, 1.0, 4.0), FLAT], entry=DIP, exit={"stop_loss_pct": 0.5})
        assert (stopped["exit_reason"], stopped["exit_price"]) == ("stop_loss", 1.5)
        assert stopped["exit_ts"] == at(60)
        assert stopped["peak_multiple"] == 1.0
        assert stopped["trough_multiple"] == 1.0 / 3.0

    def test_entry_candle_is_never_ambiguous_and_may_hit_the_time_limit(self):
        exit = {"take_profits": ladder((0.5, 1.0)), "stop_loss_pct": 0.5}
        trade = trade_of([(4.0, 8.0, 1.0, 4.0)], entry=DIP, exit=exit)
        assert trade["ambiguous_candles"] == 0
        held = trade_of([(4.0, 8.0, 3.0, 3.5), FLAT], entry=DIP, exit={"max_hold_s": 60})
        assert (held["exit_reason"], held["exit_price"]) == ("max_hold", 3.5)


# ----------------------------------------------------------------------------------------------
# Stops


class TestStops:
    def test_stop_loss_inside_exits_at_the_level_at_the_candle_end(self):
        assert legs_of([FLAT, (4.0, 4.0, 2.0, 3.0)], exit={"stop_loss_pct": 0.25}) == [
            (120, 1.0, 3.0, "stop_loss")
        ]

    def test_stop_loss_is_tested_in_the_entry_candle_and_touched_exactly(self):
        assert legs_of([(4.0, 9.0, 3.0, 4.0), FLAT], exit={"stop_loss_pct": 0.25}) == [
            (60, 1.0, 3.0, "stop_loss")
        ]

    def test_gap_through_the_stop_exits_at_the_open_at_its_time(self):
        bars = [FLAT, (2.0, 9.0, 1.0, 8.0), FLAT]
        trade = trade_of(bars, exit={"stop_loss_pct": 0.25, "take_profits": ladder((0.5, 1.0))})
        assert (trade["exit_reason"], trade["exit_price"]) == ("stop_loss", 2.0)
        assert (trade["exit_ts"], trade["duration_s"]) == (at(60), 60)
        assert (trade["candles_held"], trade["ambiguous_candles"]) == (2, 0)
        assert (trade["peak_multiple"], trade["trough_multiple"]) == (9.0 / 4.0, 1.0 / 4.0)

    def test_breakeven_arms_only_when_the_candle_that_reached_it_is_complete(self):
        exit = {"breakeven_after_pct": 0.5}
        bars = [(4.0, 6.0, 3.0, 5.0), (5.0, 5.0, 4.0, 5.0), FLAT]
        assert legs_of(bars, exit=exit) == [(120, 1.0, 4.0, "breakeven")]

    def test_breakeven_does_not_arm_below_its_level(self):
        bars = [(4.0, 5.9, 3.0, 5.0), (5.0, 5.0, 4.0, 5.0)]
        assert legs_of(bars, exit={"breakeven_after_pct": 0.5}) == [(120, 1.0, 5.0, "end_of_data")]

    def test_trailing_follows_the_peak_of_completed_candles(self):
        exit = {"trailing": trailing(0.5, 0.25)}
        bars = [
            (4.0, 5.0, 1.0, 5.0),  # not active
            (5.0, 8.0, 1.0, 8.0),  # arms at the end: 8 * 0.75 = 6
            (8.0, 12.0, 7.0, 12.0),  # now 12 * 0.75 = 9
            (12.0, 12.0, 9.0, 12.0),
        ]
        assert legs_of(bars, exit=exit) == [(240, 1.0, 9.0, "trailing")]

    def test_trailing_arms_when_the_peak_touches_its_activation_exactly(self):
        bars = [(4.0, 6.0, 4.0, 6.0), (6.0, 6.0, 5.0, 6.0), (6.0, 6.0, 4.0, 6.0)]
        exit = {"trailing": trailing(0.5, 0.25)}
        assert legs_of(bars, exit=exit) == [(180, 1.0, 4.5, "trailing")]
        assert legs_of([FLAT, (4.0, 4.0, 3.0, 4.0)], exit={"trailing": trailing(0.0, 0.25)}) == [
            (120, 1.0, 3.0, "trailing")
        ]

    def test_the_highest_stop_binds(self):
        exit = {
            "stop_loss_pct": 0.5,
            "breakeven_after_pct": 0.25,
            "trailing": trailing(0.5, 0.5),
        }
        low_peak = [(4.0, 5.0, 4.0, 5.0), (5.0, 5.0, 1.0, 5.0)]
        assert legs_of(low_peak, exit=exit) == [(120, 1.0, 4.0, "breakeven")]
        high_peak = [(4.0, 12.0, 4.0, 12.0), (12.0, 12.0, 1.0, 5.0)]
        assert legs_of(high_peak, exit=exit) == [(120, 1.0, 6.0, "trailing")]

    def test_ties_go_to_stop_loss_then_breakeven(self):
        fixed = {"stop_loss_pct": 0.25, "trailing": trailing(0.5, 0.5)}
        bars = [(4.0, 6.0, 4.0, 6.0), (6.0, 6.0, 1.0, 5.0)]
        assert legs_of(bars, exit=fixed) == [(120, 1.0, 3.0, "stop_loss")]
        even = {"breakeven_after_pct": 0.5, "trailing": trailing(0.5, 0.5)}
        bars = [(4.0, 8.0, 4.0, 6.0), (6.0, 6.0, 1.0, 5.0)]
        assert legs_of(bars, exit=even) == [(120, 1.0, 4.0, "breakeven")]

    def test_an_open_exactly_on_the_stop_exits_at_the_open(self):
        bars = [FLAT, (3.0, 5.0, 3.0, 5.0)]
        assert legs_of(bars, exit={"stop_loss_pct": 0.25}) == [(60, 1.0, 3.0, "stop_loss")]


# ----------------------------------------------------------------------------------------------
# Targets


class TestTargets:
    def test_inside_fill_at_their_levels_ascending_one_leg_each(self):
        exit = {"take_profits": ladder((0.25, 0.25), (0.5, 0.25), (3.0, 0.5))}
        bars = [(4.0, 6.0, 4.0, 4.0), FLAT]
        assert legs_of(bars, exit=exit) == [
            (60, 0.25, 5.0, "take_profit"),
            (60, 0.25, 6.0, "take_profit"),
            (120, 0.5, 4.0, "end_of_data"),
        ]
        trade = trade_of(bars, exit=exit)
        assert (trade["exit_reason"], trade["exit_legs"]) == ("end_of_data", 3)
        assert trade["exit_price"] == 0.25 * 5.0 + 0.25 * 6.0 + 0.5 * 4.0

    def test_gap_over_targets_fills_them_at_the_open_and_the_rest_inside(self):
        exit = {"take_profits": ladder((0.25, 0.25), (0.5, 0.25), (1.0, 0.5))}
        assert legs_of([FLAT, (7.0, 8.0, 7.0, 7.0)], exit=exit) == [
            (60, 0.25, 7.0, "take_profit"),
            (60, 0.25, 7.0, "take_profit"),
            (120, 0.5, 8.0, "take_profit"),
        ]

    def test_the_last_target_of_a_full_ladder_ends_the_trade(self):
        trade = trade_of(
            [FLAT, (6.0, 9.0, 1.0, 1.0), FLAT],
            exit={"take_profits": ladder((0.5, 1.0)), "stop_loss_pct": 0.5},
        )
        assert (trade["exit_reason"], trade["exit_price"]) == ("take_profit", 6.0)
        assert (trade["exit_ts"], trade["candles_held"]) == (at(60), 2)
        assert trade["ambiguous_candles"] == 0

    def test_open_is_not_a_target_fill_in_the_entry_candle(self):
        assert legs_of([(4.0, 5.0, 4.0, 4.0)], exit={"take_profits": ladder((0.25, 1.0))}) == [
            (60, 1.0, 5.0, "take_profit")
        ]

    def test_what_the_ladder_leaves_stays_under_the_stop(self):
        exit = {"take_profits": ladder((0.5, 0.5)), "stop_loss_pct": 0.5}
        assert legs_of([(4.0, 6.0, 4.0, 4.0), FLAT, (4.0, 4.0, 1.0, 2.0)], exit=exit) == [
            (60, 0.5, 6.0, "take_profit"),
            (180, 0.5, 2.0, "stop_loss"),
        ]

    def test_dust_ends_the_trade_and_more_than_dust_does_not(self):
        tenths = ladder(*[(0.1 * (i + 1), 0.1) for i in range(10)])
        trade = trade_of([(1.0, 10.0, 1.0, 1.0), FLAT], exit={"take_profits": tenths})
        assert (trade["exit_reason"], trade["exit_legs"]) == ("take_profit", 10)
        almost = ladder((0.5, 1 - 1e-9))
        trade = trade_of([(4.0, 6.0, 4.0, 4.0), FLAT], exit={"take_profits": almost})
        assert (trade["exit_reason"], trade["exit_legs"]) == ("end_of_data", 2)


class TestIntrabar:
    BARS = ((4.0, 4.0, 4.0, 4.0), (4.0, 8.0, 2.0, 4.0), (4.0, 4.0, 4.0, 4.0))
    EXIT: ClassVar = {
        "stop_loss_pct": 0.5,
        "take_profits": ladder((0.5, 0.25), (1.0, 0.25), (2.0, 0.5)),
    }

    def test_stop_first_sells_all_at_the_stop(self):
        assert legs_of(self.BARS, exit=self.EXIT) == [(120, 1.0, 2.0, "stop_loss")]

    def test_target_first_sells_reached_targets_then_the_rest_at_the_stop(self):
        exit = self.EXIT | {"intrabar": "target_first"}
        assert legs_of(self.BARS, exit=exit) == [
            (120, 0.25, 6.0, "take_profit"),
            (120, 0.25, 8.0, "take_profit"),
            (120, 0.5, 2.0, "stop_loss"),
        ]

    @pytest.mark.parametrize("intrabar", ["stop_first", "target_first"])
    def test_the_candle_counts_as_ambiguous_once(self, intrabar):
        trade = trade_of(self.BARS, exit=self.EXIT | {"intrabar": intrabar})
        assert (trade["ambiguous_candles"], trade["candles_held"]) == (1, 2)

    def test_targets_filled_at_the_open_no_longer_make_a_candle_ambiguous(self):
        exit = {"stop_loss_pct": 0.5, "take_profits": ladder((0.25, 0.5), (9.0, 0.5))}
        assert trade_of([FLAT, (5.0, 6.0, 2.0, 4.0)], exit=exit)["ambiguous_candles"] == 0


# ----------------------------------------------------------------------------------------------
# Time


class TestTime:
    def test_max_hold_exits_at_the_close_of_the_candle_that_reaches_it_exactly(self):
        bars = [FLAT, (4.0, 4.0, 3.0, 3.0), FLAT]
        assert legs_of(bars, exit={"max_hold_s": 120}) == [(120, 1.0, 3.0, "max_hold")]
        assert legs_of(bars, exit={"max_hold_s": 121}) == [(180, 1.0, 4.0, "max_hold")]

    def test_a_stop_in_the_same_candle_comes_first(self):
        exit = {"max_hold_s": 60, "stop_loss_pct": 0.5}
        assert legs_of([(4.0, 4.0, 1.0, 3.0)], exit=exit) == [(60, 1.0, 2.0, "stop_loss")]

    def test_max_hold_wins_over_end_of_data(self):
        assert trade_of([FLAT], exit={"max_hold_s": 60})["exit_reason"] == "max_hold"

    def test_end_of_data_exits_at_the_last_close_at_its_end(self):
        assert legs_of([FLAT, (4.0, 9.0, 1.0, 5.0)]) == [(120, 1.0, 5.0, "end_of_data")]

    def test_after_a_hole_the_first_candle_past_the_limit_exits_at_its_close(self):
        candles = pl.concat([candle_frame([FLAT]), candle_frame([(5, 5, 2, 2)], start=at(6000))])
        result = simulated(ONE_ALERT, candles, build_strategy(exit={"max_hold_s": 120}))
        trade = result.trades.row(0, named=True)
        assert (trade["exit_price"], trade["exit_ts"]) == (2.0, at(6060))
        assert (trade["duration_s"], trade["candles_held"]) == (6060, 2)


# ----------------------------------------------------------------------------------------------
# Merging


def opens_of(*frames: pl.DataFrame) -> list[tuple[float, float]]:
    """(seconds after START, open) of the merged candles."""
    merged = reference.merge_tokens(pl.concat(frames))[("solana", "MintA")]
    return [(candle.ts / 1e6 - START.timestamp(), candle.open) for candle in merged]


def flat(price: float) -> tuple[float, float, float, float]:
    return (price, price, price, price)


class TestMerging:
    def test_a_coarser_candle_goes_if_any_finer_one_overlaps_it(self):
        hours = candle_frame([flat(60), flat(61)], interval_s=3600)
        minutes = candle_frame([flat(1)], start=at(3540))
        assert opens_of(hours, minutes) == [(3540, 1.0), (3600, 61.0)]

    def test_candles_that_touch_do_not_overlap(self):
        five = candle_frame([flat(5)], interval_s=300, start=at(300))
        before, after = (
            candle_frame([flat(1)], start=at(240)),
            candle_frame([flat(2)], start=at(600)),
        )
        assert opens_of(five, before, after) == [(240, 1.0), (300, 5.0), (600, 2.0)]

    def test_three_intervals(self):
        hours = candle_frame([flat(60), flat(61), flat(62)], interval_s=3600)
        fives = candle_frame([flat(5), flat(6)], interval_s=300)
        minutes = candle_frame([flat(1)], start=at(7200))
        assert opens_of(hours, fives, minutes) == [(0, 5.0), (300, 6.0), (3600, 61.0), (7200, 1.0)]

    @pytest.mark.parametrize(
        ("winner", "loser"),
        [
            ((flat(3), 2.0), (flat(9), 1.0)),
            ((flat(3), 0.0), (flat(9), None)),
            ((flat(9), 1.0), (flat(3), 1.0)),
            ((flat(9), None), (flat(3), None)),
            (((3.0, 9.0, 3.0, 3.0), 1.0), ((3.0, 8.0, 3.0, 8.0), 1.0)),
        ],
    )
    def test_larger_volume_wins_then_the_later_in_canonical_order(self, winner, loser):
        frames = [candle_frame([bar], volume=volume) for bar, volume in (winner, loser)]
        for ordered in (frames, frames[::-1]):
            (candle,) = reference.merge_tokens(pl.concat(ordered))[("solana", "MintA")]
            assert (candle.open, candle.high, candle.low, candle.close) == winner[0]

    def test_one_address_on_two_chains_is_two_tokens(self):
        both = pl.concat(
            [
                candle_frame([flat(1)]),
                candle_frame([flat(2)], token=("evm", "MintA"), interval_s=300),
            ]
        )
        alerts = alert_frame([{}, {"chain": "evm"}])
        trades = simulated(alerts, both, build_strategy()).trades
        assert trades["entry_price"].to_list() == [1.0, 2.0]


# ----------------------------------------------------------------------------------------------
# Money and sizing


class TestMoney:
    def test_fees_and_slippage(self):
        trade = trade_of(
            [FLAT, (4.0, 8.0, 4.0, 8.0)],
            costs={"fee_bps": 100.0, "slippage_bps": 200.0},
            sizing={"stake": 10.0},
        )
        units = 10 / (4 * 1.02)
        proceeds = units * 8 * 0.98
        fees = 0.01 * 10 + 0.01 * proceeds
        assert trade["stake"] == 10.0
        assert trade["gross_pnl"] == 10.0
        assert trade["fees"] == pytest.approx(fees)
        assert trade["net_pnl"] == pytest.approx(proceeds - 10 - fees)
        assert trade["net_return"] == pytest.approx(trade["net_pnl"] / 10)
        assert trade["slippage_cost"] == pytest.approx(20 - proceeds)

    def test_without_costs_net_is_gross(self):
        trade = trade_of([FLAT, (4.0, 4.0, 3.0, 3.0)], sizing={"stake": 8.0})
        assert (trade["gross_pnl"], trade["net_pnl"], trade["net_return"]) == (-2.0, -2.0, -0.25)
        assert (trade["fees"], trade["slippage_cost"]) == (0.0, 0.0)

    def test_every_leg_pays(self):
        trade = trade_of(
            [(4.0, 6.0, 4.0, 4.0), FLAT],
            exit={"take_profits": ladder((0.5, 0.5))},
            costs={"fee_bps": 100.0, "slippage_bps": 0.0},
            sizing={"stake": 4.0},
        )
        assert trade["exit_price"] == 5.0
        assert trade["gross_pnl"] == 1.0
        assert trade["fees"] == pytest.approx(0.04 + 0.05)
        assert trade["net_pnl"] == pytest.approx(0.91)


class TestCapacity:
    ALERTS = (
        {"alert_id": "b", "known_ts_utc": at(0)},
        {"alert_id": "a", "known_ts_utc": at(0)},
        {"alert_id": "c", "known_ts_utc": at(60)},
        {"alert_id": "d", "known_ts_utc": at(120)},
        {"alert_id": "e", "known_ts_utc": at(200)},
    )

    def run(self, **sizing) -> reference.Reference:
        rule = build_strategy(exit={"max_hold_s": 120}, sizing=sizing)
        return simulated(alert_frame(self.ALERTS), candle_frame([FLAT] * 8), rule)

    def test_skips_entries_in_order_of_entry_time_then_alert_id(self):
        result = self.run(max_open_positions=1)
        # a holds [0, 120); d enters at 120, when a is out; e would enter at 240, when d is out.
        assert result.trades["alert_id"].to_list() == ["a", "d", "e"]
        assert codes_of(result) == [("b", "capacity"), ("c", "capacity")]
        assert result.diagnostics["ts"].to_list() == [at(0), at(60)]

    def test_two_at_once(self):
        result = self.run(max_open_positions=2)
        assert result.trades["alert_id"].to_list() == ["a", "b", "d", "e"]
        assert codes_of(result) == [("c", "capacity")]

    def test_is_off_by_default(self):
        assert self.run().trades.height == 5


# ----------------------------------------------------------------------------------------------
# Curves and metrics


class TestCurves:
    def test_marks_open_positions_hourly_and_ends_at_the_last_exit(self):
        bars = [(4.0, 4.0, 2.0, 2.0), (2.0, 8.0, 2.0, 8.0), (8.0, 8.0, 6.0, 6.0)]
        candles = candle_frame(bars, interval_s=1800, start=at(1800))
        rule = build_strategy(sizing={"stake": 4.0, "initial_capital": 10.0})
        result = simulated(alert_frame([{"known_ts_utc": at(1800)}]), candles, rule)
        assert result.curves.rows() == [
            (at(0), 10.0, 0.0, 0, 0.0),
            (at(3600), 8.0, 0.0, 1, 0.2),  # marked at 2
            (at(7200), 12.0, 2.0, 0, 0.0),  # sold at 6
        ]

    def test_marks_at_the_entry_price_until_a_held_candle_has_ended(self):
        before = candle_frame([flat(9)], interval_s=3600)
        candles = pl.concat([before, candle_frame([FLAT] * 61, start=at(3600))])
        rule = build_strategy(exit={"max_hold_s": 3660})
        result = simulated(alert_frame([{"known_ts_utc": at(3600)}]), candles, rule)
        assert result.curves.rows() == [
            (at(3600), 100.0, 0.0, 1, 0.0),
            (at(7200), 100.0, 0.0, 1, 0.0),
            (at(7260), 100.0, 0.0, 0, 0.0),
        ]

    def test_a_half_sold_position_is_open_and_its_sale_is_in_the_equity(self):
        candles = candle_frame([(4.0, 8.0, 4.0, 4.0), FLAT], interval_s=3600)
        rule = build_strategy(exit={"take_profits": ladder((1.0, 0.5))}, sizing={"stake": 4.0})
        result = simulated(ONE_ALERT, candles, rule)
        assert result.curves.rows() == [
            (at(0), 100.0, 0.0, 1, 0.0),
            (at(3600), 102.0, 0.0, 1, 0.0),
            (at(7200), 102.0, 2.0, 0, 0.0),
        ]

    def test_an_open_position_carries_the_costs_of_selling_it_now(self):
        candles = candle_frame([FLAT, FLAT], interval_s=3600)
        rule = build_strategy(costs={"fee_bps": 100.0, "slippage_bps": 0.0}, sizing={"stake": 1.0})
        result = simulated(ONE_ALERT, candles, rule)
        assert result.curves["equity"].to_list() == pytest.approx([99.98] * 3)
        assert result.curves["cumulative_net_pnl"].to_list() == pytest.approx([0.0, 0.0, -0.02])
        assert result.curves["drawdown"].to_list() == pytest.approx([0.0002] * 3)

    def test_drawdown_is_from_the_running_maximum_initial_capital_included(self):
        bars = [(4.0, 4.0, 3.0, 3.0), (3.0, 8.0, 3.0, 8.0), (8.0, 8.0, 5.0, 5.0)]
        rule = build_strategy(sizing={"stake": 4.0, "initial_capital": 4.0})
        curves = simulated(ONE_ALERT, candle_frame(bars, interval_s=3600), rule).curves
        assert curves["equity"].to_list() == [4.0, 3.0, 8.0, 5.0]
        assert curves["drawdown"].to_list() == [0.0, 0.25, 0.0, 0.375]


def metrics_of(result: reference.Reference, scope: str = "all", value: str = "all") -> dict:
    rows = result.metrics.filter(pl.col("scope") == scope, pl.col("scope_value") == value)
    assert tuple(rows["metric_name"]) == reference.METRIC_NAMES
    return dict(zip(rows["metric_name"], rows["metric_value"], strict=True))


class TestMetrics:
    def four_trades(self) -> reference.Reference:
        """Net +4, -1, -2 and 0 on a stake of 4, by two callers, and an alert that finds nothing."""
        closes = {"A": 8.0, "B": 3.0, "C": 2.0, "D": 4.0}
        alerts = [
            {"alert_id": mint, "mint": mint, "caller_name_norm": "ann" if mint in "AB" else "bob"}
            for mint in [*closes, "nothing"]
        ]
        candles = [
            candle_frame([(4.0, 8.0, 2.0, close)], token=("solana", mint))
            for mint, close in closes.items()
        ]
        rule = build_strategy(
            exit={"stop_loss_pct": 0.75, "take_profits": ladder((9.0, 1.0))},
            sizing={"stake": 4.0},
        )
        return simulated(alert_frame(alerts), pl.concat(candles), rule)

    def test_values(self):
        metrics = metrics_of(self.four_trades())
        assert metrics == {
            "total_trades": 4,
            "winning_trades": 1,
            "losing_trades": 2,
            "win_rate": 0.25,
            "avg_win": 4.0,
            "avg_loss": -1.5,
            "profit_factor": 4 / 3,
            "expectancy": 0.25,
            "total_net_pnl": 1.0,
            "total_gross_pnl": 1.0,
            "total_costs": 0.0,
            "median_return": -0.125,  # of -0.5, -0.25, 0, 1
            "return_p05": pytest.approx(-0.4625),
            "return_p95": pytest.approx(0.85),
            "max_drawdown": 0.0,
            "sharpe": None,
            "sortino": None,
            "calmar": None,
            "avg_duration_s": 60.0,
            "ambiguous_share": 0.0,
            "alerts_seen": 5,
            "alerts_without_entry": 1,
        }

    def test_scopes_come_in_order_and_count_their_own(self):
        result = self.four_trades()
        scopes = result.metrics.select("scope", "scope_value").unique(maintain_order=True).rows()
        assert scopes == [
            ("all", "all"),
            ("caller", "ann"),
            ("caller", "bob"),
            ("chain", "solana"),
        ]
        ann, bob = metrics_of(result, "caller", "ann"), metrics_of(result, "caller", "bob")
        assert (ann["total_net_pnl"], bob["total_net_pnl"]) == (3.0, -2.0)
        assert (ann["profit_factor"], bob["profit_factor"]) == (4.0, 0.0)
        assert (ann["alerts_seen"], bob["alerts_seen"]) == (2, 3)
        assert bob["max_drawdown"] == 0.02

    def test_profit_factor_without_losses_is_null(self):
        result = simulated(ONE_ALERT, candle_frame([(4, 5, 4, 5)]), build_strategy())
        assert metrics_of(result)["profit_factor"] is None

    def test_without_trades_counts_are_zero_and_the_rest_is_null(self):
        result = simulated(alert_frame([]), candle_frame([]), build_strategy())
        metrics = metrics_of(result)
        zeros = {name for name, value in metrics.items() if value == 0}
        assert zeros == {
            "total_trades",
            "winning_trades",
            "losing_trades",
            "total_net_pnl",
            "total_gross_pnl",
            "total_costs",
            "alerts_seen",
            "alerts_without_entry",
        }
        assert all(metrics[name] is None for name in metrics.keys() - zeros)
        assert result.trades.is_empty()
        assert result.curves.is_empty()
        assert result.diagnostics.is_empty()

    def test_ratios_from_daily_returns(self):
        # Entered at 20:00; closes of the day are 110 and 99 and 108.9: returns +10 %, -10 %, +10 %.
        hours = [flat(100)] * 3 + [flat(110)] * 24 + [flat(99)] * 24 + [flat(108.9)] * 2
        rule = build_strategy(sizing={"stake": 100.0, "initial_capital": 100.0})
        result = simulated(ONE_ALERT, candle_frame(hours, interval_s=3600), rule)
        returns = [0.0, 0.1, -0.1, 0.1]
        # 23:00 on the first day still shows the candle that ended then.
        assert result.curves["ts"][-1] == datetime(2025, 11, 10, 1, tzinfo=UTC)
        mean = sum(returns) / 4
        std = math.sqrt(sum((r - mean) ** 2 for r in returns) / 3)
        downside = math.sqrt(0.01 / 3)
        metrics = metrics_of(result)
        assert metrics["max_drawdown"] == pytest.approx(0.1)
        assert metrics["sharpe"] == pytest.approx(mean / std * math.sqrt(365))
        assert metrics["sortino"] == pytest.approx(mean / downside * math.sqrt(365))
        assert metrics["calmar"] == pytest.approx((1.089 ** (365 / 4) - 1) / 0.1)

    def test_ratios_need_two_days_and_a_divisor(self):
        one_day = candle_frame([flat(4), flat(5), flat(3)], interval_s=3600)
        metrics = metrics_of(simulated(ONE_ALERT, one_day, build_strategy()))
        assert [metrics[name] for name in ("sharpe", "sortino", "calmar")] == [None, None, None]
        still = candle_frame([FLAT] * 30, interval_s=3600)
        metrics = metrics_of(simulated(ONE_ALERT, still, build_strategy()))
        assert [metrics[name] for name in ("sharpe", "sortino", "calmar")] == [None, None, None]
        assert metrics["max_drawdown"] == 0.0

    def test_a_ruined_account_has_no_ratios(self):
        bars = [flat(8), flat(1)] + [flat(1)] * 30
        rule = build_strategy(sizing={"stake": 30.0, "initial_capital": 7.0})
        result = simulated(ONE_ALERT, candle_frame(bars, interval_s=3600), rule)
        metrics = metrics_of(result)
        assert result.curves["equity"][-1] < 0
        assert [metrics[name] for name in ("sharpe", "sortino", "calmar")] == [None, None, None]
        assert metrics["max_drawdown"] > 1

    def test_ambiguous_share_counts_trades(self):
        bars = [(4.0, 8.0, 2.0, 4.0), FLAT]
        alerts = alert_frame([{}, {"known_ts_utc": at(60)}])
        exit = {"stop_loss_pct": 0.5, "take_profits": ladder((1.0, 1.0))}
        result = simulated(alerts, candle_frame(bars), build_strategy(exit=exit))
        assert metrics_of(result)["ambiguous_share"] == 0.5


# ----------------------------------------------------------------------------------------------
# What holds in any market

any_market = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def run(case: Case) -> reference.Reference:
    return reference.simulate(case.alerts, case.candles, case.strategy)


def assert_same(left: reference.Reference, right: reference.Reference) -> None:
    for name in ("trades", "metrics", "curves", "diagnostics"):
        assert getattr(left, name).equals(getattr(right, name), null_equal=True), name


@given(cases())
@any_market
def test_every_alert_is_a_trade_or_has_a_diagnostic(case):
    result = run(case)
    outcomes = result.trades["alert_id"].to_list() + result.diagnostics["alert_id"].to_list()
    assert sorted(outcomes) == sorted(case.alerts["alert_id"].to_list())
    assert result.trades.select("entry_ts", "alert_id").rows() == sorted(
        result.trades.select("entry_ts", "alert_id").rows()
    )


@given(cases())
@any_market
def test_legs_sell_the_whole_position_in_time_order(case):
    for position in run(case).positions:
        assert math.isclose(sum(leg.fraction for leg in position.legs), 1.0, abs_tol=2e-12)
        times = [leg.ts for leg in position.legs]
        assert times == sorted(times)
        assert all(leg.reason == "take_profit" for leg in position.legs[:-1])
        assert position.exit_ts > position.entry_ts


@given(cases())
@any_market
def test_no_candle_opened_before_the_order_is_used(case):
    known = dict(case.alerts.select("alert_id", "known_ts_utc").rows())
    delay = timedelta(seconds=case.strategy.entry.delay_s)
    wait = timedelta(seconds=case.strategy.entry.max_wait_s)
    for trade in run(case).trades.iter_rows(named=True):
        order = known[trade["alert_id"]] + delay
        assert order <= trade["entry_ts"] <= order + wait


@given(cases())
@any_market
def test_multiples_and_counts_are_in_range(case):
    for trade in run(case).trades.iter_rows(named=True):
        assert trade["trough_multiple"] <= 1.0 <= trade["peak_multiple"]
        assert 0 <= trade["ambiguous_candles"] <= trade["candles_held"]
        assert trade["exit_legs"] >= 1
        assert trade["duration_s"] > 0


@given(cases())
@any_market
def test_money_adds_up(case):
    result = run(case)
    for trade in result.trades.iter_rows(named=True):
        assert trade["gross_pnl"] - trade["fees"] - trade["slippage_cost"] == pytest.approx(
            trade["net_pnl"], abs=1e-9
        )
        assert trade["slippage_cost"] >= -1e-9
    metrics = metrics_of(result)
    if result.trades.height:
        last = result.curves.row(-1, named=True)
        assert last["equity"] == case.strategy.sizing.initial_capital + metrics["total_net_pnl"]
        assert last["cumulative_net_pnl"] == metrics["total_net_pnl"]
        assert last["open_positions"] == 0
        assert last["ts"] == result.trades["exit_ts"].max()
        assert result.curves["drawdown"].max() == metrics["max_drawdown"]


@given(cases())
@any_market
def test_capacity_is_never_exceeded(case):
    limit = case.strategy.sizing.max_open_positions
    trades = run(case).trades.select("entry_ts", "exit_ts").rows()
    for now, _ in trades:
        open_now = sum(1 for entered, left in trades if entered <= now < left)
        assert limit is None or open_now <= limit


@given(cases())
@any_market
def test_numbers_are_finite_or_null(case):
    result = run(case)
    for frame in (result.trades, result.metrics, result.curves):
        for column in frame.select(pl.selectors.float()).iter_columns():
            assert all(value is None or math.isfinite(value) for value in column)
    assert result.trades.null_count().sum_horizontal().sum() == 0


@given(cases())
@any_market
def test_row_order_does_not_matter(case):
    turned = Case(case.alerts.reverse(), case.candles.reverse(), case.strategy)
    assert_same(run(case), run(turned))


@given(cases())
@any_market
def test_merged_candles_never_overlap(case):
    for candles in reference.merge_tokens(case.candles).values():
        for earlier, later in pairwise(candles):
            assert earlier.end <= later.ts


@given(cases())
@any_market
def test_a_trade_does_not_see_candles_after_its_exit_candle(case):
    result = run(case)
    for i, position in enumerate(result.positions):
        chain, mint = position.alert.chain, position.alert.mint
        seen = [
            (mint, chain, (c.end - c.ts) // 1_000_000, c.ts, c.open, c.high, c.low, c.close, None)
            for c in position.candles[: position.exit_index + 1]
        ]
        raw = CANDLE_SCHEMA | {"ts": pl.Int64}
        candles = pl.DataFrame(seen, schema=raw, orient="row").cast(CANDLE_SCHEMA)
        alert = case.alerts.filter(pl.col("alert_id") == position.alert.alert_id)
        again = reference.simulate(alert, candles, case.strategy)
        assert again.trades.equals(result.trades[i : i + 1])


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "holds",
    [
        test_every_alert_is_a_trade_or_has_a_diagnostic,
        test_legs_sell_the_whole_position_in_time_order,
        test_no_candle_opened_before_the_order_is_used,
        test_multiples_and_counts_are_in_range,
        test_money_adds_up,
        test_capacity_is_never_exceeded,
        test_numbers_are_finite_or_null,
        test_row_order_does_not_matter,
        test_merged_candles_never_overlap,
        test_a_trade_does_not_see_candles_after_its_exit_candle,
    ],
)
def test_in_any_market_all_night(holds):
    night = settings(any_market, max_examples=1000, derandomize=False)
    night(given(cases())(holds.hypothesis.inner_test))()

"""The walk of one trade after another through its candles: the one place where exits are decided.

`step` is the rule book for one candle; everything else only finds the next candle in which
something can happen. `run_exits` finds it by looking at blocks of candles at once; `index` finds it
by search, for many strategies. Rules: docs/simulation.md. Prices are raw, times are integer
microseconds UTC.
"""

from typing import NamedTuple

import numpy as np

from quantlab_assets.simulation.arrays import SECOND, Codes, Floats, Integers, compiled

DUST = 1e-12
"""A remainder of a position at or below this is none."""

NEVER = 2**61
"""A time, in microseconds, that no candle reaches."""

STOP_LOSS, BREAKEVEN, TRAILING, TAKE_PROFIT, MAX_HOLD, END_OF_DATA = range(6)
REASONS = ("stop_loss", "breakeven", "trailing", "take_profit", "max_hold", "end_of_data")
"""Exit reasons by code."""

NO_CANDLES, NO_ENTRY_CANDLE, ENTRY_EXPIRED = -1, -2, -3
"""What stands for an entry candle where there is no entry."""

BLOCK = 32
"""Candles looked at at once; a block fits the first-level cache many times over."""


class ExitRules(NamedTuple):
    """The exits of a strategy as factors of the entry price E or of the peak.

    What is off never binds.

    Fixed stop `E * stop_keep` (0 = off); breakeven once the peak reaches `E * breakeven_gain`
    (infinite = off); trailing stop `peak * trail_keep` once the peak reaches `E * trail_gain`
    (infinite = off).
    """

    stop_keep: float
    breakeven_gain: float
    trail_gain: float
    trail_keep: float
    max_hold_us: int
    target_first: bool
    dip_entry: bool


@compiled
def find_entries(
    order_ts: Integers,
    max_wait_us: int,
    dip_keep: float,
    first: Integers,
    last: Integers,
    ts: Integers,
    open_: Floats,
    low: Floats,
    entry: Integers,
    price: Floats,
    start: int,
    stop: int,
) -> None:
    """Find the entry candle and raw fill price of the alerts `start` to `stop`.

    `dip_keep` is 1 minus the dip of a limit entry, 0 for an entry at the open. Writes the row of
    the entry candle, or one of the negative codes, to `entry`, and the price to `price`.
    """
    for alert in range(start, stop):
        price[alert] = 0.0
        if last[alert] < first[alert]:
            entry[alert] = NO_CANDLES
            continue
        row = first[alert] + np.searchsorted(ts[first[alert] : last[alert] + 1], order_ts[alert])
        latest = order_ts[alert] + max_wait_us
        if row > last[alert] or ts[row] > latest:
            entry[alert] = NO_ENTRY_CANDLE
            continue
        if dip_keep == 0.0:
            entry[alert] = row
            price[alert] = open_[row]
            continue
        limit = open_[row] * dip_keep
        entry[alert] = ENTRY_EXPIRED
        while row <= last[alert] and ts[row] <= latest:
            if low[row] <= limit:
                entry[alert] = row
                price[alert] = min(open_[row], limit)
                break
            row += 1


@compiled
def stop_level(entry_price: float, peak: float, rules: ExitRules) -> tuple[float, int]:
    """Return the stop fixed by a peak of completed candles, and the reason that binds.

    A later kind of stop binds only if it is strictly higher.
    """
    level = entry_price * rules.stop_keep
    reason = STOP_LOSS
    if peak >= entry_price * rules.breakeven_gain and entry_price > level:
        level = entry_price
        reason = BREAKEVEN
    if peak >= entry_price * rules.trail_gain:
        trail = peak * rules.trail_keep
        if trail > level:
            level = trail
            reason = TRAILING
    return level, reason


@compiled
def step(
    row: int,
    is_entry: bool,
    final_reason: int,
    entry_price: float,
    peak: float,
    filled: int,
    remaining: float,
    legs: int,
    rules: ExitRules,
    gains: Floats,
    fractions: Floats,
    ts: Integers,
    interval_s: Integers,
    open_: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    leg_ts: Integers,
    leg_price: Floats,
    leg_fraction: Floats,
) -> tuple[int, float, int, int, int]:
    """Take an open position through one candle.

    `peak` is that of completed candles, `filled` the number of targets filled so far, `remaining`
    the open fraction, `final_reason` negative unless the position has to end with this candle. Legs
    are appended to the `leg_*` rows at `legs`. Returns filled, remaining (0 when closed), legs, the
    reason of the last leg (negative without one) and 1 if stop and target both lay inside the
    candle.
    """
    level, stop_reason = stop_level(entry_price, peak, rules)
    targets = len(gains)
    reason = -1
    if not is_entry:
        if open_[row] <= level:
            leg_ts[legs], leg_price[legs], leg_fraction[legs] = ts[row], open_[row], remaining
            return filled, 0.0, legs + 1, stop_reason, 0
        while filled < targets and entry_price * gains[filled] <= open_[row]:
            leg_ts[legs], leg_price[legs] = ts[row], open_[row]
            leg_fraction[legs] = fractions[filled]
            remaining -= fractions[filled]
            filled += 1
            legs += 1
            reason = TAKE_PROFIT
            if remaining <= DUST:
                return filled, 0.0, legs, reason, 0

    end = ts[row] + interval_s[row] * SECOND
    stop_inside = low[row] <= level
    # The high of a limit entry's candle may have come before the fill.
    target_inside = (
        not (is_entry and rules.dip_entry)
        and filled < targets
        and entry_price * gains[filled] <= high[row]
    )
    ambiguous = 1 if stop_inside and target_inside else 0
    if target_inside and (rules.target_first or not stop_inside):
        while filled < targets and entry_price * gains[filled] <= high[row]:
            leg_ts[legs], leg_price[legs] = end, entry_price * gains[filled]
            leg_fraction[legs] = fractions[filled]
            remaining -= fractions[filled]
            filled += 1
            legs += 1
            reason = TAKE_PROFIT
            if remaining <= DUST:
                return filled, 0.0, legs, reason, ambiguous
    if stop_inside:
        leg_ts[legs], leg_price[legs], leg_fraction[legs] = end, level, remaining
        return filled, 0.0, legs + 1, stop_reason, ambiguous
    if final_reason >= 0:
        leg_ts[legs], leg_price[legs], leg_fraction[legs] = end, close[row], remaining
        return filled, 0.0, legs + 1, final_reason, ambiguous
    return filled, remaining, legs, reason, ambiguous


@compiled
def find_final(
    entry: int, last: int, deadline: int, ts: Integers, interval_s: Integers
) -> tuple[int, int]:
    """Return the candle with which a position ends at the latest, and the reason if it does.

    That is the first candle that ends at or after `deadline`, else the last one. Ends ascend.
    """
    if deadline >= NEVER or ts[last] + interval_s[last] * SECOND < deadline:
        return last, END_OF_DATA
    below, reached = entry - 1, last
    while reached - below > 1:
        middle = (below + reached) // 2
        if ts[middle] + interval_s[middle] * SECOND >= deadline:
            reached = middle
        else:
            below = middle
    return reached, MAX_HOLD


@compiled
def run_exits(
    entry: Integers,
    last: Integers,
    price: Floats,
    rules: ExitRules,
    gains: Floats,
    fractions: Floats,
    ts: Integers,
    interval_s: Integers,
    open_: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    exit_: Integers,
    reason: Codes,
    legs: Integers,
    ambiguous: Integers,
    peak: Floats,
    trough: Floats,
    leg_ts: Integers,
    leg_price: Floats,
    leg_fraction: Floats,
    start: int,
    stop: int,
) -> None:
    """Walk the positions `start` to `stop` from their entry candle to their exit.

    Writes, for each: the exit candle's row, reason, number of legs, ambiguous candles, highest high
    (entry price included, a limit entry candle's high not) and lowest low of the candles held, and
    its legs in the rows of `leg_ts`, `leg_price`, `leg_fraction`.
    """
    for trade in range(start, stop):
        entry_price = price[trade]
        row = entry[trade]
        deadline = ts[row] + rules.max_hold_us
        final, final_reason = find_final(row, last[trade], deadline, ts, interval_s)
        top = entry_price
        bottom = low[row]
        filled, remaining, n_legs, why, unclear = 0, 1.0, 0, -1, 0
        quiet_until = row
        while True:
            if row >= quiet_until + BLOCK or row == entry[trade] + 1:
                # Skip blocks that cannot matter: even with the peak as high as the block takes
                # it the stop stays under every low, and no high reaches the next target.
                target = entry_price * gains[filled] if filled < len(gains) else np.inf
                while row + BLOCK <= final:
                    block_low = low[row]
                    block_high = high[row]
                    for other in range(row + 1, row + BLOCK):
                        block_low = min(block_low, low[other])
                        block_high = max(block_high, high[other])
                    block_top = max(top, block_high)
                    level, _ = stop_level(entry_price, block_top, rules)
                    if block_low <= level or block_high >= target:
                        break
                    top = block_top
                    bottom = min(bottom, block_low)
                    row += BLOCK
                quiet_until = row
            filled, remaining, n_legs, why, more = step(
                row, row == entry[trade], final_reason if row == final else -1, entry_price, top,
                filled, remaining, n_legs, rules, gains, fractions, ts, interval_s, open_, high,
                low, close, leg_ts[trade], leg_price[trade], leg_fraction[trade],
            )  # fmt: skip
            unclear += more
            if not (rules.dip_entry and row == entry[trade]):
                top = max(top, high[row])
            bottom = min(bottom, low[row])
            if remaining == 0.0:
                break
            row += 1
        exit_[trade] = row
        reason[trade] = why
        legs[trade] = n_legs
        ambiguous[trade] = unclear
        peak[trade] = top
        trough[trade] = bottom

"""The walk of one trade after another through its candles: the one place where exits are decided.

`step` is the rule book for one candle; everything else only finds the next candle in which
something can happen. `run_exits` finds it by looking at blocks of candles at once; `index` finds it
by search, for many strategies. Rules: docs/simulation.md. Prices are raw, times are integer
microseconds UTC.
"""

from typing import NamedTuple

import numpy as np

from quantlab_assets.domain.experiments.strategy import EXIT_REASONS
from quantlab_assets.simulation.compiled.arrays import (
    SECOND,
    Codes,
    Floats,
    Integers,
    compiled,
    inlined,
)

DUST = 1e-12
"""A remainder of a position at or below this is none."""

NEVER = 2**61
"""A time, in microseconds, that no candle reaches."""

STOP_LOSS, BREAKEVEN, TRAILING, TAKE_PROFIT, MAX_HOLD, END_OF_DATA = range(len(EXIT_REASONS))
"""Codes of the exit reasons: their places in `EXIT_REASONS`."""

NO_CANDLES, NO_ENTRY_CANDLE, ENTRY_EXPIRED = -1, -2, -3
"""What stands for an entry candle where there is no entry."""

BLOCK = 64
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


@inlined
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


@inlined
def step(
    row: int,
    is_entry: bool,
    final_reason: int,
    entry_price: float,
    peak: float,
    rung: int,
    rung_end: int,
    remaining: float,
    leg: int,
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

    `peak` is that of completed candles, `remaining` the open fraction, `final_reason` negative
    unless the position has to end with this candle. The ladder's unfilled rungs are `rung` to
    `rung_end` of `gains` and `fractions`; legs are written to the `leg_*` arrays from `leg` on.
    (Many ladders and positions share these flat arrays: slices would cost more than the step.)

    Returns the next rung, what remains (0 when closed), the next leg, the reason of the last leg
    (negative without one) and 1 if stop and target both lay inside the candle.
    """
    level, stop_reason = stop_level(entry_price, peak, rules)
    reason = -1
    if not is_entry:
        if open_[row] <= level:
            leg_ts[leg], leg_price[leg], leg_fraction[leg] = ts[row], open_[row], remaining
            return rung, 0.0, leg + 1, stop_reason, 0
        while rung < rung_end and entry_price * gains[rung] <= open_[row]:
            leg_ts[leg], leg_price[leg] = ts[row], open_[row]
            leg_fraction[leg] = fractions[rung]
            remaining -= fractions[rung]
            rung += 1
            leg += 1
            reason = TAKE_PROFIT
            if remaining <= DUST:
                return rung, 0.0, leg, reason, 0

    end = ts[row] + interval_s[row] * SECOND
    stop_inside = low[row] <= level
    # The high of a limit entry's candle may have come before the fill.
    target_inside = (
        not (is_entry and rules.dip_entry)
        and rung < rung_end
        and entry_price * gains[rung] <= high[row]
    )
    ambiguous = 1 if stop_inside and target_inside else 0
    if target_inside and (rules.target_first or not stop_inside):
        while rung < rung_end and entry_price * gains[rung] <= high[row]:
            leg_ts[leg], leg_price[leg] = end, entry_price * gains[rung]
            leg_fraction[leg] = fractions[rung]
            remaining -= fractions[rung]
            rung += 1
            leg += 1
            reason = TAKE_PROFIT
            if remaining <= DUST:
                return rung, 0.0, leg, reason, ambiguous
    if stop_inside:
        leg_ts[leg], leg_price[leg], leg_fraction[leg] = end, level, remaining
        return rung, 0.0, leg + 1, stop_reason, ambiguous
    if final_reason >= 0:
        leg_ts[leg], leg_price[leg], leg_fraction[leg] = end, close[row], remaining
        return rung, 0.0, leg + 1, final_reason, ambiguous
    return rung, remaining, leg, reason, ambiguous


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
def block_range(low: Floats, high: Floats, row: int) -> tuple[float, float]:
    """Return the lowest low and the highest high of the block that begins at `row`."""
    lows, highs = low[row : row + BLOCK], high[row : row + BLOCK]
    lowest, highest = lows[0], highs[0]
    for candle in range(BLOCK):
        lowest = min(lowest, lows[candle])
        highest = max(highest, highs[candle])
    return lowest, highest


@compiled
def next_event(
    row: int, final: int, top: float, bottom: float, entry_price: float, target: float,
    rules: ExitRules, high: Floats, low: Floats,
) -> tuple[int, float, float]:  # fmt: skip
    """Return the first candle from `row` on that touches stop or `target`, `final` if none does.

    `top` and `bottom` are the peak and the lowest low before `row`; those before the event return
    with it.
    """
    while row < final:
        if row + BLOCK <= final:
            # A block cannot matter if, even with the peak as high as the block takes it, the stop
            # stays under every low, and no high reaches the target.
            block_low, block_high = block_range(low, high, row)
            block_top = max(top, block_high)
            level, _ = stop_level(entry_price, block_top, rules)
            if block_low > level and block_high < target:
                top = block_top
                bottom = min(bottom, block_low)
                row += BLOCK
                continue
        level, _ = stop_level(entry_price, top, rules)
        block_end = min(row + BLOCK, final)
        while row < block_end:
            if low[row] <= level or high[row] >= target:
                return row, top, bottom
            if high[row] > top:
                top = high[row]
                level, _ = stop_level(entry_price, top, rules)
            bottom = min(bottom, low[row])
            row += 1
    return row, top, bottom


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
    ambiguous: Codes,
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
    its legs in `leg_ts`, `leg_price`, `leg_fraction`, which have a place for each rung and the last
    leg of each position.
    """
    rung_end = len(gains)
    for trade in range(start, stop):
        entry_price = price[trade]
        row = entry[trade]
        deadline = ts[row] + rules.max_hold_us
        final, final_reason = find_final(row, last[trade], deadline, ts, interval_s)
        top, bottom = entry_price, low[row]
        first_leg = trade * (rung_end + 1)
        rung, remaining, leg, unclear = 0, 1.0, first_leg, 0
        while True:
            rung, remaining, leg, why, more = step(
                row, row == entry[trade], final_reason if row == final else -1, entry_price, top,
                rung, rung_end, remaining, leg, rules, gains, fractions, ts, interval_s, open_,
                high, low, close, leg_ts, leg_price, leg_fraction,
            )  # fmt: skip
            unclear += more
            if not (rules.dip_entry and row == entry[trade]):
                top = max(top, high[row])
            bottom = min(bottom, low[row])
            if remaining == 0.0:
                break
            target = entry_price * gains[rung] if rung < rung_end else np.inf
            row, top, bottom = next_event(
                row + 1, final, top, bottom, entry_price, target, rules, high, low
            )
        for unused in range(leg, first_leg + rung_end + 1):
            leg_ts[unused], leg_price[unused], leg_fraction[unused] = 0, 0.0, 0.0
        exit_[trade] = row
        reason[trade] = why
        legs[trade] = leg - first_leg
        ambiguous[trade] = unclear
        peak[trade] = top
        trough[trade] = bottom

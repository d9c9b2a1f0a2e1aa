"""The walk of one trade after another through its candles: the one place where exits are decided.

`step` is the rule book for one candle; everything else only finds the next candle in which
something can happen, by looking at blocks of candles at once. Rules: docs/simulation.md. Prices are
raw, times are integer microseconds UTC.
"""

from typing import NamedTuple

import numpy as np

from quantlab_assets.domain.experiments.strategy import EXIT_REASONS
from quantlab_assets.domain.time_us import SECOND_US
from quantlab_assets.simulation.compiled.arrays import (
    Floats,
    Integers,
    compiled,
    inlined,
)
from quantlab_assets.simulation.market.candles import Candles
from quantlab_assets.simulation.walk.positions import Fills, Positions

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


class EntryRules(NamedTuple):
    """How long after the order time an entry candle may open, in microseconds, and how deep it
    dips: `dip_keep` is 1 minus the dip of a limit entry, 0 for an entry at the open."""

    max_wait_us: int
    dip_keep: float


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


class Ladder(NamedTuple):
    """The rungs at which parts of a position are sold: `fractions` of it at `E * gains`, ascending.

    Apart from the other rules: what is called for every block of candles takes no arrays it does
    not need, since each call would count the references to them.
    """

    gains: Floats
    fractions: Floats


@compiled
def find_entries(
    order_ts: Integers,
    rules: EntryRules,
    first: Integers,
    last: Integers,
    candles: Candles,
    entry: Integers,
    price: Floats,
    start: int,
    stop: int,
) -> None:
    """Find the entry candle and raw fill price of the alerts `start` to `stop`.

    Writes the row of the entry candle, or one of the negative codes, to `entry`, and the price to
    `price`.
    """
    ts = candles.ts
    for alert in range(start, stop):
        price[alert] = 0.0
        if last[alert] < first[alert]:
            entry[alert] = NO_CANDLES
            continue
        row = first[alert] + np.searchsorted(ts[first[alert] : last[alert] + 1], order_ts[alert])
        latest = order_ts[alert] + rules.max_wait_us
        if row > last[alert] or ts[row] > latest:
            entry[alert] = NO_ENTRY_CANDLE
            continue
        if rules.dip_keep == 0.0:
            entry[alert] = row
            price[alert] = candles.open[row]
            continue
        limit = candles.open[row] * rules.dip_keep
        entry[alert] = ENTRY_EXPIRED
        while row <= last[alert] and ts[row] <= latest:
            if candles.low[row] <= limit:
                entry[alert] = row
                price[alert] = min(candles.open[row], limit)
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
    remaining: float,
    trade: int,
    leg: int,
    rules: ExitRules,
    ladder: Ladder,
    candles: Candles,
    fills: Fills,
) -> tuple[int, float, int, int, int]:
    """Take an open position through one candle.

    `peak` is that of completed candles, `remaining` the open fraction, `final_reason` negative
    unless the position has to end with this candle. The ladder is filled up to `rung`; legs are
    written to the fills of `trade` from `leg` on.

    Returns the next rung, what remains (0 when closed), the next leg, the reason of the last leg
    (negative without one) and 1 if stop and target both lay inside the candle.
    """
    ts, open_, high, low = candles.ts, candles.open, candles.high, candles.low
    gains, fractions = ladder.gains, ladder.fractions
    level, stop_reason = stop_level(entry_price, peak, rules)
    reason = -1
    if not is_entry:
        if open_[row] <= level:
            _sell(fills, trade, leg, ts[row], open_[row], remaining)
            return rung, 0.0, leg + 1, stop_reason, 0
        while rung < len(gains) and entry_price * gains[rung] <= open_[row]:
            _sell(fills, trade, leg, ts[row], open_[row], fractions[rung])
            remaining -= fractions[rung]
            rung += 1
            leg += 1
            reason = TAKE_PROFIT
            if remaining <= DUST:
                return rung, 0.0, leg, reason, 0

    end = ts[row] + candles.interval_s[row] * SECOND_US
    stop_inside = low[row] <= level
    # The high of a limit entry's candle may have come before the fill.
    target_inside = (
        not (is_entry and rules.dip_entry)
        and rung < len(gains)
        and entry_price * gains[rung] <= high[row]
    )
    ambiguous = 1 if stop_inside and target_inside else 0
    if target_inside and (rules.target_first or not stop_inside):
        while rung < len(gains) and entry_price * gains[rung] <= high[row]:
            _sell(fills, trade, leg, end, entry_price * gains[rung], fractions[rung])
            remaining -= fractions[rung]
            rung += 1
            leg += 1
            reason = TAKE_PROFIT
            if remaining <= DUST:
                return rung, 0.0, leg, reason, ambiguous
    if stop_inside:
        _sell(fills, trade, leg, end, level, remaining)
        return rung, 0.0, leg + 1, stop_reason, ambiguous
    if final_reason >= 0:
        _sell(fills, trade, leg, end, candles.close[row], remaining)
        return rung, 0.0, leg + 1, final_reason, ambiguous
    return rung, remaining, leg, reason, ambiguous


@inlined
def _sell(fills: Fills, trade: int, leg: int, ts: int, price: float, fraction: float) -> None:
    fills.leg_ts[trade, leg] = ts
    fills.leg_price[trade, leg] = price
    fills.leg_fraction[trade, leg] = fraction


@compiled
def find_final(
    entry: int, last: int, deadline: int, ts: Integers, interval_s: Integers
) -> tuple[int, int]:
    """Return the candle with which a position ends at the latest, and the reason if it does.

    That is the first candle that ends at or after `deadline`, else the last one. Ends ascend.
    """
    if deadline >= NEVER or ts[last] + interval_s[last] * SECOND_US < deadline:
        return last, END_OF_DATA
    below, reached = entry - 1, last
    while reached - below > 1:
        middle = (below + reached) // 2
        if ts[middle] + interval_s[middle] * SECOND_US >= deadline:
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
    positions: Positions,
    rules: ExitRules,
    ladder: Ladder,
    candles: Candles,
    fills: Fills,
    start: int,
    stop: int,
) -> None:
    """Walk the positions `start` to `stop` from their entry candle to their exit, into `fills`."""
    high, low, gains = candles.high, candles.low, ladder.gains
    for trade in range(start, stop):
        entry_price = positions.price[trade]
        first = positions.entry[trade]
        deadline = candles.ts[first] + rules.max_hold_us
        final, final_reason = find_final(
            first, positions.last[trade], deadline, candles.ts, candles.interval_s
        )
        row, top, bottom = first, entry_price, low[first]
        rung, remaining, leg, unclear = 0, 1.0, 0, 0
        while True:
            rung, remaining, leg, why, more = step(
                row, row == first, final_reason if row == final else -1, entry_price, top,
                rung, remaining, trade, leg, rules, ladder, candles, fills,
            )  # fmt: skip
            unclear += more
            if not (rules.dip_entry and row == first):
                top = max(top, high[row])
            bottom = min(bottom, low[row])
            if remaining == 0.0:
                break
            target = entry_price * gains[rung] if rung < len(gains) else np.inf
            row, top, bottom = next_event(
                row + 1, final, top, bottom, entry_price, target, rules, high, low
            )
        for unused in range(leg, len(gains) + 1):
            _sell(fills, trade, unused, 0, 0.0, 0.0)
        fills.exit[trade] = row
        fills.reason[trade] = why
        fills.legs[trade] = leg
        fills.ambiguous[trade] = unclear
        fills.peak[trade] = top
        fills.trough[trade] = bottom

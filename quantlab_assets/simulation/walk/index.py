"""First-touch index: the exits of many strategies by search instead of by one walk each.

For a position, one pass over its candles keeps the record highs and lows, and the least low and
least low-over-peak of every block. Any level's first touch is then found without a walk, once for
each distinct level however many strategies share it. What happens in the candles found is decided
by `kernel.step`, so the outcome is that of `kernel.run_exits` to the bit.
"""

from dataclasses import dataclass

import numpy as np

from quantlab_assets.simulation.compiled.arrays import Codes, Floats, Integers, compiled, frozen
from quantlab_assets.simulation.walk.kernel import (
    BLOCK,
    ExitRules,
    block_range,
    find_final,
    step,
)

NO_ROW = 2**61
"""Stands for the row of a level that is never touched."""

ROUNDING = 1 + 1e-15
"""More than two roundings can add: low <= peak * keep implies low / peak <= keep * ROUNDING."""


@dataclass(frozen=True)
class Grid:
    """The exits of several strategies, as numbers of the distinct levels they use.

    `levels` are ascending: target gains, stop keeps, breakeven gains, and holds in microseconds;
    `trail_gain` and `trail_keep` go together. `*_of` have an item for each strategy; `target_of`,
    `gains` and `fractions` as many for each as the longest ladder has rungs, of which the first
    `targets` count.
    """

    target_levels: Floats
    stop_levels: Floats
    breakeven_levels: Floats
    trail_gain: Floats
    trail_keep: Floats
    hold_levels: Integers
    targets: Integers
    target_of: Integers
    gains: Floats
    fractions: Floats
    stop_of: Integers
    breakeven_of: Integers
    trail_of: Integers
    hold_of: Integers
    target_first: Codes

    @classmethod
    def of(cls, strategies: list[tuple[ExitRules, Floats, Floats]]) -> "Grid":
        """Number the levels of `strategies`, each given as rules, gains and fractions."""
        rules = [each[0] for each in strategies]
        most = max(len(each[1]) for each in strategies)
        gains = np.zeros((len(strategies), most))
        fractions = np.zeros((len(strategies), most))
        for row, (_, its_gains, its_fractions) in enumerate(strategies):
            gains[row, : len(its_gains)] = its_gains
            fractions[row, : len(its_fractions)] = its_fractions
        target_levels, target_of = np.unique(gains, return_inverse=True)
        stop_levels, stop_of = np.unique([each.stop_keep for each in rules], return_inverse=True)
        breakeven_levels, breakeven_of = np.unique(
            [each.breakeven_gain for each in rules], return_inverse=True
        )
        trails, trail_of = np.unique(
            [(each.trail_gain, each.trail_keep) for each in rules], axis=0, return_inverse=True
        )
        hold_levels, hold_of = np.unique([each.max_hold_us for each in rules], return_inverse=True)
        return cls(
            target_levels=frozen(target_levels),
            stop_levels=frozen(stop_levels),
            breakeven_levels=frozen(breakeven_levels),
            trail_gain=frozen(np.ascontiguousarray(trails[:, 0])),
            trail_keep=frozen(np.ascontiguousarray(trails[:, 1])),
            hold_levels=frozen(hold_levels.astype(np.int64)),
            targets=frozen(np.array([len(each[1]) for each in strategies], dtype=np.int64)),
            target_of=frozen(target_of.ravel().astype(np.int64)),
            gains=frozen(gains.ravel()),
            fractions=frozen(fractions.ravel()),
            stop_of=frozen(stop_of.ravel().astype(np.int64)),
            breakeven_of=frozen(breakeven_of.ravel().astype(np.int64)),
            trail_of=frozen(trail_of.ravel().astype(np.int64)),
            hold_of=frozen(hold_of.ravel().astype(np.int64)),
            target_first=frozen(np.array([each.target_first for each in rules], dtype=np.int8)),
        )


def can_index(gains: Floats) -> bool:
    """Tell whether records find these targets: a gain so small that 1 + gain is 1 sets none."""
    return bool((gains > 1.0).all())


@compiled
def sweep_exits(
    entry: Integers, last: Integers, price: Floats, dip_entry: bool,
    target_levels: Floats, stop_levels: Floats, breakeven_levels: Floats, trail_gain: Floats,
    trail_keep: Floats, hold_levels: Integers, targets: Integers, target_of: Integers,
    gains: Floats, fractions: Floats, stop_of: Integers, breakeven_of: Integers,
    trail_of: Integers, hold_of: Integers, target_first: Codes,
    ts: Integers, interval_s: Integers, open_: Floats, high: Floats, low: Floats, close: Floats,
    exit_: Integers, reason: Codes, legs: Integers, ambiguous: Codes, peak: Floats,
    trough: Floats, leg_ts: Integers, leg_price: Floats, leg_fraction: Floats,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Find the exits of the positions `start` to `stop` under every strategy of a `Grid`.

    Outputs are those of `kernel.run_exits`, with a row for each position and a column for each
    strategy.
    """
    width = len(gains) // len(stop_of)
    longest = 0
    for position in range(start, stop):
        longest = max(longest, last[position] - entry[position] + 1)
    high_row, high_value = np.empty(longest + 1, dtype=np.int64), np.empty(longest + 1)
    low_row, low_value = np.empty(longest + 1, dtype=np.int64), np.empty(longest + 1)
    blocks = longest // BLOCK + 1
    least_low, least_ratio = np.empty(blocks), np.empty(blocks)
    # Of each distinct level: the row that first touches it, peak before, lowest low through.
    target_row, target_top, target_low = _table(len(target_levels))
    stop_row, stop_top, stop_low = _table(len(stop_levels))
    even_row, even_top, even_low = _table(len(breakeven_levels))
    trail_row, trail_top, trail_low = _table(len(trail_gain))
    hold_row, hold_top, hold_low = _table(len(hold_levels))
    hold_reason = np.empty(len(hold_levels), dtype=np.int64)

    for position in range(start, stop):
        first = entry[position]
        entry_price = price[position]
        final = first
        for hold in range(len(hold_levels)):
            hold_row[hold], hold_reason[hold] = find_final(
                first, last[position], ts[first] + hold_levels[hold], ts, interval_s
            )
            final = max(final, hold_row[hold])

        highs, lows = _index_candles(
            first, final, entry_price, dip_entry, high, low,
            high_row, high_value, low_row, low_value, least_low, least_ratio,
        )  # fmt: skip

        # Levels of one kind are touched in their order, so both lists of records are read once.
        record, seen = 0, 0
        for level in range(len(target_levels)):
            while record < highs and high_value[record] < entry_price * target_levels[level]:
                record += 1
            target_row[level] = NO_ROW
            if record < highs:
                row = high_row[record]
                while seen < lows and low_row[seen] <= row:
                    seen += 1
                target_row[level] = row
                target_top[level] = high_value[record - 1] if record > 0 else entry_price
                target_low[level] = low_value[seen - 1]
        record, seen = 0, 0
        for level in range(len(stop_levels) - 1, -1, -1):
            while record < lows and low_value[record] > entry_price * stop_levels[level]:
                record += 1
            stop_row[level] = NO_ROW
            if record < lows:
                row = low_row[record]
                while seen < highs and high_row[seen] < row:
                    seen += 1
                stop_row[level] = row
                stop_top[level] = high_value[seen - 1] if seen > 0 else entry_price
                stop_low[level] = low_value[record]
        record = 0
        for level in range(len(breakeven_levels)):
            trigger = entry_price * breakeven_levels[level]
            while record < highs and high_value[record] < trigger:
                record += 1
            even_row[level] = NO_ROW
            if entry_price >= trigger or record < highs:
                active = first if entry_price >= trigger else high_row[record] + 1
                even_row[level] = _first_low(active, first, final, entry_price, low, least_low)
        record = 0
        for level in range(len(trail_gain)):
            trigger = entry_price * trail_gain[level]
            while record < highs and high_value[record] < trigger:
                record += 1
            trail_row[level] = NO_ROW
            if entry_price >= trigger or record < highs:
                active = first if entry_price >= trigger else high_row[record] + 1
                trail_row[level] = _first_trail(
                    active, first, final, entry_price, trail_keep[level], low, least_ratio,
                    high_row, high_value, highs,
                )  # fmt: skip
        _look_up(even_row, even_top, even_low, entry_price, high_row, high_value, highs,
                 low_row, low_value, lows)  # fmt: skip
        _look_up(trail_row, trail_top, trail_low, entry_price, high_row, high_value, highs,
                 low_row, low_value, lows)  # fmt: skip
        _look_up(hold_row, hold_top, hold_low, entry_price, high_row, high_value, highs,
                 low_row, low_value, lows)  # fmt: skip

        for strategy in range(len(stop_of)):
            stop_at, even_at = stop_of[strategy], breakeven_of[strategy]
            trail_at, hold_at = trail_of[strategy], hold_of[strategy]
            # The candle that ends the position if no target does, and what is known there.
            end_row, end_top, end_low = hold_row[hold_at], hold_top[hold_at], hold_low[hold_at]
            final_reason = hold_reason[hold_at]
            limit = end_row
            if stop_row[stop_at] < end_row:
                end_row, end_top, end_low = stop_row[stop_at], stop_top[stop_at], stop_low[stop_at]
            if even_row[even_at] < end_row:
                end_row, end_top, end_low = even_row[even_at], even_top[even_at], even_low[even_at]
            if trail_row[trail_at] < end_row:
                end_row, end_top = trail_row[trail_at], trail_top[trail_at]
                end_low = trail_low[trail_at]
            rules = ExitRules(
                stop_levels[stop_at], breakeven_levels[even_at], trail_gain[trail_at],
                trail_keep[trail_at], hold_levels[hold_at], target_first[strategy] != 0, dip_entry,
            )  # fmt: skip
            rung = strategy * width
            rung_end = rung + targets[strategy]
            first_leg = (position * len(stop_of) + strategy) * (width + 1)
            remaining, leg, unclear = 1.0, first_leg, 0
            while True:
                row, top, bottom = end_row, end_top, end_low
                if rung < rung_end:
                    target = target_of[rung]
                    if target_row[target] < row:
                        row, top = target_row[target], target_top[target]
                        bottom = target_low[target]
                rung, remaining, leg, why, more = step(
                    row, row == first, final_reason if row == limit else -1, entry_price, top,
                    rung, rung_end, remaining, leg, rules, gains, fractions, ts, interval_s,
                    open_, high, low, close, leg_ts, leg_price, leg_fraction,
                )  # fmt: skip
                unclear += more
                if remaining == 0.0:
                    break
            for unused in range(leg, first_leg + width + 1):
                leg_ts[unused], leg_price[unused], leg_fraction[unused] = 0, 0.0, 0.0
            exit_[position, strategy] = row
            reason[position, strategy] = why
            legs[position, strategy] = leg - first_leg
            ambiguous[position, strategy] = unclear
            peak[position, strategy] = top if dip_entry and row == first else max(top, high[row])
            trough[position, strategy] = bottom


@compiled
def _table(levels: int) -> tuple[Integers, Floats, Floats]:
    return np.empty(levels, dtype=np.int64), np.empty(levels), np.empty(levels)


@compiled
def _index_candles(
    first: int, final: int, entry_price: float, dip_entry: bool, high: Floats, low: Floats,
    high_row: Integers, high_value: Floats, low_row: Integers, low_value: Floats,
    least_low: Floats, least_ratio: Floats,
) -> tuple[int, int]:  # fmt: skip
    """Fill the index of the candles `first` to `final`; return the numbers of records.

    A record high is above the entry price and all highs before it, a record low below all lows
    before it. `least_ratio` is the least of low over the peak before the candle, for each block.
    The high of a limit entry's candle does not count.
    """
    highs, lows = 0, 0
    top, bottom = entry_price, np.inf
    block = 0
    row = first
    while row <= final:
        if row > first and row + BLOCK <= final + 1:
            block_low, block_high = block_range(low, high, row)
            if block_high <= top:
                least_low[block] = block_low
                least_ratio[block] = block_low / top
                if block_low < bottom:
                    for other in range(row, row + BLOCK):
                        if low[other] < bottom:
                            bottom = low[other]
                            low_row[lows], low_value[lows] = other, bottom
                            lows += 1
                row += BLOCK
                block += 1
                continue
        least, ratio = np.inf, np.inf
        for other in range(row, min(row + BLOCK, final + 1)):
            least = min(least, low[other])
            ratio = min(ratio, low[other] / top)
            if low[other] < bottom:
                bottom = low[other]
                low_row[lows], low_value[lows] = other, bottom
                lows += 1
            if high[other] > top and not (dip_entry and other == first):
                top = high[other]
                high_row[highs], high_value[highs] = other, top
                highs += 1
        least_low[block], least_ratio[block] = least, ratio
        row += BLOCK
        block += 1
    return highs, lows


@compiled
def _first_low(
    active: int, first: int, final: int, level: float, low: Floats, least_low: Floats
) -> int:
    """Return the first row from `active` to `final` whose low is at most `level`."""
    row = active
    while row <= final:
        block = (row - first) // BLOCK
        block_end = min(first + (block + 1) * BLOCK, final + 1)
        if least_low[block] <= level:
            while row < block_end:
                if low[row] <= level:
                    return row
                row += 1
        row = block_end
    return NO_ROW


@compiled
def _first_trail(
    active: int, first: int, final: int, entry_price: float, keep: float, low: Floats,
    least_ratio: Floats, high_row: Integers, high_value: Floats, highs: int,
) -> int:  # fmt: skip
    """Return the first row from `active` on whose low is at most `keep` of the peak before."""
    row = active
    bound = keep * ROUNDING
    while row <= final:
        block = (row - first) // BLOCK
        block_end = min(first + (block + 1) * BLOCK, final + 1)
        if least_ratio[block] <= bound:
            record = np.searchsorted(high_row[:highs], row)
            top = high_value[record - 1] if record > 0 else entry_price
            while row < block_end:
                if low[row] <= top * keep:
                    return row
                if record < highs and high_row[record] == row:
                    top = high_value[record]
                    record += 1
                row += 1
        row = block_end
    return NO_ROW


@compiled
def _look_up(
    row: Integers, top: Floats, bottom: Floats, entry_price: float, high_row: Integers,
    high_value: Floats, highs: int, low_row: Integers, low_value: Floats, lows: int,
) -> None:  # fmt: skip
    """Write the peak before each of `row` and the lowest low through it."""
    for level in range(len(row)):
        if row[level] == NO_ROW:
            continue
        record = np.searchsorted(high_row[:highs], row[level])
        top[level] = high_value[record - 1] if record > 0 else entry_price
        record = np.searchsorted(low_row[:lows], row[level], side="right")
        bottom[level] = low_value[record - 1]

"""Compiled passes over candle rows: are they sound, are they in order, which one counts.

Which candle counts at a moment (docs/simulation.md): of several with one interval and ts, the one
with the largest (volume, open, high, low, close), no volume being less than any; then every candle
that a finer one overlaps is dropped, whether or not that finer one is itself dropped for a still
finer one.
"""

import numpy as np

from quantlab_assets.domain.time_us import SECOND_US
from quantlab_assets.simulation.compiled.arrays import (
    Flags,
    Floats,
    Integers,
    compiled,
    inlined,
)
from quantlab_assets.simulation.frames import (
    EARLIEST_TS,
    HIGHEST_PRICE,
    LATEST_TS,
    LONGEST_INTERVAL_S,
    LOWEST_PRICE,
)
from quantlab_assets.simulation.market.candles import Candles


@inlined
def _is_candle(candles: Candles, row: int) -> bool:
    # No branch inside, so that a loop runs at the speed of memory. NaN fails every comparison.
    high, low = candles.high[row], candles.low[row]
    return bool(
        (low >= LOWEST_PRICE)
        & (high <= HIGHEST_PRICE)
        & (high >= candles.open[row])
        & (high >= candles.close[row])
        & (low <= candles.open[row])
        & (low <= candles.close[row])
        & (candles.interval_s[row] > 0)
        & (candles.interval_s[row] <= LONGEST_INTERVAL_S)
        & (candles.ts[row] >= EARLIEST_TS)
        & (candles.ts[row] <= LATEST_TS)
    )


@compiled
def find_bad_row(candles: Candles, start: int, stop: int) -> int:
    """Return the first row of `start` to `stop` that is no candle, else their number."""
    sound = True
    for row in range(start, stop):
        sound &= _is_candle(candles, row)
    if sound:
        return len(candles.ts)
    for row in range(start, stop):
        if not _is_candle(candles, row):
            return row
    return len(candles.ts)


@compiled
def find_ascending(
    run_start: Integers,
    run_stop: Integers,
    ts: Integers,
    interval_s: Integers,
    ascending: Flags,
    first_run: int,
    last_run: int,
) -> None:
    """Mark in `ascending` the runs that need no merging: one interval, ts strictly ascending."""
    for run in range(first_run, last_run):
        start = run_start[run]
        in_order = True
        for row in range(start + 1, run_stop[run]):
            in_order &= (ts[row] > ts[row - 1]) & (interval_s[row] == interval_s[start])
        ascending[run] = in_order


@compiled
def find_those_that_count(
    rows: Integers,
    offset: Integers,
    candles: Candles,
    volume: Floats,
    counts: Flags,
    first_token: int,
    last_token: int,
) -> None:
    """Mark in `counts` the `rows` that count, of the tokens `first_token` to `last_token`.

    Token t has `rows[offset[t]:offset[t + 1]]`, by ts, then interval.
    """
    for token in range(first_token, last_token):
        mine = rows[offset[token] : offset[token + 1]]
        mark = counts[offset[token] : offset[token + 1]]
        _settle_duplicates(mine, candles, volume, mark)
        _drop_overlapped(mine, candles.ts, candles.interval_s, mark)


@compiled
def _settle_duplicates(
    rows: Integers,
    candles: Candles,
    volume: Floats,
    counts: Flags,
) -> None:
    """Mark one of the `rows`, which come by ts, then interval, for each ts and interval."""
    ts, interval_s = candles.ts, candles.interval_s
    best = 0
    for position in range(len(rows)):
        row, rival = rows[position], rows[best]
        if position > 0 and ts[row] == ts[rival] and interval_s[row] == interval_s[rival]:
            if not _outranks(row, rival, candles, volume):
                continue
            counts[best] = False
        counts[position] = True
        best = position


@compiled
def _outranks(row: int, other: int, candles: Candles, volume: Floats) -> bool:
    """Tell whether `row` wins against `other`, its equal in interval and ts."""
    mine = -np.inf if np.isnan(volume[row]) else volume[row]
    theirs = -np.inf if np.isnan(volume[other]) else volume[other]
    if mine != theirs:
        return bool(mine > theirs)
    if candles.open[row] != candles.open[other]:
        return bool(candles.open[row] > candles.open[other])
    if candles.high[row] != candles.high[other]:
        return bool(candles.high[row] > candles.high[other])
    if candles.low[row] != candles.low[other]:
        return bool(candles.low[row] > candles.low[other])
    return bool(candles.close[row] > candles.close[other])


@compiled
def _drop_overlapped(rows: Integers, ts: Integers, interval_s: Integers, counts: Flags) -> None:
    """Take the mark in `counts` from the `rows`, which come by ts, that a finer candle overlaps."""
    coarsest = 0
    for row in rows:
        coarsest = max(coarsest, interval_s[row])
    finer = 0
    while True:
        following = coarsest
        for row in rows:
            if interval_s[row] > finer:
                following = min(following, interval_s[row])
        finer = following
        if finer == coarsest:
            return
        candidate = 0  # the first candle of that interval that has not ended when `row` begins
        for position in range(len(rows)):
            row = rows[position]
            if interval_s[row] <= finer:
                continue
            while candidate < len(rows) and (
                interval_s[rows[candidate]] != finer
                or ts[rows[candidate]] + finer * SECOND_US <= ts[row]
            ):
                candidate += 1
            if candidate == len(rows):
                break
            if ts[rows[candidate]] < ts[row] + interval_s[row] * SECOND_US:
                counts[position] = False

"""Compiled passes over candle rows: are they sound, are they in order, which one counts.

Which candle counts at a moment (docs/simulation.md): of several with one interval and ts, the one
with the largest (volume, open, high, low, close), no volume being less than any; then every candle
that a finer one overlaps is dropped, whether or not that finer one is itself dropped for a still
finer one.
"""

import numpy as np

from quantlab_assets.simulation.arrays import SECOND, Flags, Floats, Integers, compiled


@compiled
def find_bad_row(
    open_: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    interval_s: Integers,
    start: int,
    stop: int,
    lowest: float,
    highest: float,
) -> int:
    """Return the first row of `start` to `stop` that is no candle, else `len(open_)`."""
    sound = True
    for row in range(start, stop):
        # No branch inside: the loop runs at the speed of memory. NaN fails every comparison.
        sound &= (
            (low[row] >= lowest)
            & (high[row] <= highest)
            & (high[row] >= open_[row])
            & (high[row] >= close[row])
            & (low[row] <= open_[row])
            & (low[row] <= close[row])
            & (interval_s[row] > 0)
        )
    if sound:
        return len(open_)
    for row in range(start, stop):
        if not (
            low[row] >= lowest
            and high[row] <= highest
            and high[row] >= open_[row]
            and high[row] >= close[row]
            and low[row] <= open_[row]
            and low[row] <= close[row]
            and interval_s[row] > 0
        ):
            return row
    return len(open_)


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
def merge_tokens(
    run_offset: Integers,
    run_start: Integers,
    run_stop: Integers,
    ascending: Flags,
    ts: Integers,
    interval_s: Integers,
    open_: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    volume: Floats,
) -> tuple[Integers, Integers]:
    """Choose and order the rows of every token.

    Token t has the runs `run_offset[t]` to `run_offset[t + 1]`. Returns the chosen rows of all
    tokens, one token after the other, each by ts, and how many each token has.
    """
    tokens = len(run_offset) - 1
    kept = np.zeros(tokens, dtype=np.int64)
    total = 0
    for run in range(len(run_start)):
        total += run_stop[run] - run_start[run]
    rows = np.empty(total, dtype=np.int64)
    written = 0
    for token in range(tokens):
        begin = written
        for run in range(run_offset[token], run_offset[token + 1]):
            for row in range(run_start[run], run_stop[run]):
                rows[written] = row
                written += 1
        runs = run_offset[token + 1] - run_offset[token]
        if runs > 1 or (runs == 1 and not ascending[run_offset[token]]):
            mine = rows[begin:written]
            by_ts = mine[np.argsort(ts[mine], kind="mergesort")]
            count = _settle_duplicates(by_ts, ts, interval_s, open_, high, low, close, volume)
            count = _drop_overlapped(by_ts[:count], ts, interval_s)
            rows[begin : begin + count] = by_ts[:count]
            written = begin + count
        kept[token] = written - begin
    return rows[:written].copy(), kept


@compiled
def _settle_duplicates(
    rows: Integers,
    ts: Integers,
    interval_s: Integers,
    open_: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    volume: Floats,
) -> int:
    """Keep one row for each (ts, interval) at the front of `rows`; return how many.

    `rows` come by ts."""
    count = 0
    moment = 0  # where the rows kept for the current ts begin
    for position in range(len(rows)):
        row = rows[position]
        if count > 0 and ts[rows[count - 1]] != ts[row]:
            moment = count
        rival = moment
        while rival < count and interval_s[rows[rival]] != interval_s[row]:
            rival += 1
        if rival == count:
            rows[count] = row
            count += 1
        elif _outranks(row, rows[rival], open_, high, low, close, volume):
            rows[rival] = row
    return count


@compiled
def _outranks(
    row: int, other: int, open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats
) -> bool:
    """Tell whether `row` wins against `other`, its equal in interval and ts."""
    mine = -np.inf if np.isnan(volume[row]) else volume[row]
    theirs = -np.inf if np.isnan(volume[other]) else volume[other]
    if mine != theirs:
        return bool(mine > theirs)
    if open_[row] != open_[other]:
        return bool(open_[row] > open_[other])
    if high[row] != high[other]:
        return bool(high[row] > high[other])
    if low[row] != low[other]:
        return bool(low[row] > low[other])
    return bool(close[row] > close[other])


@compiled
def _drop_overlapped(rows: Integers, ts: Integers, interval_s: Integers) -> int:
    """Keep the rows that no finer candle overlaps at the front of `rows`; return how many."""
    intervals = np.unique(interval_s[rows])
    if len(intervals) == 1:
        return len(rows)
    overlapped = np.zeros(len(rows), dtype=np.bool_)
    for finer in intervals[:-1]:
        starts = ts[rows[interval_s[rows] == finer]]
        for position in range(len(rows)):
            row = rows[position]
            if interval_s[row] > finer and not overlapped[position]:
                # The first finer candle that has not ended when this one begins.
                candidate = np.searchsorted(starts, ts[row] - finer * SECOND, side="right")
                overlapped[position] = (
                    candidate < len(starts)
                    and starts[candidate] < ts[row] + interval_s[row] * SECOND
                )
    count = 0
    for position in range(len(rows)):
        if not overlapped[position]:
            rows[count] = rows[position]
            count += 1
    return count

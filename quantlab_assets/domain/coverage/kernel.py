"""Compiled passes of coverage over candle rows: are they in order, what a horizon holds, holes.

Rows are those of any number of series (one token, network and interval each); the rows of a series
follow one another, in time order. Times and steps are integer microseconds since 1970, UTC. Blocks
of `BLOCK` rows are summed up once, so that what a horizon holds costs two binary searches, the rows
of two blocks at most, and two looks into a table, however long the horizon is. Rules:
docs/candles.md.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
States = npt.NDArray[np.uint8]

BLOCK: Final = 64
"""Rows summed up at once."""

TRADED: Final = 1
ACTIVE: Final = 2
"""Bits of a candle's state: it has a volume above 0; it has that, or its price moved."""

THREADS: Final = 2
"""Two threads read memory as fast as it goes on small machines."""

WORTH_A_THREAD: Final = 100_000
"""Fewer rows are passed over before a thread has begun."""

Loop = TypeVar("Loop", bound=Callable[..., Any])


def _compiled(loop: Loop) -> Loop:
    """Compile on first use, and keep it on disk where that can be."""
    try:
        return cast("Loop", numba.njit(cache=True, nogil=True, error_model="numpy")(loop))
    except RuntimeError:
        # Neither the package's folder nor the user's cache can be written.
        return cast("Loop", numba.njit(nogil=True, error_model="numpy")(loop))


class Rows(NamedTuple):
    """Candle rows by series: rows `start[s]` to `stop[s]` are those of series `s`, whose candles
    are `step_us[s]` apart. `ts` and `state` have a value a row."""

    start: Integers
    stop: Integers
    step_us: Integers
    ts: Integers
    state: States


class Blocks(NamedTuple):
    """Rows summed up by block `b`, of rows `BLOCK * b` to `BLOCK * (b + 1)`.

    `traded_before[b]` and `active_before[b]` count such rows before the block. `longest[k, b]` is
    the longest time over a hole into a row of the `2 ** k` blocks from `b` on; 0 without a hole.
    """

    traded_before: Integers
    active_before: Integers
    longest: Integers


class Held(NamedTuple):
    """What horizons hold: for each the series taken, its rows `low` to `high` inside, how many of
    them traded or were active, and the longest time over a hole between two of them (0 without)."""

    series: Integers
    low: Integers
    high: Integers
    traded: Integers
    active: Integers
    longest_us: Integers


def take_stock(rows: Rows) -> tuple[Blocks, bool, bool]:
    """The blocks of rows; whether the times of every series ascend, and whether all are on the grid
    of its interval. Where they are not, the blocks mean nothing."""
    count = -(-len(rows.ts) // BLOCK)
    longest = np.zeros(count, np.int64)
    counts = np.zeros((2, count + 1), np.int64)
    sound = np.ones(2, np.bool_)
    at_once(
        [
            partial(_survey, rows, longest, sound),
            partial(_count_states, rows.state, counts[0, 1:], counts[1, 1:]),
        ],
        len(rows.ts),
    )
    levels = [longest]
    blocks_of_longest_series = int((rows.stop - rows.start).max(initial=0)) // BLOCK
    while 2 << (len(levels) - 1) <= blocks_of_longest_series:
        half = 1 << (len(levels) - 1)
        level = levels[-1].copy()
        np.maximum(levels[-1][:-half], levels[-1][half:], out=level[:-half])
        levels.append(level)
    traded, active = np.cumsum(counts, axis=1)
    return Blocks(traded, active, np.stack(levels)), bool(sound[0]), bool(sound[1])


def measure(
    alert_us: Integers,
    finest: Integers,
    intervals: Integers,
    horizons_us: Integers,
    rows: Rows,
    blocks: Blocks,
) -> Held:
    """What the horizons of each alert hold: of the series `finest[i]` to
    `finest[i] + intervals[i]`, the first that has a row in the horizon, else the first.

    A horizon is `[alert, alert + h)`, or `[alert + h, alert)` for a negative one. The results have
    a row for each alert and horizon, the horizons of one alert together; the series is -1 where
    `intervals` is 0.
    """
    count = len(alert_us) * len(horizons_us)
    held = Held(*(np.zeros(count, np.int64) for _ in Held._fields))

    def part(first: int, stop: int) -> None:
        results = slice(first * len(horizons_us), stop * len(horizons_us))
        _measure(
            alert_us[first:stop],
            finest[first:stop],
            intervals[first:stop],
            horizons_us,
            rows,
            blocks,
            Held(*(column[results] for column in held)),
        )

    middle = len(alert_us) // 2
    at_once([partial(part, 0, middle), partial(part, middle, len(alert_us))], len(rows.ts))
    return held


def at_once(work: Sequence[Callable[[], object]], rows: int) -> None:
    """Do several passes over so many rows at the same time: they let go of the interpreter."""
    if rows < WORTH_A_THREAD:
        for run in work:
            run()
        return
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(run) for run in work]:
            done.result()


def find_holes(rows: Rows) -> tuple[Integers, Integers]:
    """The rows after which a candle is missing before the next one, and the series of each."""
    count = _holes(rows, np.empty(0, np.int64), np.empty(0, np.int64))
    at, series = np.empty(count, np.int64), np.empty(count, np.int64)
    _holes(rows, at, series)
    return at, series


@_compiled
def mark_changes(values: Integers, begins: Flags) -> None:
    """Set `begins` for rows whose values are not those of the row before; `values` is (rows, n)."""
    columns = values.shape[1]
    flat = values.ravel()
    for block in range(1, len(begins), BLOCK):
        stop = min(block + BLOCK, len(begins))
        now = flat[block * columns : stop * columns]
        before = flat[(block - 1) * columns : (stop - 1) * columns]
        changed = 0
        for place in range(len(now)):
            changed |= now[place] ^ before[place]
        if changed != 0:
            for place in range(len(now)):
                begins[block + place // columns] |= now[place] != before[place]


@_compiled
def find_states(high: Floats, low: Floats, volume: Floats, state: States) -> None:
    """Fill in the states of rows. An unknown volume is NaN."""
    for row in range(len(state)):
        traded = volume[row] > 0
        state[row] = traded * TRADED + (traded | (high[row] > low[row])) * ACTIVE


@_compiled
def _survey(rows: Rows, longest: Integers, sound: Flags) -> None:
    """Fill in the longest time over a hole into a row of each block, and whether the times of every
    series ascend, and whether all are on the grid."""
    ascending = True
    on_grid = True
    for series in range(len(rows.start)):
        first, stop, step = rows.start[series], rows.stop[series], rows.step_us[series]
        on_grid &= rows.ts[first] % step == 0
        for row in range(first + 1, stop):
            gap = rows.ts[row] - rows.ts[row - 1]
            if gap != step:
                ascending &= gap > 0
                on_grid &= gap % step == 0
                longest[row // BLOCK] = max(longest[row // BLOCK], gap)
    sound[0], sound[1] = ascending, on_grid


@_compiled
def _count_states(state: States, traded: Integers, active: Integers) -> None:
    for block in range(len(traded)):
        for row in range(block * BLOCK, min((block + 1) * BLOCK, len(state))):
            traded[block] += state[row] & TRADED
            active[block] += state[row] // ACTIVE


@_compiled
def _first_at(ts: Integers, low: int, high: int, wanted: int) -> int:
    """The first of the rows `low` to `high` whose time is `wanted` or later; `high` if none is."""
    while low < high:
        middle = (low + high) // 2
        if ts[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@_compiled
def find_rows(
    rows: Rows, series: Integers, start_us: Integers, end_us: Integers
) -> tuple[Integers, Integers]:
    """For each series asked for, its rows `low` to `high` with `start_us <= ts < end_us`."""
    low, high = np.empty_like(series), np.empty_like(series)
    for asked in range(len(series)):
        first, stop = rows.start[series[asked]], rows.stop[series[asked]]
        low[asked] = _first_at(rows.ts, first, stop, start_us[asked])
        high[asked] = _first_at(rows.ts, low[asked], stop, end_us[asked])
    return low, high


@_compiled
def _counted_before(state: States, blocks: Blocks, row: int) -> tuple[int, int]:
    """How many rows before `row` traded, and how many were active."""
    block = row // BLOCK
    traded, active = 0, 0
    for each in range(block * BLOCK, row):
        traded += state[each] & TRADED
        active += state[each] // ACTIVE
    return blocks.traded_before[block] + traded, blocks.active_before[block] + active


@_compiled
def _longest_between(ts: Integers, low: int, high: int, step: int) -> int:
    """The longest time over a hole between neighbours, by looking at each of a few rows."""
    longest_gap = step
    for row in range(low + 1, high):
        longest_gap = max(longest_gap, ts[row] - ts[row - 1])
    return longest_gap if longest_gap > step else 0


@_compiled
def _longest_hole(ts: Integers, longest: Integers, low: int, high: int, step: int) -> int:
    """The longest time over a hole between neighbours among the rows `low` to `high`."""
    first_block = (low + BLOCK) // BLOCK
    last_block = high // BLOCK
    if first_block >= last_block:
        return _longest_between(ts, low, high, step)
    longest_gap = max(
        _longest_between(ts, low, first_block * BLOCK, step),
        _longest_between(ts, last_block * BLOCK - 1, high, step),
    )
    level = 0
    while 2 << level <= last_block - first_block:
        level += 1
    longest_gap = max(longest_gap, longest[level, first_block])
    return int(max(longest_gap, longest[level, last_block - (1 << level)]))


@_compiled
def _measure(
    alert_us: Integers,
    finest: Integers,
    intervals: Integers,
    horizons_us: Integers,
    rows: Rows,
    blocks: Blocks,
    held: Held,
) -> None:
    out = 0
    for alert in range(len(alert_us)):
        here = 0
        if intervals[alert] > 0:
            first, stop = rows.start[finest[alert]], rows.stop[finest[alert]]
            here = _first_at(rows.ts, first, stop, alert_us[alert])
        for horizon in horizons_us:
            edge = alert_us[alert] + horizon
            begin, end = min(alert_us[alert], edge), max(alert_us[alert], edge)
            series = finest[alert] if intervals[alert] > 0 else -1
            low = high = 0
            for candidate in range(finest[alert], finest[alert] + intervals[alert]):
                first, stop = rows.start[candidate], rows.stop[candidate]
                if candidate != finest[alert]:
                    found = _first_at(rows.ts, first, stop, begin)
                    after = _first_at(rows.ts, found, stop, end)
                elif horizon > 0:
                    found, after = here, _first_at(rows.ts, here, stop, end)
                else:
                    found, after = _first_at(rows.ts, first, here, begin), here
                if candidate == finest[alert] or after > found:
                    series, low, high = candidate, found, after
                if after > found:
                    break
            held.series[out], held.low[out], held.high[out] = series, low, high
            if high > low:
                traded_before, active_before = _counted_before(rows.state, blocks, low)
                traded, active = _counted_before(rows.state, blocks, high)
                held.traded[out] = traded - traded_before
                held.active[out] = active - active_before
                held.longest_us[out] = _longest_hole(
                    rows.ts, blocks.longest, low, high, rows.step_us[series]
                )
            out += 1


@_compiled
def _holes(rows: Rows, at: Integers, series_of: Integers) -> int:
    """How many holes there are; as many as there is room for are written down."""
    count = 0
    for series in range(len(rows.start)):
        step = rows.step_us[series]
        for row in range(rows.start[series] + 1, rows.stop[series]):
            if rows.ts[row] - rows.ts[row - 1] > step:
                if count < len(at):
                    at[count], series_of[count] = row - 1, series
                count += 1
    return count

"""Which interval the candles of a raw file have, told from their times alone.

Files rarely say it, and some change it on the way: five-minute candles, a hole, then hourly ones.
Both mistakes cost: an hourly candle taken for a five-minute one shows a strategy the future, and a
hole taken for a change of interval loses candles. docs/candles.md states the rule in words.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from quantlab_assets.domain.artifact_types import INTERVALS

Times = npt.NDArray[np.int64]

UNKNOWN: Final = 0
"""No two candles are one step apart: the interval cannot be told."""
MISALIGNED: Final = -1
"""The time is off the grid of the series around it."""
UNSUPPORTED: Final = -2
"""The candles are regular, at an interval the lake does not keep."""

MIN_STEPS: Final = 3
MIN_MISSING: Final = 12
CHANCE: Final = 1e-3

_US: Final = 1_000_000
_SUPPORTED: Final[Times] = np.array(sorted(INTERVALS.values()), dtype=np.int64) * _US


def assign_intervals(ts: Times) -> Times:
    """The interval of each candle in seconds, or `UNKNOWN`, `MISALIGNED`, `UNSUPPORTED`.

    `ts` are the distinct candle opens of one token in one file, UTC microseconds, ascending.
    """
    base = _base_step(ts)
    if base == 0:
        return np.full(len(ts), UNKNOWN, dtype=np.int64)
    if base not in _SUPPORTED:
        return np.full(len(ts), UNSUPPORTED, dtype=np.int64)
    intervals = np.full(len(ts), MISALIGNED, dtype=np.int64)
    on_grid = ts % base == 0
    intervals[on_grid] = _intervals_on_grid(ts[on_grid], base)
    return intervals


def _base_step(ts: Times) -> int:
    """The finest step the file is regular at, in microseconds; 0 if there is none."""
    if len(ts) < 2:
        return 0
    steps = np.diff(ts)
    values, counts = np.unique(steps, return_counts=True)
    supported = np.isin(values, _SUPPORTED)
    commonest = int(counts.max())
    top = values[(counts == commonest) & supported]
    if len(top) == 0 and 2 * commonest > len(steps) and commonest > 1:
        top = values[counts == commonest]
    elif len(top) == 0 and supported.any():
        commonest = int(counts[supported].max())
        top = values[supported & (counts == commonest)]
    if len(top) == 0:
        return 0
    base = int(top[-1])
    for finer in _SUPPORTED[base > _SUPPORTED]:
        hits = (steps == finer) & (ts[:-1] % finer == 0)
        count = int(hits.sum())
        between_grids = int(((ts % finer == 0) & (ts % base != 0)).sum())
        if count and (
            _longest_run(hits) >= MIN_STEPS
            or (count > 1 and 2 * count >= commonest)
            or 3 * between_grids >= len(ts)
        ):
            return int(finer)
    return base


def _longest_run(hits: npt.NDArray[np.bool_]) -> int:
    """Length of the longest stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], hits, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _intervals_on_grid(ts: Times, base: int) -> Times:
    """Tell coarser stretches from holes, for candles that all lie on the grid of `base`."""
    if len(ts) < 2:
        return np.full(len(ts), base // _US, dtype=np.int64)
    steps = np.diff(ts)
    regular = np.where(steps == base, base, _coarse_steps(ts, steps, base))

    never = np.iinfo(np.int64).max
    nearest = np.where(regular > 0, regular, never)
    own = np.minimum(np.append(nearest, never), np.insert(nearest, 0, never))
    own[own == never] = 0
    own = _join_neighbours(ts, own)

    intervals = own // _US
    intervals[own == 0] = MISALIGNED
    intervals[(own > 0) & ~np.isin(own, _SUPPORTED)] = UNSUPPORTED
    return intervals


def _coarse_steps(ts: Times, steps: Times, base: int) -> Times:
    """For each step the coarser interval it belongs to, 0 where it is a hole or a fine step.

    Equal steps in a row are a change of interval if they stand on that interval's own grid, are too
    many to be holes, and holes as frequent as elsewhere in the file would hardly fall that way.
    """
    starts = np.flatnonzero(np.diff(steps, prepend=-1))
    lengths = np.diff(np.append(starts, len(steps)))
    values = steps[starts]
    holes = values != base
    all_holes = int((steps != base).sum())
    hole_share = (all_holes - lengths + 1) / (len(steps) - lengths + 2)
    by_chance = len(ts) * (hole_share * base / values) ** lengths
    supported = np.isin(values, _SUPPORTED)
    coarse = (
        holes
        & (lengths >= MIN_STEPS)
        & (lengths * (values // base - 1) >= MIN_MISSING)
        & (by_chance < CHANCE)
        & (~supported | (ts[starts] % values == 0))
    )
    return np.repeat(np.where(coarse, values, 0), lengths)


def _join_neighbours(ts: Times, own: Times) -> Times:
    """Candles with no neighbour one step away join the nearer series whose grid they are on."""
    index = np.arange(len(ts))
    known = own > 0
    left = np.maximum.accumulate(np.where(known, index, -1))
    right = np.minimum.accumulate(np.where(known, index, len(ts))[::-1])[::-1]
    if not known.any():
        return own
    far = np.iinfo(np.int64).max

    def towards(at: Times, exists: npt.NDArray[np.bool_]) -> tuple[Times, Times]:
        """The interval of the neighbour at an index, and the way there; `far` if it is off grid."""
        place = np.clip(at, 0, len(ts) - 1)
        interval = np.where(exists, own[place], 1)
        way = np.where(exists & ((ts - ts[place]) % interval == 0), np.abs(ts - ts[place]), far)
        return interval, way

    left_interval, left_way = towards(left, left >= 0)
    right_interval, right_way = towards(right, right < len(ts))
    nearer_left = (left_way < right_way) | (
        (left_way == right_way) & (left_interval <= right_interval)
    )
    joined = np.where(nearer_left, left_interval, right_interval)
    return np.where(known, own, np.where(np.minimum(left_way, right_way) == far, 0, joined))

"""Which interval the candles of a raw file have, told from their times alone.

Files rarely say it, and some change it on the way: five-minute candles, a hole, then hourly ones.
Both mistakes cost: an hourly candle taken for a five-minute one shows a strategy the future, and a
hole taken for a change of interval loses candles. docs/candles.md states the rule in words.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from quantlab_assets.domain.artifacts.type import INTERVALS
from quantlab_assets.domain.time_us import SECOND_US

Times = npt.NDArray[np.int64]

UNKNOWN: Final = 0
"""No two candles are one step apart: the interval cannot be told."""
MISALIGNED: Final = -1
"""The time is off the grid of the series around it."""
UNSUPPORTED: Final = -2
"""The candles are regular, at an interval the lake does not keep."""

MIN_STEPS: Final = 3
MIN_MISSING: Final = 12
CHANCE: Final = 1e-4
MAX_UNSUPPORTED: Final = 16

_SUPPORTED: Final[Times] = np.array(sorted(INTERVALS.values()), dtype=np.int64) * SECOND_US


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
    """The finest step the file is regular at, in microseconds; 0 if there is none.

    A step that is neither the rule nor a grid that most candles lie on says nothing.
    """
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
    base = _finer_step(ts, steps, int(top[-1]), commonest)
    irregular = 2 * int((steps == base).sum()) < len(steps)
    off_grid = int((ts % base != 0).sum())
    return 0 if irregular and 3 * off_grid > len(ts) else base


def _finer_step(ts: Times, steps: Times, base: int, commonest: int) -> int:
    """The finest interval that is more than an accident beside the commonest step."""
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
        return np.full(len(ts), base // SECOND_US, dtype=np.int64)
    steps = np.diff(ts)
    regular = np.where(steps == base, base, _coarse_steps(ts, steps, base))

    never = np.iinfo(np.int64).max
    nearest = np.where(regular > 0, regular, never)
    own = np.minimum(np.append(nearest, never), np.insert(nearest, 0, never))
    own[own == never] = 0
    own = _join_neighbours(ts, own)

    intervals = own // SECOND_US
    intervals[own == 0] = MISALIGNED
    intervals[(own > 0) & ~np.isin(own, _SUPPORTED)] = UNSUPPORTED
    return intervals


def _coarse_steps(ts: Times, steps: Times, base: int) -> Times:
    """For each step the coarser interval it belongs to, 0 where it is a hole or a fine step.

    A stretch of candles that all lie on a coarser grid is at that interval if enough of its steps
    are exactly one interval, and if the holes of the rest of the file would hardly fall that way.
    """
    coarse = np.zeros(len(steps), dtype=np.int64)
    holes = steps != base
    for interval in _candidates(steps, base):
        on_grid = ts % interval == 0
        leads = on_grid[:-1] & holes
        stays = on_grid[:-1] & on_grid[1:]
        edges = np.flatnonzero(np.diff(np.concatenate(([False], stays, [False])).astype(np.int8)))
        starts, ends = edges[::2], edges[1::2]
        exact_before = np.concatenate(([0], np.cumsum(stays & (steps == interval))))
        exact = exact_before[ends] - exact_before[starts]
        inside = ends - starts
        hole_share = (holes.sum() - inside + 1) / (len(steps) - inside + 2)
        # Before the file has told much, a hole ends on the coarser grid as often as any time does.
        stay_share = (stays.sum() - inside + 2 * base / interval) / (leads.sum() - inside + 2)
        # A run of steps that are all exactly one interval would be holes of just that length, and
        # how often those occur is better known: from all holes, and from those on this grid.
        alike = (steps == interval).sum() - exact + 2 * base / interval
        alike_on_grid = (stays & (steps == interval)).sum() - exact
        exact_share = np.maximum(
            alike / (holes.sum() - inside + 2), alike_on_grid / (leads.sum() - inside + 2)
        )
        share = np.where(exact == inside, np.minimum(stay_share, exact_share), stay_share)
        by_chance = len(ts) * (hole_share * share) ** inside
        accepted = (
            (exact >= MIN_STEPS)
            & (exact * (interval // base - 1) >= MIN_MISSING)
            & (by_chance < CHANCE)
        )
        within = np.zeros(len(steps) + 1, dtype=np.int64)
        np.add.at(within, starts[accepted], 1)
        np.add.at(within, ends[accepted], -1)
        coarse[(np.cumsum(within)[:-1] > 0) & (steps == interval)] = interval
    return coarse


def _candidates(steps: Times, base: int) -> list[int]:
    """Steps that occur often enough to be an interval: the lake's own, and the commonest others."""
    values, counts = np.unique(steps, return_counts=True)
    often = (values > base) & (values % base == 0) & (counts >= MIN_STEPS)
    often &= counts * (values // base - 1) >= MIN_MISSING
    supported = np.isin(values, _SUPPORTED)
    others = np.flatnonzero(often & ~supported)
    others = others[np.argsort(-counts[others], kind="stable")][:MAX_UNSUPPORTED]
    return [int(v) for v in np.concatenate((values[often & supported], values[others]))]


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

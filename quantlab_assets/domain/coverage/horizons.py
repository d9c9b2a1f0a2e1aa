"""What each horizon of each alert should hold of candles, what it holds, and what is missing.

Arrays have a value for each alert and horizon, the horizons of one alert together; times are whole
seconds since 1970. Which candles are in a horizon is found by `kernel`; what it all says of the
coverage, its grade and its reason, is `forward`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from quantlab_assets.domain.coverage.grid import Ints, ceil_to, pick
from quantlab_assets.domain.time_us import SECOND_US

if TYPE_CHECKING:
    from quantlab_assets.domain.coverage.candle_index import CandleIndex
    from quantlab_assets.domain.coverage.kernel import Held

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Due:
    """What horizons should hold. Those that take a series (`has_series`) expect the candles at its
    grid points from `first_point` on, `step` apart; the others expect none."""

    start: Ints
    has_series: Flags
    step: Ints
    first_point: Ints
    expected: Ints

    @property
    def last_point(self) -> Ints:
        """The grid point of the last candle expected; before the first where none is."""
        return self.first_point + (self.expected - 1) * self.step


class Missing(NamedTuple):
    """How many candles are missing for each cause: the series begins in the horizon (`late`), it
    ends there (`early`), or it has holes. A horizon without a candle has 1 for its cause: `late` if
    the series begins after it, `early` if it ended before."""

    late: Ints
    early: Ints
    holes: Ints


@dataclass(frozen=True, slots=True)
class Covered:
    """What horizons hold: how many candles, whether any is `present`, seconds from their start to
    the first (`delay`), the `longest` stretch in seconds without one, and what is missing."""

    actual: Ints
    present: Flags
    delay: Ints
    longest: Ints
    missing: Missing


def candles_due(alert_us: Ints, hours: Ints, series: Ints, index: "CandleIndex") -> Due:
    """What the hours after each alert (before it, if negative) should hold of the series it takes,
    -1 for none."""
    edge_us = alert_us + hours * 3600 * SECOND_US
    start = ceil_to(np.minimum(alert_us, edge_us), SECOND_US) // SECOND_US
    end = ceil_to(np.maximum(alert_us, edge_us), SECOND_US) // SECOND_US
    has_series = series >= 0
    step = np.where(has_series, pick(index.rows.step_us, series) // SECOND_US, 1)
    first_point = ceil_to(start, step)
    expected = np.where(has_series, (ceil_to(end, step) - first_point) // step, 0)
    return Due(start, has_series, step, first_point, expected)


def candles_held(due: Due, held: "Held", index: "CandleIndex") -> Covered:
    """Compare what horizons hold with what is due."""
    actual = held.high - held.low
    present = actual > 0
    first, last = index.at(held.low), index.at(held.high - 1)
    head = np.where(present, (first - due.first_point) // due.step, 0)
    tail = np.where(present, (due.last_point - last) // due.step, 0)
    longest_inner = np.maximum(held.longest_us // SECOND_US - due.step, 0)
    longest = np.where(
        present,
        np.maximum(np.maximum(head, tail) * due.step, longest_inner),
        due.expected * due.step,
    )
    missing = _missing(due, held, index, head, tail)
    return Covered(actual, present, first - due.start, longest, missing)


def _missing(due: Due, held: "Held", index: "CandleIndex", head: Ints, tail: Ints) -> Missing:
    """Tell causes apart: what misses before the first candle of a horizon (`head`), or after its
    last (`tail`), is a hole if the series has candles before, or after, the horizon."""
    actual = held.high - held.low
    present = actual > 0
    before = due.has_series & (held.low > pick(index.rows.start, held.series))
    after = due.has_series & (held.high < pick(index.rows.stop, held.series))
    late = np.where(before, 0, np.where(present, head, 1 * after))
    early = np.where(after, 0, np.where(present, tail, 1 * before))
    return Missing(late, early, np.where(present, due.expected - actual - late - early, 0))

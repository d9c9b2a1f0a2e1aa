"""Arithmetic on the grid of an interval, in whole seconds since 1970, over arrays.

Only what measuring horizons, windows and gaps share; what it means stands with them.
"""

from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from quantlab_assets.domain.time_us import SECOND_US, to_us

Ints = npt.NDArray[np.int64]

SERIES_SHIFT: Final = 34
"""How far a series' number is shifted to make one key with a time: seconds of any year up to 2500
fit below."""


def ceil_to(value: Ints, step: Ints | int) -> Ints:
    """The next multiple of the step at or after a value."""
    return -(-value // step) * step


def pick(values: Ints, at: Ints) -> Ints:
    """Values at positions; any number where the position is -1."""
    return values[np.maximum(at, 0)] if len(values) else np.zeros_like(at)


def whole_seconds(ts: datetime) -> int:
    """Whole seconds since 1970, rounded down."""
    return to_us(ts) // SECOND_US

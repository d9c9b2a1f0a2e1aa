"""How complete a slice is, and the tags it is found by.

Which share of candles has which grade is in `grades`; coverage of calls, which looks at many slices
at once, in `domain/coverage`.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantlab_assets.domain.slices.grades import STANDARD_GRADING, Grade, Grading
from quantlab_assets.domain.slices.key import INTERVAL_NAMES
from quantlab_assets.domain.time_us import SECOND_US, to_us
from quantlab_assets.domain.tokens.token import Token


@dataclass(frozen=True, slots=True)
class SliceQuality:
    """How complete a slice is. `expected` counts the grid points of its interval in its window,
    `gaps` the stretches of them that have no candle."""

    expected: int
    actual: int
    traded: int
    gaps: int
    grading: Grading = STANDARD_GRADING

    @property
    def coverage(self) -> float:
        """Share of the expected candles that are there."""
        return self.actual / self.expected if self.expected else 0.0

    @property
    def grade(self) -> Grade:
        """By its grading: `good` from 95 % of the candles on, `partial` from 80 %, `poor` below,
        unless told otherwise."""
        return self.grading.grade_of(self.coverage)


def slice_quality(
    candles: pa.Table,
    interval_s: int,
    start: datetime,
    end: datetime,
    grading: Grading = STANDARD_GRADING,
) -> SliceQuality:
    """Count what a slice holds; one candle a time, all of them inside the window."""
    traded = pc.sum(pc.greater(candles.column("volume"), 0)).as_py()
    step, first, last = interval_s * SECOND_US, to_us(start), to_us(end)
    # One step before the window and its end, as if candles stood there: gaps at the edges count.
    times = np.concatenate(
        ([first - step], candles.column("ts").cast(pa.int64()).to_numpy(), [last])
    )
    return SliceQuality(
        expected=(last - first) // step,
        actual=candles.num_rows,
        traded=int(traded or 0),
        gaps=int((np.diff(times) > step).sum()),
        grading=grading,
    )


def slice_tags(
    token: Token, interval_s: int, quality: SliceQuality, volume_unit: str | None = None
) -> dict[str, str]:
    """What a slice is found by. The coverage is cut, not rounded: 0.949999 is not 0.95.

    `volume_unit` says what volumes are in if not in US dollars (`token`).
    """
    tags = {
        "token": token.address,
        "chain": token.chain,
        "res": INTERVAL_NAMES[interval_s],
        "grade": quality.grade,
        "coverage": f"{int(quality.coverage * 1_000_000) / 1_000_000:.6f}",
        "expected_candles": str(quality.expected),
        "traded_candles": str(quality.traded),
        "gaps": str(quality.gaps),
    }
    if token.network is not None:
        tags["network"] = token.network
    if volume_unit is not None:
        tags["volume_unit"] = volume_unit
    return tags

"""Which grade a share of the expected candles has: of slices, and of the time around calls.

Counting candles is `quality` and `domain/coverage`. Loads no Arrow: commands name grades too.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from quantlab_assets.domain.errors import ValidationFailed

Grade = Literal["good", "partial", "poor"]

GRADES: Final[tuple[Grade, ...]] = get_args(Grade)
"""The grades there are, best first."""

GOOD: Final = 0.95
PARTIAL: Final = 0.80


@dataclass(frozen=True, slots=True)
class Grading:
    """The shares of the expected candles from which on they are `good`, and `partial`."""

    good: float = GOOD
    partial: float = PARTIAL

    def __post_init__(self) -> None:
        if not 0 < self.partial <= self.good <= 1:
            raise ValidationFailed(
                f"grades from {self.good:g} and {self.partial:g} on: both are shares of 1, and good"
                " is not less than partial"
            )

    def grade_of(self, share: float) -> Grade:
        """The grade of a share of the expected candles, 0 to 1."""
        if share >= self.good:
            return "good"
        return "partial" if share >= self.partial else "poor"


STANDARD_GRADING: Final = Grading()

"""What is counted of calls' coverage: the grades a horizon may have, a column for each, and the
horizon that is shown first.

Loads no Arrow: commands name these columns too. What counts them is `summary` and `by_month`.
"""

from collections.abc import Mapping
from typing import Final

from quantlab_assets.domain.slices.grades import GRADES

NO_CANDLES: Final = "none"
"""The grade of a horizon without a candle, which a slice never has."""

COVERAGE_GRADES: Final[tuple[str, ...]] = (*GRADES, NO_CANDLES)

GRADE_COUNTED: Final[Mapping[str, str]] = {
    "covered" if grade == "good" else grade: grade for grade in COVERAGE_GRADES
}
"""The columns that count calls by grade, and the grade that each counts."""

COUNTS: Final = ("alerts", *GRADE_COUNTED)
"""All columns of counts: of the type `coverage_summary`, and of sums over it."""

HEAT_MAP_HORIZON_H: Final = 24
"""The horizon shown where none is asked for: the hours after a call that most trades live in."""

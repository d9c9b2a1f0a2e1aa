"""The colours of coverage: green from `good` on, yellow from `partial` on, red below, else black.

Only which colour a share has, by the grades that are configured. The heat maps that use them draw
themselves: one as Markdown for the UI (`defs`), one as a page (`cli.coverage`).
"""

from typing import Final

from quantlab_assets.domain.slices.grades import GRADES, Grade, Grading

NONE: Final = "⬛"

_SQUARES: Final[dict[Grade, str]] = {"good": "🟩", "partial": "🟨", "poor": "🟥"}


def square(share: float, grading: Grading) -> str:
    """The square that stands for a share of the candles, 0 to 1."""
    return _SQUARES[grading.grade_of(share)] if share > 0 else NONE


def legend(grading: Grading) -> str:
    """What the squares say: `🟩 95 % and more · 🟨 80 % and more · 🟥 less · ⬛ none`."""
    good, partial, poor = (_SQUARES[grade] for grade in GRADES)
    return (
        f"{good} {_percent(grading.good)} and more · {partial} {_percent(grading.partial)} and more"
        f" · {poor} less · {NONE} none"
    )


def scale(grading: Grading) -> tuple[tuple[float, str], ...]:
    """Shares with the colours (`#rrggbb`) that shade into each other between them.

    Where a grade begins stand two colours: the last of the lower grade, and the first of its own.
    """
    return (
        (0.0, "#b2182b"),
        (grading.partial, "#f4a582"),
        (grading.partial, "#fee08b"),
        (grading.good, "#d9ef8b"),
        (grading.good, "#66bd63"),
        (1.0, "#1a7837"),
    )


def _percent(bound: float) -> str:
    return f"{100 * bound:.10g} %"

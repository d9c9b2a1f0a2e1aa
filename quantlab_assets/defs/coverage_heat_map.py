"""Coverage by caller and month as Markdown, which the UI shows as a table with coloured squares.

Names come from messages: every character that means something in Markdown is escaped.
"""

import re
from typing import Final

from quantlab_assets.domain.coverage.by_month import Cell, HeatMap
from quantlab_assets.domain.coverage.colours import legend, square
from quantlab_assets.domain.printable_text import printable
from quantlab_assets.domain.slices.grades import Grading

CALLERS_SHOWN: Final = 100
MONTHS_SHOWN: Final = 24
NAME_SHOWN: Final = 60

_MEANINGFUL: Final = re.compile(r"([!-/:-@\[-`{-~])")


def heat_map_markdown(coverage: HeatMap, grading: Grading) -> str:
    """The map as a Markdown table: the worst covered callers, the newest months."""
    months = coverage.months[-MONTHS_SHOWN:]
    head = ["caller", "calls", "mean", *months]
    lines = [
        f"Mean share of the candles that are there in the {coverage.horizon_h} hours after a call, "
        f"and the number of calls. {legend(grading)}",
        "",
        f"| {' | '.join(head)} |",
        f"|:--{'|--:' * (len(head) - 1)}|",
    ]
    for row in coverage.rows[:CALLERS_SHOWN]:
        cells = [_cell(cell, grading) for cell in row.cells[len(row.cells) - len(months) :]]
        mean = f"{square(row.mean_ratio, grading)} {_percent(row.mean_ratio)}"
        lines.append(f"| {' | '.join([escaped(row.caller), str(row.alerts), mean, *cells])} |")
    left_out = len(coverage.rows) - CALLERS_SHOWN
    if left_out > 0:
        lines += ["", f"{left_out} callers that are better covered are left out."]
    if len(months) < len(coverage.months):
        lines += ["", f"{len(coverage.months) - len(months)} earlier months are left out."]
    return "\n".join(lines)


def escaped(name: str) -> str:
    """Text that Markdown shows letter by letter: no markup, no link, no other cell."""
    plain = printable(name).strip()
    shown = plain if len(plain) <= NAME_SHOWN else f"{plain[: NAME_SHOWN - 1]}…"
    return _MEANINGFUL.sub(r"\\\1", shown) or "\\-"


def _cell(cell: Cell | None, grading: Grading) -> str:
    if cell is None:
        return ""
    return f"{square(cell.mean_ratio, grading)} {_percent(cell.mean_ratio)} ({cell.alerts})"


def _percent(ratio: float) -> str:
    """Cut, not rounded: what is called 95 % is at least that."""
    return f"{int(ratio * 100 + 1e-9)} %"

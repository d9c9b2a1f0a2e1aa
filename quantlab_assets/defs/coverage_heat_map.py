"""Coverage by caller and month as Markdown, which the UI shows as a table with coloured squares.

Names come from messages: every character that means something in Markdown is escaped.
"""

import re
from typing import Final

from quantlab_assets.domain.coverage.by_month import Cell, HeatMap
from quantlab_assets.domain.printable_text import printable
from quantlab_assets.domain.slices.slices import GOOD, PARTIAL

CALLERS_SHOWN: Final = 100
MONTHS_SHOWN: Final = 24
NAME_SHOWN: Final = 60

_MEANINGFUL: Final = re.compile(r"([!-/:-@\[-`{-~])")


def heat_map_markdown(found: HeatMap) -> str:
    """The map as a Markdown table: the worst covered callers, the newest months."""
    months = found.months[-MONTHS_SHOWN:]
    head = ["caller", "calls", "mean", *months]
    lines = [
        f"Mean share of the candles that are there in the {found.horizon_h} hours after a call, "
        "and the number of calls. 🟩 95 % and more · 🟨 80 % and more · 🟥 less · ⬛ none",
        "",
        f"| {' | '.join(head)} |",
        f"|:--{'|--:' * (len(head) - 1)}|",
    ]
    for row in found.rows[:CALLERS_SHOWN]:
        cells = [_cell(cell) for cell in row.cells[len(row.cells) - len(months) :]]
        mean = f"{_colour(row.mean_ratio)} {_percent(row.mean_ratio)}"
        lines.append(f"| {' | '.join([escaped(row.caller), str(row.alerts), mean, *cells])} |")
    left_out = len(found.rows) - CALLERS_SHOWN
    if left_out > 0:
        lines += ["", f"{left_out} callers that are better covered are left out."]
    if len(months) < len(found.months):
        lines += ["", f"{len(found.months) - len(months)} earlier months are left out."]
    return "\n".join(lines)


def escaped(name: str) -> str:
    """Text that Markdown shows letter by letter: no markup, no link, no other cell."""
    plain = printable(name).strip()
    shown = plain if len(plain) <= NAME_SHOWN else f"{plain[: NAME_SHOWN - 1]}…"
    return _MEANINGFUL.sub(r"\\\1", shown) or "\\-"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return f"{_colour(cell.mean_ratio)} {_percent(cell.mean_ratio)} ({cell.alerts})"


def _colour(ratio: float) -> str:
    if ratio >= GOOD:
        return "🟩"
    if ratio >= PARTIAL:
        return "🟨"
    return "🟥" if ratio > 0 else "⬛"


def _percent(ratio: float) -> str:
    """Cut, not rounded: what is called 95 % is at least that."""
    return f"{int(ratio * 100)} %"

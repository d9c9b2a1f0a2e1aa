"""Coverage by caller and month as one HTML file that needs nothing else.

Names come from messages: they reach the page as text only.
"""

import html
from typing import Final

from quantlab_assets.cli.shell.output import percent
from quantlab_assets.domain.coverage.by_month import Cell, HeatMap
from quantlab_assets.domain.coverage.colours import scale
from quantlab_assets.domain.printable_text import printable
from quantlab_assets.domain.slices.grades import Grading

CALLERS_SHOWN: Final = 500
NAME_SHOWN: Final = 40

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
 script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<title>Coverage by caller and month</title>
</head>
<body style="margin: 0; font-family: sans-serif">
{figure}
</body>
</html>
"""


def heat_map_html(coverage: HeatMap, grading: Grading) -> str:
    """The page: the worst covered callers on top, the months from left to right."""
    import plotly.graph_objects as go

    rows = coverage.rows[:CALLERS_SHOWN]
    left_out = len(coverage.rows) - len(rows)
    names = [_label(row.caller) for row in rows]
    figure = go.Figure(
        go.Heatmap(
            x=list(coverage.months),
            y=list(range(len(rows))),
            z=[[None if cell is None else cell.mean_ratio for cell in row.cells] for row in rows],
            text=[["" if cell is None else str(cell.alerts) for cell in row.cells] for row in rows],
            hovertext=[
                [
                    _hover(name, month, cell)
                    for month, cell in zip(coverage.months, row.cells, strict=True)
                ]
                for name, row in zip(names, rows, strict=True)
            ],
            hoverinfo="text",
            texttemplate="%{text}",
            colorscale=[list(colour) for colour in scale(grading)],
            zmin=0,
            zmax=1,
            xgap=2,
            ygap=2,
            hoverongaps=False,
            colorbar={"title": {"text": "mean coverage"}, "tickformat": ".0%"},
        )
    )
    note = f"; {left_out} better covered callers are left out" if left_out else ""
    figure.update_layout(
        template="plotly_white",
        title={
            "text": f"Candles there in the {coverage.horizon_h} h after a call, by caller and month"
            f"<br><sup>worst covered first; numbers are calls{note}</sup>"
        },
        height=180 + 26 * max(len(rows), 4),
        margin={"l": 20, "r": 20, "t": 90, "b": 40},
        xaxis={"type": "category", "side": "top", "automargin": True, "showgrid": False},
        yaxis={
            "autorange": "reversed",
            "automargin": True,
            "tickmode": "array",
            "tickvals": list(range(len(rows))),
            "ticktext": names,
            "showgrid": False,
            "zeroline": False,
        },
    )
    return _PAGE.format(
        figure=figure.to_html(
            full_html=False,
            include_plotlyjs=True,
            include_mathjax=False,
            div_id="coverage",
            config={"displayModeBar": False, "responsive": True},
        )
    )


def _label(caller: str) -> str:
    """A name as the chart shows it: the chart reads markup in its labels."""
    plain = printable(caller).strip() or "-"
    shown = plain if len(plain) <= NAME_SHOWN else f"{plain[: NAME_SHOWN - 1]}…"
    return html.escape(shown).replace("$", "&#36;")


def _hover(name: str, month: str, cell: Cell | None) -> str:
    if cell is None:
        return ""
    calls = f"{cell.alerts} calls, {cell.covered} covered"
    return f"{name}, {month}<br>{percent(cell.mean_ratio)}, {calls}"

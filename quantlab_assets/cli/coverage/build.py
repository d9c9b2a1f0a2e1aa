"""`quantlab coverage build`: measure how much of the time around each call the candles cover."""

from datetime import date
from typing import Any, Final

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import check_range, day_range_options
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    format_option,
    say,
    write_records,
)
from quantlab_assets.domain.assets import COVERAGE_SUMMARY
from quantlab_assets.domain.coverage.counts import COVERAGE_GRADES

_BUILT: Final = (
    Column("day"),
    *(
        Column(name, right=True)
        for name in (
            "alerts",
            *(f"grade_{grade}" for grade in COVERAGE_GRADES),
            "gaps",
            "missing_candles",
        )
    ),
)


@quantlab_command(
    "build",
    examples="""
    quantlab coverage build
    quantlab coverage build --from 2025-11-01 --to 2025-11-30
    """,
)
@day_range_options("to analyse")
@format_option
@pass_session
def build(session: Session, first: date | None, last: date | None, output_format: Format) -> None:
    """Analyse the coverage of each day's calls by its slices, then sum all days up.

    Without limits, all days that have slices. The grades count every call once for each horizon.
    """
    check_range(first, last)
    lake = session.open_lake()
    from quantlab_assets.cli.graph.runs import open_graph
    from quantlab_assets.cli.shell.progress import show_progress
    from quantlab_assets.domain.days import contiguous
    from quantlab_assets.handlers.slices.plan import days_to_analyse

    days = days_to_analyse(lake.store, first, last)
    analysed = lake.assets.of(job="slices_and_coverage", group="coverage")
    by_day: dict[date, dict[str, Any]] = {}
    if days:
        with show_progress() as progress, open_graph(lake.settings) as graph:
            for begin, end in contiguous(days):
                progress.say(f"coverage of {begin} to {end}")
                run = graph.materialize(analysed, days=(begin, end))
                for figures in graph.figures(run):
                    day = date.fromisoformat(figures.partition)
                    by_day.setdefault(day, {"day": day}).update(figures.numbers)
            progress.say("summing up")
            graph.materialize([COVERAGE_SUMMARY])
    else:
        say("no day there has slices; make them with: quantlab slices export")
    records = [
        {column.name: by_day[day].get(column.name, 0) for column in _BUILT}
        for day in sorted(by_day)
    ]
    write_records(records, _BUILT, output_format)

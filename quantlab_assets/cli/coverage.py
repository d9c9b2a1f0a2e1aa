"""`quantlab coverage`: how much of the time around each call the candles cover."""

from datetime import date
from pathlib import Path
from typing import Any, Final

import click

from quantlab_assets.cli.command import LazyGroup, pass_session, quantlab_command
from quantlab_assets.cli.context import Session
from quantlab_assets.cli.day_options import check_range, day_range_options, limit_option
from quantlab_assets.cli.output import (
    Column,
    Format,
    format_option,
    percent,
    plural,
    say,
    write_records,
)
from quantlab_assets.cli.parameters import TEXT

ANALYSED: Final = ("alert_forward_coverage", "coverage_gaps")
SUMMARY: Final = "coverage_summary"
GRADES: Final = ("good", "partial", "poor", "none")

_SHOWN: Final = (
    Column("caller_name_norm"),
    Column("month"),
    Column("horizon_h", right=True),
    *(Column(name, right=True) for name in ("alerts", "covered", "partial", "poor", "none")),
    Column("mean_ratio", show=percent, right=True),
)
_BUILT: Final = (
    Column("day"),
    *(
        Column(name, right=True)
        for name in ("alerts", *(f"grade_{grade}" for grade in GRADES), "gaps", "missing_candles")
    ),
)


@click.group(
    "coverage",
    cls=LazyGroup,
    commands_at={
        "build": "quantlab_assets.cli.coverage:build",
        "show": "quantlab_assets.cli.coverage:show",
    },
    examples="""
    quantlab coverage build
    quantlab coverage show --html coverage.html
    """,
)
def coverage() -> None:
    """How much of the time around each call the slices cover, and why not all of it."""


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
    from quantlab_assets.cli.demo_progress import show_progress
    from quantlab_assets.cli.graph import open_graph
    from quantlab_assets.domain.days import contiguous
    from quantlab_assets.handlers.plan_slices import days_to_analyse

    days = days_to_analyse(lake.store, first, last)
    by_day: dict[date, dict[str, Any]] = {}
    if days:
        with show_progress() as progress, open_graph(lake.settings) as graph:
            for begin, end in contiguous(days):
                progress.say(f"coverage of {begin} to {end}")
                run = graph.materialize(ANALYSED, days=(begin, end))
                for one in graph.figures(run):
                    day = date.fromisoformat(one.partition)
                    by_day.setdefault(day, {"day": day}).update(one.numbers)
            progress.say("summing up")
            graph.materialize([SUMMARY])
    else:
        say("no day there has slices; make them with: quantlab slices export")
    records = [
        {column.name: by_day[day].get(column.name, 0) for column in _BUILT}
        for day in sorted(by_day)
    ]
    write_records(records, _BUILT, output_format)


@quantlab_command(
    "show",
    examples="""
    quantlab coverage show
    quantlab coverage show --caller caller_05 --horizon 4 --format json
    quantlab coverage show --from 2025-11-01 --html coverage.html
    """,
)
@click.option("--caller", type=TEXT, metavar="X", help="Only calls of this caller, by name.")
@click.option(
    "--chain", type=click.Choice(["solana", "evm"]), help="Only calls on this chain family."
)
@click.option(
    "--horizon",
    type=int,
    default=24,
    show_default=True,
    metavar="H",
    help="Hours after the call; before it if negative.",
)
@day_range_options("of calls to count")
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write a heat map, caller by month: one file that needs nothing else.",
)
@limit_option
@format_option
@pass_session
def show(
    session: Session,
    caller: str | None,
    chain: str | None,
    horizon: int,
    first: date | None,
    last: date | None,
    page: Path | None,
    limit: int | None,
    output_format: Format,
) -> None:
    """Show coverage by caller and month, the worst first."""
    check_range(first, last)
    store = session.open_lake().store
    from quantlab_assets.domain.coverage_by_month import coverage_by_month, heat_map
    from quantlab_assets.domain.telegram.senders import caller_name_norm
    from quantlab_assets.handlers.show_coverage import CoverageFilter, read_coverage

    name = None if caller is None else caller_name_norm(caller)
    found = read_coverage(store, CoverageFilter(name, chain, horizon, first, last))
    monthly = coverage_by_month(found)
    shown = monthly if limit is None else monthly.head(limit)
    if shown.height < monthly.height:
        say(f"{shown.height:,} of {plural(monthly.height, 'row')}; raise --limit to see more")
    if monthly.is_empty():
        say("no coverage matches; horizons are those that coverage was built for")
    write_records(shown.to_dicts(), _SHOWN, output_format)
    if page is not None:
        from quantlab_assets.cli.coverage_heat_map import write_heat_map

        write_heat_map(heat_map(found, horizon), page)
        say(f"heat map in {page}")

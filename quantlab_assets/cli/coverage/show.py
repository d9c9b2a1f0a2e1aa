"""`quantlab coverage show`: how much of the time around each call the candles cover."""

from datetime import date
from pathlib import Path
from typing import Final

import click

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import TEXT, check_range, day_range_options, limit_option
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    format_option,
    percent,
    plural,
    say,
    write_records,
)
from quantlab_assets.domain.coverage.counts import COUNTS, HEAT_MAP_HORIZON_H
from quantlab_assets.domain.tokens.token import CHAINS

_SHOWN: Final = (
    Column("caller_name_norm"),
    Column("month"),
    Column("horizon_h", right=True),
    *(Column(name, right=True) for name in COUNTS),
    Column("mean_ratio", show=percent, right=True),
)


@quantlab_command(
    "show",
    examples="""
    quantlab coverage show
    quantlab coverage show --caller caller_05 --horizon 4 --format json
    quantlab coverage show --from 2025-11-01 --html coverage.html
    """,
)
@click.option("--caller", type=TEXT, metavar="X", help="Only calls of this caller, by name.")
@click.option("--chain", type=click.Choice(CHAINS), help="Only calls on this chain family.")
@click.option(
    "--horizon",
    type=int,
    default=HEAT_MAP_HORIZON_H,
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
    lake = session.open_lake()
    from quantlab_assets.domain.coverage.by_month import coverage_by_month, heat_map
    from quantlab_assets.domain.telegram.senders import caller_name_norm
    from quantlab_assets.handlers.coverage.show import CoverageFilter, read_coverage

    name = None if caller is None else caller_name_norm(caller)
    summary = read_coverage(lake.store, CoverageFilter(name, chain, horizon, first, last))
    monthly = coverage_by_month(summary)
    shown = monthly if limit is None else monthly.head(limit)
    if shown.height < monthly.height:
        say(f"{shown.height:,} of {plural(monthly.height, 'row')}; raise --limit to see more")
    if monthly.is_empty():
        say("no coverage matches; horizons are those that coverage was built for")
    write_records(shown.to_dicts(), _SHOWN, output_format)
    if page is not None:
        from quantlab_assets.cli.coverage.heat_map import heat_map_html

        shown_page = heat_map_html(heat_map(summary, horizon), lake.measures.grading)
        session.write_whole(page, shown_page.encode())
        say(f"heat map in {page}")

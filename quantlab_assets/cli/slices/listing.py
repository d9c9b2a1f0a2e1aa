"""`quantlab slices list`: the slices that the lake holds, and how complete they are."""

from dataclasses import asdict
from datetime import date
from typing import Final

import click

from quantlab_assets.cli.artifacts.records import short_id
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
from quantlab_assets.cli.slices.columns import INTERVAL, minute
from quantlab_assets.domain.artifacts.type import INTERVALS
from quantlab_assets.domain.slices.grades import GRADES

_COLUMNS: Final = (
    Column("artifact_id", show=short_id),
    Column("chain"),
    Column("network"),
    Column("token"),
    INTERVAL,
    Column("window_from", show=minute),
    Column("window_to", show=minute),
    Column("status"),
    Column("grade"),
    Column("coverage", show=percent, right=True),
    Column("rows", right=True),
    Column("expected", right=True),
    Column("traded", right=True),
    Column("gaps", right=True),
    Column("duplicates", right=True),
    Column("conflicts", right=True),
    Column("quarantined_rows", right=True),
    Column("newest_ts", show=minute),
)


@quantlab_command(
    "list",
    examples="""
    quantlab slices list
    quantlab slices list --from 2025-11-06 --to 2025-11-08 --grade poor
    quantlab slices list --mint 0x2338c5ad75967dac2ff988fc3488109ec2406dfe --superseded
    quantlab slices list --interval 1h --format csv
    """,
)
@day_range_options("that a window must touch")
@click.option(
    "--mint", type=TEXT, metavar="M", help="Only slices of this token, by its whole address."
)
@click.option("--grade", type=click.Choice(GRADES), help="Only slices of this grade.")
@click.option(
    "--interval",
    type=click.Choice(list(INTERVALS)),
    help="Only slices of candles of this length.",
)
@click.option("--superseded", is_flag=True, help="Also slices that others took the place of.")
@limit_option
@format_option
@pass_session
def list_slices(
    session: Session,
    first: date | None,
    last: date | None,
    mint: str | None,
    grade: str | None,
    interval: str | None,
    superseded: bool,
    limit: int | None,
    output_format: Format,
) -> None:
    """List slices by window: grade, coverage, and what became of their raw rows.

    Duplicates and conflicts are rows of the window that repeated a candle or lost against one;
    quarantined rows are all that were refused of the files a slice comes from. The newest time is
    that of the newest candle the whole source had when the slice was made.
    """
    check_range(first, last)
    store = session.open_lake().store
    from quantlab_assets.handlers.slices.listing import SliceFilter
    from quantlab_assets.handlers.slices.listing import list_slices as find

    where = SliceFilter(
        first=first,
        last=last,
        token=mint,
        grade=grade,
        interval_s=None if interval is None else INTERVALS[interval],
        superseded=superseded,
    )
    slices = find(store, where)
    shown = slices if limit is None else slices[:limit]
    if len(shown) < len(slices):
        say(f"{len(shown):,} of {plural(len(slices), 'slice')}; raise --limit to see more")
    if not slices:
        say("no slices match; make them with: quantlab slices export")
    write_records([asdict(row) for row in shown], _COLUMNS, output_format)

"""`quantlab slices plan`: what an export would do."""

from collections import Counter
from dataclasses import asdict
from datetime import date
from typing import Final

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import check_range, day_range_options
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    format_option,
    percent,
    plural,
    say,
    write_records,
)
from quantlab_assets.cli.shell.progress import progress_bar
from quantlab_assets.cli.slices.columns import INTERVAL, minute

NO_CALLS: Final = "no day there has calls; take some in with: quantlab ingest telegram PATH..."

_COLUMNS: Final = (
    Column("day"),
    Column("chain"),
    Column("network"),
    Column("token"),
    Column("alerts", right=True),
    INTERVAL,
    Column("window_from", show=minute),
    Column("window_to", show=minute),
    Column("rows", right=True),
    Column("expected", right=True),
    Column("coverage", show=percent, right=True),
    Column("grade"),
    Column("outcome"),
)


@quantlab_command(
    "plan",
    examples="""
    quantlab slices plan
    quantlab slices plan --from 2025-11-06 --to 2025-11-08 --format csv
    """,
)
@day_range_options("to plan")
@format_option
@pass_session
def plan(session: Session, first: date | None, last: date | None, output_format: Format) -> None:
    """Show the windows of the tokens called, and what the candle source has for each.

    The outcome of a window says what `quantlab slices export` would do: publish a new slice, find
    it unchanged, supersede one whose candles have changed, remove one that no call asks for any
    more, or find no candles. Nothing is written to the lake.
    """
    check_range(first, last)
    lake = session.open_lake()
    from quantlab_assets.handlers.slices.plan import days_to_export, plan_export

    days = days_to_export(lake.store, first, last)
    if not days:
        say(NO_CALLS)
    records = []
    with progress_bar("looking at candles") as progress:
        planned = plan_export(
            lake.store,
            lake.ingestion.candle_source,
            days,
            lake.measures.slice_window,
            lake.measures.grading,
        )
        for done, windows in enumerate(planned):
            progress(done + 1, len(days))
            records += [
                {
                    **asdict(window),
                    "coverage": window.rows / window.expected if window.expected else None,
                }
                for window in windows
            ]
    write_records(records, _COLUMNS, output_format)
    counts = Counter(str(record["outcome"]) for record in records)
    if counts:
        outcomes = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        say(f"{plural(len(records), 'window')} on {plural(len(days), 'day')}: {outcomes}")

"""`quantlab slices export`: the candles around the calls, through the asset graph."""

from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from quantlab_assets.cli.graph.runs import open_graph
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import check_range, day_range_options
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    format_option,
    plural,
    say,
    write_records,
)
from quantlab_assets.cli.shell.progress import show_progress
from quantlab_assets.cli.slices.plan import NO_CALLS
from quantlab_assets.domain.artifacts.records import ArtifactFilter
from quantlab_assets.domain.assets import ASSETS, SLICES
from quantlab_assets.domain.days import contiguous
from quantlab_assets.domain.slices.grades import GRADES

if TYPE_CHECKING:
    from quantlab_assets.ports.artifact_store import ArtifactStore

_COUNTS: Final = (
    "tokens_called",
    "tokens_without_candles",
    "slices",
    "candles",
    *(f"slices_{grade}" for grade in GRADES),
    "duplicate_rows",
    "conflicting_rows",
    "quarantined_rows",
)
"""What the partition of a day tells, in the order to print it."""


@quantlab_command(
    "export",
    examples="""
    quantlab slices export
    quantlab slices export --from 2025-01-01 --to 2025-12-31 --format csv
    """,
)
@day_range_options("to export")
@format_option
@pass_session
def export(session: Session, first: date | None, last: date | None, output_format: Format) -> None:
    """Export the candles around each day's calls as slices, a day at a time.

    Without limits, all days that have calls. Slices whose candles have not changed are used again;
    where the source has more candles, or corrected ones, a new slice takes the place of the old.
    Stopped in between, the days that are done stay; run it again to go on.
    """
    check_range(first, last)
    lake = session.open_lake()
    from quantlab_assets.handlers.slices.plan import days_to_export

    days = days_to_export(lake.store, first, last)
    if not days:
        say(NO_CALLS)
    before = _active(lake.store)
    records: list[dict[str, Any]] = []
    if days:
        with show_progress() as progress, open_graph(lake.settings) as graph:
            for begin, end in contiguous(days):
                progress.say(f"slices of {begin} to {end}")
                run = graph.materialize([SLICES], days=(begin, end))
                records += [
                    {
                        "day": date.fromisoformat(figures.partition),
                        "new": figures.numbers["new_artifacts"],
                        "reused": figures.numbers["deduped_artifacts"],
                        **{name: figures.numbers[name] for name in _COUNTS},
                    }
                    for figures in graph.figures(run)
                ]
    records.sort(key=lambda record: record["day"])
    columns = [Column("day"), *(Column(name, right=True) for name in ("new", "reused", *_COUNTS))]
    write_records(records, columns, output_format)
    totals: Counter[str] = Counter()
    for record in records:
        totals.update({name: record[name] for name in ("new", "reused", "slices")})
    after = _active(lake.store)
    say(
        f"{plural(totals['slices'], 'slice')} on {plural(len(records), 'day')}: "
        f"{totals['new']} new, {totals['reused']} reused; {len(before - after)} superseded"
    )


def _active(store: "ArtifactStore") -> set[str]:
    """The slices that count now."""
    where = ArtifactFilter(artifact_type=ASSETS.type_of(SLICES), status="active")
    return {artifact.artifact_id for artifact in store.list_artifacts(where).artifacts}

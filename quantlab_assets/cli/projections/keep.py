"""`quantlab projections list|rebuild|dispose`: what is built, again, and no more."""

import time
from collections.abc import Sequence
from typing import Any, Final

import click

from quantlab_assets.cli.projections.records import LISTED, SECONDS, SHOWN, projection_record
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import TEXT
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    format_option,
    plural,
    say,
    size,
    write_records,
)
from quantlab_assets.cli.shell.progress import progress_bar
from quantlab_assets.domain.errors import NotFound, QuantlabError
from quantlab_assets.ports.projection_builder import ProjectionBuilder

FREED: Final = (Column("projection_id"), Column("freed", show=size, right=True))


@quantlab_command(
    "list",
    examples="""
    quantlab projections list
    quantlab projections list --format json
    """,
)
@format_option
@pass_session
def list_projections(session: Session, output_format: Format) -> None:
    """List what is built: how large, how old, when last used, and whether it is stale.

    Stale: an artifact it was built from is no longer active. It answers all the same.
    """
    projections = session.open_lake().projections.list()
    if not projections and output_format is Format.TABLE:
        say("nothing is built; make a projection with: quantlab projections build")
        return
    write_records(
        [projection_record(projection) for projection in projections],
        LISTED if output_format is Format.TABLE else SHOWN,
        output_format,
    )


@quantlab_command(
    "rebuild",
    examples="""
    quantlab projections rebuild one_day
    quantlab projections rebuild --all
    """,
)
@click.argument("projection_ids", metavar="[ID]...", nargs=-1, type=TEXT)
@click.option("--all", "every", is_flag=True, help="All that are built.")
@format_option
@pass_session
def rebuild(
    session: Session, projection_ids: tuple[str, ...], every: bool, output_format: Format
) -> None:
    """Build projections anew from their stored requests, whatever is left of their files.

    One with a name chooses its artifacts again, one named by its content keeps them.
    """
    projections = session.open_lake().projections
    records: list[dict[str, Any]] = []
    failed: list[QuantlabError] = []
    for projection_id in _named(projections, projection_ids, every):
        began = time.monotonic()
        try:
            with progress_bar(f"building {projection_id}"):
                built = projections.rebuild(projection_id)
        except QuantlabError as error:
            # What is wrong with one of them keeps none of the others from being built.
            failed.append(error)
        else:
            records.append({**projection_record(built), "seconds": time.monotonic() - began})
    if records or not failed:
        shown = LISTED if output_format is Format.TABLE else SHOWN
        write_records(records, (*shown, SECONDS), output_format)
    for failure in failed[1:]:
        say(str(failure))
    if failed:
        raise failed[0]


@quantlab_command(
    "dispose",
    examples="""
    quantlab projections dispose one_day p_4f1c09aa9be0021077aa31c9e5d20b41
    quantlab projections dispose --all
    """,
)
@click.argument("projection_ids", metavar="[ID]...", nargs=-1, type=TEXT)
@click.option("--all", "every", is_flag=True, help="All that are built.")
@format_option
@pass_session
def dispose(
    session: Session, projection_ids: tuple[str, ...], every: bool, output_format: Format
) -> None:
    """Delete projections and their stored requests. Artifacts stay: nothing is lost.

    Whoever has one open keeps it until they close it.
    """
    projections = session.open_lake().projections
    sizes = {built.projection_id: built.size for built in projections.list()}
    freed: list[dict[str, Any]] = []
    unknown = []
    for projection_id in _named(projections, projection_ids, every):
        # Also what is not built: its request may be kept.
        projections.dispose(projection_id)
        if projection_id in sizes:
            freed.append({"projection_id": projection_id, "freed": sizes[projection_id]})
        else:
            unknown.append(projection_id)
    write_records(freed, FREED, output_format)
    total = sum(record["freed"] for record in freed)
    say(f"{plural(len(freed), 'projection')} disposed of, {size(total)} freed")
    if unknown:
        raise NotFound(
            f"there was no projection {', '.join(unknown)};"
            " `quantlab projections list` shows what is built"
        )


def _named(
    projections: ProjectionBuilder, projection_ids: tuple[str, ...], every: bool
) -> Sequence[str]:
    if every == bool(projection_ids):
        raise click.UsageError("name projections, or say --all")
    if every:
        return [projection.projection_id for projection in projections.list()]
    return list(dict.fromkeys(projection_ids))

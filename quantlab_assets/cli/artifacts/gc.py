"""`quantlab artifacts gc`: which files may go."""

from dataclasses import asdict
from datetime import timedelta
from typing import Final

import click

from quantlab_assets.cli.artifacts.records import short_id
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import DurationType
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    format_option,
    plural,
    say,
    size,
    write_document,
    write_records,
)

FILES: Final = (Column("reason"), Column("path"), Column("bytes", show=size, right=True))


@quantlab_command(
    "gc",
    examples="""
    quantlab artifacts gc
    quantlab artifacts gc --yes
    quantlab artifacts gc --purge-superseded-after 90d --format json
    """,
)
@click.option("--yes", "--delete", "delete", is_flag=True, help="Do it; without it, only tell.")
@click.option(
    "--grace",
    type=DurationType(),
    default="24h",
    show_default=True,
    help="Leave files alone that are younger: longer than the longest publish takes.",
)
@click.option(
    "--purge-superseded-after",
    type=DurationType(),
    help="Also the bytes of artifacts superseded for so long that nothing uses. Default: never.",
)
@click.option(
    "--purge-tombstoned-after",
    type=DurationType(),
    help="Also the bytes of artifacts tombstoned for so long. Default: never.",
)
@click.option(
    "--empty-trash-after",
    type=DurationType(),
    default="7d",
    show_default=True,
    help="Delete what has been in the trash for so long.",
)
@click.option(
    "--force", is_flag=True, help="Also if most files of the lake would go: the manifest is right."
)
@format_option
@pass_session
def gc(
    session: Session,
    delete: bool,
    grace: timedelta,
    purge_superseded_after: timedelta | None,
    purge_tombstoned_after: timedelta | None,
    empty_trash_after: timedelta,
    force: bool,
    output_format: Format,
) -> None:
    """Move files that nothing refers to into the trash, and empty old trash.

    A dry run unless you say --yes. Rows and hashes stay, and whatever an experiment or a tag pins
    stays whole.
    """
    report = session.upkeep.collect(
        dry_run=not delete,
        grace=grace,
        superseded_after=purge_superseded_after,
        tombstoned_after=purge_tombstoned_after,
        empty_trash_after=empty_trash_after,
        force=force,
    )
    files = [asdict(file) for file in report.files]
    if output_format is Format.JSON:
        write_document(asdict(report) | {"bytes": report.bytes}, output_format)
    elif files or output_format is not Format.TABLE:
        write_records(files, FILES, output_format)
    done = "would be taken" if report.dry_run else "taken"
    say(f"{plural(len(files), 'file')} {done}, {size(report.bytes)}")
    if report.purged:
        ids = ", ".join(short_id(artifact_id) for artifact_id in report.purged)
        say(f"{'To purge' if report.dry_run else 'Purged'}: {ids}")
    if report.too_young:
        say(f"{plural(report.too_young, 'file')} too young to take")
    if report.dry_run and files:
        say("A dry run: nothing was changed. Add --yes to do it.")

"""`quantlab backup|restore`: copies of the manifest. The artifacts are copied by any tool."""

from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    format_option,
    say,
    size,
    write_record,
)

COPY: Final = (
    Column("path"),
    Column("bytes", show=size),
    Column("artifacts"),
    Column("patches"),
    Column("replaced"),
)


@quantlab_command(
    "backup",
    examples="""
    quantlab backup backups/manifest-2025-11-07.sqlite
    """,
)
@click.argument("out", type=click.Path(path_type=Path))
@format_option
@pass_session
def backup(session: Session, out: Path, output_format: Format) -> None:
    """Copy the manifest to OUT while the lake is in use.

    Uncommitted code that experiments ran with goes to the folder OUT.code beside it; keep both.
    Then copy the artifacts folder with any tool: its files never change.
    """
    write_record(asdict(session.upkeep.backup(out)), COPY, output_format)
    say("Now copy the artifacts too, e.g. with rsync: " + str(session.settings.artifacts_root))


@quantlab_command(
    "restore",
    examples="""
    quantlab restore backups/manifest-2025-11-07.sqlite
    """,
)
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@format_option
@pass_session
def restore(session: Session, source: Path, output_format: Format) -> None:
    """Put a backup in the place of the manifest. The old one is kept beside it."""
    write_record(asdict(session.upkeep.restore(source)), COPY, output_format)
    say("Run `quantlab artifacts verify`: does the manifest agree with the files?")

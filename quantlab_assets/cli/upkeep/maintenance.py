"""`quantlab backup|restore|du|doctor`: copies of the manifest, disk use, and what is wrong."""

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
    plural,
    say,
    size,
    write_document,
    write_fields,
    write_records,
)

COPY: Final = (
    Column("path"),
    Column("bytes", show=size),
    Column("artifacts"),
    Column("patches"),
    Column("replaced"),
)
USE: Final = (
    Column("part"),
    Column("files", right=True),
    Column("bytes", show=size, right=True),
)
FINDINGS: Final = (Column("level"), Column("what"), Column("do"))


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
    _write_copy(asdict(session.upkeep.backup(out)), output_format)
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
    _write_copy(asdict(session.upkeep.restore(source)), output_format)
    say("Run `quantlab artifacts verify`: does the manifest agree with the files?")


def _write_copy(record: dict[str, object], output_format: Format) -> None:
    if output_format is Format.TABLE:
        write_fields(record, COPY)
    elif output_format is Format.CSV:
        write_records([record], COPY, output_format)
    else:
        write_document(record, output_format)


@quantlab_command(
    "du",
    examples="""
    quantlab du
    quantlab du --format csv
    """,
)
@format_option
@pass_session
def du(session: Session, output_format: Format) -> None:
    """Show what the lake takes on the disk: artifacts by type and status, and everything else."""
    parts = session.upkeep.disk_use()
    write_records([asdict(one) for one in parts], USE, output_format)
    say(f"{size(sum(one.bytes for one in parts))} in all")


@quantlab_command(
    "doctor",
    examples="""
    quantlab doctor
    quantlab doctor --format json
    """,
)
@format_option
@pass_session
def doctor(session: Session, output_format: Format) -> int:
    """Look for what is wrong with this lake or will be soon: folders, clock, old projections.

    Ends with exit code 1 if something must be done. `quantlab artifacts verify` checks the data.
    """
    findings = session.upkeep.diagnose()
    write_records([asdict(one) for one in findings], FINDINGS, output_format)
    errors = sum(one.level == "error" for one in findings)
    warnings = sum(one.level == "warning" for one in findings)
    say(f"{plural(errors, 'error')}, {plural(warnings, 'warning')}")
    return 1 if errors else 0

"""`quantlab doctor|du`: what is wrong with the lake, or soon will be, and what takes its space."""

from dataclasses import asdict
from typing import Final

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    format_option,
    plural,
    say,
    size,
    write_records,
)

USE: Final = (
    Column("part"),
    Column("files", right=True),
    Column("bytes", show=size, right=True),
)
FINDINGS: Final = (Column("level"), Column("what"), Column("do"))


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
    write_records([asdict(part) for part in parts], USE, output_format)
    say(f"{size(sum(part.bytes for part in parts))} in all")


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
    write_records([asdict(finding) for finding in findings], FINDINGS, output_format)
    errors = sum(finding.level == "error" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    say(f"{plural(errors, 'error')}, {plural(warnings, 'warning')}")
    return 1 if errors else 0

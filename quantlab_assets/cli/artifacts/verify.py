"""`quantlab artifacts verify`: is it all there, and is it what the manifest says."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

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
    write_records,
)
from quantlab_assets.cli.shell.progress import progress_bar
from quantlab_assets.domain.errors import IntegrityError

if TYPE_CHECKING:
    from quantlab_assets.adapters.upkeep.audit import AuditReport
    from quantlab_assets.adapters.upkeep.repair import Repair

PROBLEMS: Final = (Column("code"), Column("subject"), Column("detail"))


@quantlab_command(
    "verify",
    examples="""
    quantlab artifacts verify
    quantlab artifacts verify --fraction 0.05 --format json
    quantlab artifacts verify --repair
    """,
)
@click.option(
    "--fraction",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="The share of files whose bytes are hashed again; all else is always checked.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Chooses which files a share consists of.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Move damaged files to quarantine/, write damaged sidecars again. Deletes nothing.",
)
@format_option
@pass_session
def verify(
    session: Session, fraction: float, seed: int, repair: bool, output_format: Format
) -> int:
    """Check that every artifact is what the manifest says: files, sidecars, rows, relations.

    Ends with exit code 4 if anything is wrong, also if it was repaired. JSON is the whole report;
    CSV and JSON lines have its problems.
    """
    with progress_bar("checking", in_bytes=True) as on_progress:
        report = session.upkeep.audit(fraction=fraction, seed=seed, on_progress=on_progress)
    repairs = session.upkeep.repair(report) if repair and not report.ok else ()
    if output_format is Format.JSON:
        write_document(_audit_record(report, repairs), output_format)
    elif report.problems or output_format is not Format.TABLE:
        write_records([asdict(problem) for problem in report.problems], PROBLEMS, output_format)
    for repaired in repairs:
        where = f"moved to {repaired.moved_to}" if repaired.moved_to else "written again"
        say(f"{repaired.path}: {where} ({repaired.reason})")
    hashed = f"{plural(report.files_hashed, 'file')} hashed ({size(report.bytes_hashed)})"
    say(f"{plural(report.artifacts, 'artifact')}, {hashed}, {report.purged} purged")
    if report.unreferenced:
        left = plural(len(report.unreferenced), "unreferenced file")
        say(f"{left}: no problem, `quantlab artifacts gc` takes them away")
    if report.ok:
        say("Nothing is wrong.")
        return 0
    advice = "" if repair else "; --repair moves damaged files aside and writes sidecars again"
    say(f"{plural(len(report.problems), 'problem')} found{advice}")
    return IntegrityError.exit_code


def _audit_record(report: "AuditReport", repairs: "tuple[Repair, ...]") -> dict[str, Any]:
    return {"ok": report.ok, **asdict(report), "repairs": [asdict(repair) for repair in repairs]}

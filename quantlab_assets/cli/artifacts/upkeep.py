"""`quantlab artifacts verify|gc|rebuild-manifest`: is it all there, and what may go."""

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from quantlab_assets.cli.artifacts.records import short_id
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
from quantlab_assets.cli.shell.parameters import DurationType
from quantlab_assets.cli.shell.progress import progress_bar
from quantlab_assets.domain.errors import IntegrityError

if TYPE_CHECKING:
    from quantlab_assets.adapters.upkeep.audit import AuditReport, Repair

PROBLEMS: Final = (Column("code"), Column("subject"), Column("detail"))
FILES: Final = (Column("reason"), Column("path"), Column("bytes", show=size, right=True))
REBUILT: Final = (Column("manifest"), Column("from_backup"), Column("from_sidecars"))


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
        write_records([asdict(one) for one in report.problems], PROBLEMS, output_format)
    for one in repairs:
        where = f"moved to {one.moved_to}" if one.moved_to else "written again"
        say(f"{one.path}: {where} ({one.reason})")
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
    return {"ok": report.ok, **asdict(report), "repairs": [asdict(one) for one in repairs]}


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
    files = [asdict(one) for one in report.files]
    if output_format is Format.JSON:
        write_document(asdict(report) | {"bytes": report.bytes}, output_format)
    elif files or output_format is not Format.TABLE:
        write_records(files, FILES, output_format)
    done = "would be taken" if report.dry_run else "taken"
    say(f"{plural(len(files), 'file')} {done}, {size(report.bytes)}")
    if report.purged:
        ids = ", ".join(short_id(one) for one in report.purged)
        say(f"{'To purge' if report.dry_run else 'Purged'}: {ids}")
    if report.too_young:
        say(f"{plural(report.too_young, 'file')} too young to take")
    if report.dry_run and files:
        say("A dry run: nothing was changed. Add --yes to do it.")


@quantlab_command(
    "rebuild-manifest",
    examples="""
    quantlab artifacts rebuild-manifest --backup backups/manifest.sqlite
    quantlab artifacts rebuild-manifest --out rebuilt.sqlite
    """,
)
@click.option(
    "--backup",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The newest backup: statuses, later tags and experiments come from it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write it. Default: the lake's own manifest, which must not be there.",
)
@format_option
@pass_session
def rebuild_manifest(
    session: Session, backup: Path | None, out: Path | None, output_format: Format
) -> int:
    """Make the manifest again from the sidecars beside the Parquet files.

    Ends with exit code 4 if some of them could not be taken.
    """
    manifest = (out or session.settings.manifest).absolute()
    with progress_bar("reading sidecars") as on_progress:
        report = session.upkeep.rebuild_manifest(manifest, backup=backup, on_progress=on_progress)
    record = {"manifest": manifest, **asdict(report)}
    if output_format is Format.TABLE:
        write_fields(record, REBUILT)
    elif output_format is Format.CSV:
        write_records([record], (*REBUILT, Column("problems")), output_format)
    else:
        write_document(record, output_format)
    for problem in report.problems:
        say(problem)
    return IntegrityError.exit_code if report.problems else 0

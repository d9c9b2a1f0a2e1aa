"""`quantlab artifacts rebuild-manifest`: the manifest anew, from what lies beside the files."""

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
    write_record,
)
from quantlab_assets.cli.shell.progress import progress_bar
from quantlab_assets.domain.errors import IntegrityError

REBUILT: Final = (Column("manifest"), Column("from_backup"), Column("from_sidecars"))


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
    columns = REBUILT if output_format is Format.TABLE else (*REBUILT, Column("problems"))
    write_record(record, columns, output_format)
    for problem in report.problems:
        say(problem)
    return IntegrityError.exit_code if report.problems else 0

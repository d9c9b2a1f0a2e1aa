"""`quantlab slices export-dataset`: all candles for tools that read Hive-partitioned Parquet."""

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
from quantlab_assets.cli.shell.progress import progress_bar
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.settings import Settings

DEFAULT_NAME: Final = "candle_dataset"

_FIELDS: Final = (
    Column("folder"),
    Column("built"),
    Column("buckets"),
    Column("slices"),
    Column("tokens"),
    Column("rows"),
    Column("files"),
    Column("bytes", show=size),
)


@quantlab_command(
    "export-dataset",
    examples="""
    quantlab slices export-dataset
    quantlab slices export-dataset --buckets 16 --out candles
    """,
)
@click.option(
    "--buckets",
    type=click.IntRange(min=1, max=4096),
    default=64,
    show_default=True,
    metavar="N",
    help="Into how many buckets the tokens go.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help=f"The folder to make or replace (default: {DEFAULT_NAME} in the lake's cache).",
)
@format_option
@pass_session
def export_dataset(session: Session, buckets: int, out: Path | None, output_format: Format) -> None:
    """Export all active slices as bucket=N/month=YYYY-MM/candles.parquet.

    One candle a token, network and moment. The dataset can be deleted and made again at any time;
    the old one stays until the new one is whole. A folder that is something else is left alone.
    """
    folder = session.settings.projection_cache / DEFAULT_NAME if out is None else out
    _check_outside(session.settings, folder)
    lake = session.open_lake()
    from quantlab_assets.handlers.slices.dataset import export_dataset as export

    with progress_bar("slices") as progress:
        exported = export(lake.store, session.candle_dataset(folder), buckets, progress)
    content = exported.content
    record = {
        "folder": content.folder,
        "built": exported.built,
        "buckets": content.recipe.buckets,
        "slices": exported.slices,
        "tokens": exported.tokens,
        "rows": content.rows,
        "files": len(content.files),
        "bytes": sum(content.files.values()),
    }
    if not exported.built:
        say("nothing has changed since it was built")
    write_record(record, _FIELDS, output_format)


def _check_outside(settings: Settings, folder: Path) -> None:
    """The lake's own folders are no place for it: most are read as something else."""
    target = folder.resolve()
    inside = [settings.artifacts_root, settings.telegram_inbox, settings.staging]
    if settings.candle_inbox is not None:
        inside.append(settings.candle_inbox)
    taken = any(target.is_relative_to(own.resolve()) for own in inside)
    if taken or any(target == own.resolve() for own in settings.folders()):
        raise ValidationFailed(f"{folder} is the lake's own; name another folder with --out")

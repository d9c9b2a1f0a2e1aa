"""`quantlab artifacts export|import`: artifacts in one file, from one lake into another."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import TEXT
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    Verbatim,
    format_option,
    plural,
    say,
    size,
    write_document,
    write_records,
)
from quantlab_assets.cli.shell.progress import progress_bar
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.lake import Lake

ARTIFACTS: Final = (Column("artifact_id"), Column("state"))
STDOUT: Final = Path("-")
EXPERIMENTS: Final = "experiments/"
"""What the documents of experiments in a bundle are called, before their id."""


@quantlab_command(
    "export",
    examples="""
    quantlab artifacts export 4f1c09aa 9be00210 calls.tar
    quantlab artifacts export --type alerts_v1 --key day=2025-05-01/chain=solana day.tar
    quantlab artifacts export --experiment exp-0f3a19c2d4b87e65 result.tar
    """,
)
@click.argument("artifact_ids", metavar="[ID]...", type=TEXT, nargs=-1)
@click.argument("out", metavar="OUT.tar", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--experiment", type=TEXT, help="This experiment: its inputs, its results, its record."
)
@click.option("--type", "artifact_type", type=TEXT, help="The type that --key is of.")
@click.option(
    "--key", "keys", type=TEXT, multiple=True, help="What is active under this key. Repeatable."
)
@click.option("--no-lineage", is_flag=True, help="Without what the artifacts were made from.")
@format_option
@pass_session
def export(
    session: Session,
    artifact_ids: tuple[str, ...],
    out: Path,
    experiment: str | None,
    artifact_type: str | None,
    keys: tuple[str, ...],
    no_lineage: bool,
    output_format: Format,
) -> None:
    """Write artifacts, and all that they were made from, into a tar file; `-` is stdout."""
    if bool(keys) != (artifact_type is not None):
        raise click.UsageError("--type and --key go together")
    if not artifact_ids and not keys and experiment is None:
        raise click.UsageError("name what to export: IDs, --type and --key, or --experiment")
    lake = session.open_lake()
    chosen = [lake.store.resolve_id(artifact_id) for artifact_id in artifact_ids]
    if artifact_type is not None:
        chosen += [_active(lake, artifact_type, key) for key in keys]
    extra: dict[str, Any] = {}
    if experiment is not None:
        record = lake.experiments.get(experiment)
        extra[f"{EXPERIMENTS}{record.experiment_id}"] = lake.experiments.tracker.to_document(
            record.experiment_id
        )
        chosen += [*record.definition.input_ids, *sorted(record.outputs.values())]
    if out == STDOUT:
        session.upkeep.export_bundle(
            chosen, sys.stdout.buffer, with_lineage=not no_lineage, extra=extra
        )
        return
    with progress_bar("exporting"):
        report = session.upkeep.export_bundle(chosen, out, with_lineage=not no_lineage, extra=extra)
    if output_format in (Format.TABLE, Format.CSV):
        asked = set(chosen)
        write_records(
            [
                {
                    "artifact_id": artifact_id,
                    "state": "asked for" if artifact_id in asked else "lineage",
                }
                for artifact_id in report.artifacts
            ],
            ARTIFACTS,
            output_format,
        )
    else:
        write_document({"path": out.absolute(), **asdict(report)}, output_format)
    say(f"{plural(len(report.artifacts), 'artifact')} in {out}, {size(report.bytes)}")


@quantlab_command(
    "import",
    examples="""
    quantlab artifacts import calls.tar
    quantlab artifacts import calls.tar --format json
    """,
)
@click.argument("source", metavar="FILE.tar", type=click.Path(path_type=Path))
@click.option(
    "--max-file-bytes",
    type=click.IntRange(min=1),
    default=2 << 30,
    show_default=True,
    help="Refuse a bundle that has a larger file.",
)
@format_option
@pass_session
def import_(session: Session, source: Path, max_file_bytes: int, output_format: Format) -> None:
    """Take in a bundle, as a whole or not at all. Every hash in it is verified first."""
    with progress_bar("verifying and importing"):
        report = session.upkeep.import_bundle(source, max_file_bytes=max_file_bytes)
    tracker = session.open_lake().experiments.tracker
    for name, document in sorted(report.extra.items()):
        if name.startswith(EXPERIMENTS) and tracker.adopt(document):
            say(f"added experiment {name.removeprefix(EXPERIMENTS)}")
    if output_format in (Format.TABLE, Format.CSV):
        states = [(artifact_id, "added") for artifact_id in report.added]
        states += [(artifact_id, "present") for artifact_id in report.present]
        write_records(
            [{"artifact_id": artifact_id, "state": state} for artifact_id, state in states],
            ARTIFACTS,
            output_format,
        )
    else:
        write_document(asdict(report) | {"extra": Verbatim(report.extra)}, output_format)
    say(f"{len(report.added)} added, {len(report.present)} were there already")


def _active(lake: Lake, artifact_type: str, key: str) -> str:
    for artifact in lake.store.find_by_logical_key(artifact_type, key):
        if artifact.status == "active":
            return artifact.artifact_id
    lake.types.get(artifact_type).parse_key_of_any_version(key)
    raise NotFound(f"nothing is active as {artifact_type} {key!r}")

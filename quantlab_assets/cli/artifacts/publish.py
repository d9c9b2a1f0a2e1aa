"""`quantlab artifacts publish`: a CSV or Parquet file becomes an artifact."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from quantlab_assets.cli.artifacts.records import publish_record, short_id
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import TEXT, shortened, tag_option
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    format_option,
    say,
    write_record,
)
from quantlab_assets.cli.shell.progress import progress_bar
from quantlab_assets.domain.artifacts.records import (
    UNSET,
    LineageInput,
    PublishRequest,
    SourceFile,
    Unset,
)
from quantlab_assets.domain.errors import Conflict, NotFound, ValidationFailed
from quantlab_assets.version import __version__

if TYPE_CHECKING:
    from quantlab_assets.domain.artifacts.records import Provenance, PublishResult
    from quantlab_assets.lake import Lake

SUFFIXES: Final = (".csv", ".parquet")
NOTHING: Final = "none"

ANSWER: Final = tuple(
    Column(name)
    for name in (
        "success",
        "deduped",
        "mode",
        "artifact_id",
        "existing_artifact_id",
        "path_parquet",
        "path_sidecar",
    )
)


@quantlab_command(
    "publish",
    examples="""
    quantlab artifacts publish --type strategy --key strategy=mine --data mine.csv --tag by=me
    quantlab artifacts publish --type strategy --version 1 --key strategy=b --data b.parquet
    """,
)
@click.option("--type", "artifact_type", type=TEXT, required=True, help="The artifact's type.")
@click.option("--version", type=int, help="The type's schema version. Default: the newest.")
@click.option("--key", type=TEXT, required=True, help="The logical key.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="A .csv with a header, read by the type's columns and never guessed; or a .parquet.",
)
@tag_option("A tag of the artifact.")
@click.option("--writer", type=TEXT, default="quantlab", show_default=True, help="Who publishes.")
@click.option("--writer-version", type=TEXT, help="The writer's version. Default: quantlab's.")
@click.option(
    "--input", "inputs", type=TEXT, multiple=True, metavar="ID", help="Made from it. Repeatable."
)
@click.option(
    "--expected-active",
    type=TEXT,
    metavar="ID|none",
    help="Publish only if this artifact (or none) is the active one under the key.",
)
@format_option
@pass_session
def publish(
    session: Session,
    artifact_type: str,
    version: int | None,
    key: str,
    data: Path,
    tags: dict[str, str],
    writer: str,
    writer_version: str | None,
    inputs: tuple[str, ...],
    expected_active: str | None,
    output_format: Format,
) -> None:
    """Publish the rows of a file. The file's hash is kept as where they came from.

    What was active under the key is superseded, unless it is of a newer schema version of the type:
    then what is published is stored, and superseded by it. Content that is there already is not
    written again, only the event is recorded.
    """
    from quantlab_assets.lake.provenance import provenance_of

    lake = session.open_lake()
    expected: str | None | Unset = UNSET
    if expected_active is not None:
        expected = None if expected_active == NOTHING else lake.store.resolve_id(expected_active)
    provenance = provenance_of(writer, writer_version or __version__)
    with progress_bar("publishing"):
        result, data_hash = publish_file(
            session,
            lake,
            artifact_type=artifact_type,
            schema_version=version,
            key=key,
            data=data,
            tags=tags,
            inputs=inputs,
            provenance=provenance,
            expected_active=expected,
        )
    record = publish_record(lake.store, result, data_hash)
    write_record(record, ANSWER, output_format)
    if result.deduped:
        say("It was there already: only the event was recorded.")
    if result.superseded_by is not None:
        say(
            f"It is not the active one: {short_id(result.superseded_by)} of a newer schema version"
            " is"
        )
    for old in result.superseded:
        say(f"{short_id(old)} is superseded")


def publish_file(
    session: Session,
    lake: "Lake",
    *,
    artifact_type: str,
    schema_version: int | None,
    key: str,
    data: Path,
    tags: Mapping[str, str],
    inputs: Sequence[str],
    provenance: "Provenance",
    expected_active: str | None | Unset = UNSET,
) -> "tuple[PublishResult, str]":
    """Publish a file's rows; gives the result and the hash of the file's bytes.

    Raises what `publish_artifact` raises, and `NotFound`, `ValidationFailed` or `Conflict` for a
    file that is not there, not understood, or changes meanwhile.
    """
    known = lake.types.get(artifact_type, schema_version)
    known.parse_key(key)
    suffix = data.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValidationFailed(f"{shortened(data)}: give a file that ends in .csv or .parquet")
    if not data.is_file():
        raise NotFound(f"there is no file {shortened(data)}")
    made_from = tuple(
        LineageInput(artifact_id=lake.store.resolve_id(input_id)) for input_id in inputs
    )
    before = data.stat()
    with data.open("rb") as file:
        data_hash = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    table = session.read_csv(data, known) if suffix == ".csv" else data
    after = data.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise Conflict(f"{shortened(data)} changed while it was read: publish it again")
    request = PublishRequest(
        artifact_type=known.name,
        logical_key=key,
        table=table,
        provenance=provenance,
        schema_version=known.schema_version,
        tags=tags,
        inputs=made_from,
        sources=(SourceFile(data_hash, data.name, before.st_size, suffix[1:]),),
        expected_active=expected_active,
    )
    return lake.store.publish_artifact(request), data_hash

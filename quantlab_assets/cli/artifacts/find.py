"""`quantlab artifacts list|get|find|types`: what there is, from the manifest alone."""

from datetime import datetime
from typing import Any, Final

import click

from quantlab_assets.cli.artifacts.records import (
    FIELDS,
    LISTED,
    artifact_record,
    artifact_records,
    short_id,
)
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import (
    TEXT,
    MomentType,
    id_argument,
    limit_option,
    shortened,
    tag_option,
)
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    Verbatim,
    format_option,
    say,
    write_record,
    write_records,
)
from quantlab_assets.domain.artifacts.records import ArtifactFilter, Publication, Status
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.lake import Lake

STATUSES: Final = ("active", "superseded", "tombstoned")

PUBLICATIONS: Final = (
    Column("publication_id", right=True),
    Column("created_at", show=lambda at: f"{at:%Y-%m-%d %H:%M:%S}"),
    Column("deduped", show=lambda deduped: "yes" if deduped else "no"),
    Column("writer_name"),
    Column("writer_version"),
    Column("run_id", show=short_id),
    Column("git_commit", show=short_id),
)
TYPES: Final = (
    Column("artifact_type"),
    Column("schema_version", right=True),
    Column("earlier_versions", show=lambda versions: " ".join(map(str, versions)) or "-"),
    Column("origin"),
    Column("keys", show=" or ".join),
    Column("columns", show=lambda columns: " ".join(column["name"] for column in columns)),
)
TYPE_FIELDS: Final = (
    *TYPES,
    Column("sort_keys"),
    Column("time_column"),
    Column("keeps_many"),
    Column("description"),
)


@quantlab_command(
    "list",
    examples="""
    quantlab artifacts list --type alerts_v1 --status active --limit 10
    quantlab artifacts list --tag token=So11111111111111111111111111111111111111112 --format json
    quantlab artifacts list --key-prefix day=2025-11- --created-from 2025-12-01
    """,
)
@click.option("--type", "artifact_type", type=TEXT, help="Only artifacts of this type.")
@click.option("--status", type=click.Choice(STATUSES), help="Default: all that is not tombstoned.")
@tag_option("Only artifacts with this tag.")
@click.option("--key-prefix", type=TEXT, help="Only keys that begin so.")
@click.option("--created-from", type=MomentType(), help="Made then or later: a UTC day or a time.")
@click.option("--created-to", type=MomentType(end=True), help="Made then or before; a day counts.")
@limit_option
@click.option("--cursor", type=TEXT, help="Go on where a list with --limit ended.")
@format_option
@pass_session
def list_artifacts(
    session: Session,
    artifact_type: str | None,
    status: Status | None,
    tags: dict[str, str],
    key_prefix: str | None,
    created_from: datetime | None,
    created_to: datetime | None,
    limit: int | None,
    cursor: str | None,
    output_format: Format,
) -> None:
    """List artifacts, newest first; all of them unless you limit it."""
    lake = session.open_lake()
    where = ArtifactFilter(
        artifact_type=artifact_type,
        status=status,
        tags=tags,
        created_from=created_from,
        created_to=created_to,
        key_prefix=key_prefix,
    )
    page = lake.store.list_artifacts(where, limit=limit, cursor=cursor)
    if artifact_type is not None and not page.artifacts:
        # Only now: knowing the types costs more than the list.
        lake.types.get(artifact_type)
    write_records(
        artifact_records(lake.store, page.artifacts),
        LISTED if output_format is Format.TABLE else FIELDS,
        output_format,
    )
    if page.cursor is not None:
        say(f"There are more than these {limit}: go on with --cursor {page.cursor}")


@quantlab_command(
    "get",
    examples="""
    quantlab artifacts get 4f1c09aa
    quantlab artifacts get 4f1c09aa --publications --format json
    """,
)
@id_argument("artifact_id")
@click.option(
    "--publications", is_flag=True, help="Also every time it was published: by whom, from what."
)
@format_option
@pass_session
def get(session: Session, artifact_id: str, publications: bool, output_format: Format) -> None:
    """Show one artifact."""
    store = session.open_lake().store
    artifact = store.get_artifact(store.resolve_id(artifact_id))
    record = artifact_record(store, artifact)
    events = (
        [_publication(publication) for publication in store.get_publications(artifact.artifact_id)]
        if publications
        else []
    )
    if publications and output_format is Format.CSV:
        raise click.UsageError("--publications has no CSV form: choose json or table")
    beside = {"publications": events} if publications else {}
    write_record(record, FIELDS, output_format, whole=lambda: record | beside)
    if publications and output_format is Format.TABLE:
        write_records(events, PUBLICATIONS, output_format, title="Publications")


@quantlab_command(
    "find",
    examples="""
    quantlab artifacts find --type alerts_v1 --key day=2025-05-01/chain=solana
    """,
)
@click.option("--type", "artifact_type", type=TEXT, required=True, help="The artifact's type.")
@click.option("--key", type=TEXT, required=True, help="Its whole logical key.")
@format_option
@pass_session
def find(session: Session, artifact_type: str, key: str, output_format: Format) -> None:
    """Show every artifact ever published under a key: the active first, then the newest."""
    lake = session.open_lake()
    artifacts = lake.store.find_by_logical_key(artifact_type, key)
    if not artifacts:
        lake.types.get(artifact_type).parse_key_of_any_version(key)
        raise NotFound(
            f"nothing was published as {artifact_type} {shortened(key)};"
            f" `quantlab artifacts list --type {artifact_type}` shows what was"
        )
    write_records(
        artifact_records(lake.store, artifacts),
        LISTED if output_format is Format.TABLE else FIELDS,
        output_format,
    )


@quantlab_command(
    "types",
    examples="""
    quantlab artifacts types
    quantlab artifacts types --format json
    """,
)
@format_option
@pass_session
def types(session: Session, output_format: Format) -> None:
    """List the types of artifacts: versions, keys, columns.

    The lake's own, and yours: QUANTLAB_TYPES_MODULE names a Python module whose ARTIFACT_TYPES
    is a list of ArtifactType.
    """
    known = _types(Lake(session.settings))
    write_records(known, TYPES if output_format is Format.TABLE else TYPE_FIELDS, output_format)


def _types(lake: Lake) -> list[dict[str, Any]]:
    from quantlab_assets.domain.artifacts.seed_types import SEED_TYPES

    seeds = {artifact_type.name for artifact_type in SEED_TYPES}
    return [
        {
            "artifact_type": artifact_type.name,
            "schema_version": artifact_type.schema_version,
            "earlier_versions": [earlier.schema_version for earlier in artifact_type.versions[1:]],
            "origin": "seed" if artifact_type.name in seeds else "user",
            "keys": list(artifact_type.keys),
            "columns": [
                {"name": field.name, "type": str(field.type), "nullable": field.nullable}
                for field in artifact_type.schema
            ],
            "sort_keys": list(artifact_type.sort_keys),
            "time_column": artifact_type.time_column,
            "keeps_many": artifact_type.keeps_many,
            "description": artifact_type.description,
        }
        for artifact_type in lake.types
    ]


def _publication(event: Publication) -> dict[str, Any]:
    written = event.provenance
    return {
        "publication_id": event.publication_id,
        "created_at": event.created_at,
        "deduped": event.deduped,
        "writer_name": written.writer_name,
        "writer_version": written.writer_version,
        "run_id": written.run_id,
        "step": written.step,
        "git_commit": written.git_commit,
        "git_dirty": written.git_dirty,
        "git_diff_hash": written.git_diff_hash,
        "params": Verbatim(written.params),
        "environment": Verbatim(written.environment),
    }

"""Artifacts as the command line shows them; one form for all commands, `quantlab ops` too."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quantlab_assets.cli.shell.output import Column, Verbatim
from quantlab_assets.domain.artifacts.records import Artifact, Lineage

if TYPE_CHECKING:
    from quantlab_assets.adapters.artifact_store import ParquetStore
    from quantlab_assets.domain.artifacts.records import PublishResult

SHOWN_DIGITS: Final = 12
"""Digits of an id that tables show: enough to be typed back, since a prefix of 8 is."""

FIELDS: Final = tuple(
    Column(name)
    for name in (
        "artifact_id",
        "artifact_type",
        "schema_version",
        "logical_key",
        "status",
        "path_parquet",
        "path_sidecar",
        "file_hash",
        "content_hash",
        "row_count",
        "min_ts",
        "max_ts",
        "created_at",
        "tags",
    )
)
"""What programs get of an artifact."""


def short_id(artifact_id: str) -> str:
    """The beginning of an id."""
    return artifact_id[:SHOWN_DIGITS]


LISTED: Final = (
    Column("artifact_id", show=short_id),
    Column("artifact_type"),
    Column("logical_key"),
    Column("status"),
    Column("row_count", right=True),
    Column("created_at", show=lambda at: f"{at:%Y-%m-%d %H:%M:%S}"),
    Column("tags"),
)
"""What a table shows of each."""

EDGES: Final = (
    Column("depth", right=True),
    Column("artifact_id"),
    Column("input_id"),
    Column("role"),
    Column("publication_id", right=True),
)


def artifact_record(store: "ParquetStore", artifact: Artifact) -> dict[str, Any]:
    """One artifact by its field names; paths are absolute."""
    parquet: Path = store.files_on_disk.locate(artifact.path)
    return {
        "artifact_id": artifact.artifact_id,
        "artifact_type": artifact.artifact_type,
        "schema_version": artifact.schema_version,
        "logical_key": artifact.logical_key,
        "status": artifact.status,
        "path_parquet": parquet,
        "path_sidecar": parquet.with_suffix(".json"),
        "file_hash": artifact.file_hash,
        "content_hash": artifact.content_hash,
        "row_count": artifact.row_count,
        "min_ts": artifact.min_ts,
        "max_ts": artifact.max_ts,
        "created_at": artifact.created_at,
        "tags": Verbatim(artifact.tags),
    }


def artifact_records(store: "ParquetStore", artifacts: Iterable[Artifact]) -> list[dict[str, Any]]:
    """Several artifacts in the order given."""
    return [artifact_record(store, artifact) for artifact in artifacts]


def lineage_record(store: "ParquetStore", lineage: Lineage) -> dict[str, Any]:
    """A graph: its root, artifacts, edges by publication, and raw files."""
    return {
        "root": lineage.root,
        "artifacts": artifact_records(store, lineage.artifacts.values()),
        "edges": [
            {
                "artifact_id": edge.artifact_id,
                "input_id": edge.input_id,
                "role": edge.role,
                "publication_id": edge.publication_id,
                "depth": edge.depth,
            }
            for edge in lineage.edges
        ],
        "sources": [
            {
                "artifact_id": edge.artifact_id,
                "sha256": edge.source.sha256,
                "name": edge.source.name,
                "size": edge.source.size,
                "kind": edge.source.kind,
            }
            for edge in lineage.sources
        ],
    }


def publish_record(
    store: "ParquetStore", result: "PublishResult", data_hash: str
) -> dict[str, Any]:
    """What a publish came to. `data_hash` is the hash of the file that was to be published.

    `mode` says how a deduped one was recognised: by the file's bytes, or by what it holds.
    `superseded_by` is there only if an artifact of a newer schema version stays the active one.
    """
    parquet = store.files_on_disk.locate(result.artifact.path)
    same_file = data_hash == result.artifact.file_hash
    not_active = {} if result.superseded_by is None else {"superseded_by": result.superseded_by}
    return {
        "success": True,
        "deduped": result.deduped,
        "mode": ("file_hash" if same_file else "content_hash") if result.deduped else None,
        "artifact_id": result.artifact_id,
        "existing_artifact_id": result.artifact_id if result.deduped else None,
        "path_parquet": parquet,
        "path_sidecar": parquet.with_suffix(".json"),
        **not_active,
    }

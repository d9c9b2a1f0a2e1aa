"""The JSON file beside each Parquet file: all that was known when the artifact was made.

The manifest can be rebuilt from sidecars alone. A sidecar names the file it describes by its hash.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from quantlab_assets.domain.artifact_types import ArtifactType
from quantlab_assets.domain.artifacts import Artifact, PublishRequest

FORMAT: Final = 1


def encode(
    artifact: Artifact,
    artifact_type: ArtifactType,
    request: PublishRequest,
    input_sets: Mapping[str, Sequence[str]],
) -> bytes:
    """The sidecar's bytes. `input_sets` are the members of frozen sets that it shall carry."""
    provenance = request.provenance
    document = {
        "format": FORMAT,
        "artifactId": artifact.artifact_id,
        "artifactType": artifact.artifact_type,
        "schemaVersion": artifact.schema_version,
        "logicalKey": artifact.logical_key,
        "contentHash": artifact.content_hash,
        "fileHash": artifact.file_hash,
        "fileSize": artifact.file_size,
        "rowCount": artifact.row_count,
        "minTs": iso(artifact.min_ts),
        "maxTs": iso(artifact.max_ts),
        "createdAt": iso(artifact.created_at),
        "keepsMany": artifact.keeps_many,
        "path": artifact.path,
        "columns": [
            {"name": field.name, "type": str(field.type), "nullable": field.nullable}
            for field in artifact_type.schema
        ],
        "sortKeys": list(artifact_type.sort_keys),
        "timeColumn": artifact_type.time_column,
        "tags": dict(request.tags),
        "provenance": {
            "writerName": provenance.writer_name,
            "writerVersion": provenance.writer_version,
            "runId": provenance.run_id,
            "step": provenance.step,
            "gitCommit": provenance.git_commit,
            "gitDirty": provenance.git_dirty,
            "gitDiffHash": provenance.git_diff_hash,
            "params": dict(provenance.params),
            "environment": dict(provenance.environment),
        },
        "inputs": [
            {"artifactId": made_from.artifact_id, "role": made_from.role}
            if made_from.artifact_id is not None
            else {"inputSetId": made_from.input_set_id, "role": made_from.role}
            for made_from in request.inputs
        ],
        "inputSets": {name: list(members) for name, members in input_sets.items()},
        "sources": [
            {"sha256": raw.sha256, "name": raw.name, "size": raw.size, "kind": raw.kind}
            for raw in request.sources
        ],
        "head": (
            {"asset": request.head.asset, "partition": request.head.partition}
            if request.head
            else None
        ),
    }
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def describes(data: bytes, artifact: Artifact) -> bool:
    """Whether a sidecar found on disk is of exactly this artifact and this file."""
    try:
        found = json.loads(data)
    except ValueError:
        return False
    return isinstance(found, dict) and all(
        found.get(name) == value
        for name, value in (
            ("artifactId", artifact.artifact_id),
            ("contentHash", artifact.content_hash),
            ("fileHash", artifact.file_hash),
            ("fileSize", artifact.file_size),
        )
    )


def iso(at: datetime | None) -> str | None:
    """A time as sidecars write it, with all six digits of its microseconds."""
    return None if at is None else f"{at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"

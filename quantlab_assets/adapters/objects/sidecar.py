"""The JSON file beside each Parquet file: all that was known when the artifact was made.

The manifest can be rebuilt from sidecars alone. A sidecar names the file it describes by its hash.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from quantlab_assets.adapters.objects.local_disk import sha256_of
from quantlab_assets.domain.artifacts.records import Artifact, PublishRequest
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import IntegrityError

FORMAT: Final = 1
_SEAL: Final = len('{"checksum":"sha256:",') + 64


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
        **identity(artifact),
        "createdAt": iso(artifact.created_at),
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
    return seal(document)


def identity(artifact: Artifact) -> dict[str, Any]:
    """What a sidecar and its artifact's row always agree on."""
    return {
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
        "keepsMany": artifact.keeps_many,
        "path": artifact.path,
    }


def seal(document: Mapping[str, Any]) -> bytes:
    """The bytes of a sidecar: its checksum first, which covers all that follows."""
    body = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()
    return b'{"checksum":"' + sha256_of(body).encode() + b'",' + body[1:]


def unseal(data: bytes, path: str) -> dict[str, Any]:
    """What a sidecar says. Raises `IntegrityError` unless every byte is as it was written."""
    body = b"{" + data[_SEAL:]
    if data[:_SEAL] != b'{"checksum":"' + sha256_of(body).encode() + b'",':
        raise IntegrityError(f"sidecar {path} is damaged: its checksum does not match")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"sidecar {path} is no JSON") from error
    if not isinstance(found, dict):
        raise IntegrityError(f"sidecar {path} is no JSON object")
    return found


def describes(data: bytes, artifact: Artifact) -> bool:
    """Whether a sidecar found on disk is whole, and of exactly this artifact and this file."""
    try:
        found = unseal(data, "")
    except IntegrityError:
        return False
    return all(
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

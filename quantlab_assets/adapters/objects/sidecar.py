"""The JSON file beside each Parquet file: all that was known when the artifact was made.

The manifest can be rebuilt from sidecars alone. A sidecar names the file it describes by its hash.
How it is put on the disk is said in `local_disk`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from quantlab_assets.adapters.objects.layout import parquet_path, sidecar_path
from quantlab_assets.adapters.objects.local_disk import sha256_of
from quantlab_assets.domain.artifacts.identity import artifact_id_of
from quantlab_assets.domain.artifacts.records import (
    Artifact,
    LineageInput,
    PartitionRef,
    Provenance,
    PublishRequest,
    SourceFile,
)
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
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"sidecar {path} is no JSON") from error
    if not isinstance(document, dict):
        raise IntegrityError(f"sidecar {path} is no JSON object")
    return document


@dataclass(frozen=True, slots=True)
class Described:
    """What a sidecar tells of the publication that made its artifact."""

    artifact: Artifact
    provenance: Provenance
    inputs: tuple[LineageInput, ...]
    input_sets: Mapping[str, Sequence[str]]
    sources: tuple[SourceFile, ...]
    head: PartitionRef | None


def described(data: bytes, path: str) -> Described:
    """What the sidecar at that path tells, its artifact taken as active.

    Raises `IntegrityError` if it is damaged, lacks something, or is of another artifact than its
    name says.
    """
    document = unseal(data, path)
    try:
        kind = (document["artifactType"], document["schemaVersion"])
        expected = artifact_id_of(*kind, document["logicalKey"], document["contentHash"])
        sound = (
            document["format"] == FORMAT
            and document["artifactId"] == expected
            and document["path"] == parquet_path(*kind, expected)
            and path == sidecar_path(document["path"])
        )
        record = _described(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"sidecar {path} lacks what a sidecar has") from error
    if not sound:
        raise IntegrityError(f"sidecar {path} describes another artifact than its name says")
    return record


def _described(document: Mapping[str, Any]) -> Described:
    provenance, head = document["provenance"], document["head"]
    return Described(
        Artifact(
            artifact_id=document["artifactId"],
            artifact_type=document["artifactType"],
            schema_version=document["schemaVersion"],
            logical_key=document["logicalKey"],
            status="active",
            path=document["path"],
            file_hash=document["fileHash"],
            file_size=document["fileSize"],
            content_hash=document["contentHash"],
            row_count=document["rowCount"],
            min_ts=None if document["minTs"] is None else _from_iso(document["minTs"]),
            max_ts=None if document["maxTs"] is None else _from_iso(document["maxTs"]),
            created_at=_from_iso(document["createdAt"]),
            keeps_many=document["keepsMany"],
            tags=document["tags"],
        ),
        Provenance(
            writer_name=provenance["writerName"],
            writer_version=provenance["writerVersion"],
            run_id=provenance["runId"],
            step=provenance["step"],
            git_commit=provenance["gitCommit"],
            git_dirty=provenance["gitDirty"],
            git_diff_hash=provenance["gitDiffHash"],
            params=provenance["params"],
            environment=provenance["environment"],
        ),
        inputs=tuple(
            LineageInput(named.get("artifactId"), named.get("inputSetId"), named["role"])
            for named in document["inputs"]
        ),
        input_sets=document["inputSets"],
        sources=tuple(
            SourceFile(raw["sha256"], raw["name"], raw["size"], raw["kind"])
            for raw in document["sources"]
        ),
        head=None if head is None else PartitionRef(head["asset"], head["partition"]),
    )


def describes(data: bytes, artifact: Artifact) -> bool:
    """Whether a sidecar found on disk is whole, and of exactly this artifact and this file."""
    try:
        document = unseal(data, "")
    except IntegrityError:
        return False
    return all(
        document.get(name) == value
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


def _from_iso(text: str) -> datetime:
    return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)

"""What is done about damage that an audit found: files move aside, sidecars are written again.

What counts as damage is said in `audit`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quantlab_assets.adapters.artifact_store.store import ParquetStore
from quantlab_assets.adapters.manifest.engine import Transaction, utc_now
from quantlab_assets.adapters.manifest.inbox_refusals import record_move
from quantlab_assets.adapters.manifest.rows import (
    artifacts_by_id,
    first_publication,
    input_set_artifacts,
)
from quantlab_assets.adapters.objects import sidecar
from quantlab_assets.adapters.objects.layout import sidecar_path
from quantlab_assets.adapters.upkeep.audit import AuditReport, file_problems
from quantlab_assets.domain.artifacts.records import Artifact, PublishRequest
from quantlab_assets.domain.errors import NotFound, ValidationFailed

_MOVES: Final = {
    "damaged_file": "parquet",
    "wrong_size": "parquet",
    "damaged_sidecar": "json",
    "sidecar_differs": "json",
    "missing_sidecar": "json",
}
"""Which of an artifact's two files a problem is about."""


@dataclass(frozen=True, slots=True)
class Repair:
    """One file that was moved to quarantine, or (`moved_to` None) a sidecar written again."""

    path: str
    moved_to: str | None
    artifact_id: str
    reason: str


def repair(store: ParquetStore, report: AuditReport, *, quarantine: Path) -> tuple[Repair, ...]:
    """Move the damaged files of a report into the folder `quarantine`; write sidecars again.

    Nothing is deleted. A damaged Parquet file's artifact has lost its file afterwards: restore it
    from a copy of the artifacts, or publish its content again. A sidecar is written again from the
    manifest. Only what is still damaged now is touched. Raises `StoreUnavailable`.
    """
    suspects = sorted({problem.subject for problem in report.problems if problem.code in _MOVES})
    done: list[Repair] = []
    now = utc_now()
    folder = quarantine / now.strftime("%Y%m%dT%H%M%S.%fZ")
    for artifact_id in suspects:
        # The write lock keeps publishers from naming or replacing the files meanwhile.
        with store.database.writing() as transaction:
            artifact = artifacts_by_id(transaction, [artifact_id]).get(artifact_id)
            if artifact is None:
                continue
            for problem in file_problems(store, artifact, hashed=True):
                kind = _MOVES.get(problem.code)
                if kind is None:
                    continue
                path = artifact.path if kind == "parquet" else sidecar_path(artifact.path)
                if store.files_on_disk.size(path) is not None:
                    moved = store.files_on_disk.move_away(path, folder)
                    record_move(
                        transaction,
                        path,
                        moved_to=str(moved),
                        artifact_id=artifact.artifact_id,
                        reason=problem.detail,
                        at=now,
                    )
                    done.append(Repair(path, str(moved), artifact.artifact_id, problem.detail))
                if kind == "json" and _write_sidecar(store, transaction, artifact):
                    done.append(
                        Repair(path, None, artifact.artifact_id, "written from the manifest")
                    )
    return tuple(done)


def _write_sidecar(store: ParquetStore, transaction: Transaction, artifact: Artifact) -> bool:
    """Write the sidecar that the manifest implies; False if the artifact's type is not known."""
    try:
        artifact_type = store.types.get(artifact.artifact_type, artifact.schema_version)
    except (NotFound, ValidationFailed):
        return False
    made_by = first_publication(transaction, artifact.artifact_id)
    if made_by is None:
        return False
    publication, inputs, sources = made_by
    request = PublishRequest(
        artifact.artifact_type,
        artifact.logical_key,
        artifact_type.empty(),
        publication.provenance,
        tags=artifact.tags,
        inputs=inputs,
        sources=sources,
    )
    sets = {
        made_from.input_set_id: input_set_artifacts(transaction, made_from.input_set_id)
        for made_from in inputs
        if made_from.input_set_id is not None
    }
    path = sidecar_path(artifact.path)
    store.files_on_disk.put([(path, sidecar.encode(artifact, artifact_type, request, sets))])
    store.files_on_disk.sync_folders([path])
    return True

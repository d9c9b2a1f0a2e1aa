"""Files of artifacts of earlier schema versions, as DuckDB reads them: with their rows upgraded.

Tables are built from the artifacts' own files, which DuckDB reads in parallel. Only what is stored
in an earlier version goes through memory, into files beside the projection that is being built,
which go with it.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from typing import Final

import polars as pl

from quantlab_assets.domain.artifacts.records import Artifact
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.ports.artifact_store import ArtifactStore

_ROWS_TOGETHER: Final = 1 << 20
_WRITERS: Final = 4


def upgraded_files(
    artifacts: Iterable[Artifact], store: ArtifactStore, types: TypeRegistry, folder: Path
) -> dict[str, Path]:
    """Write the rows of those artifacts that are of an earlier version into `folder`, one file an
    artifact; the files by id.

    Raises what `read_verified` raises.
    """
    newest = {artifact_type.name: artifact_type.schema_version for artifact_type in types}
    earlier = sorted(
        (
            artifact
            for artifact in artifacts
            if artifact.schema_version != newest.get(artifact.artifact_type)
        ),
        key=lambda artifact: (artifact.artifact_type, artifact.artifact_id),
    )
    files = {
        artifact.artifact_id: folder / f"{artifact.artifact_id}.parquet" for artifact in earlier
    }
    if not earlier:
        return files
    folder.mkdir(exist_ok=True)
    with ThreadPoolExecutor(_WRITERS) as pool:
        for _, of_type in groupby(earlier, key=lambda artifact: artifact.artifact_type):
            for together in _parts(list(of_type)):
                rows = store.read_verified([artifact.artifact_id for artifact in together])
                places = pairwise([0, *accumulate(artifact.row_count for artifact in together)])
                own_rows = [rows[start:stop] for start, stop in places]
                own_files = [files[artifact.artifact_id] for artifact in together]
                list(pool.map(_write, own_rows, own_files))
    return files


def _write(rows: pl.DataFrame, path: Path) -> None:
    rows.write_parquet(path, compression="lz4", statistics=False)


def _parts(artifacts: list[Artifact]) -> Iterable[list[Artifact]]:
    """Artifacts to read together, so that the rows in memory stay bounded."""
    part: list[Artifact] = []
    rows = 0
    for artifact in artifacts:
        if part and rows + artifact.row_count > _ROWS_TOGETHER:
            yield part
            part, rows = [], 0
        part.append(artifact)
        rows += artifact.row_count
    if part:
        yield part

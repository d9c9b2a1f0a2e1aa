"""Reading the rows of artifacts from their files, whose size or hash is checked first.

Which artifacts those are is found in the manifest, not here.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from quantlab_assets.adapters.objects.local_disk import LocalFiles
from quantlab_assets.adapters.objects.writers import PARALLEL
from quantlab_assets.domain.artifacts.records import Artifact
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import (
    IntegrityError,
    LostFile,
    NotFound,
    QuantlabError,
    ValidationFailed,
)

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.dataset as ds


class Reader:
    """Reads the files of artifacts that were found; changes nothing."""

    def __init__(self, files: LocalFiles, types: TypeRegistry) -> None:
        self._files = files
        self._types = types

    def open_many(
        self, artifacts: Sequence[Artifact], *, verify: bool, as_stored: bool
    ) -> "ds.Dataset":
        """See the port."""
        from quantlab_assets.adapters.objects.parquet import dataset

        name = _one_type(artifacts)
        if as_stored:
            _one_version(artifacts)
        paths = [str(path) for path in self.checked_files(artifacts, verify=verify)]
        newest = self._type_to_read_as(name, artifacts, as_stored=as_stored)
        if newest is None:
            # Of what this program does not know the files say themselves what they hold.
            return dataset(paths, None)
        if all(artifact.schema_version == newest.schema_version for artifact in artifacts):
            return dataset(paths, newest.schema)

        import polars as pl
        import pyarrow.dataset as ds

        from quantlab_assets.domain.artifacts.upgrade import to_arrow, upgraded

        parts: list[ds.Dataset] = []
        for version, start, stop in _runs(artifacts):
            if version == newest.schema_version:
                parts.append(dataset(paths[start:stop], newest.schema))
                continue
            stored = dataset(paths[start:stop], newest.version(version).schema).to_table()
            rows = pl.DataFrame(pl.from_arrow(stored)).lazy()
            counts = [artifact.row_count for artifact in artifacts[start:stop]]
            parts.append(ds.dataset(to_arrow(upgraded(rows, newest, version, counts), newest)))
        return ds.dataset(parts)

    def read_verified(
        self, artifacts: Sequence[Artifact], columns: Sequence[str] | None
    ) -> "pl.DataFrame":
        """See the port. Polars reads many small files three times as fast as Arrow does."""
        import polars as pl

        newest = self._type_to_read_as(_one_type(artifacts), artifacts, as_stored=False)
        paths = self.checked_files(artifacts, verify=True)
        try:
            parts: list[pl.DataFrame] = []
            for version, start, stop in _runs(artifacts):
                scan = pl.scan_parquet(paths[start:stop], hive_partitioning=False, glob=False)
                if newest is None or version == newest.schema_version:
                    parts.append((scan if columns is None else scan.select(columns)).collect())
                    continue
                from quantlab_assets.domain.artifacts.upgrade import upgraded

                counts = [artifact.row_count for artifact in artifacts[start:stop]]
                parts.append(upgraded(scan, newest, version, counts, columns))
            return pl.concat(parts)
        except pl.exceptions.ColumnNotFoundError as error:
            raise ValidationFailed(f"no such column: {str(error).splitlines()[0]}") from error
        except (pl.exceptions.PolarsError, OSError) as error:
            raise IntegrityError(
                f"artifacts whose bytes match their hash cannot be read as Parquet:"
                f" {str(error).splitlines()[0]}"
            ) from error

    def _type_to_read_as(
        self, name: str, artifacts: Sequence[Artifact], *, as_stored: bool
    ) -> ArtifactType | None:
        """The type whose rows readers get; None for one that this program does not know.

        Raises `ValidationFailed` for a version that is not known, since nothing says how its rows
        become those of the newest.
        """
        try:
            if as_stored:
                return self._types.get(name, artifacts[0].schema_version)
            newest = self._types.get(name)
        except (NotFound, ValidationFailed):
            _one_version(artifacts)
            return None
        for version in sorted({artifact.schema_version for artifact in artifacts}):
            newest.version(version)
        return newest

    def checked_files(self, artifacts: Sequence[Artifact], *, verify: bool) -> list[Path]:
        """The artifacts' files, sizes (or hashes) checked. Raises `IntegrityError`, `NotFound`."""
        distinct = list({artifact.artifact_id: artifact for artifact in artifacts}.values())
        check = self._check_bytes if verify else self._check_size
        if verify and len(distinct) > 1:
            with ThreadPoolExecutor(min(PARALLEL, len(distinct))) as pool:
                outcomes = list(pool.map(check, distinct))
        else:
            outcomes = [check(artifact) for artifact in distinct]
        faults = [outcome for outcome in outcomes if outcome is not None]
        if faults:
            more = f"; {len(faults) - 1} more are damaged" if len(faults) > 1 else ""
            raise type(faults[0])(f"{faults[0]}{more}")
        return [self._files.locate(artifact.path) for artifact in artifacts]

    def _check_size(self, artifact: Artifact) -> QuantlabError | None:
        what = f"artifact {artifact.artifact_id} ({artifact.artifact_type} {artifact.logical_key})"
        if artifact.purged_at is not None:
            return NotFound(f"{what}: its bytes were purged on {artifact.purged_at:%Y-%m-%d}")
        size = self._files.size(artifact.path)
        if size is None:
            return LostFile(f"{what} has lost its file {artifact.path}: restore a backup")
        if size != artifact.file_size:
            return IntegrityError(
                f"{what} is damaged: {artifact.path} has {size} bytes, not {artifact.file_size}"
            )
        return None

    def _check_bytes(self, artifact: Artifact) -> QuantlabError | None:
        fault = self._check_size(artifact)
        if fault is None and self._files.sha256(artifact.path) != artifact.file_hash:
            fault = IntegrityError(
                f"artifact {artifact.artifact_id} ({artifact.artifact_type}"
                f" {artifact.logical_key}) is damaged: the bytes of {artifact.path} do not match"
                " their hash"
            )
        return fault


def _one_type(artifacts: Sequence[Artifact]) -> str:
    names = sorted({artifact.artifact_type for artifact in artifacts})
    if len(names) != 1:
        raise ValidationFailed(
            f"artifacts opened together must be of one type: {', '.join(names) or 'none given'}"
        )
    return names[0]


def _one_version(artifacts: Sequence[Artifact]) -> None:
    """What has no common version to be read as must have one already."""
    versions = sorted({artifact.schema_version for artifact in artifacts})
    if len(versions) != 1:
        raise ValidationFailed(
            f"artifacts of {artifacts[0].artifact_type} opened as they are stored must be of one"
            f" schema version, not {', '.join(map(str, versions))}"
        )


def _runs(artifacts: Sequence[Artifact]) -> list[tuple[int, int, int]]:
    """Stretches of artifacts of one schema version: the version, the first, the one after."""
    runs: list[tuple[int, int, int]] = []
    for version, stretch in groupby(artifact.schema_version for artifact in artifacts):
        start = runs[-1][2] if runs else 0
        runs.append((version, start, start + len(list(stretch))))
    return runs

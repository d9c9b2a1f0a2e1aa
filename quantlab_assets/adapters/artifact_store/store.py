"""The store as the ports see it; each method hands on to the module that knows how."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from quantlab_assets.adapters.artifact_store.read import Reader
from quantlab_assets.adapters.manifest import find
from quantlab_assets.adapters.manifest.changes import transitions
from quantlab_assets.adapters.manifest.engine import ManifestDatabase, utc_now
from quantlab_assets.adapters.manifest.lineage import LineageReader
from quantlab_assets.adapters.manifest.rows import resolve
from quantlab_assets.adapters.objects.local_disk import LocalFiles
from quantlab_assets.domain.artifacts.records import (
    Artifact,
    ArtifactFilter,
    ArtifactPage,
    HeadReplacement,
    Lineage,
    Publication,
    PublishRequest,
    PublishResult,
    SourceFile,
)
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.errors import QuantlabError

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.dataset as ds

    from quantlab_assets.adapters.artifact_store.publish import Publisher


class ParquetStore:
    """Implements the ports `ArtifactStore` and `ArtifactFiles` over a folder and a SQLite file.

    Threads and processes may share one lake; a store is cheap to open. What the methods do and
    raise is said at the ports.
    """

    def __init__(
        self,
        files: LocalFiles,
        database: ManifestDatabase,
        types: TypeRegistry,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.files_on_disk = files
        self.database = database
        self.types = types
        self._clock = clock
        self._reader = Reader(files, types)
        self._lineage = LineageReader(database)

    @cached_property
    def _publisher(self) -> "Publisher":
        # Imported here, since most commands only read the manifest.
        from quantlab_assets.adapters.artifact_store.publish import Publisher

        return Publisher(self.files_on_disk, self.database, self.types, self._clock)

    @classmethod
    def at(
        cls,
        *,
        artifacts_root: Path,
        manifest: Path,
        staging: Path,
        types: TypeRegistry,
        create: bool = False,
        clock: Callable[[], datetime] = utc_now,
    ) -> "ParquetStore":
        """Open a lake's store; `create` makes what is missing of it.

        `staging` must be on the file system of `artifacts_root`. Raises `StoreUnavailable`.
        """
        files = LocalFiles(artifacts_root, staging)
        if create:
            files.create_folders()
        else:
            files.check_folders()
        return cls(files, ManifestDatabase.open(manifest, create=create), types, clock)

    def is_available(self) -> bool:
        """See `ArtifactStore`."""
        try:
            self.files_on_disk.check_folders()
            with self.database.writing():
                return self.files_on_disk.writable()
        except QuantlabError:
            return False

    def get_artifact(self, artifact_id: str) -> Artifact:
        """See `ArtifactStore`."""
        return self.get_artifacts([artifact_id])[0]

    def get_artifacts(self, artifact_ids: Sequence[str]) -> list[Artifact]:
        """See `ArtifactStore`."""
        with self.database.reading() as transaction:
            by_id = resolve(transaction, artifact_ids)
        return [by_id[asked] for asked in artifact_ids]

    def resolve_id(self, prefix: str) -> str:
        """The artifact id that begins so (8 digits or more), or that an older id now has.

        Raises `NotFound`, `Conflict` if several begin so, `ValidationFailed` if it is no prefix.
        """
        with self.database.reading() as transaction:
            return find.id_beginning(transaction, prefix)

    def list_artifacts(
        self,
        where: ArtifactFilter | None = None,
        *,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> ArtifactPage:
        """See `ArtifactStore`."""
        with self.database.reading() as transaction:
            return find.page(transaction, where or ArtifactFilter(), limit, cursor)

    def find_by_logical_key(self, artifact_type: str, logical_key: str) -> list[Artifact]:
        """See `ArtifactStore`."""
        with self.database.reading() as transaction:
            return find.under_key(transaction, artifact_type, logical_key)

    def publish_artifact(self, request: PublishRequest) -> PublishResult:
        """See `ArtifactStore`."""
        return self.publish_many([request])[0]

    def publish_many(
        self, requests: Sequence[PublishRequest], *, heads: Sequence[HeadReplacement] = ()
    ) -> list[PublishResult]:
        """See `ArtifactStore`."""
        return self._publisher.publish_many(requests, heads)

    def get_heads(
        self, asset: str, partitions: Sequence[str]
    ) -> Mapping[str, tuple[Artifact, ...] | None]:
        """See `ArtifactStore`."""
        with self.database.reading() as transaction:
            return find.heads(transaction, asset, partitions)

    def list_head_partitions(self, asset: str) -> list[str]:
        """See `ArtifactStore`."""
        with self.database.reading() as transaction:
            return find.partitions_with_head(transaction, asset)

    def freeze_inputs(self, artifact_ids: Iterable[str]) -> str:
        """See `ArtifactStore`."""
        with self.database.writing() as transaction:
            return transitions.freeze_inputs(transaction, artifact_ids, at=self._clock())

    def get_lineage(
        self, artifact_id: str, *, depth: int | None = None, all_publications: bool = False
    ) -> Lineage:
        """See `ArtifactStore`."""
        return self._lineage.upstream(artifact_id, depth, all_publications=all_publications)

    def get_downstream(self, artifact_id: str, *, depth: int | None = None) -> Lineage:
        """See `ArtifactStore`."""
        return self._lineage.downstream(artifact_id, depth)

    def get_sources(self, artifact_ids: Sequence[str]) -> Mapping[str, tuple[SourceFile, ...]]:
        """See `ArtifactStore`."""
        with self.database.reading() as transaction:
            return find.raw_files(transaction, artifact_ids)

    def get_publications(self, artifact_id: str) -> list[Publication]:
        """See `ArtifactStore`."""
        with self.database.reading() as transaction:
            return find.publications_of(transaction, artifact_id)

    def latest_publications(self, artifact_ids: Sequence[str]) -> Mapping[str, Publication]:
        """See `ArtifactStore`."""
        with self.database.reading() as transaction:
            return find.latest_publications(transaction, artifact_ids)

    def supersede(self, new_id: str, old_id: str, *, reason: str = "superseded") -> None:
        """See `ArtifactStore`."""
        with self.database.writing() as transaction:
            transitions.supersede(transaction, new_id, old_id, reason=reason, at=self._clock())

    def tombstone(self, artifact_id: str, reason: str) -> None:
        """See `ArtifactStore`."""
        with self.database.writing() as transaction:
            transitions.tombstone(transaction, artifact_id, reason, at=self._clock())

    def open(
        self, artifact_id: str, *, verify: bool = False, as_stored: bool = False
    ) -> "ds.Dataset":
        """See `ArtifactStore`."""
        return self._reader.open_many(
            self.get_artifacts([artifact_id]), verify=verify, as_stored=as_stored
        )

    def open_many(self, artifact_ids: Sequence[str], *, verify: bool = False) -> "ds.Dataset":
        """See `ArtifactStore`."""
        return self._reader.open_many(
            self.get_artifacts(artifact_ids), verify=verify, as_stored=False
        )

    def read_verified(
        self, artifact_ids: Sequence[str], columns: Sequence[str] | None = None
    ) -> "pl.DataFrame":
        """See `ArtifactStore`."""
        return self._reader.read_verified(self.get_artifacts(artifact_ids), columns)

    def verify_artifacts(self, artifact_ids: Sequence[str]) -> None:
        """See `ArtifactStore`."""
        self._reader.checked_files(self.get_artifacts(artifact_ids), verify=True)

    def files(self, artifact_ids: Sequence[str], *, verify: bool) -> list[Path]:
        """See `ArtifactFiles`."""
        return self._reader.checked_files(self.get_artifacts(artifact_ids), verify=verify)

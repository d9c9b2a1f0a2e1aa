"""The store of immutable artifacts: publish, find, read, and ask where a thing came from."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

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

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.dataset as ds


class ArtifactStore(Protocol):
    """All methods raise `StoreUnavailable` when the lake cannot be reached.

    A type may have several schema versions. Rows are handed out as the newest version's, whatever
    version they are stored in; ids, hashes and checks are of what is stored. Of a key one artifact
    is active over all versions (unless the type keeps many).
    """

    def is_available(self) -> bool:
        """Whether the store can be read and written now."""

    def get_artifact(self, artifact_id: str) -> Artifact:
        """The artifact. Raises `NotFound`."""

    def get_artifacts(self, artifact_ids: Sequence[str]) -> list[Artifact]:
        """The artifacts in the order asked for. Raises `NotFound` naming the ids missing."""

    def list_artifacts(
        self,
        where: ArtifactFilter | None = None,
        *,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> ArtifactPage:
        """Artifacts that match, newest first; all of them unless `limit` is given."""

    def find_by_logical_key(self, artifact_type: str, logical_key: str) -> list[Artifact]:
        """Every artifact ever published under the key, of all schema versions: the active ones
        first, then the newest versions first, then the newest artifacts."""

    def publish_artifact(self, request: PublishRequest) -> PublishResult:
        """Publish one artifact; the same as `publish_many` of one."""

    def publish_many(
        self, requests: Sequence[PublishRequest], *, heads: Sequence[HeadReplacement] = ()
    ) -> list[PublishResult]:
        """Publish a batch in one transaction: all of it or nothing.

        Content that is already there under its key is not written again; the event is recorded all
        the same ("deduped"), and a superseded artifact becomes active again. The previously active
        artifact of a key, of the same schema version or an earlier one, is superseded; one that
        leaves its last head is superseded too, by what is active under the key that its data has
        in the type's newest version, if another. Where a newer version is active under the key, an
        earlier one is stored as superseded by it, which the result says.

        Raises `ValidationFailed` (type, schema, values, key), `NotFound` (an input does not exist),
        `Conflict` (`expected_active` or a head's `expected` no longer holds, the content was
        tombstoned, or a head would get an earlier version than is active).
        """

    def get_heads(
        self, asset: str, partitions: Sequence[str]
    ) -> Mapping[str, tuple[Artifact, ...] | None]:
        """What each asset partition consists of, by logical key; None where it never ran."""

    def list_head_partitions(self, asset: str) -> list[str]:
        """The partitions of the asset that have a head (also an empty one), sorted."""

    def freeze_inputs(self, artifact_ids: Iterable[str]) -> str:
        """Store a set of artifact ids once and return its name. Raises `NotFound`."""

    def get_lineage(
        self, artifact_id: str, *, depth: int | None = None, all_publications: bool = False
    ) -> Lineage:
        """What the artifact was made from, down to the raw files. Raises `NotFound`.

        Follows the publication that created each artifact, or all of them if asked.
        """

    def get_downstream(self, artifact_id: str, *, depth: int | None = None) -> Lineage:
        """What was made from the artifact. Raises `NotFound`."""

    def get_sources(self, artifact_ids: Sequence[str]) -> Mapping[str, tuple[SourceFile, ...]]:
        """The raw files each artifact names itself, over all its publications, by hash."""

    def get_publications(self, artifact_id: str) -> list[Publication]:
        """Every publish event of the artifact, oldest first. Raises `NotFound`."""

    def latest_publications(self, artifact_ids: Sequence[str]) -> Mapping[str, Publication]:
        """The newest publish event of each artifact."""

    def supersede(self, new_id: str, old_id: str, *, reason: str = "superseded") -> None:
        """Say that `new_id` replaces `old_id`. Raises `NotFound`; `Conflict` unless both are of one
        type and the old one is active."""

    def tombstone(self, artifact_id: str, reason: str) -> None:
        """Hide an artifact from default queries; its row and hashes stay. Raises `NotFound`, and
        `Conflict` while an experiment pins it."""

    def open(
        self, artifact_id: str, *, verify: bool = False, as_stored: bool = False
    ) -> "ds.Dataset":
        """The artifact's rows as an Arrow dataset. Raises `NotFound`, `IntegrityError`.

        The file's size is always checked; `verify` also checks its hash before any decoder sees it.
        `as_stored` gives the rows of an earlier schema version without its upgrades.
        """

    def open_many(self, artifact_ids: Sequence[str], *, verify: bool = False) -> "ds.Dataset":
        """The rows of several artifacts of one type, of whichever versions, in the order of the
        ids. See `open`. Those of earlier versions are read at once, the others as they are needed.
        """

    def read_verified(
        self, artifact_ids: Sequence[str], columns: Sequence[str] | None = None
    ) -> "pl.DataFrame":
        """The rows of several artifacts of one type, of whichever versions, in the order of the
        ids, after the hash of every file was checked. The fastest way to have many in memory.

        Raises `NotFound`, `IntegrityError`, `ValidationFailed` (several types, or none).
        """

    def verify_artifacts(self, artifact_ids: Sequence[str]) -> None:
        """Check that every artifact's bytes match its recorded hash.

        Raises `NotFound`, or `IntegrityError` naming what is damaged or missing.
        """


class ArtifactFiles(Protocol):
    """Where a store that keeps Parquet files has them, for readers that need paths (DuckDB)."""

    def files(self, artifact_ids: Sequence[str], *, verify: bool) -> list[Path]:
        """The files of the artifacts, in the order asked for; sizes (or hashes) checked.

        Raises `NotFound`, `IntegrityError`.
        """

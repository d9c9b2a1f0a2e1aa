"""Records of the artifact store: what is published, what is stored, what came from what.

Plain frozen data. Times are timezone-aware UTC datetimes; ids and hashes are text
(`artifact_id` 32 hex digits, hashes `sha256:<hex>`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Status = Literal["active", "superseded", "tombstoned"]
Role = Literal["loaded", "declared"]

ARTIFACT_ID: Final = re.compile(r"[0-9a-f]{32}")
SHA256: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Unset(Enum):
    """Marks an argument that was not given, where None has a meaning of its own."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A raw file that lineage ends at. `sha256` is `sha256:<hex>` of its bytes."""

    sha256: str
    name: str
    size: int
    kind: str


@dataclass(frozen=True, slots=True)
class LineageInput:
    """One thing a publication was made from: an artifact, or a frozen set of artifacts."""

    artifact_id: str | None = None
    input_set_id: str | None = None
    role: Role = "loaded"

    def __post_init__(self) -> None:
        if (self.artifact_id is None) == (self.input_set_id is None):
            raise ValueError("a lineage input names either an artifact or an input set")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who wrote an artifact, by which code, with which parameters, in which environment."""

    writer_name: str
    writer_version: str
    run_id: str | None = None
    step: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    git_diff_hash: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartitionRef:
    """An asset partition whose head an artifact can belong to. Unpartitioned: partition ''."""

    asset: str
    partition: str


@dataclass(frozen=True, slots=True)
class HeadReplacement:
    """Says that a batch replaces the whole head of one asset partition.

    The new head is exactly the artifacts of the batch's requests that name `ref`; none of them
    makes an empty head, which differs from no head. `expected` states the artifact ids the head
    must consist of (None: no head yet) for the replacement to happen, else it is a `Conflict`.
    """

    ref: PartitionRef
    expected: frozenset[str] | None | Unset = UNSET


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """One artifact to publish: the data (or the bytes of a Parquet file) and all that is known.

    `table` must have the type's schema; rows in any order. It may be the path of a Parquet file,
    which is not decoded if the very bytes are there under the key. `expected_active` states which
    artifact is active under the key (None: none) for the publish to happen, else it is a
    `Conflict`.
    `head` puts the artifact into the head of an asset partition; the batch must replace that head.
    """

    artifact_type: str
    logical_key: str
    table: "pa.Table | Path"
    provenance: Provenance
    schema_version: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[LineageInput, ...] = ()
    sources: tuple[SourceFile, ...] = ()
    expected_active: str | None | Unset = UNSET
    head: PartitionRef | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A row of the manifest. `path` is relative to the artifacts root."""

    artifact_id: str
    artifact_type: str
    schema_version: int
    logical_key: str
    status: Status
    path: str
    file_hash: str
    file_size: int
    content_hash: str
    row_count: int
    min_ts: datetime | None
    max_ts: datetime | None
    created_at: datetime
    keeps_many: bool = False
    purged_at: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What a publish came to. `deduped`: the artifact was there already, only the event is new.

    `superseded_by`: the key has this artifact of a newer schema version, which stays the active
    one; what was published is stored, and superseded by it.
    """

    artifact: Artifact
    publication_id: int
    deduped: bool
    superseded: tuple[str, ...] = ()
    superseded_by: str | None = None

    @property
    def artifact_id(self) -> str:
        """The id of the artifact, new or not."""
        return self.artifact.artifact_id


@dataclass(frozen=True, slots=True)
class Publication:
    """One publish event, also when the artifact was there already."""

    publication_id: int
    artifact_id: str
    deduped: bool
    provenance: Provenance
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ArtifactFilter:
    """Which artifacts to list. Empty fields do not restrict; all `tags` must match.

    Without a `status`, tombstoned artifacts are left out.
    """

    artifact_type: str | None = None
    status: Status | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    created_from: datetime | None = None
    created_to: datetime | None = None
    key_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class ArtifactPage:
    """Artifacts newest first; `cursor` continues after them and is None at the end."""

    artifacts: tuple[Artifact, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """`artifact_id` was made from `input_id` in `publication_id`; `depth` counts from the root."""

    artifact_id: str
    input_id: str
    role: Role
    publication_id: int
    depth: int


@dataclass(frozen=True, slots=True)
class SourceEdge:
    """`artifact_id` was made from the raw file `source`."""

    artifact_id: str
    source: SourceFile


@dataclass(frozen=True, slots=True)
class Lineage:
    """The graph around one artifact: edges, the artifacts they name, the raw files at its end."""

    root: str
    edges: tuple[LineageEdge, ...]
    artifacts: Mapping[str, Artifact]
    sources: tuple[SourceEdge, ...] = ()


@dataclass(frozen=True, slots=True)
class ArtifactDraft:
    """Data ready to be published. Whoever publishes it adds provenance, lineage and head.

    `params` is what decided the content (windows, sources' newest times, rule versions): it becomes
    part of the publication's params.
    """

    artifact_type: str
    logical_key: str
    table: "pa.Table"
    tags: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[SourceFile, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HeldArtifact:
    """An artifact that a partition consists of now, with its rows and the raw files it names."""

    artifact: Artifact
    table: "pa.Table"
    sources: tuple[SourceFile, ...]


@dataclass(frozen=True, slots=True)
class PartitionOutput:
    """All that one asset partition now consists of, and counts worth showing.

    `loose` drafts are published beside it without belonging to the partition: rows refused by a raw
    file, which belong to that file.
    """

    drafts: tuple[ArtifactDraft, ...]
    loose: tuple[ArtifactDraft, ...] = ()
    counts: Mapping[str, int | float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AdditiveOutput:
    """A partition that grows: built from what it holds now, and built again if that has changed.

    `build` gets what the partition holds, by logical key, and must return the union of that and of
    what is new, whatever the order in which things came.
    """

    build: Callable[[Mapping[str, HeldArtifact]], PartitionOutput]

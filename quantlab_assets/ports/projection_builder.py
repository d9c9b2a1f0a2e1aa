"""Disposable DuckDB files built from artifacts."""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from quantlab_assets.domain.artifacts.records import Status

if TYPE_CHECKING:
    import pyarrow as pa

Layout = Literal["plain", "research"]
"""`plain`: the tables that were asked for. `research`: also the merged candles, the tables of the
manifest and of the ledger, comments, views and macros of docs/projections.md."""


_CONTENT_NAME: Final = re.compile(r"p_[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ArtifactSelector:
    """Which artifacts of a table's type it takes: those that match all fields when it is built.

    `status` None takes any but tombstoned ones. `tags` are (name, value) pairs. Days are UTC, both
    included: an artifact is taken by the day of its key, or, if its key has none, if any of its
    rows can be of those days.
    """

    status: Status | None = "active"
    tags: tuple[tuple[str, str], ...] = ()
    key_prefix: str | None = None
    first_day: date | None = None
    last_day: date | None = None


@dataclass(frozen=True, slots=True)
class ProjectionTable:
    """One table of a projection: its name and the artifacts (of one type) whose rows it holds.

    They are named by `artifact_ids`, or chosen by `selector` whenever the projection is built. A
    built projection has both: what it holds and how it was chosen. A choice of nothing makes an
    empty table.

    `key_columns` are text columns put in front of the type's own, each (column name, field of the
    logical key): the rows of a trades artifact do not say which experiment they belong to, its key
    does.
    """

    name: str
    artifact_type: str
    artifact_ids: tuple[str, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    key_columns: tuple[tuple[str, str], ...] = ()
    selector: ArtifactSelector | None = None


@dataclass(frozen=True, slots=True)
class ProjectionRequest:
    """What to build. `projection_id` names the file; None derives the name from the content."""

    tables: tuple[ProjectionTable, ...]
    projection_id: str | None = None
    verify: bool = True
    layout: Layout = "plain"

    @property
    def is_named_by_content(self) -> bool:
        """Whether its name follows from its artifacts (`p_` and 32 hex digits): a rebuild then
        keeps them, where another one chooses anew."""
        return _CONTENT_NAME.fullmatch(str(self.projection_id)) is not None


@dataclass(frozen=True, slots=True)
class Projection:
    """A built projection. `stale`: an artifact it was built from is no longer active.

    `rows` has the number of rows of each table asked for; `size` is in bytes; `last_used_at` is
    when it was last built or connected to.
    """

    projection_id: str
    path: Path
    request: ProjectionRequest
    rows: Mapping[str, int]
    built_at: datetime
    stale: bool = False
    size: int = 0
    last_used_at: datetime | None = None


class ProjectionBuilder(Protocol):
    """Builds into a temporary file, then renames: readers never see a half-built projection.

    Requests are kept beside the files and in the manifest, so that every file can be deleted.
    """

    def build(self, request: ProjectionRequest) -> Projection:
        """Build, or return the one that exists with exactly this content.

        A projection of the same name that holds other artifacts is brought up to date, which costs
        what changed; the outcome is the same, row for row, as if it had been built anew.

        Raises `NotFound`, `IntegrityError` (a damaged artifact), `ValidationFailed` (a bad name),
        `StoreUnavailable` (memory, disk or size limits).
        """

    def rebuild(self, projection_id: str) -> Projection:
        """Build anew from the stored request, whatever is left of the old file.

        A named projection chooses again where it was made by a selector; explicit ids stay.
        Raises `NotFound`, and what `build` raises.
        """

    def dispose(self, projection_id: str) -> None:
        """Delete the file and its request. Disposing of what is not there is no error."""

    def exists(self, projection_id: str) -> bool:
        """Whether it is built."""

    def list(self) -> Sequence[Projection]:
        """All built projections, by id."""

    def connect(self, projection_id: str, *, read_only: bool = True) -> AbstractContextManager[Any]:
        """An open DuckDB connection, closed on leaving. Only `read_only=True` is allowed.

        Raises `NotFound`.
        """


class ProjectionRequests(Protocol):
    """Where requests are kept besides the cache, so that `rebuild` needs nothing of it."""

    def remember(self, projection_id: str, request_json: str) -> None:
        """Keep the newest request of a projection."""

    def recall(self, projection_id: str) -> str | None:
        """The request kept, None if there is none."""

    def forget(self, projection_id: str) -> None:
        """Keep it no longer. Forgetting what is not there is no error."""


class LakeRecords(Protocol):
    """What a lake knows that is in no artifact: its manifest and its ledger, as tables."""

    def state(self) -> Mapping[str, str]:
        """For each table a text that differs whenever its records have changed. Cheap to ask."""

    def tables(self, names: Collection[str]) -> "Mapping[str, pa.Table]":
        """The records of the named tables, rows in a fixed order; see docs/projections.md."""

    def arrivals(self, artifact_ids: Sequence[str]) -> Mapping[str, int]:
        """The place of each artifact in the order in which they came; it never changes."""

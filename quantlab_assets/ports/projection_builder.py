"""Disposable DuckDB files built from artifacts."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ProjectionTable:
    """One table of a projection: its name and the artifacts (of one type) whose rows it holds.

    `key_columns` are text columns put in front of the type's own, each (column name, field of the
    logical key): the rows of a trades artifact do not say which experiment they belong to, its key
    does.
    """

    name: str
    artifact_type: str
    artifact_ids: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    key_columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProjectionRequest:
    """What to build. `projection_id` names the file; None derives the name from the content."""

    tables: tuple[ProjectionTable, ...]
    projection_id: str | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Projection:
    """A built projection. `stale`: an artifact it was built from is no longer active."""

    projection_id: str
    path: Path
    request: ProjectionRequest
    rows: dict[str, int]
    built_at: datetime
    stale: bool = False


class ProjectionBuilder(Protocol):
    """Builds into a temporary file, then renames: readers never see a half-built projection."""

    def build(self, request: ProjectionRequest) -> Projection:
        """Build, or return the one that exists with exactly this request.

        Raises `NotFound`, `IntegrityError` (a damaged artifact), `ValidationFailed` (a bad name).
        """

    def rebuild(self, projection_id: str) -> Projection:
        """Build again from the stored request. Raises `NotFound`."""

    def dispose(self, projection_id: str) -> None:
        """Delete the file. Disposing of what is not there is no error."""

    def exists(self, projection_id: str) -> bool:
        """Whether it is built."""

    def list(self) -> Sequence[Projection]:
        """All built projections, by id."""

    def connect(self, projection_id: str, *, read_only: bool = True) -> AbstractContextManager[Any]:
        """An open DuckDB connection, closed on leaving. Only `read_only=True` is allowed.

        Raises `NotFound`.
        """

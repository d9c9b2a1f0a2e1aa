"""`ProjectionBuilder` over a folder of DuckDB files: hands on to `plan`, `build` and `cache`.

Nothing here is truth: every file can be deleted at any time and built again from artifacts.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path

import duckdb

from quantlab_assets.adapters.duckdb.build import Builder
from quantlab_assets.adapters.duckdb.cache import ProjectionCache
from quantlab_assets.adapters.duckdb.identifiers import check_projection_id
from quantlab_assets.adapters.duckdb.limits import ProjectionLimits
from quantlab_assets.adapters.duckdb.plan import Planner, check_names
from quantlab_assets.adapters.duckdb.record import (
    ProjectionRecord,
    as_asked,
    normalised,
    request_from,
    to_rebuild,
)
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.errors import NotFound, ValidationFailed
from quantlab_assets.ports.artifact_store import ArtifactFiles, ArtifactStore
from quantlab_assets.ports.projection_builder import (
    LakeRecords,
    Projection,
    ProjectionRequest,
    ProjectionRequests,
)


class DuckdbProjections:
    """`ProjectionBuilder` over the folder `cache`.

    Requests are kept in `requests` too, so that a rebuild needs nothing of the folder. Without
    `records` there is no research layout, and tables are laid out as if they never grew.
    """

    def __init__(
        self,
        cache: Path,
        files: ArtifactFiles,
        store: ArtifactStore,
        types: TypeRegistry,
        limits: ProjectionLimits | None = None,
        *,
        records: LakeRecords | None = None,
        requests: ProjectionRequests | None = None,
    ) -> None:
        limits = limits or ProjectionLimits()
        self._store = store
        self._requests = requests
        self._cache = ProjectionCache(cache, limits)
        self._planner = Planner(store, types, records)
        self._builder = Builder(self._cache, files, store, types, limits, records, requests)

    def build(self, request: ProjectionRequest) -> Projection:
        """Build, bring up to date, or return the one that exists with exactly this content.

        Raises `ValidationFailed` (a bad name, an artifact of another type), `NotFound`,
        `IntegrityError` (a damaged artifact), `StoreUnavailable` (no memory or disk left).
        """
        check_names(request)
        unchanged = self._unchanged(request)
        if unchanged is not None:
            return self._projection(unchanged, stale=unchanged.stale)
        if request.projection_id is None:
            plan = self._planner.plan(request)
            with self._cache.building(plan.projection_id) as work:
                old = self._usable_record(plan.projection_id)
                record = self._builder.bring_up_to_date(plan, old, work)
        else:
            # Chosen under the lock: what was chosen before another build would undo that build.
            with self._cache.building(request.projection_id) as work, ExitStack() as stack:
                old = self._usable_record(request.projection_id)
                copy = self._builder.copy_early(request, old, work, stack)
                plan = self._planner.plan(request)
                record = self._builder.bring_up_to_date(plan, old, work, copy)
        return self._built(record)

    def rebuild(self, projection_id: str) -> Projection:
        """Build from nothing by the stored request, also when every file in the cache is gone.

        A named projection chooses anew where a selector chose; one named by its content has just
        that content again. Raises `NotFound` if no request is stored, and what `build` raises.
        """
        request = self._stored_request(projection_id)
        with self._cache.building(projection_id) as work:
            record = self._builder.write(self._planner.plan(request), None, work)
        return self._built(record)

    def dispose(self, projection_id: str) -> None:
        """Delete the file and its stored request. Readers that have it open keep it until they
        close."""
        check_projection_id(projection_id)
        with self._cache.building(projection_id):
            self._cache.delete(projection_id)
            if self._requests is not None:
                self._requests.forget(projection_id)

    def exists(self, projection_id: str) -> bool:
        """Whether it is built."""
        return self._cache.is_built(check_projection_id(projection_id))

    def list(self) -> Sequence[Projection]:
        """All built projections, by id."""
        return [
            self._projection(record, stale=self._is_stale(record.request))
            for record in self._cache.records()
        ]

    def connect(
        self, projection_id: str, *, read_only: bool = True
    ) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """An open read-only connection to the projection as it is now, closed on leaving.

        Raises `NotFound`, and `ValidationFailed` for `read_only=False`.
        """
        check_projection_id(projection_id)
        if not read_only:
            raise ValidationFailed(
                f"projection {projection_id}: projections are only read; publish artifacts and"
                " build a projection of them instead"
            )
        return self._cache.reading(projection_id)

    def sweep(self) -> None:
        """Remove what killed builds and killed readers left behind; every build does it too."""
        self._cache.sweep()

    def _unchanged(self, request: ProjectionRequest) -> ProjectionRecord | None:
        """The record, if it is known without choosing that the file holds what is asked for:
        nothing was asked or recorded otherwise since."""
        state = self._planner.state()
        if request.projection_id is None or not state:
            return None
        record = self._usable_record(request.projection_id)
        if record is None or dict(record.state) != dict(state):
            return None
        if as_asked(record.request) != as_asked(normalised(request)):
            return None
        return record

    def _usable_record(self, projection_id: str) -> ProjectionRecord | None:
        """The record of the database that is there, if its tables have the columns of today's
        schema versions."""
        record = self._cache.record_of_database(projection_id)
        if record is None or record.versions != self._planner.versions(record.request):
            return None
        return record

    def _stored_request(self, projection_id: str) -> ProjectionRequest:
        check_projection_id(projection_id)
        record = self._cache.record(projection_id)
        if record is not None:
            return to_rebuild(record.request)
        text = None if self._requests is None else self._requests.recall(projection_id)
        if text is None:
            raise NotFound(f"projection {projection_id} has no stored request; build it anew")
        return to_rebuild(request_from(text))

    def _built(self, record: ProjectionRecord) -> Projection:
        """The projection that was just built, after others made room for it."""
        with suppress(FileNotFoundError):  # Somebody else disposed of what was counted.
            self._cache.reclaim(record.projection_id)
        return self._projection(record, stale=record.stale)

    def _projection(self, record: ProjectionRecord, *, stale: bool) -> Projection:
        return Projection(
            projection_id=record.projection_id,
            path=self._cache.database(record.projection_id),
            request=record.request,
            rows=dict(record.rows),
            built_at=record.built_at,
            stale=stale,
            size=record.file_size,
            last_used_at=self._cache.last_used(record),
        )

    def _is_stale(self, request: ProjectionRequest) -> bool:
        ids = sorted({i for table in request.tables for i in table.artifact_ids})
        try:
            return any(artifact.status != "active" for artifact in self._store.get_artifacts(ids))
        except NotFound:
            return True

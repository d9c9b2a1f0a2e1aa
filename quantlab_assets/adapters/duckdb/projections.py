"""Build, find and open projections.

Nothing here is truth: every file can be deleted at any time and built again from artifacts.
"""

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb

from quantlab_assets.adapters.duckdb import research_sql as research
from quantlab_assets.adapters.duckdb.connections import (
    first_line,
    open_for_build,
    open_for_reading,
)
from quantlab_assets.adapters.duckdb.identifiers import (
    RESERVED_NAMES,
    check_identifier,
)
from quantlab_assets.adapters.duckdb.layout import in_order
from quantlab_assets.adapters.duckdb.limits import (
    ProjectionLimits,
    check_room,
    expected_size,
    size_in_bytes,
    watched,
)
from quantlab_assets.adapters.duckdb.merging import mark_candles_that_count
from quantlab_assets.adapters.duckdb.record import (
    CONTENT_NAME,
    ProjectionRecord,
    as_asked,
    normalised,
    read_record,
    request_from,
    request_json,
    write_record,
)
from quantlab_assets.adapters.duckdb.selection import choose
from quantlab_assets.adapters.duckdb.tables import (
    Change,
    TablePlan,
    change_table,
    create_table,
)
from quantlab_assets.adapters.duckdb.upgraded_files import upgraded_files
from quantlab_assets.adapters.file_lock import exclusive, shared
from quantlab_assets.adapters.whole_files import sync
from quantlab_assets.domain.artifacts.records import Artifact
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.errors import (
    IntegrityError,
    NotFound,
    StoreUnavailable,
    ValidationFailed,
)
from quantlab_assets.ports.artifact_store import ArtifactFiles, ArtifactStore
from quantlab_assets.ports.projection_builder import (
    LakeRecords,
    Projection,
    ProjectionRequest,
    ProjectionRequests,
)

_LINK_LIFETIME_S: Final = 60.0

_WORTH_CHANGING: Final = 0.5
"""The share of rows that must stay for a change to be quicker than a build from nothing."""

_MOST_BLOAT: Final = 1.5
"""How much larger than new a file may become by changes before it is built from nothing."""

_BLOAT_OF_SMALL_FILES: Final = 2**26
"""Bytes of bloat that are not worth a build at any size."""

_FICLONE: Final = 0x40049409


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a projection is to become: its request with all artifacts, and its tables."""

    request: ProjectionRequest
    tables: tuple[TablePlan, ...]
    state: Mapping[str, str]
    stale: bool

    @property
    def projection_id(self) -> str:
        return str(self.request.projection_id)

    @property
    def row_count(self) -> int:
        return sum(table.row_count for table in self.tables)

    def artifacts(self) -> Iterator[Artifact]:
        for table in self.tables:
            yield from table.artifacts


class DuckdbProjections:
    """`ProjectionBuilder` over a folder: `<id>.duckdb`, and what was built beside it in
    `<id>.json`.

    Work in progress is under `.building`, one locked folder a projection; what a killed build left
    there is removed by the next build. Requests are kept in `requests` too, so that a rebuild needs
    nothing of the folder. Without `records` there is no research layout, and tables are laid out
    as if they never grew.
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
        self._cache = cache
        self._files = files
        self._store = store
        self._types = types
        self._limits = limits or ProjectionLimits()
        self._records = records
        self._requests = requests

    def build(self, request: ProjectionRequest) -> Projection:
        """Build, bring up to date, or return the one that exists with exactly this content.

        Raises `ValidationFailed` (a bad name, an artifact of another type), `NotFound`,
        `IntegrityError` (a damaged artifact), `StoreUnavailable` (no memory or disk left).
        """
        _check_names(request)
        unchanged = self._unchanged(request, self._state())
        if unchanged is not None:
            return unchanged
        if request.projection_id is None:
            plan = self._plan(request, self._state())
            with self._building(plan.projection_id) as work:
                held = self._bring(plan, self._held(plan.projection_id), work)
        else:
            # Chosen under the lock: what was chosen before another build would undo that build.
            with self._building(request.projection_id) as work, ExitStack() as stack:
                found = self._held(request.projection_id)
                copied = self._copied_early(request, found, work, stack)
                plan = self._plan(request, self._state())
                held = self._bring(plan, found, work, copied)
        with suppress(FileNotFoundError):  # Somebody else disposed of what was counted.
            self._reclaim(plan.projection_id)
        return self._projection(held, stale=plan.stale)

    def rebuild(self, projection_id: str) -> Projection:
        """Build from nothing by the stored request, also when every file in the cache is gone.

        A named projection chooses anew where a selector chose; one named by its content has just
        that content again. Raises `NotFound` if no request is stored, and what `build` raises.
        """
        request = self._stored_request(projection_id)
        with self._building(projection_id) as work:
            plan = self._plan(request, self._state())
            record = self._write(plan, None, work)
        with suppress(FileNotFoundError):
            self._reclaim(projection_id)
        return self._projection(record, stale=plan.stale)

    def dispose(self, projection_id: str) -> None:
        """Delete the file and its stored request. Readers that have it open keep it until they
        close."""
        _check_id(projection_id)
        with self._building(projection_id):
            self._delete(projection_id)
            if self._requests is not None:
                self._requests.forget(projection_id)

    def exists(self, projection_id: str) -> bool:
        """Whether it is built."""
        _check_id(projection_id)
        return (
            _is_file(self._path(projection_id))
            and read_record(self._record_path(projection_id)) is not None
        )

    def list(self) -> Sequence[Projection]:
        """All built projections, by id."""
        return [self._projection(record) for record in self._records_on_disk()]

    def connect(
        self, projection_id: str, *, read_only: bool = True
    ) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """An open read-only connection to the projection as it is now, closed on leaving.

        Raises `NotFound`, and `ValidationFailed` for `read_only=False`.
        """
        _check_id(projection_id)
        if not read_only:
            raise ValidationFailed(
                f"projection {projection_id}: projections are only read; publish artifacts and"
                " build a projection of them instead"
            )
        return self._reading(projection_id)

    def sweep(self) -> None:
        """Remove what killed builds and killed readers left behind; every build does it too."""
        building = self._cache / ".building"
        if building.is_dir():
            self._sweep(building)

    @contextmanager
    def _reading(self, projection_id: str) -> Iterator[duckdb.DuckDBPyConnection]:
        path = self._path(projection_id)
        if not _is_file(path):
            raise NotFound(f"projection {projection_id} is not built; build it first")
        links = self._cache / ".reading"
        with ExitStack() as stack:
            with suppress(OSError):  # A cache that may not be written can be read all the same.
                links.mkdir(exist_ok=True)
                stack.enter_context(shared(links / f"{projection_id}.open"))
                os.utime(self._record_path(projection_id))
            connection = open_for_reading(path, links=links, limits=self._limits)
            try:
                yield connection
            finally:
                connection.close()

    def _path(self, projection_id: str) -> Path:
        return self._cache / f"{projection_id}.duckdb"

    def _record_path(self, projection_id: str) -> Path:
        return self._cache / f"{projection_id}.json"

    def _state(self) -> Mapping[str, str]:
        return {} if self._records is None else self._records.state()

    def _held(self, projection_id: str) -> ProjectionRecord | None:
        """The record of the file that is there, if it describes that file, and its tables have the
        columns of today's schema versions."""
        held = read_record(self._record_path(projection_id))
        if held is None or held.request.projection_id != projection_id:
            return None
        if held.versions != self._versions(held.request):
            return None
        return held if held.describes(self._path(projection_id)) else None

    def _versions(self, request: ProjectionRequest) -> Mapping[str, int]:
        """The schema version of each table, unless its type is gone."""
        known = {artifact_type.name: artifact_type.schema_version for artifact_type in self._types}
        return {
            table.name: known[table.artifact_type]
            for table in request.tables
            if table.artifact_type in known
        }

    def _records_on_disk(self) -> Sequence[ProjectionRecord]:
        found = [read_record(path) for path in sorted(self._cache.glob("*.json"))]
        return [
            record
            for record in found
            if record is not None and _is_file(self._path(str(record.request.projection_id)))
        ]

    def _unchanged(self, request: ProjectionRequest, state: Mapping[str, str]) -> Projection | None:
        """The projection, if it is known without choosing that it holds what is asked for."""
        if request.projection_id is None or not state:
            return None
        held = self._held(request.projection_id)
        if held is None or dict(held.state) != dict(state):
            return None
        if as_asked(held.request) != as_asked(normalised(request)):
            return None
        return self._projection(held, stale=held.stale)

    def _stored_request(self, projection_id: str) -> ProjectionRequest:
        _check_id(projection_id)
        held = read_record(self._record_path(projection_id))
        if held is not None and held.request.projection_id == projection_id:
            return _to_rebuild(held.request)
        text = None if self._requests is None else self._requests.recall(projection_id)
        if text is None:
            raise NotFound(f"projection {projection_id} has no stored request; build it anew")
        return _to_rebuild(request_from(text))

    def _plan(self, request: ProjectionRequest, state: Mapping[str, str]) -> _Plan:
        _check_names(request)
        if request.layout == "research":
            if self._records is None:
                raise ValidationFailed("the research layout needs the records of a lake")
            research.check_tables(request.tables)
        chosen, artifacts = choose(request, self._store, self._types)
        wanted = normalised(chosen)
        arrivals = None
        if self._records is not None and not _is_named_by_content(wanted):
            arrivals = self._records.arrivals(sorted(artifacts))
        tables = tuple(
            TablePlan(
                table,
                self._types.get(table.artifact_type),
                tuple(in_order([artifacts[i] for i in table.artifact_ids], arrivals)),
                *(research.STORED if research.is_stored(wanted, table) else ()),
            ).checked()
            for table in wanted.tables
        )
        for artifact in artifacts.values():
            self._types.get(artifact.artifact_type, artifact.schema_version)
        stale = any(artifact.status != "active" for artifact in artifacts.values())
        return _Plan(wanted, tables, state, stale)

    def _is_content(self, held: ProjectionRecord, plan: _Plan) -> bool:
        """Whether the file of the record is what the plan says."""
        return (
            _has_same_tables(held.request, plan.request)
            and all(held.segments.get(t.table.name) == t.segments for t in plan.tables)
            and (plan.request.layout == "plain" or dict(held.state) == dict(plan.state))
        )

    @contextmanager
    def _building(self, projection_id: str) -> Iterator[Path]:
        """The projection's own working folder, empty, under its lock; gone afterwards."""
        building = self._cache / ".building"
        if "?" in str(building):
            raise ValidationFailed(
                f"projection cache {self._cache}: DuckDB keeps no database under a path with '?';"
                " move the cache"
            )
        try:
            building.mkdir(parents=True, exist_ok=True)
            with exclusive(building / f"{projection_id}.lock"):
                self._sweep(building)
                work = building / projection_id
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir()
                try:
                    yield work
                finally:
                    shutil.rmtree(work, ignore_errors=True)
        except OSError as error:
            raise StoreUnavailable(
                f"projection cache {self._cache}: {error.strerror or error}"
            ) from error

    def _sweep(self, building: Path) -> None:
        """Remove what killed builds and killed readers left behind."""
        for name in {path.name.removesuffix(".lock") for path in building.iterdir()}:
            with exclusive(building / f"{name}.lock", wait=False) as ours:
                if ours:
                    shutil.rmtree(building / name, ignore_errors=True)
        for link in (self._cache / ".reading").glob("*"):
            try:
                if time.time() - link.stat().st_mtime <= _LINK_LIFETIME_S:
                    continue
            except FileNotFoundError:
                continue
            if link.suffix == ".open":
                with exclusive(link, wait=False):
                    pass  # Nobody had it: its file is gone now.
            else:
                shutil.rmtree(link, ignore_errors=True)

    def _bring(
        self,
        plan: _Plan,
        held: ProjectionRecord | None,
        work: Path,
        copied: Future[None] | None = None,
    ) -> ProjectionRecord:
        """See that what is held is what the plan says."""
        if held is None or not self._is_content(held, plan):
            return self._write(plan, held, work, copied)
        # The lake, or the way of asking, may have changed, and nothing that is here.
        now = replace(held, state=plan.state, stale=plan.stale, request=plan.request)
        if now != held:
            self._put_record(now, work)
        return now

    def _copied_early(
        self,
        request: ProjectionRequest,
        held: ProjectionRecord | None,
        work: Path,
        stack: ExitStack,
    ) -> Future[None] | None:
        """The old file, on its way to where it will be changed, if it is sure to be: copying a
        large one takes as long as choosing what to change."""
        wanted = normalised(request)
        if held is None or not _has_same_tables(held.request, wanted):
            return None
        named = [
            table.selector is None and table.artifact_ids != old.artifact_ids
            for table, old in zip(wanted.tables, held.request.tables, strict=True)
        ]
        if request.layout == "plain" and not any(named):
            return None
        try:
            check_room(str(wanted.projection_id), held.file_size, work, self._limits)
        except StoreUnavailable:
            return None
        copier = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="copy"))
        path = self._path(str(wanted.projection_id))
        return copier.submit(_copy, path, work / path.name)

    def _write(
        self,
        plan: _Plan,
        held: ProjectionRecord | None,
        work: Path,
        copied: Future[None] | None = None,
    ) -> ProjectionRecord:
        """Write the file, from the one that is held where that is quicker, and put it in place."""
        changes = self._changes(plan, held)
        new = {
            artifact.artifact_id: artifact
            for artifact in (
                plan.artifacts()
                if changes is None
                else (artifact for change in changes for artifact in change.new_artifacts)
            )
        }
        paths = self._files.files(sorted(new), verify=plan.request.verify)
        files = dict(zip(sorted(new), paths, strict=True))
        files |= upgraded_files(new.values(), self._store, self._types, work / "upgraded")
        needed = expected_size(
            sum(artifact.file_size for artifact in new.values()),
            indexed=any(table.table.indexes for table in plan.tables),
        )
        if changes is not None and held is not None:
            there = 0 if copied is None else held.file_size
            size = needed + held.file_size
            check_room(plan.projection_id, size, work, self._limits, there=there)
            try:
                return self._change(plan, held, changes, files, work, copied)
            except (IntegrityError, StoreUnavailable):
                # The old file may be damaged, and a build from nothing says what else is wrong.
                return self._write(plan, None, work)
        database = work / f"{plan.projection_id}.duckdb"
        if copied is not None:
            copied.exception()
        database.unlink(missing_ok=True)
        check_room(plan.projection_id, needed, work, self._limits)
        with self._connected(plan, database, files) as connection:
            if plan.request.layout == "research":
                research.create_schema(connection)
            for table in plan.tables:
                create_table(connection, table, files)
            if plan.request.layout == "research":
                self._write_records(connection, tuple(plan.state))
                research.write_views(connection, [table.table.name for table in plan.tables])
                mark_candles_that_count(connection)
        fresh = database.stat().st_size
        return self._put(plan, database, fresh_size=fresh, fresh_rows=plan.row_count)

    def _changes(self, plan: _Plan, held: ProjectionRecord | None) -> tuple[Change, ...] | None:
        """What to change in the file that is held; None if it is better built from nothing."""
        if held is None or not _has_same_tables(held.request, plan.request):
            return None
        if not plan.row_count:
            return None
        size_when_new = (
            held.fresh_size * max(held.fresh_rows, plan.row_count) / max(held.fresh_rows, 1)
        )
        if held.file_size > _MOST_BLOAT * size_when_new + _BLOAT_OF_SMALL_FILES:
            return None
        changes = tuple(Change.of(table, held.segments[table.table.name]) for table in plan.tables)
        kept = sum(change.kept_rows for change in changes)
        return changes if kept >= _WORTH_CHANGING * plan.row_count else None

    def _change(
        self,
        plan: _Plan,
        held: ProjectionRecord,
        changes: Sequence[Change],
        files: Mapping[str, Path],
        work: Path,
        copied: Future[None] | None,
    ) -> ProjectionRecord:
        database = work / f"{plan.projection_id}.duckdb"
        if copied is None:
            _copy(self._path(plan.projection_id), database)
        else:
            copied.result()
        # What was copied goes to the disk while DuckDB works.
        with (
            ThreadPoolExecutor(1, thread_name_prefix="sync") as flusher,
            self._connected(plan, database, files) as connection,
        ):
            flushed = flusher.submit(sync, database)
            touched: set[str] = set()
            for change in changes:
                watch = research.ADDRESS if change.plan.flag is not None else None
                touched |= change_table(connection, change, files, watch=watch)
            if plan.request.layout == "research":
                self._write_records(
                    connection,
                    [name for name, now in plan.state.items() if held.state.get(name) != now],
                )
                if touched:
                    mark_candles_that_count(connection, touched)
        flushed.result()
        return self._put(plan, database, fresh_size=held.fresh_size, fresh_rows=held.fresh_rows)

    @contextmanager
    def _connected(
        self, plan: _Plan, database: Path, files: Mapping[str, Path]
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that may write, watched; on leaving all of it is in the file."""
        name = plan.projection_id
        try:
            connection = open_for_build(
                database,
                artifact_files=list(files.values()),
                spill=database.parent / "spill",
                limits=self._limits,
            )
            try:
                with watched(name, connection, database.parent, self._limits):
                    connection.execute("BEGIN").fetchall()
                    yield connection
                    connection.execute("COMMIT").fetchall()
                    connection.execute("CHECKPOINT").fetchall()
            finally:
                connection.close()
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            raise StoreUnavailable(
                f"projection {name} cannot be built: {first_line(error)};"
                " free disk space or raise the limits"
            ) from error
        except duckdb.Error as error:
            raise IntegrityError(
                f"projection {name} cannot be built from its artifacts:"
                f" {first_line(error)}; verify them"
            ) from error

    def _write_records(self, connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> None:
        assert self._records is not None
        research.write_records(connection, self._records.tables(names))

    def _put(
        self, plan: _Plan, database: Path, *, fresh_size: int, fresh_rows: int
    ) -> ProjectionRecord:
        """Put a finished database in place, with its record."""
        sync(database)
        database.chmod(0o444)
        written = database.stat()
        record = ProjectionRecord(
            request=plan.request,
            rows={table.table.name: table.row_count for table in plan.tables},
            segments={table.table.name: table.segments for table in plan.tables},
            versions=self._versions(plan.request),
            state=plan.state,
            stale=plan.stale,
            built_at=datetime.now(UTC),
            file_size=written.st_size,
            file_mtime_ns=written.st_mtime_ns,
            fresh_size=fresh_size,
            fresh_rows=fresh_rows,
        )
        if self._requests is not None:
            kept = plan.request if _is_named_by_content(plan.request) else as_asked(plan.request)
            self._requests.remember(plan.projection_id, request_json(kept))
        self._put_record(record, database.parent)
        database.replace(self._path(plan.projection_id))
        sync(self._cache)
        return record

    def _put_record(self, record: ProjectionRecord, work: Path) -> None:
        write_record(record, work / "record.json")
        (work / "record.json").replace(self._record_path(str(record.request.projection_id)))

    def _delete(self, projection_id: str) -> None:
        for path in (self._path(projection_id), self._record_path(projection_id)):
            path.unlink(missing_ok=True)

    def _reclaim(self, just_built: str) -> None:
        """Delete the least recently used projections until the cache is within its budget.

        Their requests stay in the manifest, so that `rebuild` brings them back. What is open or
        being built stays, and so does the one just built.
        """
        budget = size_in_bytes(self._limits.cache)
        if sum(path.lstat().st_size for path in self._cache.glob("*.duckdb")) <= budget:
            return
        held = self._records_on_disk()
        excess = sum(record.file_size for record in held) - budget
        found = [self._projection(record, stale=False) for record in held]
        for projection in sorted(found, key=lambda one: (one.last_used_at, one.projection_id)):
            name = projection.projection_id
            if excess <= 0:
                return
            if name == just_built:
                continue
            with (
                exclusive(self._cache / ".building" / f"{name}.lock", wait=False) as idle,
                self._unread(name) as unread,
            ):
                if idle and unread and self._last_used(name) == projection.last_used_at:
                    self._delete(name)
                    excess -= projection.size

    @contextmanager
    def _unread(self, projection_id: str) -> Iterator[bool]:
        """Whether nobody has the projection open; new readers wait until this is left."""
        links = self._cache / ".reading"
        links.mkdir(exist_ok=True)
        with exclusive(links / f"{projection_id}.open", wait=False) as unread:
            yield unread

    def _projection(self, record: ProjectionRecord, *, stale: bool | None = None) -> Projection:
        projection_id = str(record.request.projection_id)
        path = self._path(projection_id)
        return Projection(
            projection_id=projection_id,
            path=path,
            request=record.request,
            rows=dict(record.rows),
            built_at=record.built_at,
            stale=self._is_stale(record.request) if stale is None else stale,
            size=record.file_size,
            last_used_at=self._last_used(projection_id) or record.built_at,
        )

    def _last_used(self, projection_id: str) -> datetime | None:
        """When it was built or connected to: readers touch the record, never the database."""
        try:
            return datetime.fromtimestamp(self._record_path(projection_id).stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def _is_stale(self, request: ProjectionRequest) -> bool:
        ids = sorted({i for table in request.tables for i in table.artifact_ids})
        try:
            return any(artifact.status != "active" for artifact in self._store.get_artifacts(ids))
        except NotFound:
            return True


def _check_names(request: ProjectionRequest) -> None:
    if request.projection_id is not None:
        _check_id(request.projection_id)
    names = [check_identifier(table.name, "table") for table in request.tables]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValidationFailed(f"table {twice[0]!r} is asked for twice; name each table once")


def _check_id(projection_id: str) -> str:
    check_identifier(projection_id, "projection")
    if projection_id in RESERVED_NAMES:
        raise ValidationFailed(f"projection {projection_id!r}: the name is taken; choose another")
    return projection_id


def _is_named_by_content(request: ProjectionRequest) -> bool:
    return CONTENT_NAME.fullmatch(str(request.projection_id)) is not None


def _to_rebuild(request: ProjectionRequest) -> ProjectionRequest:
    """The request for what a rebuild has: just what was chosen if the name promises that, else
    what the selectors choose now."""
    if not _is_named_by_content(request):
        return as_asked(request)
    tables = tuple(replace(table, selector=None) for table in request.tables)
    return replace(request, tables=tables)


def _has_same_tables(old: ProjectionRequest, new: ProjectionRequest) -> bool:
    """Whether the two differ in nothing but the artifacts."""

    def shape(request: ProjectionRequest) -> object:
        tables = [replace(table, artifact_ids=(), selector=None) for table in request.tables]
        return (request.layout, tables)

    return shape(old) == shape(new)


def _is_file(path: Path) -> bool:
    """Whether there is a file, and not a link to one somewhere else."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _copy(source: Path, target: Path) -> None:
    """Copy a file; where the file system can, its blocks are shared and nothing is copied."""
    target.unlink(missing_ok=True)
    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
            return
        except OSError:
            pass
    shutil.copyfile(source, target)

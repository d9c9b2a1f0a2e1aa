"""Makes the file of a projection what its plan says, and puts it in place with its record.

Whether that takes a build from nothing, a change of the file that is there, or a new record only
is decided here. What the plan says is decided in `plan`, rows are written by `tables`.
"""

import fcntl
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb

from quantlab_assets.adapters.duckdb.cache import ProjectionCache
from quantlab_assets.adapters.duckdb.connections import first_line, open_for_build, run
from quantlab_assets.adapters.duckdb.content import research_sql as research
from quantlab_assets.adapters.duckdb.content.merging import mark_candles_that_count
from quantlab_assets.adapters.duckdb.content.tables import Change, change_table, create_table
from quantlab_assets.adapters.duckdb.content.upgraded_files import upgraded_files
from quantlab_assets.adapters.duckdb.limits import (
    ProjectionLimits,
    check_room,
    expected_size,
    watched,
)
from quantlab_assets.adapters.duckdb.plan import Plan
from quantlab_assets.adapters.duckdb.record import (
    ProjectionRecord,
    as_asked,
    has_same_tables,
    normalised,
    request_json,
    write_record,
)
from quantlab_assets.adapters.whole_files import sync
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.errors import IntegrityError, StoreUnavailable
from quantlab_assets.ports.artifact_store import ArtifactFiles, ArtifactStore
from quantlab_assets.ports.projection_builder import (
    LakeRecords,
    ProjectionRequest,
    ProjectionRequests,
)

WORTH_CHANGING: Final = 0.5
"""The share of rows that must stay for a change to be quicker than a build from nothing."""

MOST_BLOAT: Final = 1.5
"""How much larger than new a file may become by changes before it is built from nothing."""

BLOAT_OF_SMALL_FILES: Final = 2**26
"""Bytes of bloat that are not worth a build at any size."""

_FICLONE: Final = 0x40049409


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds in a working folder of the cache, under the projection's lock; see `building`.

    What is `old` in its methods is the record of the database that is in place, None if there is
    none that a record describes.
    """

    cache: ProjectionCache
    files: ArtifactFiles
    store: ArtifactStore
    types: TypeRegistry
    limits: ProjectionLimits
    records: LakeRecords | None
    requests: ProjectionRequests | None

    def bring_up_to_date(
        self,
        plan: Plan,
        old: ProjectionRecord | None,
        work: Path,
        copy: Future[None] | None = None,
    ) -> ProjectionRecord:
        """Make the projection what the plan says, by as little work as that takes; its record.

        Of `research` after a day of new calls: that day's rows are added to a copy of the file. If
        only an artifact it does not hold has changed, the file stays and its record says so. If it
        is there as planned, nothing is written.
        """
        if old is None or not plan.is_held_by(old):
            return self.write(plan, old, work, copy)
        record = replace(old, state=plan.state, stale=plan.stale, request=plan.request)
        if record != old:
            self._put_record(record, work)
        return record

    def copy_early(
        self,
        request: ProjectionRequest,
        old: ProjectionRecord | None,
        work: Path,
        stack: ExitStack,
    ) -> Future[None] | None:
        """The old file, on its way to where it will be changed, if it is sure to be: copying a
        large one takes as long as choosing what to change."""
        wanted = normalised(request)
        if old is None or not has_same_tables(old.request, wanted):
            return None
        names_others = [
            table.selector is None and table.artifact_ids != before.artifact_ids
            for table, before in zip(wanted.tables, old.request.tables, strict=True)
        ]
        if request.layout == "plain" and not any(names_others):
            return None
        try:
            check_room(old.projection_id, old.file_size, work, self.limits)
        except StoreUnavailable:
            return None
        copier = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="copy"))
        path = self.cache.database(old.projection_id)
        return copier.submit(_copy, path, work / path.name)

    def write(
        self,
        plan: Plan,
        old: ProjectionRecord | None,
        work: Path,
        copy: Future[None] | None = None,
    ) -> ProjectionRecord:
        """Write the file, from the old one where that is quicker, and put it in place."""
        changes = _changes(plan, old)
        new = {
            artifact.artifact_id: artifact
            for artifact in (
                plan.artifacts()
                if changes is None
                else (artifact for change in changes for artifact in change.new_artifacts)
            )
        }
        paths = self.files.files(sorted(new), verify=plan.request.verify)
        files = dict(zip(sorted(new), paths, strict=True))
        files |= upgraded_files(new.values(), self.store, self.types, work / "upgraded")
        needed = expected_size(
            sum(artifact.file_size for artifact in new.values()),
            indexed=any(table.table.indexes for table in plan.tables),
        )
        if changes is not None and old is not None:
            there = 0 if copy is None else old.file_size
            size = needed + old.file_size
            check_room(plan.projection_id, size, work, self.limits, there=there)
            try:
                return self.change(plan, old, changes, files, work, copy)
            except (IntegrityError, StoreUnavailable):
                # The old file may be damaged, and a build from nothing says what else is wrong.
                return self.write(plan, None, work)
        if copy is not None:
            copy.exception()
        database = work / f"{plan.projection_id}.duckdb"
        database.unlink(missing_ok=True)
        check_room(plan.projection_id, needed, work, self.limits)
        return self._create(plan, files, database)

    def _create(self, plan: Plan, files: Mapping[str, Path], database: Path) -> ProjectionRecord:
        with self._connected(plan, database, files) as connection:
            if plan.request.layout == "research":
                research.create_schema(connection)
            for table in plan.tables:
                create_table(connection, table, files)
            if plan.request.layout == "research":
                self._write_records(connection, tuple(plan.state))
                types = {table.table.name: table.artifact_type.name for table in plan.tables}
                research.write_views(connection, types)
                mark_candles_that_count(connection)
        fresh = database.stat().st_size
        return self._put(plan, database, fresh_size=fresh, fresh_rows=plan.row_count)

    def change(
        self,
        plan: Plan,
        old: ProjectionRecord,
        changes: Sequence[Change],
        files: Mapping[str, Path],
        work: Path,
        copy: Future[None] | None,
    ) -> ProjectionRecord:
        """Change a copy of the old file, and put it in the old one's place."""
        database = work / f"{plan.projection_id}.duckdb"
        if copy is None:
            _copy(self.cache.database(plan.projection_id), database)
        else:
            copy.result()
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
                    [name for name, now in plan.state.items() if old.state.get(name) != now],
                )
                if touched:
                    mark_candles_that_count(connection, touched)
        flushed.result()
        return self._put(plan, database, fresh_size=old.fresh_size, fresh_rows=old.fresh_rows)

    @contextmanager
    def _connected(
        self, plan: Plan, database: Path, files: Mapping[str, Path]
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that may write, watched; on leaving all of it is in the file."""
        name = plan.projection_id
        try:
            connection = open_for_build(
                database,
                artifact_files=list(files.values()),
                spill=database.parent / "spill",
                limits=self.limits,
            )
            try:
                with watched(name, connection, database.parent, self.limits):
                    run(connection, "BEGIN")
                    yield connection
                    run(connection, "COMMIT")
                    run(connection, "CHECKPOINT")
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
        assert self.records is not None
        research.write_records(connection, self.records.tables(names))

    def _put(
        self, plan: Plan, database: Path, *, fresh_size: int, fresh_rows: int
    ) -> ProjectionRecord:
        """Put a finished database in place, with its record.

        The database is on the disk before its record is: a machine that loses power would else
        come back with a record that describes, by size and time, a file whose pages were never
        written. DuckDB refuses such pages, but nothing would build the projection anew.
        """
        sync(database)
        database.chmod(0o444)
        written = database.stat()
        record = ProjectionRecord(
            request=plan.request,
            rows={table.table.name: table.row_count for table in plan.tables},
            segments={table.table.name: table.segments for table in plan.tables},
            versions=plan.versions,
            state=plan.state,
            stale=plan.stale,
            built_at=datetime.now(UTC),
            file_size=written.st_size,
            file_mtime_ns=written.st_mtime_ns,
            fresh_size=fresh_size,
            fresh_rows=fresh_rows,
        )
        if self.requests is not None:
            kept = plan.request if plan.request.is_named_by_content else as_asked(plan.request)
            self.requests.remember(plan.projection_id, request_json(kept))
        self._put_record(record, database.parent)
        database.replace(self.cache.database(plan.projection_id))
        sync(self.cache.root)
        return record

    def _put_record(self, record: ProjectionRecord, work: Path) -> None:
        write_record(record, work / "record.json")
        (work / "record.json").replace(self.cache.record_file(record.projection_id))


def _changes(plan: Plan, old: ProjectionRecord | None) -> tuple[Change, ...] | None:
    """What to change in the old file; None if it is better built from nothing."""
    if old is None or not has_same_tables(old.request, plan.request) or not plan.row_count:
        return None
    size_when_new = old.fresh_size * max(old.fresh_rows, plan.row_count) / max(old.fresh_rows, 1)
    if old.file_size > MOST_BLOAT * size_when_new + BLOAT_OF_SMALL_FILES:
        return None
    changes = tuple(Change.of(table, old.segments[table.table.name]) for table in plan.tables)
    kept = sum(change.kept_rows for change in changes)
    return changes if kept >= WORTH_CHANGING * plan.row_count else None


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

"""Build, find and open projections.

Nothing here is truth: every file can be deleted at any time and built again from artifacts.
"""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa

from quantlab_assets.adapters.duckdb_projection.connections import (
    ProjectionLimits,
    first_line,
    open_for_build,
    open_for_reading,
)
from quantlab_assets.adapters.duckdb_projection.identifiers import (
    RESERVED_DATABASES,
    check_identifier,
    column_type,
    quoted,
)
from quantlab_assets.adapters.duckdb_projection.record import (
    ProjectionRecord,
    normalised,
    read_record,
    write_record,
)
from quantlab_assets.adapters.file_lock import exclusive
from quantlab_assets.domain.artifact_types import ArtifactType, TypeRegistry
from quantlab_assets.domain.artifacts import Artifact
from quantlab_assets.domain.errors import (
    IntegrityError,
    NotFound,
    StoreUnavailable,
    ValidationFailed,
)
from quantlab_assets.ports.artifact_store import ArtifactFiles, ArtifactStore
from quantlab_assets.ports.projection_builder import (
    Projection,
    ProjectionRequest,
    ProjectionTable,
)

_FILE_COLUMN: Final = "quantlab_artifact_file"
_LINK_LIFETIME_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _TablePlan:
    """A table ready to be written: what it is called, of which type, from which artifacts."""

    table: ProjectionTable
    artifact_type: ArtifactType
    artifacts: tuple[Artifact, ...]

    @property
    def columns(self) -> tuple[pa.Field, ...]:
        keys = [pa.field(name, pa.string(), nullable=False) for name, _ in self.table.key_columns]
        return (*keys, *self.artifact_type.schema)

    @property
    def sort_columns(self) -> tuple[str, ...]:
        """Key columns, sort keys, then all else: a total order, so no accident decides a place."""
        names = [field.name for field in self.columns]
        keys = [name for name, _ in self.table.key_columns]
        return tuple(dict.fromkeys((*keys, *self.artifact_type.sort_keys, *names)))


class DuckdbProjections:
    """`ProjectionBuilder` over a folder: `<id>.duckdb`, and its request beside it in `<id>.json`.

    Work in progress is under `.building`, one locked folder a projection; what a killed build left
    there is removed by the next build.
    """

    def __init__(
        self,
        cache: Path,
        files: ArtifactFiles,
        store: ArtifactStore,
        types: TypeRegistry,
        limits: ProjectionLimits | None = None,
    ) -> None:
        self._cache = cache
        self._files = files
        self._store = store
        self._types = types
        self._limits = limits or ProjectionLimits()

    def build(self, request: ProjectionRequest) -> Projection:
        """Build, or return the one that exists with exactly this request.

        Raises `ValidationFailed` (a bad name, an artifact of another type), `NotFound`,
        `IntegrityError` (a damaged artifact), `StoreUnavailable` (no memory or disk left).
        """
        wanted = normalised(request)
        projection_id = self._checked_id(wanted)
        plans = self._plan(wanted)
        with self._building(projection_id) as work:
            held = read_record(self._record_path(projection_id))
            if (
                held is not None
                and held.request.tables == wanted.tables
                and held.describes(self._path(projection_id))
            ):
                return self._projection(held)
            return self._projection(self._write(wanted, plans, work))

    def rebuild(self, projection_id: str) -> Projection:
        """Build again from the stored request, also when the `.duckdb` file is gone.

        Raises `NotFound` if no request is stored, and what `build` raises.
        """
        check_identifier(projection_id, "projection")
        held = read_record(self._record_path(projection_id))
        if held is None:
            raise NotFound(f"projection {projection_id} has no stored request; build it anew")
        plans = self._plan(held.request)
        with self._building(projection_id) as work:
            return self._projection(self._write(held.request, plans, work))

    def dispose(self, projection_id: str) -> None:
        """Delete the file and its stored request. Readers that have it open keep it until they
        close."""
        check_identifier(projection_id, "projection")
        with self._building(projection_id):
            for path in (self._path(projection_id), self._record_path(projection_id)):
                path.unlink(missing_ok=True)

    def exists(self, projection_id: str) -> bool:
        """Whether it is built."""
        check_identifier(projection_id, "projection")
        return (
            self._path(projection_id).is_file()
            and read_record(self._record_path(projection_id)) is not None
        )

    def list(self) -> Sequence[Projection]:
        """All built projections, by id."""
        found = []
        for path in sorted(self._cache.glob("*.json")):
            record = read_record(path)
            if record is not None and record.request.projection_id == path.stem:
                found.append(record)
        return [
            self._projection(record)
            for record in found
            if self._path(str(record.request.projection_id)).is_file()
        ]

    def connect(
        self, projection_id: str, *, read_only: bool = True
    ) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """An open read-only connection to the projection as it is now, closed on leaving.

        Raises `NotFound`, and `ValidationFailed` for `read_only=False`.
        """
        check_identifier(projection_id, "projection")
        if not read_only:
            raise ValidationFailed(
                f"projection {projection_id}: projections are only read; publish artifacts and"
                " build a projection of them instead"
            )
        return self._reading(projection_id)

    def query(self, projection_id: str, sql: str) -> pl.DataFrame:
        """The result of a query over the projection as it is now.

        Intervals come as durations; months in them count 30 days, as in DuckDB's own `epoch`.
        Raises `NotFound`, `ValidationFailed` for SQL that DuckDB refuses, `StoreUnavailable` for a
        query that needs more memory than the limits allow.
        """
        with self.connect(projection_id) as connection:
            try:
                relation = connection.sql(sql)
                return pl.DataFrame() if relation is None else _frame(relation)
            except duckdb.OutOfMemoryException as error:
                raise StoreUnavailable(
                    f"the query needs more than {self._limits.memory} of memory: select less, or"
                    " raise the limits"
                ) from error
            except duckdb.Error as error:
                raise ValidationFailed(f"DuckDB refuses the query: {first_line(error)}") from error
            except pl.exceptions.PolarsError as error:
                raise ValidationFailed(
                    f"the result is no frame: {first_line(error)}; cast or rename its columns"
                ) from error

    @contextmanager
    def _reading(self, projection_id: str) -> Iterator[duckdb.DuckDBPyConnection]:
        path = self._path(projection_id)
        if not path.is_file():
            raise NotFound(f"projection {projection_id} is not built; build it first")
        connection = open_for_reading(path, links=self._cache / ".reading", limits=self._limits)
        try:
            yield connection
        finally:
            connection.close()

    def _path(self, projection_id: str) -> Path:
        return self._cache / f"{projection_id}.duckdb"

    def _record_path(self, projection_id: str) -> Path:
        return self._cache / f"{projection_id}.json"

    def _checked_id(self, request: ProjectionRequest) -> str:
        projection_id = check_identifier(str(request.projection_id), "projection")
        if projection_id in RESERVED_DATABASES:
            raise ValidationFailed(f"projection {projection_id!r}: the name is DuckDB's own")
        return projection_id

    def _plan(self, request: ProjectionRequest) -> tuple[_TablePlan, ...]:
        names = [check_identifier(table.name, "table") for table in request.tables]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValidationFailed(f"table {twice[0]!r} is asked for twice; name each table once")
        artifacts = {
            artifact.artifact_id: artifact
            for artifact in self._store.get_artifacts(
                sorted({i for table in request.tables for i in table.artifact_ids})
            )
        }
        return tuple(
            self._plan_table(table, tuple(artifacts[i] for i in table.artifact_ids))
            for table in request.tables
        )

    def _plan_table(self, table: ProjectionTable, artifacts: tuple[Artifact, ...]) -> _TablePlan:
        artifact_type = self._types.get(table.artifact_type)
        for artifact in artifacts:
            if artifact.artifact_type != table.artifact_type:
                raise ValidationFailed(
                    f"table {table.name}: artifact {artifact.artifact_id} is of type"
                    f" {artifact.artifact_type}, not {table.artifact_type}"
                )
            self._types.get(artifact.artifact_type, artifact.schema_version)
        plan = _TablePlan(table, artifact_type, artifacts)
        columns = [check_identifier(field.name, "column") for field in plan.columns]
        if len(set(columns)) < len(columns):
            raise ValidationFailed(
                f"table {table.name}: a key column has the name of a column of {artifact_type.name}"
            )
        known_fields = frozenset().union(*(template.fields for template in artifact_type.templates))
        for _, field in table.key_columns:
            if field not in known_fields:
                raise ValidationFailed(
                    f"table {table.name}: keys of {artifact_type.name} have no field {field[:80]!r}"
                )
        for index in table.indexes:
            for column in index:
                if column not in columns:
                    raise ValidationFailed(
                        f"table {table.name}: cannot index {column[:80]!r}, there is no such column"
                    )
            if not index:
                raise ValidationFailed(f"table {table.name}: an index needs a column")
        return plan

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
                if time.time() - link.stat().st_mtime > _LINK_LIFETIME_S:
                    shutil.rmtree(link, ignore_errors=True)
            except FileNotFoundError:
                continue

    def _write(
        self, request: ProjectionRequest, plans: Sequence[_TablePlan], work: Path
    ) -> ProjectionRecord:
        projection_id = str(request.projection_id)
        database = work / f"{projection_id}.duckdb"
        files = {
            plan.table.name: self._files.files(plan.table.artifact_ids, verify=request.verify)
            for plan in plans
        }
        try:
            connection = open_for_build(
                database,
                artifact_files=[file for group in files.values() for file in group],
                spill=work / "spill",
                limits=self._limits,
            )
            try:
                rows = {
                    plan.table.name: _write_table(connection, plan, files[plan.table.name])
                    for plan in plans
                }
            finally:
                connection.close()
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            raise StoreUnavailable(
                f"projection {projection_id} cannot be built: {first_line(error)};"
                " free disk space or raise the limits"
            ) from error
        except duckdb.Error as error:
            raise IntegrityError(
                f"projection {projection_id} cannot be built from its artifacts:"
                f" {first_line(error)}; verify them"
            ) from error
        database.chmod(0o444)
        written = database.stat()
        record = ProjectionRecord(
            request, rows, datetime.now(UTC), written.st_size, written.st_mtime_ns
        )
        write_record(record, work / "record.json")
        (work / "record.json").replace(self._record_path(projection_id))
        database.replace(self._path(projection_id))
        _sync_folder(self._cache)
        return record

    def _projection(self, record: ProjectionRecord) -> Projection:
        projection_id = str(record.request.projection_id)
        return Projection(
            projection_id=projection_id,
            path=self._path(projection_id),
            request=record.request,
            rows=dict(record.rows),
            built_at=record.built_at,
            stale=self._is_stale(record.request),
        )

    def _is_stale(self, request: ProjectionRequest) -> bool:
        ids = sorted({i for table in request.tables for i in table.artifact_ids})
        try:
            return any(artifact.status != "active" for artifact in self._store.get_artifacts(ids))
        except NotFound:
            return True


def _write_table(
    connection: duckdb.DuckDBPyConnection, plan: _TablePlan, files: Sequence[Path]
) -> int:
    """Create one table, fill it in its type's order, index it if asked; its number of rows."""
    table = quoted(plan.table.name, "table")
    columns = [
        f"{quoted(field.name, 'column')} {column_type(field)}"
        + ("" if field.nullable else " NOT NULL")
        for field in plan.columns
    ]
    connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})").fetchall()
    if files:
        _insert(connection, plan, table, files)
    for number, index in enumerate(plan.table.indexes, start=1):
        name = f'"ix_{plan.table.name}_{number}"'
        indexed = ", ".join(quoted(column, "column") for column in index)
        connection.execute(f"CREATE INDEX {name} ON {table} ({indexed})").fetchall()
    count = int(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])  # noqa: S608
    expected = sum(artifact.row_count for artifact in plan.artifacts)
    if count != expected:
        raise IntegrityError(
            f"table {plan.table.name}: its artifacts have {expected} rows, DuckDB read {count}"
        )
    return count


def _insert(
    connection: duckdb.DuckDBPyConnection, plan: _TablePlan, table: str, files: Sequence[Path]
) -> None:
    # Hive partitioning is off: a folder `chain=evm` above the lake must not become a column.
    options = "hive_partitioning = false, union_by_name = false"
    bound: list[list[str]] = [[str(file) for file in files]]
    if plan.table.key_columns:
        parsed = [plan.artifact_type.parse_key(a.logical_key) for a in plan.artifacts]
        bound += [[found[field] for found in parsed] for _, field in plan.table.key_columns]
        keys = ", ".join(
            f"unnest(${number}) AS {quoted(name, 'column')}"
            for number, (name, _) in enumerate(plan.table.key_columns, start=2)
        )
        source = (
            f"read_parquet($1, {options}, filename = '{_FILE_COLUMN}')"
            f" JOIN (SELECT unnest($1) AS {_FILE_COLUMN}, {keys}) USING ({_FILE_COLUMN})"
        )
    else:
        source = f"read_parquet($1, {options})"
    names = ", ".join(quoted(field.name, "column") for field in plan.columns)
    order = ", ".join(f"{quoted(name, 'column')} ASC NULLS FIRST" for name in plan.sort_columns)
    statement = f"INSERT INTO {table} SELECT {names} FROM {source} ORDER BY {order}"  # noqa: S608
    connection.execute(statement, bound).fetchall()


def _frame(relation: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    """The rows of a relation. Polars knows no interval of months, so intervals become durations."""
    intervals = [
        name
        for name, kind in zip(relation.columns, relation.types, strict=True)
        if kind == duckdb.type("INTERVAL")
    ]
    if intervals:
        quotable = {name: '"' + name.replace('"', '""') + '"' for name in intervals}
        exact = ", ".join(f"epoch_us({text}) AS {text}" for text in quotable.values())
        relation = relation.project(f"* REPLACE ({exact})")
    frame = pl.DataFrame(pl.from_arrow(relation.to_arrow_table()))
    return frame.with_columns(pl.col(intervals).cast(pl.Duration("us")))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""`ProjectionBuilder` in memory: tables are kept as Arrow, a connection is a fresh database.

It knows the tables of artifacts only: nothing of what the research layout adds.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from quantlab_assets.adapters.duckdb.identifiers import check_identifier
from quantlab_assets.adapters.duckdb.plan import choose
from quantlab_assets.adapters.duckdb.record import normalised, to_rebuild
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.errors import NotFound, ValidationFailed
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.projection_builder import (
    Projection,
    ProjectionRequest,
    ProjectionTable,
)


@dataclass(frozen=True)
class _Held:
    projection: Projection
    tables: dict[str, pa.Table]


class InMemoryProjections:
    def __init__(self, store: ArtifactStore, types: TypeRegistry | None = None) -> None:
        self._store = store
        self._types = types or TypeRegistry()
        self._held: dict[str, _Held] = {}

    def build(self, request: ProjectionRequest) -> Projection:
        if request.projection_id is not None:
            check_identifier(request.projection_id, "projection")
        for table in request.tables:
            check_identifier(table.name, "table")
        wanted = normalised(choose(request, self._store, self._types)[0])
        projection_id = str(wanted.projection_id)
        held = self._held.get(projection_id)
        if held is None or held.projection.request.tables != wanted.tables:
            self._held[projection_id] = self._make(wanted)
        return self._shown(projection_id)

    def rebuild(self, projection_id: str) -> Projection:
        check_identifier(projection_id, "projection")
        if projection_id not in self._held:
            raise NotFound(f"projection {projection_id} has no stored request")
        request = to_rebuild(self._held[projection_id].projection.request)
        chosen = normalised(choose(request, self._store, self._types)[0])
        self._held[projection_id] = self._make(chosen)
        return self._shown(projection_id)

    def dispose(self, projection_id: str) -> None:
        check_identifier(projection_id, "projection")
        self._held.pop(projection_id, None)

    def exists(self, projection_id: str) -> bool:
        check_identifier(projection_id, "projection")
        return projection_id in self._held

    def list(self) -> Sequence[Projection]:
        return [self._shown(projection_id) for projection_id in sorted(self._held)]

    def connect(self, projection_id: str, *, read_only: bool = True) -> AbstractContextManager[Any]:
        check_identifier(projection_id, "projection")
        if not read_only:
            raise ValidationFailed("projections are only read")
        return self._connection(projection_id)

    @contextmanager
    def _connection(self, projection_id: str) -> Iterator[Any]:
        if projection_id not in self._held:
            raise NotFound(f"projection {projection_id} is not built")
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        try:
            for name, table in self._held[projection_id].tables.items():
                connection.register("arrow_rows", table)
                connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM arrow_rows')
                connection.unregister("arrow_rows")
            yield connection
        finally:
            connection.close()

    def _make(self, request: ProjectionRequest) -> _Held:
        names = [check_identifier(table.name, "table") for table in request.tables]
        if len(set(names)) < len(names):
            raise ValidationFailed("a table is asked for twice")
        tables = {table.name: self._table(table, request.verify) for table in request.tables}
        projection = Projection(
            projection_id=str(request.projection_id),
            path=Path("in memory"),
            request=request,
            rows={name: table.num_rows for name, table in tables.items()},
            built_at=datetime.now(UTC),
        )
        return _Held(projection, tables)

    def _table(self, wanted: ProjectionTable, verify: bool) -> pa.Table:
        artifact_type = self._types.get(wanted.artifact_type)
        columns = [name for name, _ in wanted.key_columns]
        for name in (*columns, *(c for index in wanted.indexes for c in index)):
            check_identifier(name, "column")
        for index in wanted.indexes:
            if not set(index) <= {*columns, *artifact_type.schema.names}:
                raise ValidationFailed(f"table {wanted.name}: no such column to index")
        fields = frozenset().union(*(template.fields for template in artifact_type.templates))
        if not {field for _, field in wanted.key_columns} <= fields:
            raise ValidationFailed(f"table {wanted.name}: no such field in the key")
        parts = [self._rows(wanted, i, verify) for i in wanted.artifact_ids]
        schema = pa.schema([*(pa.field(c, pa.string()) for c in columns), *artifact_type.schema])
        rows = pl.DataFrame(pl.from_arrow(pa.concat_tables([schema.empty_table(), *parts])))
        order = dict.fromkeys((*columns, *artifact_type.sort_keys, *rows.columns))
        return rows.sort(list(order), nulls_last=False).to_arrow().cast(schema)

    def _rows(self, wanted: ProjectionTable, artifact_id: str, verify: bool) -> pa.Table:
        artifact = self._store.get_artifact(artifact_id)
        if artifact.artifact_type != wanted.artifact_type:
            raise ValidationFailed(f"artifact {artifact_id} is not of type {wanted.artifact_type}")
        artifact_type = self._types.get(artifact.artifact_type)
        table = self._store.open(artifact_id, verify=verify).to_table().cast(artifact_type.schema)
        if not wanted.key_columns:
            return table
        key = artifact_type.fields_from(artifact.schema_version, artifact.logical_key)
        front = {
            name: pa.array([key[field]] * table.num_rows, pa.string())
            for name, field in wanted.key_columns
        }
        columns = dict(zip(table.column_names, table.columns, strict=True))
        kept = [pa.field(name, pa.string()) for name in front]
        return pa.table({**front, **columns}, schema=pa.schema([*kept, *artifact_type.schema]))

    def _shown(self, projection_id: str) -> Projection:
        projection = self._held[projection_id].projection
        ids = [i for table in projection.request.tables for i in table.artifact_ids]
        stale = any(artifact.status != "active" for artifact in self._store.get_artifacts(ids))
        return replace(projection, stale=stale)

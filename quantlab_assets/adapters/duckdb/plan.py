"""What a projection is to hold: which artifacts, in which tables, in which order.

Asks the manifest only; no artifact is read and no file written. How the plan becomes a file is in
`build` and `tables`.

Rows stand in the order of their artifacts, and inside an artifact in its canonical order. A table
that can only be built anew has its artifacts by logical key: candles by token and window, alerts by
day. A table that grows cannot keep that order without being written anew for each artifact, so
those that came before the largest power of two stand by key, and the later ones behind them in the
order of arrival, by key where several came at once. What is added is appended, and the whole is put
in order once more whenever the lake has doubled. The rows of one token are thus in few places, and
zone maps find them.

The order follows from the manifest alone (when an artifact came never changes), so a table that
grew and one that is built anew are equal row for row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

import pyarrow as pa

from quantlab_assets.adapters.duckdb.content import research_sql as research
from quantlab_assets.adapters.duckdb.identifiers import (
    OWN_COLUMNS,
    check_identifier,
    check_projection_id,
    column_type,
    quoted,
)
from quantlab_assets.adapters.duckdb.record import (
    ProjectionRecord,
    Segments,
    has_same_tables,
    normalised,
)
from quantlab_assets.domain.artifacts.records import Artifact, ArtifactFilter
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.projection_builder import (
    ArtifactSelector,
    LakeRecords,
    ProjectionRequest,
    ProjectionTable,
)

SMALL: Final = 256
"""As many artifacts as are quicker written anew than laid out cleverly."""


@dataclass(frozen=True, slots=True)
class TablePlan:
    """A table ready to be written: what it is called, of which type, from which artifacts, in the
    order in which they stand.

    `stored_as` is where the rows are if a view has the table's name; `flag` names a last column,
    true in every new row, that the caller sets afterwards.
    """

    table: ProjectionTable
    artifact_type: ArtifactType
    artifacts: tuple[Artifact, ...]
    stored_as: str | None = None
    flag: str | None = None

    @property
    def columns(self) -> tuple[pa.Field, ...]:
        """The key columns, then the type's own."""
        keys = [pa.field(name, pa.string(), nullable=False) for name, _ in self.table.key_columns]
        return (*keys, *self.artifact_type.schema)

    @property
    def sql_name(self) -> str:
        """The table as it is called in statements."""
        return self.stored_as or quoted(self.table.name, "table")

    @property
    def segments(self) -> Segments:
        """What stands where."""
        return tuple((artifact.artifact_id, artifact.row_count) for artifact in self.artifacts)

    @property
    def row_count(self) -> int:
        """How many rows the manifest says it has."""
        return sum(artifact.row_count for artifact in self.artifacts)

    def checked(self) -> "TablePlan":
        """The plan itself. Raises `ValidationFailed` for columns that do not fit together."""
        name, kind = self.table.name, self.artifact_type.name
        columns = [check_identifier(field.name, "column") for field in self.columns]
        taken = sorted(OWN_COLUMNS.intersection(columns))
        if taken:
            raise ValidationFailed(
                f"table {name}: column {taken[0]!r} of {kind} has a name that DuckDB gives to rows"
                " and files itself; it cannot be projected"
            )
        if len(set(columns)) < len(columns):
            raise ValidationFailed(f"table {name}: a key column has the name of a column of {kind}")
        fields = frozenset[str]().union(*(form.fields for form in self.artifact_type.templates))
        for _, field in self.table.key_columns:
            if field not in fields:
                raise ValidationFailed(f"table {name}: keys of {kind} have no field {field[:80]!r}")
        for index in self.table.indexes:
            if not index:
                raise ValidationFailed(f"table {name}: an index needs a column")
            for column in index:
                if column not in columns:
                    raise ValidationFailed(
                        f"table {name}: cannot index {column[:80]!r}, there is no such column"
                    )
        for column_field in self.columns:
            column_type(column_field)
        return self


@dataclass(frozen=True, slots=True)
class Plan:
    """What a projection is to become: its request with all artifacts, and its tables.

    `state` is that of the lake's records when the artifacts were chosen; `stale` says that one of
    them is no longer active.
    """

    request: ProjectionRequest
    tables: tuple[TablePlan, ...]
    state: Mapping[str, str]
    stale: bool

    @property
    def projection_id(self) -> str:
        """The name of the projection: that of the request, or the one that its content gives."""
        return str(self.request.projection_id)

    @property
    def row_count(self) -> int:
        """How many rows the manifest says all tables have."""
        return sum(table.row_count for table in self.tables)

    @property
    def versions(self) -> Mapping[str, int]:
        """The schema version in which each table is."""
        return {table.table.name: table.artifact_type.schema_version for table in self.tables}

    def artifacts(self) -> Iterator[Artifact]:
        """The artifacts of all tables; one that is in two tables comes twice."""
        for table in self.tables:
            yield from table.artifacts

    def is_held_by(self, record: ProjectionRecord) -> bool:
        """Whether the file that the record describes holds just what is planned."""
        return (
            has_same_tables(record.request, self.request)
            and all(record.segments.get(t.table.name) == t.segments for t in self.tables)
            and (self.request.layout == "plain" or dict(record.state) == dict(self.state))
        )


class Planner:
    """Makes plans by what the manifest says now.

    Without `records` there is no research layout, and tables are laid out as if they never grew.
    """

    def __init__(
        self, store: ArtifactStore, types: TypeRegistry, records: LakeRecords | None
    ) -> None:
        self._store = store
        self._types = types
        self._records = records

    def state(self) -> Mapping[str, str]:
        """The state of the lake's records now; see `LakeRecords.state`."""
        return {} if self._records is None else self._records.state()

    def versions(self, request: ProjectionRequest) -> Mapping[str, int]:
        """The newest schema version of each table's type, unless the type is gone."""
        newest = {artifact_type.name: artifact_type.schema_version for artifact_type in self._types}
        return {
            table.name: newest[table.artifact_type]
            for table in request.tables
            if table.artifact_type in newest
        }

    def plan(self, request: ProjectionRequest) -> Plan:
        """The plan for a request. Raises `ValidationFailed` and `NotFound`."""
        state = self.state()
        check_names(request)
        if request.layout == "research":
            if self._records is None:
                raise ValidationFailed("the research layout needs the records of a lake")
            research.check_tables(request.tables)
        chosen, artifacts = choose(request, self._store, self._types)
        wanted = normalised(chosen)
        arrivals = None
        if self._records is not None and not wanted.is_named_by_content:
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
        return Plan(wanted, tables, state, stale)


def check_names(request: ProjectionRequest) -> None:
    """Raise `ValidationFailed` for names that are not allowed, and for a table named twice."""
    if request.projection_id is not None:
        check_projection_id(request.projection_id)
    names = [check_identifier(table.name, "table") for table in request.tables]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValidationFailed(f"table {twice[0]!r} is asked for twice; name each table once")


def in_order(artifacts: Sequence[Artifact], arrivals: Mapping[str, int] | None) -> list[Artifact]:
    """The artifacts as their rows stand in a table; by key only if `arrivals` are not given."""
    if arrivals is None or not artifacts:
        return sorted(artifacts, key=_key)
    come = max(arrivals[artifact.artifact_id] for artifact in artifacts) + 1
    settled = come if come <= SMALL else 1 << (come.bit_length() - 1)
    batches: dict[datetime, int] = {}
    for artifact in artifacts:
        arrival = arrivals[artifact.artifact_id]
        batches[artifact.created_at] = min(arrival, batches.get(artifact.created_at, arrival))

    def place(artifact: Artifact) -> tuple[int, tuple[str, str]]:
        if arrivals[artifact.artifact_id] < settled:
            return (-1, _key(artifact))
        return (batches[artifact.created_at], _key(artifact))

    return sorted(artifacts, key=place)


def choose(
    request: ProjectionRequest, store: ArtifactStore, types: TypeRegistry
) -> tuple[ProjectionRequest, dict[str, Artifact]]:
    """The request with the artifacts that its selectors match now, and all its artifacts by id.

    Raises `ValidationFailed` for no table at all, a table with both ids and a selector, artifacts
    of another type than their table's, or days of a type that has none; `NotFound` for ids and
    types that do not exist.
    """
    if not request.tables:
        raise ValidationFailed("a projection needs a table; name one with the type it holds")
    asked = sorted(
        {i for table in request.tables if table.selector is None for i in table.artifact_ids}
    )
    named = dict(zip(asked, store.get_artifacts(asked), strict=True))
    artifacts = {artifact.artifact_id: artifact for artifact in named.values()}
    tables = []
    for table in request.tables:
        artifact_type = types.get(table.artifact_type)
        if table.selector is None:
            chosen = [named[i] for i in table.artifact_ids]
        else:
            chosen = _matching(table, table.selector, artifact_type, store)
        for artifact in chosen:
            _check_type(table, artifact)
            artifacts[artifact.artifact_id] = artifact
        ids = tuple(sorted({artifact.artifact_id for artifact in chosen}))
        tables.append(replace(table, artifact_ids=ids))
    return replace(request, tables=tuple(tables)), artifacts


def _matching(
    table: ProjectionTable,
    selector: ArtifactSelector,
    artifact_type: ArtifactType,
    store: ArtifactStore,
) -> list[Artifact]:
    if table.artifact_ids:
        raise ValidationFailed(f"table {table.name}: give artifact ids or a selector, not both")
    matching = store.list_artifacts(
        ArtifactFilter(
            artifact_type=artifact_type.name,
            status=selector.status,
            tags=dict(selector.tags),
            key_prefix=selector.key_prefix,
        )
    ).artifacts
    if selector.first_day is None and selector.last_day is None:
        return list(matching)
    first, last = selector.first_day or date.min, selector.last_day or date.max
    has_day_key = any("day" in template.fields for template in artifact_type.templates)
    if artifact_type.time_column is None and not has_day_key:
        raise ValidationFailed(
            f"table {table.name}: artifacts of {artifact_type.name} have no day; leave the days out"
        )
    return [artifact for artifact in matching if _is_of(artifact, artifact_type, first, last)]


def _is_of(artifact: Artifact, artifact_type: ArtifactType, first: date, last: date) -> bool:
    day = artifact_type.fields_from(artifact.schema_version, artifact.logical_key).get("day")
    if day is not None:
        return first <= date.fromisoformat(day) <= last
    if artifact.min_ts is None or artifact.max_ts is None:
        return False
    return _day_of(artifact.min_ts) <= last and first <= _day_of(artifact.max_ts)


def _day_of(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _check_type(table: ProjectionTable, artifact: Artifact) -> None:
    if artifact.artifact_type != table.artifact_type:
        raise ValidationFailed(
            f"table {table.name}: artifact {artifact.artifact_id} is of type"
            f" {artifact.artifact_type}, not {table.artifact_type}"
        )


def _key(artifact: Artifact) -> tuple[str, str]:
    return (artifact.logical_key, artifact.artifact_id)

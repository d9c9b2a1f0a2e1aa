"""Writes the rows of one table: from nothing, or by changing as little as possible.

A table holds the rows of its artifacts one artifact after the other, in the order of its plan.

Names in its SQL are constants of this package, or come quoted from `identifiers`: hence S608.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import duckdb
import pyarrow as pa

from quantlab_assets.adapters.duckdb.connections import run
from quantlab_assets.adapters.duckdb.identifiers import (
    FILE_COLUMN,
    PLACE_COLUMN,
    ROW_COLUMN,
    column_type,
    quoted,
    text_literal,
)
from quantlab_assets.adapters.duckdb.plan import TablePlan
from quantlab_assets.adapters.duckdb.record import Segments
from quantlab_assets.domain.artifacts.records import Artifact
from quantlab_assets.domain.errors import IntegrityError, ValidationFailed

Files = Mapping[str, Path]
"""The file of each artifact, by id."""


@dataclass(frozen=True, slots=True)
class Change:
    """What to do to a table that stands as `old` so that it becomes its plan.

    The rows of `gone`, as (first row, number of rows), are deleted, the artifacts from `kept` on
    appended.
    """

    plan: TablePlan
    kept: int
    gone: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, plan: TablePlan, old: Segments) -> "Change":
        """The least change that leaves rows in the plan's order."""
        ids = [artifact.artifact_id for artifact in plan.artifacts]
        kept = kept_in_place([artifact_id for artifact_id, _ in old], ids)
        staying = set(ids[:kept])
        starts = [0, *accumulate(rows for _, rows in old)]
        gone = tuple(
            (start, stop - start)
            for (artifact_id, _), (start, stop) in zip(old, pairwise(starts), strict=True)
            if artifact_id not in staying and stop > start
        )
        return cls(plan, kept, gone)

    @property
    def new_artifacts(self) -> tuple[Artifact, ...]:
        """The artifacts to append."""
        return self.plan.artifacts[self.kept :]

    @property
    def kept_rows(self) -> int:
        """How many rows stay."""
        return sum(artifact.row_count for artifact in self.plan.artifacts[: self.kept])


def kept_in_place(old: Sequence[str], new: Sequence[str]) -> int:
    """How many of the first `new` artifacts can stay where they stand in `old`.

    The others, and those of `old` that are not among them, have to go; then the rest of `new` can
    be appended.
    """
    position = 0
    for kept, artifact_id in enumerate(new):
        while position < len(old) and old[position] != artifact_id:
            position += 1
        if position == len(old):
            return kept
        position += 1
    return len(new)


def create_table(connection: duckdb.DuckDBPyConnection, plan: TablePlan, files: Files) -> None:
    """Create one table, fill it, index it if asked. Raises `IntegrityError` for missing rows."""
    columns = [
        f"{quoted(field.name, 'column')} {column_type(field)}"
        + ("" if field.nullable else " NOT NULL")
        for field in plan.columns
    ]
    if plan.flag is not None:
        columns.append(f"{quoted(plan.flag, 'column')} BOOLEAN NOT NULL")
    run(connection, f"CREATE TABLE {plan.sql_name} ({', '.join(columns)})")
    _append(connection, plan, plan.artifacts, files)
    for number, index in enumerate(plan.table.indexes, start=1):
        name = quoted(f"ix_{number}_{plan.table.name}"[:63], "index")
        indexed = ", ".join(quoted(column, "column") for column in index)
        run(connection, f"CREATE INDEX {name} ON {plan.sql_name} ({indexed})")
    if plan.artifact_type.description:
        comment = text_literal(plan.artifact_type.description)
        run(connection, f"COMMENT ON TABLE {plan.sql_name} IS {comment}")
    _check_rows(connection, plan)


def change_table(
    connection: duckdb.DuckDBPyConnection, change: Change, files: Files, *, watch: str | None = None
) -> set[str]:
    """Bring one table up to date; the values that rows deleted or added have in column `watch`.

    Raises `IntegrityError` for missing rows.
    """
    name, touched = change.plan.sql_name, set[str]()

    def look(condition: str) -> None:
        if watch is not None:
            asked = f"SELECT DISTINCT {quoted(watch, 'column')} FROM {name} WHERE {condition}"  # noqa: S608
            touched.update(value for (value,) in connection.execute(asked).fetchall())

    if change.gone:
        # Places of rows, not their ids: DuckDB gives other ids to rows that moved.
        start = change.gone[0][0]
        read = connection.sql(f"SELECT rowid AS id FROM {name} OFFSET {start}").to_arrow_table()  # noqa: S608
        doomed = pa.concat_tables([read.slice(first - start, rows) for first, rows in change.gone])
        connection.register("quantlab_doomed", doomed)
        look("rowid IN (SELECT id FROM quantlab_doomed)")
        run(connection, f"DELETE FROM {name} WHERE rowid IN (SELECT id FROM quantlab_doomed)")  # noqa: S608
        connection.unregister("quantlab_doomed")
    if change.new_artifacts:
        newest = None
        if watch is not None:
            newest = connection.execute(f"SELECT max(rowid) FROM {name}").fetchall()[0][0]  # noqa: S608
        _append(connection, change.plan, change.new_artifacts, files)
        look(f"rowid > {-1 if newest is None else int(newest)}")
    _check_rows(connection, change.plan)
    return touched


def _append(
    connection: duckdb.DuckDBPyConnection,
    plan: TablePlan,
    artifacts: Sequence[Artifact],
    files: Files,
) -> None:
    if not artifacts:
        return
    names = ", ".join(quoted(field.name, "column") for field in plan.columns)
    flag = "" if plan.flag is None else ", true"
    # Hive partitioning is off: a folder `chain=evm` above the lake must not become a column.
    options = "hive_partitioning = false, union_by_name = false"
    bound: list[list[str]] = [[str(files[artifact.artifact_id]) for artifact in artifacts]]
    if plan.table.key_columns:
        bound += _key_fields(plan, artifacts)
        keys = ", ".join(
            f"unnest(${number}) AS {quoted(name, 'column')}"
            for number, (name, _) in enumerate(plan.table.key_columns, start=2)
        )
        source = (
            f"read_parquet($1, {options}, filename = '{FILE_COLUMN}',"
            f" {ROW_COLUMN} = true)"
            f" JOIN (SELECT unnest($1) AS {FILE_COLUMN}, {keys},"
            f" unnest(range(len($1))) AS {PLACE_COLUMN}) USING ({FILE_COLUMN})"
            f" ORDER BY {PLACE_COLUMN}, {ROW_COLUMN}"
        )
    else:
        # Files are read in the order of the list, and rows inserted in the order they are read.
        source = f"read_parquet($1, {options})"
    statement = f"INSERT INTO {plan.sql_name} SELECT {names}{flag} FROM {source}"  # noqa: S608
    connection.execute(statement, bound).fetchall()


def _key_fields(plan: TablePlan, artifacts: Sequence[Artifact]) -> list[list[str]]:
    """For each key column its value in each artifact. Raises `ValidationFailed` if one has none."""
    parsed = [
        plan.artifact_type.fields_from(artifact.schema_version, artifact.logical_key)
        for artifact in artifacts
    ]
    for _, field in plan.table.key_columns:
        for artifact, fields in zip(artifacts, parsed, strict=True):
            if field not in fields:
                raise ValidationFailed(
                    f"table {plan.table.name}: {artifact.artifact_id} of schema version"
                    f" {artifact.schema_version} has no {field!r} in its key"
                    f" {artifact.logical_key}, and its type's upgrade does not say one"
                )
    return [[fields[field] for fields in parsed] for _, field in plan.table.key_columns]


def _check_rows(connection: duckdb.DuckDBPyConnection, plan: TablePlan) -> None:
    count = connection.execute(f"SELECT count(*) FROM {plan.sql_name}").fetchall()[0][0]  # noqa: S608
    if count != plan.row_count:
        raise IntegrityError(
            f"table {plan.table.name}: its artifacts have {plan.row_count} rows,"
            f" DuckDB read {count}"
        )

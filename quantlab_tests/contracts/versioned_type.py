"""A type with three schema versions, between which everything changes that may change."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa

from quantlab_assets.domain.artifacts.type import ArtifactType, Upgrade

AT = pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False)
NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)

MARKS_1 = ArtifactType(
    name="marks",
    schema_version=1,
    schema=pa.schema(
        [AT, pa.field("who", pa.string(), nullable=False), pa.field("old", pa.int64())]
    ),
    sort_keys=("at", "who"),
    keys=("book={book}/day={day}",),
    time_column="at",
    key_fields={"book": "[a-z]{1,9}"},
)
MARKS_2 = ArtifactType(
    name="marks",
    schema_version=2,
    schema=pa.schema(
        [
            AT,
            pa.field("who", pa.string(), nullable=False),
            pa.field("old", pa.int64()),
            pa.field("handle", pa.string(), nullable=False),
            pa.field("note", pa.string()),
        ]
    ),
    sort_keys=("at", "who"),
    keys=MARKS_1.keys,
    time_column="at",
    key_fields=MARKS_1.key_fields,
    upgrade=Upgrade(MARKS_1, columns={"handle": pl.col("who").str.to_lowercase(), "note": None}),
)


def shelf_key(fields: Mapping[str, str]) -> str:
    """All books that begin with the same letter stand together."""
    return f"day={fields['day']}/shelf={fields['book'][0]}"


MARKS_3 = ArtifactType(
    name="marks",
    schema_version=3,
    schema=pa.schema(
        [
            pa.field("weight", pa.float64(), nullable=False),
            AT,
            pa.field("author", pa.string(), nullable=False),
            pa.field("handle", pa.string(), nullable=False),
            pa.field("note", pa.string()),
        ]
    ),
    sort_keys=("author",),
    keys=("day={day}/shelf={shelf}",),
    time_column="at",
    key_fields={"shelf": "[a-z]"},
    upgrade=Upgrade(
        MARKS_2,
        columns={"weight": pl.col("old").fill_null(0) / 2.0},
        renamed={"who": "author"},
        dropped=("old",),
        new_key=shelf_key,
    ),
)


def marks_1(rows: Sequence[tuple[int, str, int | None]]) -> pa.Table:
    """Rows of version 1: minutes after noon, who, and the old number."""
    return pa.Table.from_pylist(
        [
            {"at": NOON + timedelta(minutes=minute), "who": who, "old": old}
            for minute, who, old in rows
        ],
        schema=MARKS_1.schema,
    )


def marks_2(rows: Sequence[tuple[int, str, int | None]], note: str | None = None) -> pa.Table:
    """The same rows written as version 2."""
    table = marks_1(rows)
    handles = pa.array([str(who).lower() for who in table["who"].to_pylist()], pa.string())
    notes = pa.array([note] * table.num_rows, pa.string())
    return pa.table([*table.columns, handles, notes], schema=MARKS_2.schema)


def marks_3(rows: Sequence[tuple[int, str, int | None]], note: str | None = None) -> pa.Table:
    """The same rows written as version 3."""
    table = marks_2(rows, note)
    weights = pa.array([(old or 0) / 2.0 for old in table["old"].to_pylist()], pa.float64())
    columns = [weights, table["at"], table["who"], table["handle"], table["note"]]
    return pa.table(columns, schema=MARKS_3.schema)


ARTIFACT_TYPES = [MARKS_3]

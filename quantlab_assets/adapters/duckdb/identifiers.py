"""Names and column types as SQL text: the only text that ever becomes part of a statement."""

import re
from typing import Final

import pyarrow as pa

from quantlab_assets.domain.errors import ValidationFailed

IDENTIFIER: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)

RESERVED_NAMES: Final = frozenset(
    {
        *("system", "temp", "memory", "main", "information_schema", "pg_catalog"),
        *("stored", "experiments"),
    }
)
"""What no projection can be called: DuckDB's own catalogues and schemas, the schema of stored
candles, and the projection of the ledger."""

FILE_COLUMN: Final = "quantlab_artifact_file"
PLACE_COLUMN: Final = "quantlab_artifact_place"
ROW_COLUMN: Final = "file_row_number"
OWN_COLUMNS: Final = frozenset({"rowid", FILE_COLUMN, PLACE_COLUMN, ROW_COLUMN})
"""Names that no column of a table can have: DuckDB, or what fills a table, gives them to rows."""

_TYPES: Final = {
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.string(): "VARCHAR",
    pa.large_string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.large_binary(): "BLOB",
    pa.date32(): "DATE",
}


def check_identifier(name: str, what: str) -> str:
    """The name, if it is on the allow-list. Raises `ValidationFailed` saying what it names."""
    if not IDENTIFIER.fullmatch(name):
        raise ValidationFailed(
            f"{what} {name[:80]!r}: use 1 to 63 lower-case letters, digits and underscores,"
            " not a digit first"
        )
    return name


def check_projection_id(projection_id: str) -> str:
    """The id, if a projection can be called so. Raises `ValidationFailed`."""
    check_identifier(projection_id, "projection")
    if projection_id in RESERVED_NAMES:
        raise ValidationFailed(f"projection {projection_id!r}: the name is taken; choose another")
    return projection_id


def quoted(name: str, what: str) -> str:
    """An allow-listed name, quoted so that it is never a keyword. Raises `ValidationFailed`."""
    return f'"{check_identifier(name, what)}"'


def text_literal(text: str) -> str:
    """A text as a literal, for the few statements that take no bound value."""
    return "'" + text.replace("\x00", "").replace("'", "''") + "'"


def column_type(field: pa.Field) -> str:
    """The DuckDB type of a column. Raises `ValidationFailed` for a type that has no exact one."""
    if pa.types.is_timestamp(field.type) and field.type.unit == "us":
        return "TIMESTAMP" if field.type.tz is None else "TIMESTAMP WITH TIME ZONE"
    sql = _TYPES.get(field.type)
    if sql is None:
        raise ValidationFailed(f"column {field.name!r}: {field.type} cannot be projected exactly")
    return sql

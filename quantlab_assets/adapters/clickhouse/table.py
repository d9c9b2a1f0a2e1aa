"""What a table of candles looks like, and the queries that read it.

Names are identifiers from the table itself, quoted; every value is a parameter of the server.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from quantlab_assets.adapters.clickhouse.connection import Connection
from quantlab_assets.adapters.clickhouse.mapping import VARIABLE, TableMapping, quoted
from quantlab_assets.domain.candles.columns import NAMES, REQUIRED, by_header
from quantlab_assets.domain.candles.normalise import FIRST_US, PRICE_COLUMNS, TIMES_END_US
from quantlab_assets.domain.errors import NotFound, ValidationFailed

_WRAPPED: Final = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)")
_INTEGERS: Final = re.compile(r"U?Int(8|16|32|64)")
_FLOATS: Final = re.compile(r"B?Float(16|32|64)")
_TIMES: Final = re.compile(r"DateTime(64)?(\(.*\))?|Date(32)?")
_DECIMALS: Final = re.compile(r"Decimal(32|64|128|256)?\(.*\)")
_TEXTS: Final = re.compile(r"String|FixedString\(\d+\)|Enum(8|16)?\(.*\)")
_TEXT: Final = re.compile("String")
_REPLACING: Final = re.compile(
    r".*(Replacing|Collapsing|Summing|Aggregating|Coalescing|Graphite)MergeTree"
)


@dataclass(frozen=True, slots=True)
class Span:
    """The times `[start_us, end_us)` to read of an address, UTC microseconds."""

    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class CandleTableShape:
    """A table that can be read: its columns by role and their types without wrappings."""

    mapping: TableMapping
    columns: Mapping[str, str]
    types: Mapping[str, str]
    address_type: str
    final: bool

    @property
    def says_interval(self) -> bool:
        """Whether rows state their interval; else the times of a whole token tell it."""
        return "interval" in self.columns

    @property
    def has_network(self) -> bool:
        """Whether rows may state the network of their address."""
        return "network" in self.columns

    @property
    def times_are_typed(self) -> bool:
        """Whether times are of a time type; else they are numbers since 1970."""
        return bool(_TIMES.fullmatch(self.types["time"]))

    def tokens_query(self) -> str:
        """Each address and network as written (empty for none), with its rows and the times between
        which they are: address, network, rows, first_us, last_us. Times outside 2009 to 2099 do not
        count."""
        time = self._microseconds()
        good = f"({time} >= {FIRST_US} AND {time} < {TIMES_END_US})"
        address, network = self._text("address"), self._text("network")
        selected = [
            f"{address} AS address, {network} AS network, toInt64(count()) AS rows",
            f"minIf({time}, {good}) AS first_us, maxIf({time}, {good}) AS last_us",
        ]
        source = f"{self._from()} GROUP BY address, network"
        return f"SELECT {', '.join(selected)} FROM {source}"  # noqa: S608

    def rows_query(self, *, within: bool) -> str:
        """The rows of the addresses in the parameters; `within` only those inside their spans, and
        those whose time is none. Address and network are numbers: their places in the parameters.
        """
        selected = [
            f"transform({self._address()}, {{addresses:Array(String)}}, {{places:Array(Int32)}},"
            " toInt32(-1)) AS address",
            f"transform({self._network()}, {{networks:Array(String)}}, {{numbers:Array(Int32)}},"
            " toInt32(-1)) AS network",
            f"{self._interval()} AS interval",
            f"{self._time()} AS time",
            *(f"{self._number(column)} AS {column}" for column in (*PRICE_COLUMNS, "volume")),
        ]
        where = f"{self._address()} IN {{addresses:Array(String)}}"
        if within:
            where += f" AND ({self._inside()})"
        return f"SELECT {', '.join(selected)} FROM {self._from()} WHERE {where}"  # noqa: S608

    def parameters(
        self, addresses: Sequence[str], networks: Sequence[str], spans: Sequence[Span] | None
    ) -> dict[str, Any]:
        """The values of `rows_query`; `spans` are those of the addresses, one each."""
        values: dict[str, Any] = {
            "addresses": list(addresses),
            "places": list(range(len(addresses))),
            "networks": list(networks),
            "numbers": list(range(len(networks))),
        }
        if spans is not None:
            values |= {
                "starts": [span.start_us for span in spans],
                "ends": [span.end_us for span in spans],
                "first": min(span.start_us for span in spans),
                "last": max(span.end_us for span in spans),
            }
        return values

    def _inside(self) -> str:
        time = self._microseconds()
        by_address = f"transform({self._address()}, {{addresses:Array(String)}}"
        exact = (
            f"{time} >= {by_address}, {{starts:Array(Int64)}}, toInt64(0))"
            f" AND {time} < {by_address}, {{ends:Array(Int64)}}, toInt64(0))"
        )
        if self.times_are_typed:
            column = self._column("time")
            edges = [f"fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')" for name in _EDGES]
            # The sorting key of the table can use this one.
            exact = f"{column} >= {edges[0]} AND {column} < {edges[1]} AND {exact}"
        return f"({exact}) OR {time} IS NULL OR {time} < {FIRST_US} OR {time} >= {TIMES_END_US}"

    def _from(self) -> str:
        return self.mapping.quoted + (" FINAL" if self.final else "")

    def _column(self, role: str) -> str:
        return quoted(self.columns[role])

    def _text(self, role: str) -> str:
        if role not in self.columns:
            return "''"
        return f"toValidUTF8(ifNull(toString({self._column(role)}), ''))"

    def _network(self) -> str:
        return f"ifNull(toString({self._column('network')}), '')" if self.has_network else "''"

    def _interval(self) -> str:
        """Seconds where they are numbers, text like `5m` where they are text."""
        if not self.says_interval:
            return "CAST(NULL, 'Nullable(Int64)')"
        number = _INTEGERS.fullmatch(self.types["interval"])
        return f"{'toInt64' if number else 'toString'}({self._column('interval')})"

    def _address(self) -> str:
        """As the sorting key of the table has it, where it can be compared with text."""
        column = self._column("address")
        plain = self.address_type in ("String", "LowCardinality(String)")
        return column if plain else f"ifNull(toString({column}), '')"

    def _number(self, role: str) -> str:
        """Floats as they are; decimals as text, so that they are rounded once, as those of files
        are."""
        if role not in self.columns:
            return "CAST(NULL, 'Nullable(Float64)')"
        kind = self.types[role]
        exact = _DECIMALS.fullmatch(kind) or kind == "String"
        return f"{'toString' if exact else 'toFloat64'}({self._column(role)})"

    def _time(self) -> str:
        if self.times_are_typed:
            return self._microseconds()
        return (
            f"toFloat64({self._column('time')})"
            if _FLOATS.fullmatch(self.types["time"])
            else f"toInt64({self._column('time')})"
        )

    def _microseconds(self) -> str:
        """The time in UTC microseconds, by the same sizes as in files."""
        if self.times_are_typed:
            return f"toUnixTimestamp64Micro(toDateTime64({self._column('time')}, 6, 'UTC'))"
        number = self._time()
        return (
            f"toInt64(multiIf(abs({number}) < 1e11, {number} * 1000000,"
            f" abs({number}) < 1e14, {number} * 1000, abs({number}) < 1e17, {number},"
            f" {number} / 1000))"
        )


_EDGES: Final = ("first", "last")


def describe(connection: Connection, mapping: TableMapping) -> CandleTableShape:
    """Look at the table. Raises `NotFound` if it is not there, `ValidationFailed` for a column that
    is missing or of a type that cannot be a candle's, and what `Connection.read` raises."""
    column_types = table_columns(connection, mapping)
    if not column_types:
        raise NotFound(
            f"ClickHouse {connection.where} has no table {mapping.name} that the user may see; name"
            f" yours in {VARIABLE}, or make it with: quantlab ingest candles PATH..."
        )
    names = list(column_types)
    by_role = by_header(names) or _partly(names)
    columns = {role: names[index] for role, index in by_role.items()} | dict(mapping.columns)
    for role in ("address", *REQUIRED):
        if role not in columns:
            raise ValidationFailed(
                f"ClickHouse {mapping.name}: no column for {role} among {', '.join(names)[:200]};"
                f" say which in {VARIABLE}"
            )
    for column in columns.values():
        if column not in column_types:
            raise ValidationFailed(
                f"ClickHouse {mapping.name} has no column {column}, which {VARIABLE} names"
            )
    types = {role: unwrapped(column_types[column]) for role, column in columns.items()}
    for role, kind in types.items():
        _check_type(mapping, role, columns[role], kind)
    final = _needs_final(connection, mapping, columns) if mapping.final is None else mapping.final
    return CandleTableShape(mapping, columns, types, column_types[columns["address"]], final)


def table_columns(connection: Connection, mapping: TableMapping) -> dict[str, str]:
    """The types of a table's columns by name; empty if there is no such table."""
    answer = connection.read(_COLUMNS_QUERY, _names(mapping))
    return dict(zip(_texts(answer, "name"), _texts(answer, "type"), strict=True))


def unwrapped(kind: str) -> str:
    """A type without `Nullable(...)` and `LowCardinality(...)`."""
    while inner := _WRAPPED.fullmatch(kind):
        kind = inner[1]
    return kind


_COLUMNS_QUERY: Final = (
    "SELECT toString(name) AS name, toString(type) AS type FROM system.columns WHERE database ="
    " if({database:String} = '', currentDatabase(), {database:String})"
    " AND table = {table:String} ORDER BY position"
)
_ENGINE_QUERY: Final = (
    "SELECT toString(engine) AS engine, toString(sorting_key) AS sorting_key FROM system.tables"
    " WHERE database = if({database:String} = '', currentDatabase(), {database:String})"
    " AND name = {table:String}"
)


def _names(mapping: TableMapping) -> dict[str, str]:
    return {"database": mapping.database or "", "table": mapping.table}


def _texts(table: pa.Table, column: str) -> list[str]:
    return [str(text) for text in table.column(column).to_pylist()]


def _partly(names: Sequence[str]) -> dict[str, int]:
    """The roles that names tell although they do not tell all that a candle needs."""
    known = {name.lower(): index for index, name in reversed(list(enumerate(names)))}
    return {
        role: known[column]
        for role, words in NAMES.items()
        if (column := next((word for word in words if word in known), None))
    }


def _check_type(mapping: TableMapping, role: str, column: str, kind: str) -> None:
    allowed: dict[str, tuple[Sequence[re.Pattern[str]], str]] = {
        "time": (
            (_TIMES, _INTEGERS, _FLOATS),
            "DateTime, DateTime64, Date or a number since 1970",
        ),
        "address": ((_TEXTS,), "String"),
        "network": ((_TEXTS,), "String"),
        "interval": ((_TEXTS, _INTEGERS), "a whole number of seconds, or String"),
    }
    patterns, what = allowed.get(
        role, ((_FLOATS, _DECIMALS, _INTEGERS, _TEXT), "Float64, Decimal, or another number")
    )
    if not any(pattern.fullmatch(kind) for pattern in patterns):
        raise ValidationFailed(
            f"ClickHouse {mapping.name}: column {column} is {kind}, and {role} must be {what}; name"
            f" another in {VARIABLE}, or make a view that converts it"
        )


def _needs_final(connection: Connection, mapping: TableMapping, columns: Mapping[str, str]) -> bool:
    """Whether the engine merges rows in its own time, so that without FINAL the answer would depend
    on what it has merged. Not where only rows that are equal in all that counts are merged: they
    collapse by the rules for candles anyway."""
    answer = connection.read(_ENGINE_QUERY, _names(mapping))
    for engine, key in zip(_texts(answer, "engine"), _texts(answer, "sorting_key"), strict=True):
        if _REPLACING.fullmatch(engine):
            sorted_by = {part.strip(" `") for part in key.split(",")}
            return "Replacing" not in engine or not set(columns.values()) <= sorted_by
    return False

"""Candles of files into a table: it is made if it is missing, and no candle comes twice."""

from datetime import timedelta
from typing import Final

import polars as pl

from quantlab_assets.adapters.clickhouse.candles import ClickHouseCandles
from quantlab_assets.adapters.clickhouse.connection import Connection
from quantlab_assets.adapters.clickhouse.mapping import VARIABLE, TableMapping, quoted
from quantlab_assets.adapters.clickhouse.table import table_columns, unwrapped
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.candles.normalise import PRICE_COLUMNS, TOKEN_COLUMNS
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.ports.candle_intake import GivenFile, Inserted, Placed
from quantlab_assets.ports.candle_source import CandleWindow

BATCH_ROWS: Final = 500_000

_NAMES: Final = {
    "address": "token_address",
    "network": "token_chain",
    "interval": "interval_s",
    "time": "ts",
    **{column: column for column in (*PRICE_COLUMNS, "volume")},
}
"""Roles by the columns of normalised candles, which a new table gets too."""

_AT: Final = (*TOKEN_COLUMNS, "interval_s", "ts")

_TYPES: Final = {
    "address": "String",
    "network": "LowCardinality(String)",
    "interval": "UInt32",
    "time": "DateTime('UTC')",
    **dict.fromkeys(PRICE_COLUMNS, "Float64"),
    "volume": "Nullable(Float64)",
}


class CandleInserter:
    """Adds the candles of files to a table; implements `CandleTarget`. `dry_run` only counts.

    A table of one's own must state intervals and networks and have the types that the lab would
    give it (or others that hold the same values): else the candles could not be told from others.
    """

    def __init__(
        self, connection: Connection, mapping: TableMapping, *, dry_run: bool = False
    ) -> None:
        self._connection = connection
        self._mapping = mapping
        self._dry_run = dry_run
        self._waiting: list[pl.DataFrame] = []
        self._rows = 0
        self._done = Inserted()
        self._columns: dict[str, str] = {}
        self._types: dict[str, str] = {}

    def open(self) -> None:
        """Make the table if it is missing. Raises `ValidationFailed` for one that cannot take
        candles, and what `Connection.read` raises."""
        types = table_columns(self._connection, self._mapping)
        self._columns = {role: self._mapping.columns.get(role, _NAMES[role]) for role in _NAMES}
        if not types:
            self._types = dict(_TYPES)
            if not self._dry_run:
                self._connection.command(self._statement())
            return
        for role, column in self._columns.items():
            if column not in types:
                raise ValidationFailed(
                    f"ClickHouse {self._mapping.name} has no column {column} for {role}: candles"
                    f" can only be put into a table that has all of {', '.join(_NAMES)}; name them"
                    f" in {VARIABLE}"
                )
            self._types[role] = types[column]
            _check(self._mapping, role, column, types[column])

    def put(self, given: GivenFile) -> Placed:
        """See `CandleTarget`: its candles go in; they may wait for more until `finish`."""
        if given.candles is None:
            return Placed("left_out")
        self._waiting.append(given.candles.select(OHLCV_SLICE.schema.names))
        self._rows += given.candles.height
        if self._rows >= BATCH_ROWS:
            self._insert()
        return Placed("new")

    def finish(self) -> Inserted:
        """See `CandleTarget`."""
        self._insert()
        return self._done

    def _insert(self) -> None:
        if not self._rows:
            return
        given = pl.concat(self._waiting)
        self._waiting, self._rows = [], 0
        order = [*_AT, *PRICE_COLUMNS, "volume"]
        candles = given.unique().sort(order)
        stored = self._there(candles)
        new = candles.join(stored, on=candles.columns, how="anti", nulls_equal=True)
        best = (
            pl.concat([candles, stored]).group_by(_AT).agg(pl.col("volume").max().alias("largest"))
        )
        # What loses against another candle of its time adds nothing.
        new = (
            new.join(best, on=_AT, nulls_equal=True)
            .filter(pl.col("volume").eq_missing(pl.col("largest")))
            .sort(order)
        )
        if new.height and not self._dry_run:
            fields = [self._field(role) for role in _NAMES]
            self._connection.insert(
                self._mapping.quoted, new.select(fields).to_arrow(compat_level=_OLDEST)
            )
        self._done = Inserted(
            self._done.new + new.height, self._done.there + given.height - new.height
        )

    def _there(self, candles: pl.DataFrame) -> pl.DataFrame:
        """What the table has of the tokens at these times."""
        table = ClickHouseCandles(self._connection, self._mapping)
        if self._dry_run and not table_columns(self._connection, self._mapping):
            return candles.clear()
        spans = (
            candles.group_by("chain", "token_address")
            .agg(pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last"))
            .sort("chain", "token_address")
        )
        wanted = [
            CandleWindow(chain, address, first, last + timedelta(seconds=1))
            for chain, address, first, last in spans.iter_rows()
        ]
        stored = [
            pl.DataFrame(series.table)
            for answer in table.windows(wanted)
            for series in answer.candles
        ]
        return pl.concat([candles.clear(), *stored])

    def _field(self, role: str) -> pl.Expr:
        """A column as the table's type takes it: times as seconds, what is unknown as null where
        there is null, else as nothing (text) or NaN."""
        value = pl.col(_NAMES[role])
        kind = self._types[role]
        nullable = "Nullable(" in kind
        if role == "time" and not unwrapped(kind).startswith("DateTime64"):
            value = value.dt.epoch("s").cast(pl.UInt32)
        elif role == "interval":
            text = unwrapped(kind) == "String"
            value = value.cast(pl.String) if text else value
        elif role == "network" and not nullable:
            value = value.fill_null("")
        elif role == "volume" and not nullable:
            value = value.fill_null(float("nan"))
        return value.alias(self._columns[role])

    def _statement(self) -> str:
        """Rows that are equal in everything merge; which of others counts, is for the rules."""
        names = {role: quoted(column) for role, column in self._columns.items()}
        columns = ", ".join(f"{name} {_TYPES[role]}" for role, name in names.items())
        key = [names[role] for role in ("address", "network", "interval", "time")]
        rest = [names[role] for role in (*PRICE_COLUMNS, "volume")]
        return (
            f"CREATE TABLE IF NOT EXISTS {self._mapping.quoted} ({columns})"
            f" ENGINE = ReplacingMergeTree PRIMARY KEY ({', '.join(key)})"
            f" ORDER BY ({', '.join([*key, *rest])}) SETTINGS allow_nullable_key = 1"
        )


_OLDEST: Final = pl.CompatLevel.oldest()


def _check(mapping: TableMapping, role: str, column: str, kind: str) -> None:
    plain = unwrapped(kind)
    fits = {
        "address": plain == "String",
        "network": plain == "String",
        "interval": plain in ("String", "UInt32", "UInt64", "Int32", "Int64"),
        "time": plain.startswith("DateTime"),
    }.get(role, plain == "Float64")
    if not fits:
        raise ValidationFailed(
            f"ClickHouse {mapping.name}: column {column} is {kind}; candles can only be put where"
            f" {role} is {_TYPES[role]}"
        )

"""The real ClickHouse engine in this process: one for all tests, a database for each."""

import atexit
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from itertools import count
from pathlib import Path

import chdb
import polars as pl
import pyarrow as pa

from quantlab_assets.adapters.clickhouse import Connection

_numbers = count(1)


@cache
def engine_path() -> Path:
    """The engine's folder. It allows one in a process, and is gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="quantlab-chdb-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # While somebody has it open it stays up: to start it takes half a second.
    keeper = chdb.connect(str(folder))
    atexit.register(keeper.close)
    return folder


def new_database() -> str:
    """The name of a new, empty database."""
    name = f"test_{next(_numbers)}"
    connection = Connection(f"chdb://{engine_path()}")
    connection.command(f"CREATE DATABASE {name}")
    connection.close()
    return name


def embedded(database: str) -> str:
    """The DSN of a database in this process."""
    return f"chdb://{engine_path()}?database={database}"


COLUMNS = {
    "token_address": "LowCardinality(String)",
    "token_chain": "LowCardinality(Nullable(String))",
    "interval_s": "UInt32",
    "ts": "DateTime",
    "open": "Float64",
    "high": "Float64",
    "low": "Float64",
    "close": "Float64",
    "volume": "Nullable(Float64)",
}
"""Columns of a table of candles, and types that many have."""


def make_table(
    connection: Connection,
    name: str = "candles",
    engine: str = "MergeTree ORDER BY (token_address, ts)",
    *,
    without: Iterable[str] = (),
    **types: str,
) -> None:
    """Make a table of candles; `types` of columns that differ from `COLUMNS`, or are more."""
    columns = {column: kind for column, kind in COLUMNS.items() if column not in set(without)}
    body = ", ".join(f"{column} {kind}" for column, kind in (columns | types).items())
    connection.command(f"CREATE TABLE {name} ({body}) ENGINE = {engine}")


def put(connection: Connection, rows: pl.DataFrame, name: str = "candles") -> None:
    """Insert rows; times in seconds."""
    table = (
        rows.drop("chain", strict=False)
        .select(
            pl.col(column).dt.epoch("s").cast(pl.UInt32) if dtype == pl.Datetime else pl.col(column)
            for column, dtype in rows.schema.items()
            if column != "chain"
        )
        .to_arrow()
    )
    texts = [
        pa.field(one.name, pa.string() if pa.types.is_large_string(one.type) else one.type)
        for one in table.schema
    ]
    if table.num_rows:
        connection.insert(name, table.cast(pa.schema(texts)))

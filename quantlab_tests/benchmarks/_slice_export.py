"""Exporting slices from files and from ClickHouse, and the least that such work can be."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.adapters.candle_folder import CandleFolder
from quantlab_assets.adapters.clickhouse import ClickHouseCandles, Connection, TableMapping
from quantlab_assets.defs.data.background_publisher import BackgroundPublisher
from quantlab_assets.domain.artifacts.records import PartitionRef, Provenance
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.seed_types import ALERTS, OHLCV_SLICE
from quantlab_assets.handlers.publish_partition import finish_partition
from quantlab_assets.handlers.slices.export import DEFAULT_WINDOW, PLAN_COLUMNS, slices_of_day
from quantlab_assets.ports.candle_source import CandleSource
from quantlab_tests.benchmarks._markets import START, minute_candles, token_names

TOKENS_A_DAY: Final = 100
WRITER: Final = Provenance(writer_name="benchmark", writer_version="1")


class Bazaar:
    """Tokens with candles from their day's first hours on, called once each, 100 a day."""

    def __init__(self, folder: Path, tokens: int, rows: int) -> None:
        self.folder = folder
        self.names = token_names(tokens)
        self._minutes = rows
        self.files = folder / "files"
        self.files.mkdir()
        for number, name in enumerate(self.names):
            self._candles(number).select(
                pl.col("ts").dt.epoch("s").alias("timestamp"),
                "open",
                "high",
                "low",
                "close",
                "volume",
            ).write_csv(self.files / f"solana_{name}.csv")

    @property
    def rows(self) -> int:
        """Candles of all tokens."""
        return self._minutes * len(self.names)

    def days(self) -> Iterator[tuple[date, pl.DataFrame]]:
        """Each day with its calls."""
        for first in range(0, len(self.names), TOKENS_A_DAY):
            names = self.names[first : first + TOKENS_A_DAY]
            at = START + timedelta(days=first // TOKENS_A_DAY, seconds=DEFAULT_WINDOW.pre_s)
            calls = {
                "chain": ["solana"] * len(names),
                "mint": names,
                "token_chain": ["solana"] * len(names),
                "alert_ts_utc": [at] * len(names),
            }
            schema = pl.DataFrame(ALERTS.empty()).select(PLAN_COLUMNS).schema
            yield at.date(), pl.DataFrame(calls).select(PLAN_COLUMNS).cast(schema)  # type: ignore[arg-type]

    def put_into(self, connection: Connection) -> None:
        """All candles as a table."""
        connection.command(
            "CREATE TABLE candles (token_address String, token_chain LowCardinality(String), "
            "interval_s UInt32, ts DateTime('UTC'), open Float64, high Float64, low Float64, "
            "close Float64, volume Nullable(Float64)) "
            "ENGINE = MergeTree ORDER BY (token_address, token_chain, interval_s, ts)"
        )
        for first in range(0, len(self.names), TOKENS_A_DAY):
            frames = [
                self._candles(number)
                for number in range(first, min(first + TOKENS_A_DAY, len(self.names)))
            ]
            rows = pl.concat(frames).drop("chain")
            rows = rows.with_columns(
                pl.col("ts").dt.epoch("s").cast(pl.UInt32), pl.col("interval_s").cast(pl.UInt32)
            )
            connection.insert("candles", rows.to_arrow(compat_level=pl.CompatLevel.oldest()))

    def _candles(self, number: int) -> pl.DataFrame:
        """Exactly `rows` candles: more minutes are drawn, since some are missing."""
        day = timedelta(days=number // TOKENS_A_DAY)
        drawn = minute_candles(self.names[number], self._minutes * 11 // 10 + 50, number)
        return drawn[: self._minutes].with_columns(pl.col("ts") + day)


def export(bazaar: Bazaar, source: CandleSource) -> int:
    """Slices of all days, planned, read, graded and published durably; how many there are."""
    root = bazaar.folder / f"lake-{uuid.uuid4().hex}"
    store = ParquetStore.at(
        artifacts_root=root / "artifacts",
        manifest=root / "manifest" / "manifest.sqlite",
        staging=root / "staging",
        types=TypeRegistry(),
        create=True,
    )
    published = 0
    with BackgroundPublisher(store) as publisher:
        futures = []
        for day, calls in bazaar.days():
            output = slices_of_day(day, calls, source)
            ref = PartitionRef("ohlcv_slices", day.isoformat())
            finished = finish_partition(store, ref, output, inputs=tuple, provenance=WRITER)
            futures.append(publisher.put(finished))
            while futures and (publisher.is_full or futures[0].done()):
                published += len(futures.pop(0).result().results)
        published += sum(len(future.result().results) for future in futures)
    shutil.rmtree(root)
    return published


def from_files(bazaar: Bazaar, index: Path | None = None) -> int:
    """Export from the folder; its files are parsed first unless an index knows them."""
    if index is not None:
        return export(bazaar, CandleFolder(bazaar.files, index))
    with tempfile.TemporaryDirectory(dir=bazaar.folder) as fresh:
        return export(bazaar, CandleFolder(bazaar.files, Path(fresh)))


def from_clickhouse(bazaar: Bazaar, connection: Connection) -> int:
    """Export from the table."""
    return export(bazaar, ClickHouseCandles(connection, TableMapping()))


def scan_files(bazaar: Bazaar) -> Iterator[pa.Table]:
    """The rows of the files as they are, with the columns of a slice."""
    shape = pl.DataFrame(OHLCV_SLICE.empty())
    for name in bazaar.names:
        rows = pl.read_csv(bazaar.files / f"solana_{name}.csv")
        yield (
            rows.with_columns(
                pl.lit(name).alias("token_address"),
                pl.lit("solana").alias("chain"),
                pl.lit("solana").alias("token_chain"),
                pl.lit(60, dtype=pl.Int64).alias("interval_s"),
                pl.from_epoch("timestamp", "s").dt.replace_time_zone("UTC").alias("ts"),
            )
            .select(shape.columns)
            .cast(shape.schema)  # type: ignore[arg-type]
            .to_arrow()
            .cast(OHLCV_SLICE.schema)
        )


def scan_clickhouse(bazaar: Bazaar, connection: Connection) -> Iterator[pa.Table]:
    """The rows of the table as they are, a day's tokens in one query."""
    columns = ", ".join(name for name in OHLCV_SLICE.schema.names if name != "chain")
    for first in range(0, len(bazaar.names), TOKENS_A_DAY):
        names = bazaar.names[first : first + TOKENS_A_DAY]
        rows = pl.DataFrame(
            connection.read(
                f"SELECT {columns} FROM candles WHERE token_address IN {{names:Array(String)}} "
                "ORDER BY token_address, ts",
                {"names": names},
            )
        )
        shape = pl.DataFrame(OHLCV_SLICE.empty())
        whole = rows.with_columns(
            pl.lit("solana").alias("chain"),
            (pl.col("ts").cast(pl.Int64) * 1_000_000).cast(pl.Datetime("us", "UTC")).alias("ts"),
        )
        for part in (
            whole.select(shape.columns)
            .cast(shape.schema)
            .partition_by(  # type: ignore[arg-type]
                "token_address", maintain_order=True
            )
        ):
            yield part.to_arrow().cast(OHLCV_SLICE.schema)


def write_bare(bazaar: Bazaar, tables: Callable[[], Iterator[pa.Table]], *, sync: bool) -> int:
    """A Parquet file a slice, compressed as artifacts are; how many."""
    with tempfile.TemporaryDirectory(dir=bazaar.folder) as into:
        count = 0
        for table in tables():
            path = Path(into) / f"{count}.parquet"
            pq.write_table(table, path, compression="zstd")
            if sync:
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            count += 1
    return count


@contextmanager
def embedded_clickhouse(folder: Path) -> Iterator[Connection]:
    """The engine in this process."""
    import chdb

    keeper = chdb.connect(str(folder))
    connection = Connection(f"chdb://{folder}")
    try:
        yield connection
    finally:
        connection.close()
        keeper.close()

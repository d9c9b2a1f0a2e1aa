"""What every candle source promises, whatever it reads from."""

import atexit
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from quantlab_assets.adapters.candle_folder import CandleFolder
from quantlab_assets.adapters.clickhouse import ClickHouseCandles, Connection, TableMapping
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.tokens.token import Token
from quantlab_assets.ports.candle_source import CandleSource, CandleWindow
from quantlab_tests.adapters.candle_series import series_of, span
from quantlab_tests.adapters.clickhouse.engine import embedded, make_table, new_database, put
from quantlab_tests.adapters.clickhouse.loopback import LoopbackServer, loopback
from quantlab_tests.in_memory.candle_source import InMemoryCandles

MINT = "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump"
EVM = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"
START = datetime(2025, 11, 6, 12, tzinfo=UTC)
FAR = datetime(2030, 1, 1, tzinfo=UTC)

SOLANA_TOKEN = Token("solana", MINT, "solana")
ON_BSC = Token("evm", EVM, "bsc")
ON_BASE = Token("evm", EVM, "base")
ANYWHERE = Token("evm", EVM, None)

Build = Callable[[pl.DataFrame], CandleSource]


def series(token: Token, interval_s: int, count: int, *, price: float = 1.0) -> pl.DataFrame:
    times = [START + timedelta(seconds=interval_s * i) for i in range(count)]
    return pl.DataFrame(
        {
            "token_address": token.address,
            "chain": token.chain,
            "token_chain": token.network,
            "interval_s": interval_s,
            "ts": times,
            "open": price,
            "high": price * 1.1,
            "low": price * 0.9,
            "close": price,
            "volume": [None if i % 3 == 0 else float(i) for i in range(count)],
        },
        schema=pl.DataFrame(OHLCV_SLICE.empty()).schema,
    )


def in_memory(candles: pl.DataFrame, tmp_path: Path) -> CandleSource:
    return InMemoryCandles(candles.sample(fraction=1.0, shuffle=True, seed=1))


def csv_folder(candles: pl.DataFrame, tmp_path: Path) -> CandleSource:
    """One file a token, all its intervals in it, rows in disorder; the interval is a column."""
    folder = tmp_path / "candles"
    folder.mkdir()
    for (address, network), rows in candles.group_by("token_address", "token_chain"):
        rows.select(
            pl.col("ts").dt.epoch("s").alias("timestamp"),
            "open",
            "high",
            "low",
            "close",
            pl.col("volume").fill_null(float("nan")),
            "interval_s",
        ).sample(fraction=1.0, shuffle=True, seed=1).write_csv(
            folder / f"{network or 'somewhere'}_{address}.csv"
        )
    return CandleFolder(folder, tmp_path / "index")


def parquet_folder(candles: pl.DataFrame, tmp_path: Path) -> CandleSource:
    """Everything in two Parquet files with a token column, split across the rows of each token."""
    folder = tmp_path / "candles" / "deep"
    folder.mkdir(parents=True)
    halves = candles.with_row_index().with_columns(pl.col("index") % 2)
    for half, rows in halves.group_by("index"):
        rows.drop("index").write_parquet(folder / f"half-{half[0]}.parquet")
    return CandleFolder(tmp_path / "candles", tmp_path / "index")


def embedded_clickhouse(candles: pl.DataFrame, tmp_path: Path) -> CandleSource:
    """A table that holds each row twice, in disorder."""
    connection = Connection(embedded(new_database()))
    make_table(connection)
    put(connection, pl.concat([candles, candles]).sample(fraction=1.0, shuffle=True, seed=1))
    return ClickHouseCandles(connection)


def clickhouse_server(candles: pl.DataFrame, tmp_path: Path) -> CandleSource:
    """Other names and types, behind HTTP."""
    database = new_database()
    connection = Connection(embedded(database))
    make_table(
        connection,
        "ohlcv",
        "ReplacingMergeTree ORDER BY (token_address, ifNull(token_chain, ''), interval_s, ts)",
        ts="DateTime64(3, 'Australia/Sydney')",
        token_chain="Nullable(String)",
        interval_s="String",
    )
    put(connection, candles.sample(fraction=1.0, shuffle=True, seed=1), "ohlcv")
    return ClickHouseCandles(Connection(_server().dsn(database)), TableMapping("ohlcv", database))


@cache
def _server() -> LoopbackServer:
    context = loopback()
    server = context.__enter__()
    atexit.register(context.__exit__, None, None, None)
    return server


SOURCES = [in_memory, csv_folder, parquet_folder, embedded_clickhouse, clickhouse_server]


@pytest.fixture(params=SOURCES, ids=lambda f: f.__name__)
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    return lambda candles: request.param(candles, tmp_path)


def read(
    source: CandleSource,
    token: Token,
    interval_s: int,
    start: datetime = START,
    end: datetime = FAR,
) -> pa.Table:
    (answer,) = source.windows([CandleWindow(token.chain, token.address, start, end)])
    tables = [
        series.table
        for series in answer.candles
        if (series.token, series.interval_s) == (token, interval_s)
    ]
    return pa.concat_tables([OHLCV_SLICE.empty(), *tables])


def test_gives_back_exactly_the_candles_in_time_order(build: Build) -> None:
    candles = pl.concat([series(SOLANA_TOKEN, 300, 50), series(ON_BSC, 300, 40, price=1e-9)])

    source = build(candles)

    assert read(source, SOLANA_TOKEN, 300).equals(
        series(SOLANA_TOKEN, 300, 50).to_arrow().cast(OHLCV_SLICE.schema)
    )
    assert read(source, ON_BSC, 300).equals(
        series(ON_BSC, 300, 40, price=1e-9).to_arrow().cast(OHLCV_SLICE.schema)
    )


def test_start_is_included_and_end_is_not(build: Build) -> None:
    source = build(series(SOLANA_TOKEN, 300, 50))
    start, end = START + timedelta(minutes=5), START + timedelta(minutes=20)

    table = read(source, SOLANA_TOKEN, 300, start, end)

    assert table["ts"].to_pylist() == [START + timedelta(minutes=m) for m in (5, 10, 15)]


def test_says_what_there_is_of_a_token_finest_interval_first(build: Build) -> None:
    source = build(pl.concat([series(SOLANA_TOKEN, 3600, 9), series(SOLANA_TOKEN, 300, 30)]))

    found = series_of(source, "solana", MINT)

    assert [(s.token, s.interval_s, *span(s)) for s in found] == [
        (SOLANA_TOKEN, 300, START, START + timedelta(seconds=29 * 300), 30),
        (SOLANA_TOKEN, 3600, START, START + timedelta(hours=8), 9),
    ]
    assert all(s.sources for s in found)


def test_one_address_on_two_networks_is_two_tokens(build: Build) -> None:
    source = build(
        pl.concat([series(ON_BSC, 300, 5), series(ON_BASE, 300, 6), series(ANYWHERE, 300, 7)])
    )

    found = series_of(source, "evm", EVM)

    assert [(s.token.network, s.table.num_rows) for s in found] == [
        (None, 7),
        ("base", 6),
        ("bsc", 5),
    ]
    assert [read(source, token, 300).num_rows for token in (ON_BSC, ON_BASE, ANYWHERE)] == [5, 6, 7]


def test_evm_addresses_are_found_in_any_case_and_mints_only_in_theirs(build: Build) -> None:
    source = build(pl.concat([series(ON_BSC, 300, 5), series(SOLANA_TOKEN, 300, 5)]))

    assert len(series_of(source, "evm", "0x2338c5AD75967dAC2fF988FC3488109eC2406dfE")) == 1
    assert series_of(source, "solana", MINT.lower()) == ()


def test_knows_nothing_of_other_tokens_or_intervals(build: Build) -> None:
    source = build(series(ON_BSC, 300, 5))

    assert series_of(source, "evm", "0x" + "1" * 40) == ()
    assert series_of(source, "solana", EVM) == ()
    assert read(source, ON_BSC, 60).num_rows == 0
    assert read(source, ON_BASE, 300).num_rows == 0


def test_newest_is_the_newest_candle_of_all_tokens(build: Build) -> None:
    source = build(pl.concat([series(ON_BSC, 300, 5), series(SOLANA_TOKEN, 3600, 30)]))

    assert source.newest_ts() == START + timedelta(hours=29)


def test_an_empty_source_has_nothing(build: Build) -> None:
    source = build(pl.DataFrame(OHLCV_SLICE.empty()))

    assert source.newest_ts() is None
    assert series_of(source, "solana", MINT) == ()
    assert list(source.rejects()) == []


def test_reading_consumes_nothing(build: Build) -> None:
    source = build(series(ON_BSC, 300, 5))

    assert read(source, ON_BSC, 300).equals(read(source, ON_BSC, 300))


def test_windows_are_cut_on_the_grid_of_each_interval_in_the_order_asked(build: Build) -> None:
    tokens = [SOLANA_TOKEN, ON_BSC, ON_BASE, ANYWHERE]
    given = {(token, s): series(token, s, 40) for token in tokens for s in (300, 3600)}
    source = build(pl.concat(given.values()))
    wanted = [
        CandleWindow("evm", EVM, START + timedelta(minutes=7), START + timedelta(minutes=63)),
        CandleWindow("evm", "0x" + "1" * 40, START, FAR),
        CandleWindow("solana", MINT, START - timedelta(days=1), START + timedelta(hours=2)),
        CandleWindow("evm", EVM, START, START + timedelta(minutes=1)),
        CandleWindow("solana", MINT, FAR, FAR + timedelta(hours=1)),
    ]

    answers = list(source.windows(wanted))

    assert [len(answer.candles) for answer in answers] == [6, 0, 2, 6, 0]
    for window, answer in zip(wanted, answers, strict=True):
        order = [(one.interval_s, one.token.network or "") for one in answer.candles]
        assert order == sorted(order)
        for one in answer.candles:
            assert one.start <= window.start
            assert one.end >= window.end
            assert one.table.schema.equals(OHLCV_SLICE.schema)
            inside = given[one.token, one.interval_s].filter(
                pl.col("ts") >= one.start, pl.col("ts") < one.end
            )
            assert one.table.equals(inside.to_arrow().cast(OHLCV_SLICE.schema))
            assert len(one.sources) >= 1
    assert [(one.start, one.end) for one in answers[0].candles] == [
        (START + timedelta(minutes=5), START + timedelta(minutes=65))
    ] * 3 + [(START, START + timedelta(hours=2))] * 3


def test_windows_of_nothing_are_nothing(build: Build) -> None:
    assert list(build(series(ON_BSC, 300, 5)).windows([])) == []


def test_nothing_is_unresolved_among_good_candles(build: Build) -> None:
    source = build(series(ON_BSC, 300, 5))

    assert list(source.unresolved()) == []
    assert list(source.rejects()) == []
    assert source.volume_unit() is None

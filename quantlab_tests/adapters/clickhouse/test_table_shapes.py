"""Tables of every shape: types of times and prices, names, engines, and rows to be refused."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from quantlab_assets.adapters.candle_folder import CandleFolder
from quantlab_assets.adapters.clickhouse import (
    ClickHouseCandles,
    Connection,
    TableMapping,
    read_mapping,
)
from quantlab_assets.domain.errors import NotFound, QuantlabError, ValidationFailed
from quantlab_assets.domain.tokens.token import Token
from quantlab_assets.ports.candle_source import CandleWindow
from quantlab_tests.adapters.candle_series import series_of
from quantlab_tests.adapters.clickhouse.engine import embedded, make_table, new_database, put

MINT = "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump"
EVM = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"
CHECKSUMMED = "0x2338c5AD75967dAC2fF988FC3488109eC2406dfE"
ON_BSC = Token("evm", EVM, "bsc")
NOON = int(datetime(2025, 11, 6, 12, tzinfo=UTC).timestamp())
START = datetime(2025, 11, 6, 12, tzinfo=UTC)


@pytest.fixture
def connection() -> Connection:
    return Connection(embedded(new_database()))


def insert(connection: Connection, columns: str, *rows: str, table: str = "candles") -> None:
    connection.command(f"INSERT INTO {table} ({columns}) VALUES {', '.join(rows)}")


def candles(
    source: ClickHouseCandles, token: Token = ON_BSC, interval_s: int = 300
) -> pl.DataFrame:
    """The candles of a token at one interval."""
    (series,) = (
        series
        for series in series_of(source, token.chain, token.address)
        if (series.token, series.interval_s) == (token, interval_s)
    )
    return pl.DataFrame(series.table)


PRICES = "open, high, low, close, volume"


class TestTimes:
    @pytest.mark.parametrize(
        ("kind", "time"),
        [
            ("DateTime", "toDateTime({s})"),
            ("DateTime('Australia/Sydney')", "toDateTime({s})"),
            ("Nullable(DateTime('UTC'))", "toDateTime({s})"),
            ("DateTime64(3)", "fromUnixTimestamp64Milli({s}000)"),
            ("DateTime64(9, 'America/New_York')", "fromUnixTimestamp64Nano({s}000000000)"),
            ("UInt32", "{s}"),
            ("Int64", "{s}000"),
            ("UInt64", "{s}000000000"),
            ("Float64", "{s}.0"),
        ],
    )
    def test_mean_the_same_moment(self, connection: Connection, kind: str, time: str) -> None:
        make_table(connection, engine="MergeTree ORDER BY token_address", ts=kind)
        insert(
            connection,
            f"token_address, token_chain, interval_s, ts, {PRICES}",
            *(
                f"('{EVM}', 'bsc', 300, {time.format(s=NOON + 300 * i)}, 1, 2, 0.5, 1.5, {i})"
                for i in range(4)
            ),
        )
        source = ClickHouseCandles(connection)

        assert candles(source)["ts"].dt.epoch("s").to_list() == [NOON + 300 * i for i in range(4)]
        assert source.newest_ts() == START + timedelta(minutes=15)
        (found,) = source.windows(
            [CandleWindow("evm", EVM, START + timedelta(minutes=5), START + timedelta(minutes=9))]
        )
        assert [one.table["volume"].to_pylist() for one in found.candles] == [[1.0]]

    def test_a_date_is_midnight_utc(self, connection: Connection) -> None:
        make_table(connection, engine="MergeTree ORDER BY token_address", ts="Date")
        insert(
            connection,
            f"token_address, token_chain, interval_s, ts, {PRICES}",
            f"('{EVM}', 'bsc', 86400, '2025-11-06', 1, 2, 0.5, 1.5, 1)",
        )

        (day,) = candles(ClickHouseCandles(connection), interval_s=86400)["ts"]
        assert day == datetime(2025, 11, 6, tzinfo=UTC)


class TestPrices:
    @pytest.mark.parametrize("kind", ["Float64", "Decimal(38, 20)", "String"])
    def test_are_rounded_once(self, connection: Connection, kind: str) -> None:
        make_table(connection, open=kind, high=kind, low=kind, close=kind, volume=kind)
        price = "0.00012345678901234567"
        value = f"toDecimal128('{price}', 20)" if kind.startswith("Dec") else f"'{price}'"
        if kind == "Float64":
            value = repr(float(price))
        insert(
            connection,
            f"token_address, token_chain, interval_s, ts, {PRICES}",
            f"('{EVM}', 'bsc', 300, {NOON}, {', '.join([value] * 5)})",
        )

        assert candles(ClickHouseCandles(connection))["open"].to_list() == [float(price)]

    def test_a_volume_that_is_none_is_null(self, connection: Connection) -> None:
        make_table(connection, volume="Float64")
        insert(
            connection,
            f"token_address, token_chain, interval_s, ts, {PRICES}",
            f"('{EVM}', 'bsc', 300, {NOON}, 1, 2, 0.5, 1.5, nan)",
        )

        assert candles(ClickHouseCandles(connection))["volume"].to_list() == [None]

    def test_there_may_be_no_volume(self, connection: Connection) -> None:
        make_table(connection, without=["volume"])
        insert(
            connection,
            "token_address, token_chain, interval_s, ts, open, high, low, close",
            f"('{EVM}', 'bsc', 300, {NOON}, 1, 2, 0.5, 1.5)",
        )

        assert candles(ClickHouseCandles(connection))["volume"].to_list() == [None]


class TestTokens:
    @pytest.mark.parametrize(
        "kind", ["String", "Nullable(String)", "FixedString(44)", "LowCardinality(String)"]
    )
    def test_addresses_of_any_text_type_and_case_are_one_token(
        self, connection: Connection, kind: str
    ) -> None:
        make_table(connection, engine="MergeTree ORDER BY ts", token_address=kind)
        insert(
            connection,
            f"token_address, token_chain, interval_s, ts, {PRICES}",
            f"('{EVM}', 'bsc', 300, {NOON}, 1, 2, 0.5, 1.5, 1)",
            f"('{CHECKSUMMED}', 'BNB', 300, {NOON + 300}, 1, 2, 0.5, 1.5, 1)",
            f"('{CHECKSUMMED}', 'bsc', 300, {NOON}, 1, 2, 0.5, 1.5, 1)",
            f"('{MINT}', '', 300, {NOON}, 1, 2, 0.5, 1.5, 1)",
        )
        source = ClickHouseCandles(connection)

        (series,) = series_of(source, "evm", EVM)

        assert (series.token, series.table.num_rows, series.duplicates) == (ON_BSC, 2, 1)
        assert [each.token.network for each in series_of(source, "solana", MINT)] == ["solana"]
        assert source.count() == (2, 4)

    def test_addresses_that_are_none_are_in_quarantine_once_each(
        self, connection: Connection
    ) -> None:
        make_table(connection)
        row = f"'bsc', 300, {NOON}, 1, 2, 0.5, 1.5, 1)"
        insert(
            connection,
            f"token_address, token_chain, interval_s, ts, {PRICES}",
            f"('{EVM}', {row}",
            f"('0xB83D4c', {row}",
            f"('0xB83D4c', {row}",
            f"('', {row}",
        )
        source = ClickHouseCandles(connection)

        (unknown,) = source.unresolved()

        assert unknown.rows["error_code"].to_list() == ["unresolvable_token"] * 2
        assert unknown.rows["raw_values"].to_list() == [
            '{"address":"","network":"bsc"}',
            '{"address":"0xB83D4c","network":"bsc"}',
        ]
        assert unknown.tokens == ()
        assert list(source.rejects()) == [unknown]


class TestIntervals:
    def test_a_table_that_does_not_say_them_is_told_by_its_times_as_a_file_is(
        self, connection: Connection
    ) -> None:
        make_table(connection, without=["interval_s"])
        times = [NOON + 300 * i for i in range(72)] + [NOON + 25200 + 3600 * i for i in range(24)]
        insert(
            connection,
            f"token_address, token_chain, ts, {PRICES}",
            *(f"('{EVM}', 'bsc', {t}, 1, 2, 0.5, 1.5, 1)" for t in times),
        )
        source = ClickHouseCandles(connection)

        assert [(s.interval_s, s.table.num_rows) for s in series_of(source, "evm", EVM)] == [
            (300, 72),
            (3600, 24),
        ]
        # Three hours after the switch, where nothing but the whole series tells the interval.
        late = START + timedelta(hours=9)
        (found,) = source.windows([CandleWindow("evm", EVM, late, late + timedelta(hours=3))])
        assert [(one.interval_s, one.table.num_rows) for one in found.candles] == [(3600, 3)]

    def test_they_may_be_words(self, connection: Connection) -> None:
        make_table(connection, interval_s="LowCardinality(String)")
        insert(
            connection,
            f"token_address, token_chain, interval_s, ts, {PRICES}",
            f"('{EVM}', 'bsc', '5m', {NOON}, 1, 2, 0.5, 1.5, 1)",
            f"('{EVM}', 'bsc', '7m', {NOON}, 1, 2, 0.5, 1.5, 1)",
        )
        source = ClickHouseCandles(connection)

        assert candles(source).height == 1
        (refused,) = source.rejects()
        assert refused.rows["error_code"].to_list() == ["unknown_interval"]


class TestRows:
    ROWS = (
        # time, open, high, low, close, volume
        (NOON, 1.0, 2.0, 0.5, 1.5, 10.0),
        (NOON, 1.0, 2.0, 0.5, 1.5, 10.0),
        (NOON, 1.0, 2.0, 0.5, 1.6, 9.0),
        (NOON + 300, 1.0, 2.0, 0.5, 1.5, None),
        (NOON + 300, 1.0, 2.0, 0.5, 1.5, 0.0),
        (NOON + 600, float("nan"), 2.0, 0.5, 1.5, 1.0),
        (NOON + 900, -1.0, 2.0, 0.5, 1.5, 1.0),
        (NOON + 1200, 1.0, 1.2, 0.5, 1.5, 1.0),
        (NOON + 1500, 1.0, 2.0, 1.1, 1.5, 1.0),
        (NOON + 1800, 1.0, 2.0, 0.5, 1.5, -1.0),
        (NOON + 1807, 1.0, 2.0, 0.5, 1.5, 1.0),
        (5, 1.0, 2.0, 0.5, 1.5, 1.0),
    )

    def test_are_refused_for_the_same_reasons_as_in_a_file(
        self, connection: Connection, tmp_path: Path
    ) -> None:
        frame = pl.DataFrame(
            self.ROWS, schema=["ts", "open", "high", "low", "close", "volume"], orient="row"
        ).with_columns(
            pl.lit(EVM).alias("token_address"),
            pl.lit("bsc").alias("token_chain"),
            pl.lit(300, dtype=pl.UInt32).alias("interval_s"),
            pl.col("ts").cast(pl.UInt32),
        )
        make_table(connection)
        put(connection, frame.sample(fraction=1.0, shuffle=True, seed=3))
        (tmp_path / "candles").mkdir()
        frame.write_parquet(tmp_path / "candles" / "all.parquet")
        table = ClickHouseCandles(connection)
        folder = CandleFolder(tmp_path / "candles", tmp_path / "index")

        (of_table,), (of_folder,) = table.rejects(), folder.rejects()
        (held,), (filed,) = series_of(table, "evm", EVM), series_of(folder, "evm", EVM)

        def codes(rows: pl.DataFrame) -> list[str]:
            return sorted(rows["error_code"])

        assert codes(of_table.rows) == codes(of_folder.rows)
        assert of_table.tokens == of_folder.tokens == (ON_BSC,)
        assert (held.table.num_rows, held.duplicates, held.conflicts) == (2, 1, 2)
        assert (filed.table.num_rows, filed.duplicates, filed.conflicts) == (2, 1, 2)
        assert candles(table)["close"].to_list() == [1.5, 1.5]
        # Those beside a window come along; times that are none belong to any.
        (found,) = table.windows([CandleWindow("evm", EVM, START, START + timedelta(hours=1))])
        assert [codes(one.rows) for one in found.rejects] == [codes(of_folder.rows)]
        assert found.rejects[0].source == found.candles[0].sources[0]

    def test_their_hash_is_that_of_what_was_read_however_it_is_stored(self) -> None:
        sources = []
        for order in (1, -1):
            connection = Connection(embedded(new_database()))
            make_table(
                connection, token_address="String" if order == 1 else "LowCardinality(String)"
            )
            rows = [
                f"('{EVM}', 'bsc', 300, {NOON + 300 * i}, 1, 2, 0.5, 1.5, {i})" for i in range(9)
            ]
            insert(
                connection,
                f"token_address, token_chain, interval_s, ts, {PRICES}",
                *(rows * (1 if order == 1 else 2))[::order],
            )
            window = CandleWindow("evm", EVM, START, START + timedelta(minutes=30))
            (found,) = ClickHouseCandles(connection).windows([window])
            sources.append(found.candles[0].sources)

        assert sources[0] == sources[1]
        ((source,), _) = sources
        assert (source.kind, source.name) == ("clickhouse", f"candles of {EVM}")

    def test_a_row_that_was_replaced_does_not_count(self, connection: Connection) -> None:
        make_table(
            connection,
            engine="ReplacingMergeTree(version) ORDER BY (token_address, ts)",
            version="UInt32",
        )
        for version, close in ((1, 1.9), (2, 1.2)):
            insert(
                connection,
                f"token_address, token_chain, interval_s, ts, {PRICES}, version",
                f"('{EVM}', 'bsc', 300, {NOON}, 1, 2, 0.5, {close}, {10 - version}, {version})",
            )

        replaced = ClickHouseCandles(connection)
        (series,) = series_of(replaced, "evm", EVM)
        everything = ClickHouseCandles(connection, TableMapping(final=False))

        assert candles(replaced)["close"].to_list() == [1.2]
        assert (series.table.num_rows, series.conflicts) == (1, 0)
        assert candles(everything)["close"].to_list() == [1.9]  # the larger volume


class TestMapping:
    def test_names_of_ones_own(self, connection: Connection, tmp_path: Path) -> None:
        connection.command(
            "CREATE TABLE bars (ca String, blockchain_name String, secs UInt16, opened DateTime,"
            " o Float64, h Float64, l Float64, c Float64, base_volume Float64, v Float64)"
            " ENGINE = MergeTree ORDER BY (ca, opened)"
        )
        connection.command(
            f"INSERT INTO bars VALUES ('{EVM}', 'bsc', 300, {NOON}, 1, 2, 0.5, 1.5, 7, 8)"
        )
        path = tmp_path / "clickhouse.toml"
        path.write_text(
            'table = "bars"\nvolume_unit = "token"\n[columns]\naddress = "ca"\ntime = "opened"\n'
            'network = "blockchain_name"\ninterval = "secs"\nvolume = "base_volume"\n'
        )
        source = ClickHouseCandles(connection, read_mapping(path))

        assert candles(source)["volume"].to_list() == [7.0]
        assert source.volume_unit() == "token"

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("tabel = 'x'", "'tabel' is not known"),
            ("table = 'x; DROP TABLE y'", "no name of a table"),
            ("table = 7", "must be text"),
            ("[columns]\nprice = 'x'", "'price' is no role"),
            ("[columns]\nopen = 'x`'", "no name of a table"),
            ("final = 'sometimes'", "final is true"),
            ("volume_unit = 'eur'", "volume_unit is"),
            ("table = ", "cannot read"),
        ],
    )
    def test_one_that_cannot_be_used_says_where(self, tmp_path: Path, text: str, says: str) -> None:
        path = tmp_path / "clickhouse.toml"
        path.write_text(text)

        with pytest.raises(ValidationFailed, match=says) as caught:
            read_mapping(path)

        assert str(path) in str(caught.value)
        assert "QUANTLAB_CLICKHOUSE_MAPPING" in str(caught.value)


class TestErrors:
    @pytest.mark.parametrize(
        ("types", "without", "says"),
        [
            ({"open": "Array(Float64)"}, (), r"column open is Array\(Float64\), and open must be"),
            ({"ts": "String"}, (), "column ts is String, and time must be DateTime"),
            ({"token_address": "UUID"}, (), "column token_address is UUID"),
            ({}, ("close",), "no column for close among"),
            ({}, ("token_address",), "no column for address among"),
        ],
    )
    def test_a_table_that_has_no_candles_says_which_column(
        self,
        connection: Connection,
        types: dict[str, str],
        without: tuple[str, ...],
        says: str,
    ) -> None:
        make_table(connection, engine="MergeTree ORDER BY tuple()", without=without, **types)

        with pytest.raises(ValidationFailed, match=says):
            ClickHouseCandles(connection).newest_ts()

    def test_a_table_that_is_missing(self, connection: Connection) -> None:
        with pytest.raises(NotFound, match=r"has no table candles .*quantlab ingest candles"):
            ClickHouseCandles(connection).newest_ts()

    def test_a_column_that_the_mapping_made_up(self, connection: Connection) -> None:
        make_table(connection)

        with pytest.raises(ValidationFailed, match="has no column opening"):
            ClickHouseCandles(connection, TableMapping(columns={"open": "opening"})).newest_ts()

    def test_a_database_that_is_missing_and_an_engine_that_is_elsewhere(self) -> None:
        with pytest.raises(QuantlabError, match="nowhere"):
            ClickHouseCandles(Connection(embedded("nowhere"))).newest_ts()
        with pytest.raises(QuantlabError, match="already initialized"):
            ClickHouseCandles(Connection("chdb:///tmp/another-place")).newest_ts()

    def test_an_engine_that_is_not_installed_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def missing(**_: object) -> None:
            raise ImportError("no chdb")

        monkeypatch.setattr("clickhouse_connect.driver.create_client", missing)

        with pytest.raises(QuantlabError, match=r"quantlab-assets\[clickhouse-embedded\]"):
            ClickHouseCandles(Connection("chdb:///tmp/x")).newest_ts()


def test_nothing_is_imported_before_the_first_question() -> None:
    code = (
        "import sys\n"
        "from quantlab_assets.adapters.clickhouse import ClickHouseCandles, Connection\n"
        "ClickHouseCandles(Connection('chdb:///tmp/x'))\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('clickhouse_connect', 'chdb')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

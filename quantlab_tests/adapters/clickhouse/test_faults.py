"""A server behind HTTP that fails: what is asked again, what is not, and what the user is told."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from quantlab_assets.adapters.clickhouse import ClickHouseCandles, Connection
from quantlab_assets.domain.errors import (
    NotFound,
    StoreUnavailable,
    ValidationFailed,
)
from quantlab_assets.ports.candle_source import CandleWindow
from quantlab_tests.adapters.clickhouse.engine import embedded, make_table, new_database, put
from quantlab_tests.adapters.clickhouse.loopback import (
    PASSWORD,
    ROWS,
    Fault,
    LoopbackServer,
    loopback,
)
from quantlab_tests.contracts.test_candle_source import EVM, ON_BSC, START, series

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def database() -> str:
    name = new_database()
    connection = Connection(embedded(name))
    make_table(connection)
    put(connection, series(ON_BSC, 300, 50))
    return name


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with loopback() as running:
        yield running


def windows(source: ClickHouseCandles) -> list[int]:
    """The rows of one window, once over HTTP."""
    (found,) = source.windows([CandleWindow("evm", EVM, START, START + HOUR)])
    return [one.table.num_rows for one in found.candles]


@pytest.mark.parametrize("fault", ["reset", "cut", "unterminated", "500", "503", "exception"])
def test_what_is_lost_on_the_way_is_asked_again_and_whole(
    server: LoopbackServer, database: str, fault: Fault
) -> None:
    pauses: list[float] = []
    connection = Connection(server.dsn(database), pauses=(0.2, 1.0), sleep=pauses.append)
    server.faults = [fault, fault]

    assert windows(ClickHouseCandles(connection)) == [12]

    assert pauses == [0.2, 1.0]
    assert sum(ROWS in query for query in server.queries) == 3


@pytest.mark.parametrize("fault", ["reset", "unterminated", "500"])
def test_what_stays_lost_is_said_in_one_line_without_secrets(
    server: LoopbackServer, database: str, fault: Fault
) -> None:
    connection = Connection(server.dsn(database), pauses=(0.0, 0.0))
    server.faults = [fault] * 9

    with pytest.raises(StoreUnavailable, match="tried 3 times") as caught:
        windows(ClickHouseCandles(connection))

    assert "\n" not in str(caught.value)
    assert f"clickhouse://127.0.0.1:{server.server_port}/{database}" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_server_that_hangs_is_waited_for_once(server: LoopbackServer, database: str) -> None:
    dsn = f"{server.dsn(database)}?send_receive_timeout=1"
    connection = Connection(dsn, sleep=lambda _: pytest.fail("tried again"))
    server.faults = ["hang"]

    with pytest.raises(StoreUnavailable, match=r"does not answer: .*timed out") as caught:
        windows(ClickHouseCandles(connection))

    assert "send_receive_timeout=SECONDS" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_server_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    dsn = "clickhouse://somebody:hunter2@127.0.0.1:1/market"

    with caplog.at_level(logging.WARNING), pytest.raises(StoreUnavailable, match="refused"):
        ClickHouseCandles(Connection(dsn, pauses=(0.0,))).newest_ts()

    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("password", ["hunter2", "a/b c%"])
def test_wrong_credentials_are_not_tried_again(
    server: LoopbackServer, database: str, password: str
) -> None:
    dsn = server.dsn(database, password=password.replace("%", "%25"))
    connection = Connection(dsn, sleep=lambda _: pytest.fail("tried again"))

    with pytest.raises(StoreUnavailable, match="refuses the user or the password") as caught:
        ClickHouseCandles(connection).newest_ts()

    assert password not in str(caught.value)
    assert server.queries == []
    assert password not in repr(connection)


def test_what_the_server_refuses_is_not_tried_again(server: LoopbackServer, database: str) -> None:
    connection = Connection(server.dsn("nowhere"), sleep=lambda _: pytest.fail("tried again"))

    with pytest.raises(NotFound, match=r"nowhere .*make it with CREATE DATABASE"):
        ClickHouseCandles(connection).newest_ts()


@pytest.mark.parametrize("option", ["colour=blue", "connect_timeout=soon"])
def test_an_option_that_is_none(server: LoopbackServer, database: str, option: str) -> None:
    connection = Connection(
        f"{server.dsn(database)}?{option}", sleep=lambda _: pytest.fail("again")
    )

    with pytest.raises((ValidationFailed, StoreUnavailable), match=option.partition("=")[0]):
        ClickHouseCandles(connection).newest_ts()


def test_values_are_parameters_of_the_server(server: LoopbackServer, database: str) -> None:
    source = ClickHouseCandles(Connection(server.dsn(database)))

    windows(source)

    assert all(EVM not in query for query in server.queries)
    assert any(EVM in values.get("addresses", "") for values in server.parameters)


def test_many_windows_are_few_queries(server: LoopbackServer) -> None:
    name = new_database()
    connection = Connection(embedded(name))
    make_table(connection)
    addresses = [f"0x{n:040x}" for n in range(1, 301)]
    connection.command(
        "INSERT INTO candles SELECT concat('0x', leftPad(lower(hex(intDiv(number, 3) + 1)), 40,"
        f" '0')), 'bsc', 300, {int(START.timestamp())} + 300 * (number % 3), 1, 2, 0.5, 1.5, 1"
        " FROM numbers(900)"
    )
    wanted = [CandleWindow("evm", address, START, START + HOUR) for address in addresses]

    found = list(ClickHouseCandles(Connection(server.dsn(name))).windows(wanted))

    assert [one.candles[0].table.num_rows for one in found] == [3] * 300
    assert sum(ROWS in query for query in server.queries) == 2


def test_what_was_read_before_a_failure_is_not_given_as_all(
    server: LoopbackServer, database: str
) -> None:
    connection = Connection(server.dsn(database), pauses=())
    source = ClickHouseCandles(connection)
    later = datetime(2025, 11, 7, tzinfo=UTC)
    wanted = [CandleWindow("evm", EVM, START, START + HOUR), CandleWindow("evm", EVM, START, later)]
    answers = source.windows(wanted)

    assert len(next(answers).candles) == 1
    server.faults = ["reset"]
    with pytest.raises(StoreUnavailable, match="cannot be reached, or breaks off"):
        next(answers)
    # The source itself is as good as new.
    assert len(list(source.windows(wanted))) == 2

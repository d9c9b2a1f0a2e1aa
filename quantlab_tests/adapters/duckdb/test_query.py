"""A session with a projection: what it hands out, what it refuses, and that it can be stopped."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import duckdb
import polars as pl
import pytest

from quantlab_assets.adapters.duckdb.query import QuerySession
from quantlab_assets.domain.errors import StoreUnavailable, ValidationFailed

ENDLESS = "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE TABLE alerts (caller_name VARCHAR, calls BIGINT)")
        connection.execute("INSERT INTO alerts VALUES ('one', 1), ('two', 2)")
        yield connection


@pytest.fixture
def session(connection: duckdb.DuckDBPyConnection) -> Iterator[QuerySession]:
    with QuerySession(connection) as session:
        yield session


@pytest.mark.parametrize(
    ("value", "dtype", "answer"),
    [
        ("1::BIGINT", pl.Int64, 1),
        ("sum(2::BIGINT)", pl.Decimal(38, 0), Decimal(2)),
        ("TIMESTAMPTZ '2025-11-07 10:00:00+02'", None, datetime(2025, 11, 7, 8, tzinfo=UTC)),
        ("DATE '2025-11-07'", pl.Date, date(2025, 11, 7)),
        ("INTERVAL '1 month 2 days'", pl.Duration("us"), timedelta(days=32)),
        ("[1, NULL]", pl.List(pl.Int32), [1, None]),
        ("{'a': 1, 'b': ['x']}", None, {"a": 1, "b": ["x"]}),
        ("'\\x00a'::BLOB", pl.Binary, b"\x00a"),
        ("union_value(k := 1)", pl.String, "1"),
        ("[union_value(k := 1)]", pl.String, "[1]"),
        ("MAP {'a': 1}", pl.String, "{a=1}"),
        ("'0101'::BIT", pl.String, "0101"),
        ("NULL", None, None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_frame_has_the_types_that_polars_has(
    value: str, dtype: object, answer: object, session: QuerySession
) -> None:
    frame = session.frame(f"SELECT {value} AS v")
    assert frame["v"].to_list() == [answer]
    assert dtype is None or frame.schema["v"] == dtype


def test_a_frame_of_no_rows_has_its_columns(session: QuerySession) -> None:
    frame = session.frame("SELECT calls, INTERVAL 1 DAY AS d FROM alerts WHERE false;  -- none")
    assert frame.schema == {"calls": pl.Int64, "d": pl.Duration("us")}


@pytest.mark.parametrize("query", ["", "-- nothing", "SELECT 1; SELECT 2"])
def test_a_frame_is_of_one_query(query: str, session: QuerySession) -> None:
    with pytest.raises(ValidationFailed, match="one query is needed"):
        session.frame(query)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM alerts",
        "CREATE TABLE t (a INTEGER)",
        "SET threads = 1",
        "COPY alerts TO 'out.csv'",
        "/* SELECT */ INSERT INTO alerts VALUES ('x', 1)",
        "/* a /* b */ SELECT */ INSERT INTO alerts VALUES ('x', 1)",
        "SELECT 1; CREATE TABLE t AS PIVOT alerts ON caller_name USING sum(calls)",
    ],
)
def test_a_session_reads_though_its_connection_could_write(
    statement: str, session: QuerySession
) -> None:
    with pytest.raises(ValidationFailed, match="is refused: only queries"):
        session.frame(statement)
    assert session.frame("SELECT count(*) AS n FROM alerts")["n"].to_list() == [2]


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("SELECT 1; -- ; done\n", ["SELECT 1"]),
        ("SELECT ';'; SELECT $$;$$ /* ; */ ;", ["SELECT ';'", "SELECT $$;$$"]),
        ("SELECT e'\\'; --';SELECT 2", ["SELECT e'\\'; --'", "SELECT 2"]),
        ("-- first\nSELECT 1;\n/* second */ SELECT 2", ["SELECT 1", "SELECT 2"]),
        (
            "PIVOT alerts ON caller_name USING sum(calls); SELECT 2 -- end",
            ["PIVOT alerts ON caller_name USING sum(calls)", "SELECT 2"],
        ),
        (" ;; -- nothing", []),
    ],
)
def test_a_script_is_taken_apart_by_what_ends_a_statement(
    script: str, statements: list[str], session: QuerySession
) -> None:
    assert list(session.statements(script)) == statements
    for statement in statements:
        assert session.ask(statement).frame().height == 1


def test_rows_are_computed_as_they_are_read(session: QuerySession) -> None:
    rows = session.ask("SELECT range AS n FROM range(100000000000)").frames()
    began = time.monotonic()
    assert next(rows)["n"][:3].to_list() == [0, 1, 2]
    assert time.monotonic() - began < 10


def test_values_are_bound(session: QuerySession) -> None:
    hostile = "'; DROP TABLE alerts; --"
    (found,) = session.ask("SELECT $1 AS v", [hostile]).frames()
    assert found["v"].to_list() == [hostile]
    (none,) = session.columns(hostile).frames()
    assert none.height == 0


def test_a_query_out_of_time_leaves_the_session_as_it_was(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    with QuerySession(connection, timeout_s=0.3) as session:
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match=r"longer than 0\.3 s"):
                session.frame(ENDLESS)
            assert time.monotonic() - began < 5
            assert session.frame("SELECT count(*) AS n FROM alerts")["n"].to_list() == [2]


def test_a_query_that_is_interrupted_from_elsewhere_is_an_error_of_one_line(
    connection: duckdb.DuckDBPyConnection, session: QuerySession
) -> None:
    timer = threading.Timer(0.3, connection.interrupt)
    timer.start()
    with pytest.raises(ValidationFailed, match="Interrupted"):
        session.frame(ENDLESS)
    timer.join()


def test_a_query_out_of_memory_says_so(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("SET temp_directory = ''")
    connection.execute("SET memory_limit = '30MB'")
    with QuerySession(connection) as session, pytest.raises(StoreUnavailable, match="memory"):
        session.frame("SELECT list(range) AS l FROM range(20000000)")


def test_what_there_is_can_be_asked_for(
    connection: duckdb.DuckDBPyConnection, session: QuerySession
) -> None:
    connection.execute("CREATE SCHEMA stored")
    connection.execute("CREATE TABLE stored.hidden (secret INTEGER)")
    connection.execute("CREATE VIEW few AS SELECT calls FROM alerts")
    connection.execute("COMMENT ON VIEW few IS 'some'")
    connection.execute("CREATE MACRO twice(n) AS 2 * n")
    assert session.names() == ("alerts", "few")
    assert [row for frame in session.tables().frames() for row in frame.rows()] == [
        ("alerts", 2, None)
    ]
    assert [row for frame in session.views().frames() for row in frame.rows()] == [("few", "some")]
    assert [row[0] for frame in session.macros().frames() for row in frame.rows()] == ["twice(n)"]
    assert [row[0] for frame in session.columns("ALERTS").frames() for row in frame.rows()] == [
        "caller_name",
        "calls",
    ]
    assert {"alerts", "few", "caller_name", "twice", "SELECT"} <= set(session.words())
    assert "secret" not in session.words()
    assert session.suggestion("alert") == "did you mean alerts?"
    assert session.suggestion("zzz") == "there are alerts, few"

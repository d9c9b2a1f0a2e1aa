"""Taking scripts apart: as DuckDB does, and without what stands around a statement."""

from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlab_assets.adapters.duckdb.script import is_complete, split

FRAGMENTS = [
    *("SELECT 1", "SELECT 2 AS a", "FROM range(3)", ";", ";", " ", "\n", "\t;"),
    *("-- it's ; not\n", "/* ; ' */", "/* a /* ; */ $$ */"),
    *("SELECT ';'", "SELECT e'\\';'", "SELECT 'it''s;'", 'SELECT 1 AS "a;"', "SELECT $$;'$$"),
    *("SELECT $a$ ; $$ $a$", "SELECT 'é;'", "SELECT a$b FROM (SELECT 1 AS a$b)"),
]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=8))
def test_a_script_has_the_statements_that_duckdb_finds_in_it(
    connection: duckdb.DuckDBPyConnection, fragments: list[str]
) -> None:
    script = "".join(fragments)
    try:
        parsed = connection.extract_statements(script)
    except duckdb.Error:
        return
    statements = split(script)
    assert len(statements) == len(parsed)
    for statement, theirs in zip(statements, parsed, strict=True):
        assert statement in theirs.query
        assert connection.sql(statement).fetchall() == connection.sql(theirs.query).fetchall()


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("-- calls\nSELECT ';'; ; SELECT 2", ("SELECT ';'", "SELECT 2")),
        ("/* one */ SELECT 1 -- one\n;\n/* two */\nSELECT 2 /* end */", ("SELECT 1", "SELECT 2")),
        ("/* a /* b */ ; c */ SELECT 1", ("SELECT 1",)),
        ("SELECT 1 /* in\nside */ + 1", ("SELECT 1 /* in\nside */ + 1",)),
        ("SELECT 1; SELECT 'open;", ("SELECT 1", "SELECT 'open;")),
        (" ; /* nothing */ ; -- at all", ()),
    ],
)
def test_statements_come_without_what_stands_around_them(
    script: str, statements: tuple[str, ...]
) -> None:
    assert split(script) == statements


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("SELECT 1;", True),
        ("SELECT 1; ", True),
        ("SELECT 1;\n-- done", True),
        ("SELECT 1", False),
        ("SELECT ';", False),
        ("SELECT ';'", False),
        ("SELECT 'it''s;';", True),
        ('SELECT 1 AS ";', False),
        ("SELECT 1 -- ;", False),
        ("SELECT 1 /* ;", False),
        ("SELECT 1 /* ; */", False),
        ("SELECT 1 /* it's */;", True),
        ("SELECT $$;", False),
        ("SELECT $$;$$;", True),
        ("SELECT $a$ ; $$ $a$;", True),
        ("-- it's\n;", True),
        ("SELECT 1 /* a /* b */ ;", False),
        ("SELECT 1 /* a /* b */ c */;", True),
        ("SELECT name'\\';", True),
        ("SELECT e'\\';", False),
        ("SELECT $1;", True),
        ("", False),
    ],
)
def test_a_query_ends_with_a_semicolon_that_is_code(text: str, complete: bool) -> None:
    assert is_complete(text) is complete

"""`quantlab projections sql`: any question, no harm, and answers for people and programs."""

import csv
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from quantlab_tests.cli.in_front import Done, Shell
from quantlab_tests.cli.lake_of_notes import TEXTS, lake_of_notes
from quantlab_tests.conftest import ROOT

DUCKDB_2 = duckdb.__version__ >= "2"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with five notes, and a projection of them."""
    return lake_of_notes(tmp_path_factory.mktemp("sql"))


@pytest.fixture
def lab(made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """The command, in front of that lake: for tests that leave it as it is."""
    monkeypatch.setenv("QUANTLAB_TYPES_MODULE", "quantlab_tests.cli.own_types")
    return Shell(made, capsys.readouterr, monkeypatch)


@pytest.fixture
def own(lab: Shell, tmp_path: Path) -> Shell:
    """The command, in front of a copy of that lake."""
    copied = shutil.copytree(lab.lake, tmp_path / "lake")
    return Shell(copied, lab.read, lab.monkeypatch)


def ask(lab: Shell, query: str, *words: str, stdin: bytes = b"") -> Done:
    return lab("projections", "sql", "--projection", "lab", query, *words, stdin=stdin)


def test_a_table_shows_times_in_utc_and_what_is_not_there(
    lab: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    done = ask(lab, 'SELECT "at", text, count, seen FROM notes ORDER BY "at" LIMIT 3')
    assert done.code == 0, done.err
    first, second, third = done.out.splitlines()[-4:-1]
    assert first.split() == ["2025-05-01T00:00:00Z", "=1+1", "1", "true"]
    assert second.split()[-2:] == ["NULL", "NULL"]
    assert third.split() == ["2025-05-01T00:00:02Z", "3", "false"]


def test_nothing_in_a_cell_or_a_name_reaches_the_terminal_as_a_command(lab: Shell) -> None:
    done = ask(lab, 'SELECT text, 1 AS "\x1b]0;x\x07[red]name[/red]" FROM notes')
    assert done.code == 0, done.err
    assert not set(done.out) & {"\x1b", "\x07", "‮"}
    assert "[31mred" in done.out
    assert "[red]name[/red]" in done.out


def test_csv_tells_null_from_empty_text_and_holds_no_formula(lab: Shell) -> None:
    query = 'SELECT text, count, score, \'x\' AS "=name", NULL AS no FROM notes ORDER BY "at"'
    done = ask(lab, query, "--format", "csv")
    assert done.out.splitlines()[3] == '"",3,NaN,"x",'
    rows = list(csv.reader(io.StringIO(done.out, newline="")))
    assert rows[0] == ["text", "count", "score", "'=name", "no"]
    assert rows[1] == ["'=1+1", "1", "0.5", "x", ""]
    assert rows[5] == ['a,b\n"c"', "-5", "-1.0", "x", ""]


def test_json_has_columns_by_their_names_and_null_for_what_it_lacks(lab: Shell) -> None:
    query = 'SELECT "at", text AS my_text, score, mark, [1, NULL] AS l FROM notes ORDER BY "at"'
    rows = ask(lab, query, "--format", "json").json
    assert rows[0] == {
        "at": "2025-05-01T00:00:00Z",
        "my_text": "=1+1",
        "score": 0.5,
        "mark": "0061",
        "l": [1, None],
    }
    assert [row["score"] for row in rows] == [0.5, None, None, None, -1.0]
    assert [row["my_text"] for row in rows] == TEXTS
    assert ask(lab, query, "--format", "jsonl").lines == rows


def test_a_row_with_numbers_that_json_lacks_keeps_every_digit_of_the_others(lab: Shell) -> None:
    exact = "12345678901234567890123456789.25"
    query = f"SELECT {exact}::DECIMAL(38, 2) AS d, '-inf'::DOUBLE AS i, 'a \"NaN' AS t"
    done = ask(lab, query, "--format", "jsonl")
    assert done.out == f'{{"d":{exact},"i":null,"t":"a \\"NaN"}}\n'


def test_csv_at_a_terminal_holds_no_control_characters(
    lab: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT chr(27) || '[31mred' || chr(8238) AS \"a\x07b\""
    assert "\x1b" in ask(lab, query, "--format", "csv").out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert ask(lab, query, "--format", "csv").out == '"a b"\n" [31mred "\n'


def test_a_table_has_every_digit_of_a_whole_number(lab: Shell) -> None:
    largest = "170141183460469231731687303715884105727"
    assert largest in ask(lab, f"SELECT {largest}::HUGEINT AS v").out
    assert "1" + "0" * 30 in ask(lab, f"SELECT 1{'0' * 30}::HUGEINT AS v").out


@pytest.mark.parametrize(
    ("value", "text", "json"),
    [
        ("sum(2::BIGINT)", "2", 2),
        ("170141183460469231731687303715884105727::HUGEINT", "1" + "7" * 0, None),
        ("-1.50::DECIMAL(10, 2)", "-1.50", -1.5),
        ("INTERVAL 90 MINUTE", "01:30:00", "01:30:00"),
        ("TIMESTAMP '2025-01-02 03:04:05.5'",) + ("2025-01-02T03:04:05.500000",) * 2,
        ("TIMESTAMPTZ '2025-01-02 03:04:05+02'",) + ("2025-01-02T01:04:05Z",) * 2,
        ("'2025-01-02 03:04:05.000000001'::TIMESTAMP_NS",)
        + ("2025-01-02T03:04:05.000000001",) * 2,
        ("'infinity'::TIMESTAMPTZ", "infinity", "infinity"),
        ("DATE '2025-01-02'", "2025-01-02", "2025-01-02"),
        ("TIME '10:00:00'", "10:00:00", "10:00:00"),
        ("{'a': 1, 'n': 'nan'::DOUBLE}", '{"a":1,"n":NaN}', {"a": 1, "n": None}),
        ("MAP {'a': 1}", '{"a":1}', {"a": 1}),
        ("union_value(k := 1)", "1", {"k": 1}),
        ("'0101'::BIT", "0101", "0101"),
        ("'\\x00a'::BLOB", "0061", "0061"),
        ("'a'::ENUM ('a', 'b')", "a", "a"),
        ("'{\"a\": [1]}'::JSON", '{"a": [1]}', {"a": [1]}),
        ("'36e30300-aff5-4a41-9dcb-2ab8a7f58e0e'::UUID",)
        + ("36e30300-aff5-4a41-9dcb-2ab8a7f58e0e",) * 2,
        ("true", "true", True),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_every_sql_type_has_its_form(lab: Shell, value: str, text: str, json: object) -> None:
    query = f"SELECT {value} AS v"
    if json is not None:
        assert ask(lab, query, "--format", "json").json == [{"v": json}]
        rows = csv.reader(io.StringIO(ask(lab, query, "--format", "csv").out))
        assert list(rows) == [["v"], [text]]
    assert ask(lab, query).code == 0
    assert text in ask(lab, query).out


def test_a_plan_is_drawn_line_by_line(lab: Shell) -> None:
    done = ask(lab, "EXPLAIN SELECT text, '\x1b[31m' AS x FROM notes WHERE count > 1")
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) > 5
    assert "notes" in done.out
    assert "\x1b" not in done.out


def test_columns_of_one_name_are_told_apart(lab: Shell) -> None:
    (row,) = ask(lab, "SELECT 1 AS a, 2 AS a, 3 AS A", "--format", "json").json
    assert sorted(row.values()) == [1, 2, 3]


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv"])
def test_a_result_of_no_rows(lab: Shell, form: str) -> None:
    done = ask(lab, "SELECT text FROM notes WHERE false", "--format", form)
    expected = {"json": "[]\n", "jsonl": "", "csv": '"text"\n'}
    assert done.code == 0
    assert done.out == expected.get(form, done.out)
    assert form != "table" or "text" in done.out


def test_a_table_shows_the_first_rows_and_says_how_many_more(lab: Shell) -> None:
    done = ask(lab, "SELECT range AS n FROM range(70000)")
    assert done.out.split()[-1] == "99"
    assert "100 of 70,000 rows; 69,900 more" in done.err
    few = ask(lab, "FROM range(5)", "--limit", "2")
    assert few.out.split()[-1] == "1"
    assert "2 of 5 rows; 3 more" in few.err
    assert ask(lab, "FROM range(5)", "--limit", "9" * 30).out.split()[-1] == "4"
    assert "5 more" in ask(lab, "FROM range(5)", "--limit", "0").err


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_a_long_result_is_whole_in_any_other_form(lab: Shell, form: str) -> None:
    query = "SELECT range AS n FROM range(200000)"
    whole = ask(lab, query, "--format", form)
    assert whole.out.count("\n") == {"json": 200_002, "jsonl": 200_000, "csv": 200_001}[form]
    assert whole.err == ""
    cut = ask(lab, query, "--format", form, "--limit", "70000")
    assert cut.out.count("\n") == {"json": 70_002, "jsonl": 70_000, "csv": 70_001}[form]
    assert "--limit cut the rest off" in cut.err


def test_rows_come_in_the_order_asked_for(lab: Shell) -> None:
    query = "SELECT range AS n FROM range(200000) ORDER BY hash(range), range"
    first = ask(lab, query, "--format", "csv").out
    assert first == ask(lab, query, "--format", "csv").out
    numbers = [int(line) for line in first.splitlines()[1:]]
    assert numbers != sorted(numbers)
    assert len(numbers) == 200_000


def test_several_queries_are_answered_one_after_the_other(lab: Shell) -> None:
    done = ask(lab, "SELECT 'one' AS a; -- ; nothing\nSELECT 'two;' AS b;")
    assert done.code == 0, done.err
    assert done.out.index("one") < done.out.index("two;")
    assert ask(lab, "SELECT 1; SELECT 2", "--format", "csv").code == 2


def test_no_query_runs_unless_all_of_them_only_read(lab: Shell) -> None:
    done = ask(lab, "SELECT 1; DELETE FROM notes; SELECT 2")
    assert (done.code, done.out) == (1, "")
    assert "DELETE is refused" in done.err


READS_NOT = "is refused: only queries are run here"
NO_FILES = "file system operations are disabled"
LOCKED = "the configuration has been locked"


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("INSERT INTO notes SELECT * FROM notes", READS_NOT),
        ("DELETE FROM notes", READS_NOT),
        ("UPDATE notes SET text = 'x'", READS_NOT),
        ("DROP TABLE notes", READS_NOT),
        ("CREATE TABLE mine (a INTEGER)", READS_NOT),
        ("CREATE TEMP TABLE mine AS SELECT 1", READS_NOT),
        ("CREATE MACRO f() AS 1", READS_NOT),
        ("ATTACH '{lake}/other.duckdb'", READS_NOT),
        ("DETACH lab", READS_NOT),
        ("COPY notes TO '{lake}/out.csv'", READS_NOT),
        ("COPY notes FROM '{secret}'", READS_NOT),
        ("EXPORT DATABASE '{lake}/out'", READS_NOT),
        ("IMPORT DATABASE '{lake}/out'", READS_NOT if DUCKDB_2 else NO_FILES),
        ("INSTALL httpfs", READS_NOT),
        ("LOAD httpfs", READS_NOT),
        ("SET threads = 1", READS_NOT),
        ("RESET threads", READS_NOT),
        ("PRAGMA enable_profiling", READS_NOT),
        ("CALL pragma_version()", READS_NOT),
        ("CHECKPOINT", READS_NOT),
        ("VACUUM", READS_NOT),
        ("BEGIN", READS_NOT),
        ("USE lab", READS_NOT),
        ("PREPARE p AS SELECT 1", READS_NOT),
        ("EXECUTE p", READS_NOT),
        ("EXPLAIN ANALYZE INSERT INTO notes SELECT * FROM notes", READS_NOT),
        ("EXPLAIN ANALYZE CREATE TEMP TABLE notes AS SELECT 1", READS_NOT),
        ("EXPLAIN (ANALYZE) CREATE TEMP TABLE mine AS SELECT 1", READS_NOT),
        ("CREATE TEMP TABLE mine AS PIVOT notes ON count", READS_NOT),
        ("UPDATE EXTENSIONS", READS_NOT),
        pytest.param(
            "SELECT * FROM enable_logging('QueryLog', storage='file')",
            LOCKED,
            marks=pytest.mark.skipif(
                not DUCKDB_2, reason="DuckDB 1 takes it and then answers nothing"
            ),
        ),
        ("SELECT * FROM read_csv('{secret}')", NO_FILES),
        ("SELECT * FROM read_text('{secret}')", NO_FILES),
        ("SELECT * FROM read_blob('{secret}')", NO_FILES),
        ("SELECT * FROM read_parquet('{lake}/artifacts/**/*.parquet')", NO_FILES),
        ("SELECT * FROM '{secret}'", NO_FILES),
        ("SELECT * FROM glob('{lake}/*')", NO_FILES),
        ("SELECT * FROM sniff_csv('{secret}')", NO_FILES),
        (
            "SELECT * FROM sqlite_scan('{lake}/manifest/manifest.sqlite', 'artifacts')",
            '"sqlite_scan" is not in the catalog',
        ),
        ("SELECT * FROM read_csv('https://example.com/x.csv')", NO_FILES),
        ("SELECT * FROM query('DELETE FROM notes')", "Expected a single SELECT statement"),
        ("SELECT getenv('HOME')", "Function with name getenv does not exist"),
        (
            "WITH gone AS (DELETE FROM notes RETURNING *) SELECT * FROM gone",
            "attached in read-only mode" if DUCKDB_2 else "A CTE needs a SELECT",
        ),
        ("FROM parameters", "Table with name parameters does not exist"),
        ("FROM statement", "Table with name statement does not exist"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_nothing_is_written_and_no_file_is_reached(lab: Shell, statement: str, says: str) -> None:
    secret = lab.lake.parent / "secret.csv"
    secret.write_text("word\nopen-sesame\n")
    before = files(lab.lake)
    database = (lab.lake / "cache" / "lab.duckdb").read_bytes()

    done = ask(lab, statement.format(lake=lab.lake, secret=secret))

    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert says in done.err
    assert "open-sesame" not in done.err
    assert "bug" not in done.err
    assert (lab.lake / "cache" / "lab.duckdb").read_bytes() == database
    assert files(lab.lake) == before


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT * FROM note", "did you mean notes?"),
        ("SELECT * FROM something", "there are notes"),
        ("SELECT txt FROM notes", '"text"'),
        ("SELEC 1", 'at or near "SELEC" (line 1)'),
        ("SELECT 1;\n\nSELECT FROM WHERE", "line 3"),
        ("SELECT 'a'::INTEGER", "Could not convert"),
        ("SELECT error('mine') FROM range(1)", "mine"),
        ("SELECT $1", "parameter"),
        ("SELECT uuid(1)", "explicit type casts.\n"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(lab: Shell, query: str, says: str) -> None:
    done = ask(lab, query)
    assert (done.code, done.out) == (1, "")
    assert says in done.err
    assert len(done.err.splitlines()) == 1


def test_an_error_after_many_rows_is_an_error_all_the_same(lab: Shell) -> None:
    query = (
        "SELECT CASE WHEN range = 150000 THEN error('late') ELSE 'x' END AS n FROM range(200000)"
    )
    done = ask(lab, query, "--format", "csv")
    assert done.code == 1
    assert "late" in done.err


def test_a_query_that_takes_too_long_is_given_up(lab: Shell) -> None:
    endless = "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b"
    done = ask(lab, endless, "--timeout", "0.2")
    assert (done.code, done.out) == (1, "")
    assert "longer than 0.2 s" in done.err
    assert ask(lab, "SELECT 1", "--timeout", "20").code == 0


def test_ctrl_c_ends_a_query_at_once(made: Path) -> None:
    endless = "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b"
    code = """
import os, signal, sys, threading
from quantlab_assets.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()
sys.exit(main(sys.argv[1:]))
"""
    words = ["--lake", str(made), "projections", "sql", "--projection", "lab", endless]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert "interrupted" in done.stderr


def test_queries_come_from_stdin_or_a_file(lab: Shell, tmp_path: Path) -> None:
    named = ("projections", "sql", "--projection", "lab", "--format", "json")
    query = b"\xef\xbb\xbf-- how many?\nSELECT count(*) AS n\nFROM notes;\n"
    path = tmp_path / "my query.sql"
    path.write_bytes(query)
    assert lab(*named, stdin=query).json == [{"n": 5}]
    assert lab(*named, "-", stdin=query).json == [{"n": 5}]
    assert lab(*named, "--file", str(path)).json == [{"n": 5}]
    assert lab(*named, "--file", "-", stdin=query).json == [{"n": 5}]


@pytest.mark.parametrize(
    ("words", "stdin", "code"),
    [
        ([""], b"", 2),
        ([";; -- nothing"], b"", 2),
        ([], b"", 2),
        (["SELECT 1", "--file", "query.sql"], b"", 2),
        (["--file", "no-such.sql"], b"", 1),
        (["-"], b"SELECT '\xff'", 1),
        (["-"], b"SELECT '\0'", 1),
        (["-"], b"SELECT 1 --" + b"x" * 1_000_000, 1),
        (["SELECT 1", "--timeout", "0"], b"", 2),
        (["SELECT 1", "--limit", "-1"], b"", 2),
    ],
)  # fmt: skip
def test_what_is_no_query_is_refused(lab: Shell, words: list[str], stdin: bytes, code: int) -> None:
    done = lab("projections", "sql", "--projection", "lab", *words, stdin=stdin)
    assert (done.code, done.out) == (code, "")
    assert "bug" not in done.err


def test_research_is_built_when_the_lake_has_changed_and_only_then(shell: Shell) -> None:
    first = shell("projections", "sql", "SELECT count(*) AS n FROM alerts", "--format", "json")
    assert first.json == [{"n": 0}]
    assert "built research" in first.err
    second = shell("projections", "sql", "SELECT count(*) AS n FROM alerts", "--format", "json")
    assert (second.out, second.err) == (first.out, "")


def test_a_projection_whose_file_is_gone_is_built_again(own: Shell) -> None:
    (own.lake / "cache" / "lab.duckdb").unlink()
    done = ask(own, "SELECT count(*) AS n FROM notes", "--format", "json")
    assert done.json == [{"n": 5}]
    assert "built lab" in done.err


def test_a_stale_projection_says_so(own: Shell) -> None:
    own.publish(1, "2025-05-01T12:00:00Z,new,,,,")
    done = ask(own, "SELECT count(*) AS n FROM notes", "--format", "json")
    assert done.json == [{"n": 5}]
    assert "stale" in done.err
    assert "quantlab projections rebuild lab" in done.err


def test_what_a_rebuild_would_leave_stale_is_not_told_to_be_rebuilt(own: Shell) -> None:
    built = own("projections", "build", "--type", "notes", "--format", "json").json
    own.publish(1, "2025-05-01T12:00:00Z,new,,,,")
    done = own("projections", "sql", "--projection", built["projectionId"], "FROM notes")
    assert done.code == 0
    assert "is stale: something in it was superseded; it keeps what it was made of" in done.err

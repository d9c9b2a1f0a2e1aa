"""Projections from outside: what their page says is so, and nothing breaks or hurts them."""

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from quantlab_assets import open_lake
from quantlab_assets.cli.main import main
from quantlab_assets.lake import Lake
from quantlab_assets.ports.projection_builder import (
    ArtifactSelector,
    ProjectionRequest,
    ProjectionTable,
)
from quantlab_tests.architecture.startup import outcome
from quantlab_tests.conftest import LAKE_VARIABLES, ROOT

PAGE = (ROOT / "docs" / "projections.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def folder(demo_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that the demo has filled, for tests that only ask it."""
    return shutil.copytree(demo_lake, tmp_path_factory.mktemp("projections") / "lake")


@pytest.fixture(scope="module")
def lake(folder: Path) -> Lake:
    return open_lake(folder)


@pytest.fixture
def own(folder: Path, lake: Lake, tmp_path: Path) -> Path:
    """A lake with its research projection, to do anything to."""
    lake.queries.research()
    return shutil.copytree(folder, tmp_path / "lake")


def test_there_are_ten_queries_to_start_from() -> None:
    assert len(QUERIES) >= 10


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: str(query).split("\n")[0][:50])
def test_a_query_to_start_from_has_an_answer(query: str, lake: Lake) -> None:
    answer = lake.sql(query)
    assert answer.height > 0
    assert all(answer[name].null_count() < answer.height for name in answer.columns)


def test_the_page_has_every_table_and_view_with_its_columns(lake: Lake) -> None:
    told = {name: re.findall(r"`(\w+)`", columns) for name, _, columns in ROW.findall(PAGE)}
    found: dict[str, list[str]] = {}
    for name, column in lake.sql(
        "SELECT table_name, column_name FROM duckdb_columns()"
        " WHERE schema_name = 'main' AND NOT internal ORDER BY table_name, column_index"
    ).iter_rows():
        found.setdefault(name, []).append(column)
    merged = told["alerts_with_coverage"]
    assert merged[0] == "alerts"
    told["alerts_with_coverage"] = [*told["alerts"], *merged[1:]]
    assert told == found


def test_the_page_has_every_macro(lake: Lake) -> None:
    macros = lake.sql(
        "SELECT function_name FROM duckdb_functions() WHERE NOT internal AND schema_name = 'main'"
    )
    assert {f"{name}(" for name in macros["function_name"]} <= set(re.findall(r"\w+\(", PAGE))
    assert macros.height == 2


def test_what_a_table_or_column_is_about_is_said_in_the_database(lake: Lake) -> None:
    silent = lake.sql("SELECT table_name FROM duckdb_tables() WHERE comment IS NULL")
    assert silent["table_name"].to_list() == []
    views = lake.sql("SELECT view_name FROM duckdb_views() WHERE NOT internal AND comment IS NULL")
    assert views["view_name"].to_list() == []
    columns = lake.sql(
        "SELECT table_name || '.' || column_name AS named FROM duckdb_columns()"
        " WHERE schema_name = 'main' AND NOT internal AND comment IS NULL"
    )
    assert columns["named"].to_list() == []


def test_asking_imports_no_dagster(folder: Path, tmp_path: Path) -> None:
    command = ["--lake", str(folder), "projections", "sql", "SELECT count(*) FROM alerts"]
    slow = ["dagster", "pandera", "numba"]
    if duckdb.__version__ >= "2":  # DuckDB 1 imports pandas itself.
        slow.append("pandas")
    assert outcome(command, tmp_path, slow) == {"code": 0, "slow": []}


def contents(database: Path) -> str:
    return hashlib.sha256(database.read_bytes()).hexdigest()


def test_no_command_that_reads_changes_a_projection(own: Path) -> None:
    before = contents(own / "cache" / "research.duckdb")
    for words in (
        ["projections", "list"],
        ["projections", "sql", "FROM caller_summary"],
        ["projections", "sql", "DELETE FROM alerts"],
        ["projections", "build"],
        ["doctor"],
        ["status"],
        ["artifacts", "gc", "--yes"],
    ):
        code = main(["--lake", str(own), *words])
        assert code == (words[-1] == "DELETE FROM alerts"), words
    assert contents(own / "cache" / "research.duckdb") == before


def litter(folder: Path) -> list[Path]:
    """What is in the cache beside projections, and is not one of the other caches."""
    others = {folder / "cache" / name for name in ("telegram", "candles")}
    return [
        path
        for path in (folder / "cache").rglob("*")
        if path.is_file() and not others & set(path.parents)
        if path.parent.name != "cache" or path.stem not in ("research", "experiments")
    ]


KILLED = """
import sys, time
from quantlab_assets.adapters.duckdb import build as module
from quantlab_assets.cli.main import main

def stop(*_, **__):
    print("here", flush=True)
    time.sleep(60)

setattr(module, sys.argv[1], stop)
main(["--lake", sys.argv[2], "projections", "rebuild", "research"])
"""


@pytest.mark.parametrize("stage", ["mark_candles_that_count", "write_record"])
def test_a_build_that_is_killed_leaves_the_old_file_and_after_gc_nothing_else(
    stage: str, own: Path
) -> None:
    before = contents(own / "cache" / "research.duckdb")
    variables = {name: text for name, text in os.environ.items() if name not in LAKE_VARIABLES}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, stage, str(own)],
        env={**variables, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        os.kill(process.pid, signal.SIGKILL)
    assert [path for path in (own / "cache" / ".building").rglob("*") if path.is_file()]

    assert contents(own / "cache" / "research.duckdb") == before
    assert open_lake(own).sql("SELECT count(*) AS n FROM alerts")["n"].to_list() == [29]
    assert main(["--lake", str(own), "artifacts", "gc", "--yes"]) == 0
    assert litter(own) == []


def keep_building(folder: Path, mark: str, until: float) -> int:
    lake = open_lake(folder)
    builds = 0
    while time.time() < until or builds == 0:
        lake.projections.rebuild("research")
        builds += 1
    return builds


def keep_asking(folder: Path, mark: str, until: float) -> int:
    lake = open_lake(folder)
    asked = 0
    while time.time() < until or asked == 0:
        with lake.projections.connect("research") as connection:
            for table, rows in (("alerts", 29), ("ohlcv", 522), ("experiment_trades", 6)):
                found = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
                assert found == [(rows,)], (table, found)
        asked += 1
    return asked


def test_two_builders_and_five_readers_at_once(own: Path) -> None:
    until = time.time() + 4
    work = [(keep_building, (own, "b", until))] * 2 + [(keep_asking, (own, "r", until))] * 5
    with multiprocessing.get_context("spawn").Pool(len(work)) as pool:
        running = [pool.apply_async(one, arguments) for one, arguments in work]
        done = [result.get(timeout=120) for result in running]
    assert all(done)
    assert litter(own) == []


HOSTILE = [
    "'; DROP TABLE alerts; --",
    '"; DROP TABLE alerts; --',
    "alerts; DROP TABLE alerts",
    "../../outside",
    "/tmp/outside",
    "a/b",
    "a\nb",
    "a b",
    ".",
    "..",
    ".hidden",
    "système",
    "A",
    "system",
    "temp",
    "x" * 300,
    "-x",
    "$(touch outside)",
    "%s%n",
    "\x1b[31m",
]


def injections() -> Iterator[list[str]]:
    for text in HOSTILE:
        yield ["build", "--type", "alerts_v1", f"--name={text}"]
        yield ["build", "--table", f"{text}x y=alerts_v1"]
        yield ["build", "--table", f"calls={text}"]
        yield ["build", f"--type={text}"]
        yield ["build", f"--id={text}"]
        yield ["build", "--table", "c=alerts_v1", "--index", f"c({text})"]
        yield ["build", "--table", "c=alerts_v1", "--index", f"{text}(mint)"]
        yield ["rebuild", "--", text]
        yield ["dispose", "--", text]
        yield ["sql", f"--projection={text}", "SELECT 1"]
        yield ["sql", f"--file={text}"]


def test_no_name_is_taken_for_anything_but_a_name(own: Path) -> None:
    before = {path: contents(path) for path in own.parent.rglob("*") if path.is_file()}
    for words in injections():
        assert main(["--lake", str(own), "projections", *words]) in (1, 2, 3), words
    after = {path: contents(path) for path in own.parent.rglob("*") if path.is_file()}
    manifest = own / "manifest"
    assert {p: h for p, h in after.items() if manifest not in p.parents} == {
        p: h for p, h in before.items() if manifest not in p.parents
    }
    assert not Path("/tmp/outside.duckdb").exists()


@pytest.mark.parametrize("text", [text for text in HOSTILE if "\0" not in text])
def test_tags_and_keys_are_values_and_nothing_else(text: str, own: Path) -> None:
    lake = open_lake(own)
    for selector in (
        ArtifactSelector(tags=((text, text),)),
        ArtifactSelector(key_prefix=text),
    ):
        table = ProjectionTable("calls", "alerts_v1", selector=selector)
        built = lake.projections.build(ProjectionRequest((table,), "mine"))
        assert dict(built.rows) == {"calls": 0}
    assert lake.sql("SELECT count(*) AS n FROM alerts")["n"].to_list() == [29]


def test_every_command_works_after_every_duckdb_file_is_deleted(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def quantlab(*words: str) -> str:
        capsys.readouterr()
        assert main(["--lake", str(own), *words]) == 0, words
        return capsys.readouterr().out

    def answer(*words: str) -> object:
        query = "SELECT count(*) AS n FROM alerts"
        return json.loads(quantlab("projections", "sql", *words, query, "--format", "json"))

    def delete() -> None:
        for path in own.rglob("*.duckdb"):
            path.unlink()

    quantlab("projections", "build", "--type", "alerts_v1", "--name", "mine")
    delete()
    assert quantlab("projections", "list") == ""
    assert answer() == [{"n": 29}]
    assert answer("--projection", "mine") == [{"n": 29}]
    delete()
    assert "mine" in quantlab("projections", "rebuild", "mine")
    delete()
    for path in (own / "cache").glob("*.json"):
        path.unlink()
    assert answer("--projection", "mine") == [{"n": 29}]
    delete()
    assert "research" in quantlab("projections", "build")
    assert "demo" in quantlab("experiments", "list")
    assert quantlab("experiments", "project")

"""`quantlab slices` and `quantlab coverage` on a copy of the demo's lake, as a user meets them."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from quantlab_assets import open_lake
from quantlab_assets.cli.graph.instance import open_instance
from quantlab_assets.cli.main import main
from quantlab_assets.settings import Settings

PRESALE = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"
GEQ = "GeQZP5ZSzz9u96DH6emSURXntRrQr7qqZAQnB3Nxpump"

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def lake(demo_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slices") / "lake"
    shutil.copytree(demo_lake, folder)
    return folder


@pytest.fixture
def run(
    lake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[Any, str]]:
    """Run a command on the lake; its JSON, and what it said."""
    monkeypatch.chdir(lake.parent)

    def command(*words: str, on: Path = lake, code: int = 0) -> tuple[Any, str]:
        assert main([*words, "--lake", str(on), "--format", "json"]) == code
        told = capsys.readouterr()
        return (json.loads(told.out) if told.out else None), told.err

    return command


def files(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "cache" not in path.parts
    }


def outcomes(planned: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in planned:
        counts[one["outcome"]] = counts.get(one["outcome"], 0) + 1
    return counts


def candle_file(lake: Path, address: str) -> Path:
    """The one file of a token in the inbox."""
    (found,) = (
        path
        for path in (lake / "inbox" / "candles").iterdir()
        if address.lower() in path.name.lower()
    )
    return found


def test_a_plan_says_what_the_source_has_and_writes_nothing(run: Run, lake: Path) -> None:
    before = files(lake)

    planned, said = run("slices", "plan", "--from", "2025-11-06", "--to", "2025-11-06")

    assert files(lake) == before
    assert outcomes(planned) == {"unchanged": 3, "no_candles": 6}
    (fine,) = (one for one in planned if one["token"] == PRESALE and one["intervalS"] == 300)
    assert fine == {
        "day": "2025-11-06",
        "chain": "evm",
        "network": "bsc",
        "token": PRESALE,
        "alerts": 2,
        "intervalS": 300,
        "windowFrom": "2025-11-06T08:40:00Z",
        "windowTo": "2025-11-08T13:05:00Z",
        "rows": 124,
        "expected": 629,
        "coverage": 124 / 629,
        "grade": "poor",
        "outcome": "unchanged",
    }
    without = next(one for one in planned if one["outcome"] == "no_candles")
    assert (without["rows"], without["intervalS"], without["grade"]) == (0, None, None)
    assert "9 windows on 1 day: 3 unchanged, 6 no candles" in said


def test_the_list_has_what_became_of_the_rows_and_filters(run: Run) -> None:
    everything, _ = run("slices", "list")
    assert len(everything) == 8
    (one,) = (each for each in everything if each["token"] == PRESALE and each["intervalS"] == 300)
    assert {name: one[name] for name in ("rows", "expected", "traded", "gaps")} == {
        "rows": 124,
        "expected": 629,
        "traded": 27,
        "gaps": 2,
    }
    assert (one["duplicates"], one["conflicts"], one["quarantinedRows"]) == (2, 10, 0)
    assert (one["grade"], one["coverage"], one["status"]) == ("poor", 0.197138, "active")
    assert one["newestTs"] == "2025-11-16T15:00:00Z"

    assert {each["token"] for each in run("slices", "list", "--mint", GEQ)[0]} == {GEQ}
    hours, _ = run("slices", "list", "--interval", "1h")
    assert {each["intervalS"] for each in hours} == {3600}
    assert run("slices", "list", "--grade", "good")[0] == []
    # The windows of the calls of the 6th reach into the 8th.
    assert {each["token"] for each in run("slices", "list", "--from", "2025-11-11")[0]} != set()
    touching, _ = run("slices", "list", "--to", "2025-11-04", "--from", "2025-11-04")
    assert {each["token"] for each in touching} == {GEQ}


def test_every_form_has_the_same_slices(
    run: Run, lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = [one["artifactId"] for one in run("slices", "list")[0]]
    for form in ("jsonl", "csv", "table"):
        assert main(["slices", "list", "--lake", str(lake), "--format", form]) == 0
        out = capsys.readouterr().out
        if form == "jsonl":
            assert [json.loads(line)["artifactId"] for line in out.splitlines()] == wanted
        elif form == "csv":
            assert [row["artifactId"] for row in csv.DictReader(io.StringIO(out))] == wanted
        else:
            assert all(artifact_id[:12] in out for artifact_id in wanted)


def test_exporting_reuses_what_has_not_changed_and_supersedes_what_has(
    run: Run, lake: Path
) -> None:
    limits = ("--from", "2025-11-02", "--to", "2025-11-06")
    days, said = run("slices", "export", *limits)
    assert [(day["day"], day["new"], day["reused"]) for day in days] == [
        ("2025-11-02", 0, 2),
        ("2025-11-06", 0, 3),
    ]
    assert "5 slices on 2 days: 0 new, 5 reused; 0 superseded" in said
    (presale,) = (day for day in days if day["day"] == "2025-11-06")
    assert (presale["duplicateRows"], presale["conflictingRows"], presale["slicesPoor"]) == (
        2,
        10,
        3,
    )

    # The source corrects its first candle, one of five minutes.
    path = candle_file(lake, GEQ)
    lines = path.read_text("utf-8").splitlines()
    fields = lines[1].split(",")
    lines[1] = ",".join([*fields[:-1], str(float(fields[-1]) + 1)])
    path.write_text("\n".join(lines) + "\n", "utf-8")
    planned, _ = run("slices", "plan", *limits)
    assert outcomes(planned)["changed"] == 1

    days, said = run("slices", "export", *limits)

    assert [(day["new"], day["reused"]) for day in days] == [(1, 1), (0, 3)]
    assert "1 new, 4 reused; 1 superseded" in said
    assert len(run("slices", "list", "--mint", GEQ)[0]) == 2
    both, _ = run("slices", "list", "--mint", GEQ, "--interval", "5m", "--superseded")
    assert sorted(one["status"] for one in both) == ["active", "superseded"]
    assert "changed" not in outcomes(run("slices", "plan", *limits)[0])


def test_windows_and_horizons_of_ones_own(
    run: Run, demo_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "lake"
    shutil.copytree(demo_lake, own)
    monkeypatch.setenv("QUANTLAB_SLICE_WINDOW", "0,4320")
    monkeypatch.setenv("QUANTLAB_HORIZONS", "2,72")
    day = ("--from", "2025-11-02", "--to", "2025-11-02")

    planned, _ = run("slices", "plan", *day, on=own)
    _, exported = run("slices", "export", *day, on=own)
    run("coverage", "build", *day, on=own)
    shown, _ = run("coverage", "show", "--horizon", "72", on=own)

    # Called at 15:30:43: nothing before it, three days after it.
    windows = {(one["windowFrom"], one["windowTo"]) for one in planned if one["outcome"] == "new"}
    assert windows == {
        ("2025-11-02T15:30:00Z", "2025-11-05T15:35:00Z"),
        ("2025-11-02T15:00:00Z", "2025-11-05T16:00:00Z"),
    }
    assert "2 new, 0 reused; 2 superseded" in exported
    assert [(one["month"], one["alerts"]) for one in shown] == [("2025-11", 1)]


def test_grades_of_ones_own_hold_for_plans_and_slices(
    run: Run, demo_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "lake"
    shutil.copytree(demo_lake, own)
    day = ("--from", "2025-11-02", "--to", "2025-11-02")
    usual, _ = run("slices", "list", *day, on=own)
    assert sorted((one["coverage"], one["grade"]) for one in usual) == [
        (0.114467, "poor"),
        (0.792452, "poor"),
    ]
    monkeypatch.setenv("QUANTLAB_SLICE_GRADES", "0.79,0.1")

    planned, _ = run("slices", "plan", *day, on=own)
    graded = {(one["grade"], one["outcome"]) for one in planned if one["grade"] is not None}
    assert graded == {("partial", "unchanged"), ("good", "unchanged")}
    run("slices", "export", *day, on=own)
    listed, _ = run("slices", "list", *day, on=own)
    assert sorted((one["coverage"], one["grade"]) for one in listed) == [
        (0.114467, "partial"),
        (0.792452, "good"),
    ]
    assert {one["artifactId"] for one in listed} == {one["artifactId"] for one in usual}


@pytest.mark.parametrize("grades", ["0.95", "0.8,0.95", "1.5,0.8", "0.95,0", "nan,nan"])
def test_grades_that_cannot_be(
    run: Run, lake: Path, monkeypatch: pytest.MonkeyPatch, grades: str
) -> None:
    monkeypatch.setenv("QUANTLAB_SLICE_GRADES", grades)

    _, told = run("slices", "plan", code=1)

    assert "quantlab: QUANTLAB_SLICE_GRADES: " in told


@pytest.mark.parametrize("window", ["260", "-1,60", "0,0", "1,9999999"])
def test_a_window_that_cannot_be(
    run: Run, lake: Path, monkeypatch: pytest.MonkeyPatch, window: str
) -> None:
    monkeypatch.setenv("QUANTLAB_SLICE_WINDOW", window)

    _, told = run("slices", "plan", code=1)

    assert "QUANTLAB_SLICE_WINDOW: give the minutes before the first call" in told


def test_coverage_is_built_and_shown_worst_first(run: Run, lake: Path, tmp_path: Path) -> None:
    built, _ = run("coverage", "build", "--from", "2025-11-06", "--to", "2025-11-07")
    assert [(day["day"], day["alerts"]) for day in built] == [("2025-11-06", 9), ("2025-11-07", 9)]
    assert built[0]["gaps"] == 5
    grades = ("gradeGood", "gradePartial", "gradePoor", "gradeNone")
    assert sum(built[0][grade] for grade in grades) == 9 * 6

    shown, _ = run("coverage", "show")

    ratios = [row["meanRatio"] for row in shown]
    assert ratios == sorted(ratios)
    assert shown[-1] == {
        "callerNameNorm": "wen_presale",
        "month": "2025-11",
        "horizonH": 24,
        "alerts": 2,
        "covered": 0,
        "partial": 0,
        "poor": 2,
        "none": 0,
        "meanRatio": 0.25,
    }
    assert {row["horizonH"] for row in run("coverage", "show", "--horizon", "-4")[0]} == {-4}
    mine, _ = run("coverage", "show", "--caller", "Caller_05", "--from", "2025-11-01")
    assert [(row["callerNameNorm"], row["alerts"]) for row in mine] == [("caller_05", 3)]
    on_evm, _ = run("coverage", "show", "--chain", "evm")
    assert sum(row["alerts"] for row in on_evm) < sum(row["alerts"] for row in shown)
    none, said = run("coverage", "show", "--caller", "nobody")
    assert none == []
    assert "no coverage matches" in said

    page = tmp_path / "coverage.html"
    _, said = run("coverage", "show", "--html", str(page))
    assert f"heat map in {page}" in said
    text = page.read_text("utf-8")
    assert "wen_presale" in text
    assert [path.name for path in tmp_path.iterdir()] == ["coverage.html"]


def test_the_graph_shows_the_heat_map(run: Run, lake: Path) -> None:
    run("coverage", "build", "--from", "2025-11-09")

    with open_instance(Settings.from_environment(lake), lake.parent) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("coverage_summary"))
    assert event is not None
    assert event.asset_materialization is not None
    shown = event.asset_materialization.metadata["heat_map"]
    assert isinstance(shown, dg.MarkdownMetadataValue)
    assert "| caller | calls | mean | 2024-12 | 2025-07 | 2025-11 |" in str(shown.value)
    assert r"wen\_presale" in str(shown.value)


def test_the_dataset_is_made_once_and_read_by_other_tools(run: Run, lake: Path) -> None:
    made, _ = run("slices", "export-dataset", "--buckets", "4", "--out", "candles")
    assert (made["built"], made["buckets"], made["slices"], made["tokens"]) == (True, 4, 8, 5)

    folder = lake.parent / "candles"
    rows = duckdb.sql(
        f"select count(*), count(distinct (token_address, token_chain, ts)) "
        f"from read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
    ).fetchall()
    assert rows == [(made["rows"], made["rows"])]
    again, said = run("slices", "export-dataset", "--buckets", "4", "--out", "candles")
    assert (again["built"], again["bytes"]) == (False, made["bytes"])
    assert "nothing has changed" in said

    in_cache, _ = run("slices", "export-dataset")
    assert in_cache["folder"] == str(lake / "cache" / "candle_dataset")
    for own in ("", "cache", "artifacts", "artifacts/mine", "inbox/candles/mine"):
        _, said = run("slices", "export-dataset", "--out", str(lake / own), code=1)
        assert "is the lake's own" in said


def test_with_nothing_built_one_is_told_what_to_run(run: Run, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    assert open_lake(empty, create=True).store.is_available()

    _, said = run("coverage", "show", on=empty, code=3)
    assert "quantlab coverage build" in said
    _, said = run("coverage", "build", on=empty)
    assert "quantlab slices export" in said
    for command in ("plan", "export"):
        _, said = run("slices", command, on=empty)
        assert "quantlab ingest telegram" in said
    _, said = run("slices", "export-dataset", on=empty, code=3)
    assert "quantlab slices export" in said
    _, said = run("slices", "list", on=empty)
    assert "quantlab slices export" in said


def test_a_page_that_cannot_be_written_is_an_error_and_leaves_nothing(
    run: Run, tmp_path: Path
) -> None:
    _, said = run("coverage", "show", "--html", str(tmp_path / "no" / "page.html"), code=1)

    assert "cannot write" in said
    assert list(tmp_path.iterdir()) == []

"""`quantlab ingest telegram` with what cannot be read: nothing of it passes in silence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantlab_tests.domain.telegram.alerts.chat_log import MINT

Run = Callable[..., Any]
NAIVE = {"type": "message", "from": "Ann", "date": "2025-11-07T12:00:00", "text": MINT}
DATED = {"date_unixtime": "1762516800"}


def export(path: Path, *records: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbered = [{"id": at, **each} if each else each for at, each in enumerate(records, 1)]
    path.write_text(json.dumps({"id": 7, "name": "g", "messages": numbered}), encoding="utf-8")
    return str(path)


def codes(run: Run) -> dict[str, int]:
    rows, _ = run("quarantine", "list")
    return {row["errorCode"]: row["rows"] for row in rows}


@pytest.mark.parametrize(
    ("records", "expected", "told"),
    [
        ([NAIVE, NAIVE], {"bad_date": 2}, "--timezone"),
        ([NAIVE | {"date": "yesterday"}], {"bad_date": 1}, "quarantine list"),
        ([{}, {"type": "message"}, NAIVE], {"unknown_shape": 1, "bad_date": 2}, "--timezone"),
        ([7, "text"], {"unknown_shape": 2}, "quarantine list"),
    ],
)
def test_an_export_without_any_readable_day_is_in_quarantine(
    run: Run, tmp_path: Path, records: list[Any], expected: dict[str, int], told: str
) -> None:
    path = tmp_path / "result.json"
    if all(isinstance(each, dict) for each in records):
        export(path, *records)
    else:
        path.write_text(json.dumps({"id": 7, "messages": records}), encoding="utf-8")
    said = run("ingest", "telegram", str(path), code=1)
    assert "nothing could be read" in said
    assert told in said
    assert codes(run) == expected
    run("ingest", "telegram", str(path), code=1)
    assert codes(run) == expected


def test_a_dry_run_says_the_same_and_keeps_nothing(run: Run, tmp_path: Path) -> None:
    path = export(tmp_path / "result.json", NAIVE)
    said = run("ingest", "telegram", path, "--dry-run", code=1)
    assert "would be in quarantine (bad_date: 1)" in said
    assert not (tmp_path / "lake").exists()


def test_the_zone_that_is_told_later_takes_records_out_of_quarantine(
    run: Run, tmp_path: Path
) -> None:
    path = export(tmp_path / "result.json", NAIVE)
    run("ingest", "telegram", path, code=1)
    run("ingest", "telegram", path, "--timezone", "Europe/Berlin")
    assert codes(run) == {}
    [alert], _ = run("alerts", "list")
    assert alert["alertTsUtc"].startswith("2025-11-07T11:00:00")


def test_some_that_cannot_be_dated_are_told_beside_those_that_can(run: Run, tmp_path: Path) -> None:
    path = export(tmp_path / "result.json", NAIVE | DATED, NAIVE)
    found, said = run("ingest", "telegram", path)
    assert "the times of 1 record have no offset" in said
    assert found["unreadable"] == [{"code": "bad_date", "count": 1}]
    assert codes(run) == {"bad_date": 1}


def test_an_export_without_messages_is_no_error(run: Run, tmp_path: Path) -> None:
    found, _ = run("ingest", "telegram", export(tmp_path / "result.json"))
    assert found["messages"]["seen"] == 0

"""Tables for people, JSON and CSV for programs; hostile text stays harmless in all of them."""

import csv
import io
import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    camel_case,
    percent,
    printable,
    size,
    to_json,
    write_records,
)

COLUMNS = (Column("caller_name"), Column("net_return", show=percent, right=True))


def printed(
    records: list[dict[str, object]], form: Format, capsys: pytest.CaptureFixture[str]
) -> str:
    write_records(records, COLUMNS, form)
    return capsys.readouterr().out


def test_a_table_shows_numbers_as_people_read_them(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([{"caller_name": "caller_01", "net_return": -0.305}], Format.TABLE, capsys)
    assert "caller name" in text
    assert "-30.5 %" in text


def test_a_table_in_a_pipe_cuts_nothing_off(capsys: pytest.CaptureFixture[str]) -> None:
    name = "x" * 500
    assert name in printed([{"caller_name": name, "net_return": 0.0}], Format.TABLE, capsys)


def test_what_is_missing_is_a_dash_in_a_table_and_null_in_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record: dict[str, object] = {"caller_name": "caller_01", "net_return": None}
    assert printed([record], Format.TABLE, capsys).rstrip().endswith("-")
    assert json.loads(printed([record], Format.JSON, capsys))[0]["netReturn"] is None


def test_json_has_camel_case_keys_and_raw_values(capsys: pytest.CaptureFixture[str]) -> None:
    record: dict[str, object] = {"caller_name": "a\nb", "net_return": 0.25}
    assert json.loads(printed([record], Format.JSON, capsys)) == [
        {"callerName": "a\nb", "netReturn": 0.25}
    ]


def test_json_lines_are_one_record_each(capsys: pytest.CaptureFixture[str]) -> None:
    records: list[dict[str, object]] = [
        {"caller_name": "a\nb", "net_return": 0.0},
        {"caller_name": "c", "net_return": 1.0},
    ]
    lines = printed(records, Format.JSONL, capsys).splitlines()
    assert [json.loads(line)["callerName"] for line in lines] == ["a\nb", "c"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_csv_cell_begins_like_a_formula(start: str, capsys: pytest.CaptureFixture[str]) -> None:
    record: dict[str, object] = {"caller_name": f"{start}cmd|' /C calc'!A1", "net_return": -0.3}
    out = printed([record], Format.CSV, capsys)
    header, row = csv.reader(io.StringIO(out, newline=""))
    assert header == ["callerName", "netReturn"]
    assert row == [f"'{start}cmd|' /C calc'!A1", "-0.3"]


def test_rich_markup_in_data_is_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([{"caller_name": "[red]x[/red]", "net_return": 0.0}], Format.TABLE, capsys)
    assert "[red]x[/red]" in text


@pytest.mark.parametrize(
    "hostile", ["\x1b[2J", "\x9b31m", "\u202e", "\u2066", "\r\n", "\x00", "\ud800", "\u200b"]
)
def test_control_characters_do_not_reach_the_terminal(hostile: str) -> None:
    assert not set(hostile) & set(printable(f"a{hostile}b")) - set("[2J31m")


def test_json_values() -> None:
    value = {
        "at_utc": datetime(2025, 11, 7, 12, 30, tzinfo=UTC),
        "day": date(2025, 11, 7),
        "path": Path("a/b"),
        "missing": float("nan"),
        "endless": float("inf"),
    }
    assert json.loads(to_json(value)) == {
        "atUtc": "2025-11-07T12:30:00Z",
        "day": "2025-11-07",
        "path": "a/b",
        "missing": None,
        "endless": None,
    }


def test_names_and_sizes() -> None:
    assert camel_case("path_parquet") == "pathParquet"
    assert [size(n) for n in (999, 1_500, 2_000_000, 3 * 10**12)] == [
        "999 B",
        "1.5 kB",
        "2.0 MB",
        "3.0 TB",
    ]

"""`quantlab ingest telegram` with HTML exports: pages, clocks, chats, quarantine."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from quantlab_assets import open_lake
from quantlab_assets.adapters.telegram.html import structure as html_structure
from quantlab_assets.sample import sample_path
from quantlab_tests.adapters.telegram.html.pages import Html, write
from quantlab_tests.domain.telegram.alerts.chat_log import EVM, MINT

Run = Callable[..., Any]
NOON = int(datetime(2025, 11, 7, 12, tzinfo=UTC).timestamp())
SIMPLE = [Html(1, NOON, MINT), Html(2, NOON + 60, "gm")]


def calls(run: Run, lake: str = "lake") -> list[tuple[Any, ...]]:
    found, _ = run("alerts", "list", lake=lake)
    names = ("alertId", "mint", "alertTsUtc", "callerName")
    return [tuple(alert[name] for name in names) for alert in found]


def html_sample(folder: Path) -> Path:
    folder.mkdir()
    for name in ("messages.html", "messages46.html"):
        shutil.copy(sample_path() / "telegram" / name, folder / name)
    return folder


def test_html_and_json_give_the_same_calls_alone_and_together(run: Run, tmp_path: Path) -> None:
    pages = html_sample(tmp_path / "ChatExport_2025-11-09")
    result = sample_path() / "telegram" / "result.json"
    found, said = run("ingest", "telegram", str(pages))
    [file] = found["files"]
    assert (file["pages"], file["chatId"], file["chatIdFrom"]) == (2, 1976645587, "links")
    assert (file["clock"]["zone"], file["clock"]["share"]) == ("Australia/Sydney", 1.0)
    assert file["clock"]["evidence"] == [
        {"from": "2025-11-07", "to": "2025-11-07", "offset": "UTC+11:00", "callbacks": 5}
    ]
    assert "labelled UTC+10:00" in said
    counted = found["messages"]
    ignored = sum(part["count"] for part in found["ignored"])
    assert counted["seen"] == 39 == ignored + counted["calling"] + counted["quarantined"]

    run("ingest", "telegram", str(result), lake="json")
    of_html, of_json = calls(run), calls(run, "json")
    assert len(of_html) == 7
    assert set(of_html) <= set(of_json)
    run("ingest", "telegram", str(result))
    run("ingest", "telegram", str(pages), lake="json")
    assert calls(run) == calls(run, "json") == of_json


def test_lineage_names_every_page_and_the_publication_the_clock(run: Run, tmp_path: Path) -> None:
    run("ingest", "telegram", str(html_sample(tmp_path / "export")))
    lake = open_lake("lake")
    [head] = lake.store.get_heads("telegram_messages", ["2025-11-07"])["2025-11-07"] or ()
    sources = lake.store.get_sources([head.artifact_id])[head.artifact_id]
    assert {each.name for each in sources} == {"messages.html", "messages46.html"}
    assert {each.kind for each in sources} == {"telegram_html"}
    [published] = lake.store.latest_publications([head.artifact_id]).values()
    [reading] = published.provenance.params["exports"].values()
    assert (reading["clock"]["zone"], reading["clock"]["basis"]) == ("Australia/Sydney", "inferred")


def test_a_dry_run_tells_the_clock_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    pages = html_sample(tmp_path / "export")
    found, said = run("ingest", "telegram", str(pages), "--dry-run", "--timezone", "label")
    assert "contradict the labels" in said
    assert (found["alerts"], found["files"][0]["clock"]["basis"]) == (7, "given")
    assert not (tmp_path / "lake").exists()
    assert sorted(file.name for file in pages.iterdir()) == ["messages.html", "messages46.html"]


def test_a_clock_that_is_told_later_moves_what_the_lake_holds(run: Run, tmp_path: Path) -> None:
    page = write(tmp_path / "export" / "messages.html", SIMPLE)
    _, said = run("ingest", "telegram", str(page), "--chat-id", "5")
    assert "no bot's button tells" in said
    assert [when for _, _, when, _ in calls(run)] == ["2025-11-07T12:00:00Z"]
    run("ingest", "telegram", str(page.parent), "--timezone", "Pacific/Auckland")
    assert calls(run) == [(f"5:1:{MINT}", MINT, "2025-11-06T23:00:00Z", "caller_01")]
    # It stays told: the graph and later ingestions read it so too.
    found, _ = run("ingest", "telegram", str(page.parent))
    assert found["artifacts"]["new"] == 0
    assert len(calls(run)) == 1


def test_json_moves_what_a_wrong_clock_put_elsewhere(run: Run, tmp_path: Path) -> None:
    page = write(tmp_path / "export" / "messages.html", [Html(1, NOON + 43_000, MINT)])
    run("ingest", "telegram", str(page), "--chat-id", "5", "--timezone", "Pacific/Honolulu")
    posted = NOON + 43_000
    record = {"id": 1, "type": "message", "date_unixtime": str(posted), "from": "x", "text": MINT}
    json_file = tmp_path / "result.json"
    json_file.write_text(json.dumps({"name": "group", "id": 5, "messages": [record]}))
    run("ingest", "telegram", str(json_file), str(page))
    assert calls(run) == [(f"5:1:{MINT}", MINT, "2025-11-07T23:56:40Z", "x")]


def test_of_two_clocks_that_nothing_speaks_for_the_later_time_counts(
    run: Run, tmp_path: Path
) -> None:
    for label in ("UTC+10:00", "UTC+11:00"):
        write(tmp_path / label / "messages.html", [Html(1, NOON, MINT, label=label)])
    for lake, way in (("a", ("UTC+10:00", "UTC+11:00")), ("b", ("UTC+11:00", "UTC+10:00"))):
        for label in way:
            run("ingest", "telegram", str(tmp_path / label), "--chat-id", "5", lake=lake)
    assert calls(run, "a") == calls(run, "b")
    assert calls(run, "a")[0][2] == "2025-11-07T02:00:00Z"


def test_a_zone_that_is_given_for_one_export_wins_over_labels_asked_for_of_another(
    run: Run, tmp_path: Path
) -> None:
    one = write(tmp_path / "one" / "messages.html", SIMPLE)
    run("ingest", "telegram", str(one), "--chat-id", "5", "--timezone", "label")
    two = write(tmp_path / "two" / "messages.html", [*SIMPLE, Html(3, NOON + 70, "gm")])
    run("ingest", "telegram", str(two), "--chat-id", "5", "--timezone", "Europe/Berlin")
    assert [when for _, _, when, _ in calls(run)] == ["2025-11-07T11:00:00Z"]


def test_the_setting_is_what_nothing_else_was_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTLAB_TIMEZONE", "America/New_York")
    page = write(tmp_path / "export" / "messages.html", SIMPLE)
    run("ingest", "telegram", str(page), "--chat-id", "5")
    assert [when for _, _, when, _ in calls(run)] == ["2025-11-07T17:00:00Z"]
    page.with_name("messages.toml").write_text('timezone = "Europe/Berlin"\nchat_id = 6\n')
    run("ingest", "telegram", str(page), lake="beside")
    assert calls(run, "beside")[0][0::2] == (f"6:1:{MINT}", "2025-11-07T11:00:00Z")
    monkeypatch.setenv("QUANTLAB_TIMEZONE", "Mars/Olympus")
    assert "QUANTLAB_TIMEZONE" in run("ingest", "telegram", str(page), code=1)


def test_json_times_without_an_offset_are_read_by_a_zone(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    record = {"id": 1, "type": "message", "from": "x", "text": MINT}
    record |= {"date": "2025-11-07T12:00:00"}
    path.write_text(json.dumps({"name": "group", "id": 5, "messages": [record]}))
    assert "bad_date: 1" in run("ingest", "telegram", str(path), lake="auto", code=1)
    run("ingest", "telegram", str(path), "--timezone", "Europe/Berlin")
    assert [when for _, _, when, _ in calls(run)] == ["2025-11-07T11:00:00Z"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--timezone", "Mars/Olympus"], "IANA"),
        (["--timezone", "auto"], "--timezone"),
    ],
)
def test_a_clock_that_cannot_be_told_is_an_error(
    run: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    page = write(tmp_path / "export" / "messages.html", [Html(1, NOON, label=None)])
    assert message in run("ingest", "telegram", str(page), *arguments, code=1)
    assert not list((tmp_path / "lake").glob("inbox/telegram/*"))


def test_one_page_of_a_folder_is_that_page_and_that_is_said(run: Run, tmp_path: Path) -> None:
    first = write(tmp_path / "export" / "messages.html", SIMPLE)
    second = write(tmp_path / "export" / "messages2.html", [Html(3, NOON + 90, EVM)])
    found, said = run("ingest", "telegram", str(second), "--chat-id", "5", "--dry-run")
    assert (found["messages"]["seen"], found["files"][0]["pages"]) == (1, 1)
    assert "1 other pages of its folder are left out" in said
    found, _ = run("ingest", "telegram", str(first), str(second), "--chat-id", "5", "--dry-run")
    assert (found["messages"]["seen"], found["files"][0]["pages"]) == (3, 2)


def test_a_page_may_have_any_name(run: Run, tmp_path: Path) -> None:
    page = write(tmp_path / "my group.html", SIMPLE)
    run("ingest", "telegram", str(page), "--chat-id", "5")
    assert len(calls(run)) == 1
    [held] = (tmp_path / "lake").glob("inbox/telegram/*/*.html")
    assert held.name == "messages.html"


def test_a_page_that_is_none_stops_it_all(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "export" / "messages.html", SIMPLE)
    (tmp_path / "export" / "messages2.html").write_text("<html>")
    assert "messages2.html" in run("ingest", "telegram", str(tmp_path / "export"), code=1)


def test_what_cannot_be_read_can_be_retried(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = "<b>x</b> " * 40 + f"<code>{MINT}</code>"
    page = write(tmp_path / "export" / "messages.html", [Html(1, NOON, many), Html(2, NOON, "gm")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html_structure, "MAX_TAGS", 50)
        found, _ = run(
            "ingest", "telegram", str(page), "--chat-id", "5", "--timezone", "Europe/Berlin"
        )
    assert found["unreadable"] == [{"code": "unknown_shape", "count": 1}]
    [row], _ = run("quarantine", "list", "--rows")
    assert row["errorCode"] == "unknown_shape"
    shown, _ = run("quarantine", "show", row["id"])
    assert shown["text"].startswith('<div class="message default')
    [told], _ = run("quarantine", "retry")
    assert (told["outcome"], told["detail"]) == ("message", "5:1")
    assert calls(run) == [(f"5:1:{MINT}", MINT, "2025-11-07T11:00:00Z", "caller_01")]
    assert run("quarantine", "list")[0] == []
    # Ingesting again reads the same, and the quarantined record is found again only if it is one.
    run("ingest", "telegram", str(page))
    assert len(calls(run)) == 1

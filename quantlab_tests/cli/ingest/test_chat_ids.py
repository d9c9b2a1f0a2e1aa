"""`quantlab ingest telegram`: one chat under all forms of its id, from JSON, TOML and option."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from quantlab_tests.adapters.telegram.html.pages import Html, write
from quantlab_tests.domain.telegram.alerts.chat_log import MINT

Run = Callable[..., Any]
NOON = int(datetime(2025, 11, 7, 12, tzinfo=UTC).timestamp())


def export(path: Path, chat_id: int) -> str:
    record = {"id": 1, "type": "message", "from": "caller_01", "text": MINT}
    record |= {"date_unixtime": str(NOON)}
    path.write_text(json.dumps({"id": chat_id, "name": "g", "messages": [record]}))
    return str(path)


@pytest.mark.parametrize(
    ("first", "second"), [(-1001234567890, 1234567890), (-88, 88), (77, -1000000000077)]
)
def test_two_exports_with_two_forms_of_an_id_are_one_call(
    run: Run, tmp_path: Path, first: int, second: int
) -> None:
    run("ingest", "telegram", export(tmp_path / "a.json", first))
    run("ingest", "telegram", export(tmp_path / "b.json", second))
    [alert], _ = run("alerts", "list")
    assert alert["alertId"].startswith(f"{abs(min(first, second, key=abs))}:1:")


@pytest.mark.parametrize("form", ["-1001234567890", "1234567890", "channel1234567890"])
def test_pages_take_any_form(run: Run, tmp_path: Path, form: str) -> None:
    page = write(tmp_path / "pages" / "messages.html", [Html(1, NOON, MINT)])
    found, _ = run("ingest", "telegram", str(page), "--chat-id", form)
    assert found["files"][0]["chatId"] == 1234567890
    path = export(tmp_path / "a.json", 1234567890)
    run("ingest", "telegram", path, "--chat-id", form)
    alerts, _ = run("alerts", "list")
    assert len(alerts) == 1


def test_a_file_beside_pages_tells_any_form(run: Run, tmp_path: Path) -> None:
    page = write(tmp_path / "pages" / "messages.html", [Html(1, NOON, MINT)])
    (page.parent / "messages.toml").write_text('chat_id = "channel55"\n')
    found, _ = run("ingest", "telegram", str(page))
    assert found["files"][0]["chatId"] == 55


def test_what_is_no_id_is_refused(run: Run, tmp_path: Path) -> None:
    said = run("ingest", "telegram", export(tmp_path / "a.json", 5), "--chat-id", "g", code=2)
    assert "is no chat's id" in said

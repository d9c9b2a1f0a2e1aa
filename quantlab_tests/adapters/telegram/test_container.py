"""What a file is before it is read: dumps of other programs, JSON lines, UTF-16."""

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from quantlab_assets.adapters.telegram.container import check_container
from quantlab_assets.adapters.telegram.inbox import TelegramInbox
from quantlab_assets.domain.errors import ValidationFailed

RECORD = {"id": 7, "type": "message", "date_unixtime": "1762473600", "from": "Zoé", "text": "gm"}
TELETHON = {"_": "Message", "id": 3, "peer_id": {"_": "PeerChat", "chat_id": 9}, "message": "gm"}
BOT_API = {"message_id": 3, "from": {"id": 1}, "chat": {"id": 2}, "date": 1762473600, "text": "gm"}


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ([TELETHON] * 3, "a Telethon dump"),
        ({"messages": [TELETHON], "count": 1}, "a Telethon dump"),
        ([{"_": "Message", "id": 1, "sender_chat": {}, "text": "x"}], "a Pyrogram dump"),
        ({"messages": [{"_": "Message", "chat": {}}], "id": 5}, "a Pyrogram dump"),
        ({"@type": "messages", "total_count": 0, "messages": []}, "a TDLib dump"),
        ({"messages": [{"@type": "message", "id": 1}]}, "a TDLib dump"),
        ([BOT_API], "messages of the Bot API"),
        ({"ok": True, "messages": [BOT_API]}, "messages of the Bot API"),
        ([RECORD], "a list of messages without their chat"),
        ([1, 2], "a JSON list"),
        ({"messages": [{"sender_name": "Ann", "timestamp_ms": 1}]}, "of another program"),
        ({"messages": [{"author": {"id": "1"}, "content": "gm", "type": "Default"}]}, "another"),
    ],
)
def test_the_json_of_another_program_is_named(tmp_path: Path, document: Any, what: str) -> None:
    path = write(tmp_path / "dump.json", document)
    with pytest.raises(ValidationFailed, match=what) as refused:
        check_container(path)
    assert "export the chat with Telegram Desktop" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("records", [[RECORD, RECORD], [TELETHON, TELETHON], [{"a": 1}, {"a": 2}]])
def test_json_lines_are_named(tmp_path: Path, records: list[Any]) -> None:
    path = tmp_path / "lines.json"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    with pytest.raises(ValidationFailed, match=r"JSON lines|Telethon"):
        check_container(path)


@pytest.mark.parametrize(
    "document",
    [
        {"id": 1, "messages": [RECORD]},
        {"messages": [RECORD]},
        {"messages": [{"a": 1}, RECORD]},
        {"id": 1, "name": "g", "messages": [{"a": 1}]},
        {"id": 1, "messages": []},
        {"chats": {"list": [{"id": 1, "messages": [RECORD]}]}},
    ],
)
def test_an_export_passes_even_with_records_that_are_none(tmp_path: Path, document: Any) -> None:
    check_container(write(tmp_path / "result.json", document))


@pytest.mark.parametrize(
    "text",
    ["", "no json", '{"a": [{"b": ' * 9_000, '{"id": 1', '{"messages": [{"id": 1, "text": "\\x0'],
)
def test_what_is_no_json_is_left_to_the_reader(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    check_container(path)


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
    ],
)
def test_utf_16_reads_like_utf_8(tmp_path: Path, encoding: str, mark: bytes) -> None:
    text = json.dumps({"id": 5, "name": "g", "messages": [RECORD, {"id": 8}]}, ensure_ascii=False)
    inboxes = []
    for name, content in (("16", mark + text.encode(encoding)), ("8", text.encode())):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "result.json").write_bytes(content)
        inboxes.append(TelegramInbox(folder, tmp_path / "spool"))
    wide, plain = inboxes
    [export], [other] = wide.exports(), plain.exports()
    assert (export.records, export.unreadable) == (other.records, other.unreadable) == (2, 1)
    assert export.source.sha256 != other.source.sha256
    [day] = export.days
    [read], [as_before] = wide.read(day), plain.read(day)
    assert read.messages.equals(as_before.messages)
    assert read.messages["sender_name"].to_list() == ["Zoé"]
    assert wide.unreadable(export.source).equals(plain.unreadable(other.source))


def test_pages_in_utf_16_are_read(tmp_path: Path) -> None:
    page = """<html><body><div class="page_header"><div class="text bold">g</div></div>
<div class="history"><div class="message default clearfix" id="message1"><div class="body">
<div class="pull_right date details" title="07.11.2025 12:00:00 UTC+00:00">12:00</div>
<div class="from_name">Zoé</div><div class="text">gm</div></div></div></div></body></html>
"""
    (tmp_path / "messages.html").write_bytes(page.encode("utf-16"))
    inbox = TelegramInbox(tmp_path, tmp_path / ".spool")
    [export] = inbox.exports()
    [part] = inbox.read(export.days[0])
    assert part.messages["sender_name"].to_list() == ["Zoé"]

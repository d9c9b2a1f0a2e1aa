"""A folder of exports and its spool."""

import json
import os
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from quantlab_assets.adapters.telegram.inbox import TelegramInbox
from quantlab_assets.adapters.telegram.json import export as json_export
from quantlab_assets.domain.errors import StoreUnavailable, ValidationFailed
from quantlab_assets.domain.telegram.rules import load_rules

DAY = date(2025, 11, 7)


def put(path: Path, *ids: int, text: str = "gm") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [
        {"id": n, "type": "message", "date_unixtime": "1762514985", "from": "x", "text": text}
        for n in ids
    ]
    path.write_text(json.dumps({"id": 1, "messages": records}))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "telegram"


def ids(inbox: TelegramInbox) -> list[int]:
    return [n for part in inbox.read(DAY) for n in part.messages["message_id"]]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path, spool: Path) -> None:
    assert list(TelegramInbox(tmp_path / "nowhere", spool).exports()) == []


def test_subfolders_are_read_and_hidden_and_other_files_are_not(folder: Path, spool: Path) -> None:
    put(folder / "ChatExport_2025-11-09" / "result.json", 1)
    put(folder / ".partial.json", 2)
    (folder / "lists.html").write_text("<html>")
    assert ids(TelegramInbox(folder, spool)) == [1]


def test_an_export_is_parsed_once(
    folder: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder / "result.json", 1)
    assert ids(TelegramInbox(folder, spool)) == [1]

    def refuse(*_: Any) -> Any:
        raise AssertionError("parsed again")

    monkeypatch.setattr(json_export, "read_export", refuse)
    assert ids(TelegramInbox(folder, spool)) == [1]


def test_a_lost_spool_is_made_again(folder: Path, spool: Path) -> None:
    put(folder / "result.json", 1)
    inbox = TelegramInbox(folder, spool)
    assert ids(inbox) == [1]
    shutil.rmtree(spool)
    assert ids(inbox) == [1]


def test_a_changed_export_is_read_again(folder: Path, spool: Path) -> None:
    path = put(folder / "result.json", 1)
    inbox = TelegramInbox(folder, spool)
    before = inbox.exports()[0].source.sha256
    put(path, 1, 2)
    assert ids(inbox) == [1, 2]
    assert inbox.exports()[0].source.sha256 != before


def test_nothing_of_a_damaged_export_stays_behind(folder: Path, spool: Path) -> None:
    path = put(folder / "result.json", *range(100))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValidationFailed, match=r"result\.json"):
        TelegramInbox(folder, spool).exports()
    assert list(spool.iterdir()) == []


def test_a_spool_half_written_by_a_killed_process_is_not_used(folder: Path, spool: Path) -> None:
    put(folder / "result.json", 1)
    TelegramInbox(folder, spool).exports()
    [made] = list(spool.iterdir())
    (made / "index.json").unlink()
    (made / "messages.parquet").write_bytes(b"half")
    assert ids(TelegramInbox(folder, spool)) == [1]


def test_a_file_that_is_no_export_is_named(folder: Path, spool: Path) -> None:
    put(folder / "good.json", 1)
    (folder / "config.json").write_text('{"a": 1}')
    with pytest.raises(ValidationFailed, match=r"config\.json: not a Telegram export; expected"):
        TelegramInbox(folder, spool).read(DAY)


def test_a_record_too_large_to_be_a_message_costs_only_itself(folder: Path, spool: Path) -> None:
    put(folder / "result.json", 1, text="x" * 5000)
    [tight] = TelegramInbox(folder, spool, max_record_bytes=4000).exports()
    assert (tight.records, tight.unreadable) == (1, 1)
    [wide] = TelegramInbox(folder, spool, max_record_bytes=6000).exports()
    assert (wide.records, wide.unreadable) == (1, 0)


def test_other_rules_read_an_export_again(folder: Path, spool: Path) -> None:
    put(folder / "result.json", 1)

    def kinds(inbox: TelegramInbox) -> list[str]:
        return inbox.read(DAY)[0].messages["sender_kind"].to_list()

    assert kinds(TelegramInbox(folder, spool)) == ["human"]
    own = load_rules('senders.bots = ["X"]')
    assert kinds(TelegramInbox(folder, spool, rules=own)) == ["bot"]


def test_more_records_than_are_read_at_once_are_all_read(folder: Path, spool: Path) -> None:
    count = 45_000
    path = put(folder / "result.json", *range(count))

    assert len(list(json_export.read_export(path))) > 2
    assert ids(TelegramInbox(folder, spool)) == list(range(count))


def test_a_spool_that_cannot_be_written_is_said_so(folder: Path, tmp_path: Path) -> None:
    put(folder / "result.json", 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot write the spool"):
        TelegramInbox(folder, tmp_path / "file" / "spool").exports()


def test_a_file_that_changes_while_it_is_read_is_not_believed(
    folder: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(folder / "result.json", 1)
    real = json_export.read_export

    def interrupted(*arguments: Any, **options: Any) -> Any:
        yield from real(*arguments, **options)
        put(path, 1, 2)
        os.utime(path, (1, 1))

    monkeypatch.setattr(json_export, "read_export", interrupted)
    with pytest.raises(StoreUnavailable, match="changed while it was read"):
        TelegramInbox(folder, spool).exports()
    assert list(spool.iterdir()) == []

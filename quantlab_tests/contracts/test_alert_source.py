"""What every `AlertSource` does, over the in-memory one and over a folder of exports."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from quantlab_assets.adapters.telegram.inbox import TelegramInbox
from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.artifacts.seed_types import ALERTS_QUARANTINE
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.domain.telegram.frames import MESSAGES, frame_schema
from quantlab_assets.ports.alert_source import AlertSource
from quantlab_tests.adapters.telegram.html.pages import Html, page
from quantlab_tests.in_memory.alert_source import HeldExport, InMemoryAlertSource

CHAT = 5
SIXTH, SEVENTH = date(2025, 11, 6), date(2025, 11, 7)


@dataclass(frozen=True)
class Said:
    """One message of an export; without a time it is unreadable."""

    message_id: int
    text: str
    at: datetime | None


def at(day: int, hour: int = 12) -> datetime:
    return datetime(2025, 11, day, hour, tzinfo=UTC)


def as_json(messages: Sequence[Said]) -> bytes:
    records = [
        {
            "id": said.message_id,
            "type": "message",
            "from": "caller_01",
            "from_id": "user1",
            "text": said.text,
        }
        | ({} if said.at is None else {"date_unixtime": str(int(said.at.timestamp()))})
        for said in messages
    ]
    return json.dumps({"name": "group", "id": CHAT, "messages": records}).encode()


def source_of(content: bytes, name: str) -> SourceFile:
    digest = hashlib.sha256(content).hexdigest()
    return SourceFile(f"sha256:{digest}", name, len(content), "telegram_json")


def in_memory(_: Path, exports: dict[str, Sequence[Said]]) -> AlertSource:
    def row(said: Said) -> dict[str, Any]:
        return dict.fromkeys(MESSAGES) | {
            "chat_id": CHAT,
            "chat_name": "group",
            "message_id": said.message_id,
            "ts_utc": said.at,
            "sender_name": "caller_01",
            "sender_id": "user1",
            "sender_kind": "human",
            "is_service": False,
            "text": said.text,
            "entities_json": "[]",
            "ingest_source": "telegram_json",
        }

    def refused(said: Said) -> dict[str, Any]:
        return dict.fromkeys(frame_schema(ALERTS_QUARANTINE)) | {
            "chat_id": CHAT,
            "message_id": said.message_id,
            "error_code": "bad_date",
            "error_reason": "the record has no date",
        }

    return InMemoryAlertSource(
        [
            HeldExport(
                source_of(as_json(said), name),
                pl.DataFrame([row(one) for one in said if one.at], schema=MESSAGES),
                pl.DataFrame(
                    [refused(one) for one in said if not one.at],
                    schema=frame_schema(ALERTS_QUARANTINE),
                ),
            )
            for name, said in exports.items()
        ]
    )


def inbox(folder: Path, exports: dict[str, Sequence[Said]]) -> AlertSource:
    (folder / "inbox").mkdir()
    for name, said in exports.items():
        (folder / "inbox" / name).write_bytes(as_json(said))
    return TelegramInbox(folder / "inbox", folder / "spool")


def pages(folder: Path, exports: dict[str, Sequence[Said]]) -> AlertSource:
    """The same messages as HTML, each export a page in a folder of its own."""
    for name, said in exports.items():
        messages = [
            Html(each.message_id, 0 if each.at is None else int(each.at.timestamp()), each.text)
            for each in said
        ]
        text = page(messages)
        for each in said:
            if each.at is None:
                text = text.replace("01.01.1970 00:00:00 UTC+00:00", "never")
        path = folder / "inbox" / Path(name).stem / "messages.html"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.with_name("messages.toml").write_text(f"chat_id = {CHAT}")
    return TelegramInbox(folder / "inbox", folder / "spool")


Build = Callable[[dict[str, Sequence[Said]]], AlertSource]


@pytest.fixture(params=[in_memory, inbox, pages], ids=["in_memory", "inbox", "html"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    return lambda exports: request.param(tmp_path, exports)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """What an export's file is called, and what it is."""
    return "telegram_html" if "html" in request.node.callspec.id else "telegram_json"


def test_nothing_to_read_is_no_error(build: Build) -> None:
    source = build({})
    assert list(source.exports()) == []
    assert list(source.read(SEVENTH)) == []


def test_an_export_says_which_days_it_has_and_its_newest_time(build: Build, kind: str) -> None:
    said = [Said(1, "a", at(6)), Said(2, "b", at(7, 3)), Said(3, "c", at(7)), Said(4, "d", None)]
    [export] = build({"a.json": said}).exports()
    assert export.source.kind == kind
    assert export.source.name == ("a.json" if kind == "telegram_json" else "messages.html")
    assert export.files == (export.source,)
    assert export.days == (SIXTH, SEVENTH)
    assert export.newest_message_utc == at(7)
    assert (export.records, export.unreadable) == (4, 1)


def test_exports_come_by_hash(build: Build) -> None:
    source = build({f"{n}.json": [Said(n, "x", at(7))] for n in range(6)})
    hashes = [export.source.sha256 for export in source.exports()]
    assert hashes == sorted(hashes)
    assert [part.source.sha256 for part in source.read(SEVENTH)] == hashes


def test_the_same_export_twice_counts_once(build: Build) -> None:
    source = build({"a.json": [Said(1, "x", at(7))], "copy.json": [Said(1, "x", at(7))]})
    assert len(source.exports()) == 1
    assert len(source.read(SEVENTH)) == 1


def test_a_day_is_read_from_midnight_to_midnight_utc(build: Build) -> None:
    edge = [
        Said(1, "before", datetime(2025, 11, 6, 23, 59, 59, tzinfo=UTC)),
        Said(2, "first", at(7, 0)),
        Said(3, "last", datetime(2025, 11, 7, 23, 59, 59, tzinfo=UTC)),
        Said(4, "after", at(8, 0)),
    ]
    [part] = build({"a.json": edge}).read(SEVENTH)
    assert part.messages["text"].to_list() == ["first", "last"]


def test_messages_have_the_columns_of_their_type(build: Build, kind: str) -> None:
    [part] = build({"a.json": [Said(1, "x", at(7)), Said(2, "y", at(9))]}).read(SEVENTH)
    assert part.messages.schema == MESSAGES
    row = part.messages.row(0, named=True)
    assert (row["chat_id"], row["message_id"], row["ts_utc"]) == (CHAT, 1, at(7))
    assert (row["sender_name"], row["ingest_source"]) == ("caller_01", kind)
    assert row["seen_at_utc"] == at(9)


def test_an_export_without_the_day_brings_nothing(build: Build) -> None:
    source = build({"a.json": [Said(1, "x", at(6))], "b.json": [Said(2, "y", at(7))]})
    assert [part.messages["text"].to_list() for part in source.read(SEVENTH)] == [["y"]]


def test_reading_twice_reads_the_same(build: Build) -> None:
    source = build({"a.json": [Said(2, "x", at(7)), Said(1, "y", at(7))]})
    assert_frame_equal(source.read(SEVENTH)[0].messages, source.read(SEVENTH)[0].messages)
    assert source.exports() == source.exports()


def test_unreadable_records_are_told_with_a_code(build: Build) -> None:
    source = build({"a.json": [Said(1, "x", at(7)), Said(9, "y", None)]})
    rows = source.unreadable(source.exports()[0].source)
    assert rows.schema == frame_schema(ALERTS_QUARANTINE)
    assert rows.select("chat_id", "message_id", "error_code").rows() == [(CHAT, 9, "bad_date")]


def test_an_export_that_is_not_there_is_not_found(build: Build) -> None:
    with pytest.raises(NotFound, match=r"gone\.json"):
        build({}).unreadable(source_of(b"{}", "gone.json"))


def test_times_are_told_of_messages_that_an_export_has(build: Build) -> None:
    source = build({"a.json": [Said(1, "x", at(6)), Said(2, "y", at(7))]})
    wanted = pl.DataFrame({"chat_id": [CHAT, CHAT], "message_id": [2, 3]})
    assert source.times(wanted).rows() == [(CHAT, 2, at(7))]

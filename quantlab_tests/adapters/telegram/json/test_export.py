"""Reading one export: what becomes a message, what is refused as a record, what as a file."""

import base64
import json
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantlab_assets.adapters.telegram.json import rows
from quantlab_assets.adapters.telegram.json.decode import NOT_UTF8
from quantlab_assets.adapters.telegram.json.export import read_export, read_record
from quantlab_assets.adapters.telegram.json.rows import MAX_KEPT, MAX_TEXT, STAGED, UNREADABLE, Chat
from quantlab_assets.domain.errors import QuantlabError, ValidationFailed

PLAIN: dict[str, Any] = {
    "id": 7,
    "type": "message",
    "date": "2025-11-07T22:29:45",
    "date_unixtime": "1762514985",
    "from": "caller_05",
    "from_id": "user5",
    "text": "gm",
}


def export(path: Path, *records: Any, **header: Any) -> Path:
    chat = {"name": "group", "type": "private_supergroup", "id": 42} | header
    path.write_text(json.dumps(chat | {"messages": list(records)}), "utf-8")
    return path


def read(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    batches = list(read_export(path))
    return pl.concat([b.messages for b in batches]), pl.concat([b.unreadable for b in batches])


def message(path: Path, **fields: Any) -> dict[str, Any]:
    messages, unreadable = read(export(path / "result.json", PLAIN | fields))
    assert unreadable.is_empty(), unreadable
    return messages.row(0, named=True)


def refusal(path: Path, **fields: Any) -> tuple[str, str]:
    record = {key: value for key, value in (PLAIN | fields).items() if value is not ...}
    messages, unreadable = read(export(path / "result.json", record))
    assert messages.is_empty(), messages
    [row] = unreadable.rows(named=True)
    return row["error_code"], row["error_reason"]


class TestMessages:
    def test_a_plain_message(self, tmp_path: Path) -> None:
        row = message(tmp_path)
        assert (row["chat_id"], row["chat_name"], row["message_id"]) == (42, "group", 7)
        assert row["ts_utc"] == datetime(2025, 11, 7, 11, 29, 45, tzinfo=UTC)
        assert (row["sender_name"], row["sender_id"]) == ("caller_05", "user5")
        assert (row["sender_kind"], row["is_service"], row["text"]) == ("human", False, "gm")
        assert (row["entities_json"], row["edited_ts_utc"]) == ("[]", None)

    def test_unix_seconds_win_over_the_clock(self, tmp_path: Path) -> None:
        row = message(tmp_path, date="1999-01-01T00:00:00+10:00")
        assert row["ts_utc"].year == 2025

    def test_a_clock_with_an_offset_will_do(self, tmp_path: Path) -> None:
        row = message(tmp_path, date="2025-11-07T22:29:45+11:00", date_unixtime=None)
        assert row["ts_utc"] == datetime(2025, 11, 7, 11, 29, 45, tzinfo=UTC)

    def test_an_edit_has_its_time(self, tmp_path: Path) -> None:
        row = message(tmp_path, edited="2025-11-07T22:30:45", edited_unixtime="1762515045")
        assert row["edited_ts_utc"] == datetime(2025, 11, 7, 11, 30, 45, tzinfo=UTC)

    def test_old_exports_write_the_epoch_for_never_edited(self, tmp_path: Path) -> None:
        assert message(tmp_path, edited="1970-01-01T10:00:00")["edited_ts_utc"] is None
        assert message(tmp_path, edited_unixtime="0")["edited_ts_utc"] is None

    def test_text_in_parts_is_joined_and_its_entities_kept(self, tmp_path: Path) -> None:
        parts = ["see ", {"type": "text_link", "text": "this", "href": "https://a.example"}, "\r\n"]
        row = message(
            tmp_path, text=parts, text_entities=[{"type": "plain", "text": "see "}, *parts[1:2]]
        )
        assert row["text"] == "see this\r\n"
        assert json.loads(row["entities_json"]) == [parts[1]]

    def test_entities_come_from_the_text_where_there_are_none(self, tmp_path: Path) -> None:
        row = message(tmp_path, text=[{"type": "code", "text": "x"}])
        assert json.loads(row["entities_json"]) == [{"type": "code", "text": "x"}]

    def test_buttons_that_open_a_link_count_as_entities(self, tmp_path: Path) -> None:
        button = {"type": "url", "text": "Buy", "data": "https://a.example"}
        row = message(tmp_path, inline_bot_buttons=[[button, {"type": "callback"}], None])
        assert json.loads(row["entities_json"])[0]["href"] == "https://a.example"

    def test_who_was_first_is_kept_of_a_forward(self, tmp_path: Path) -> None:
        assert (
            message(tmp_path, forwarded_from="channel_01 💀")["forwarded_from"] == "channel_01 💀"
        )

    def test_a_reply_names_its_message(self, tmp_path: Path) -> None:
        assert message(tmp_path, reply_to_message_id=6)["reply_to_message_id"] == 6

    def test_a_reply_into_another_chat_names_none_of_this_one(self, tmp_path: Path) -> None:
        row = message(tmp_path, reply_to_message_id=6, reply_to_peer_id="channel3")
        assert row["reply_to_message_id"] is None

    def test_a_service_message_has_its_actor(self, tmp_path: Path) -> None:
        row = message(tmp_path, type="service", actor="caller_01", actor_id="user1", action="pin")
        assert (row["is_service"], row["sender_kind"], row["sender_name"]) == (
            True,
            "service",
            "caller_01",
        )

    def test_a_bare_number_is_a_user_as_old_exports_have_it(self, tmp_path: Path) -> None:
        assert message(tmp_path, from_id=123)["sender_id"] == "user123"

    def test_a_deleted_account_has_no_name(self, tmp_path: Path) -> None:
        assert message(tmp_path, **{"from": None})["sender_name"] is None

    def test_nul_never_joins_two_halves(self, tmp_path: Path) -> None:
        assert message(tmp_path, text="0x6d\x0066")["text"] == "0x6d�66"

    def test_lone_surrogates_become_text(self, tmp_path: Path) -> None:
        assert message(tmp_path, text="a\ud800b")["text"].startswith("a")

    def test_a_byte_order_mark_is_no_obstacle(self, tmp_path: Path) -> None:
        path = export(tmp_path / "result.json", PLAIN)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert read(path)[0].height == 1

    def test_the_chats_id_may_follow_its_messages(self, tmp_path: Path) -> None:
        path = tmp_path / "result.json"
        path.write_text(json.dumps({"messages": [PLAIN], "name": "late", "id": 43}))
        assert read(path)[0]["chat_id"].to_list() == [43]


class TestOtherText:
    """What a message says elsewhere than in its text is read like its text."""

    @pytest.mark.parametrize(
        ("fields", "text"),
        [
            (
                {"poll": {"question": "A?", "answers": [{"text": "yes"}, {"text": "no"}]}},
                "A?\nyes\nno",
            ),
            ({"poll": {"question": ["A ", {"type": "bold", "text": "b"}], "answers": 5}}, "A b"),
            ({"poll": {"question": None, "answers": [{"text": ["x", {"text": "y"}]}, 5]}}, "xy"),
            ({"todo_list": {"title": "Buy", "items": [{"id": 1, "text": "x"}]}}, "Buy\nx"),
            ({"todo_list": {"title": "Buy", "answers": ["x", {"text": "y"}]}}, "Buy\nx\ny"),
            ({"todo_list": {"tasks": [{"text": "y"}]}}, "y"),
            (
                {"invoice_information": {"title": "Pass", "description": "d", "amount": 5}},
                "Pass\nd",
            ),
            ({"inline_bot_buttons": [[{"type": "copy_text", "text": "CA", "data": "x"}]]}, "x"),
        ],
        ids=str,
    )
    def test_it_stands_below_the_text(
        self, tmp_path: Path, fields: dict[str, Any], text: str
    ) -> None:
        assert message(tmp_path, **fields)["text"] == f"gm\n{text}"
        assert message(tmp_path, text="", **fields)["text"] == text

    def test_a_link_in_a_task_is_a_link(self, tmp_path: Path) -> None:
        link = {"type": "text_link", "text": "this", "href": "https://a.example"}
        row = message(tmp_path, todo_list={"title": "Buy", "items": [{"text": ["see ", link]}]})
        assert json.loads(row["entities_json"]) == [link]

    @pytest.mark.parametrize("kind", ["url", "web_view", "simple_web_view", "auth", "login_url"])
    def test_a_button_that_opens_a_link(self, tmp_path: Path, kind: str) -> None:
        button = {"type": kind, "text": "Buy", "data": "https://a.example"}
        row = message(tmp_path, inline_bot_buttons=[[button]])
        assert json.loads(row["entities_json"])[0]["href"] == "https://a.example"

    @pytest.mark.parametrize("kind", ["callback", "switch_inline", {}, None])
    def test_what_a_button_tells_only_its_bot_is_no_text(self, tmp_path: Path, kind: Any) -> None:
        row = message(tmp_path, inline_bot_buttons=[[{"type": kind, "text": "x", "data": "y"}]])
        assert (row["text"], row["entities_json"], row["has_buttons"]) == ("gm", "[]", True)

    @pytest.mark.parametrize("name", ["poll", "todo_list", "invoice_information"])
    def test_of_an_odd_shape_it_costs_nothing(self, tmp_path: Path, name: str) -> None:
        [batch] = read_export(export(tmp_path / "result.json", PLAIN | {name: ["x"]}))
        assert (batch.messages["text"].to_list(), batch.dropped) == (["gm"], {name: 1})


class TestUnsupported:
    """A message that the exporting Telegram Desktop could not read is one without text."""

    def test_it_has_the_time_of_the_message_before_else_of_the_first(self, tmp_path: Path) -> None:
        records: list[dict[str, Any]] = [
            {"id": 1, "type": "unsupported"},
            {"id": 2, "type": "unsupported", "from": "Ann"},
            PLAIN,
            PLAIN | {"id": 8, "date_unixtime": "1762514999"},
            {"id": 9, "type": "unsupported"},
            {"id": 10, "type": "unsupported", "date_unixtime": "1762515000"},
        ]
        messages, unreadable = read(export(tmp_path / "result.json", *records))
        assert unreadable.is_empty()
        seconds = messages.select("message_id", pl.col("ts_utc").dt.epoch("s")).rows()
        first, second = 1762514985, 1762514999
        assert sorted(seconds) == [
            (1, first),
            (2, first),
            (7, first),
            (8, second),
            (9, second),
            (10, 1762515000),
        ]
        by_id = messages.sort("message_id")
        assert by_id["text"].to_list() == ["", "", "gm", "gm", "", ""]
        assert not by_id["is_service"].any()

    def test_where_no_message_tells_a_time_it_is_quarantined(self, tmp_path: Path) -> None:
        chats = [
            {"id": 1, "messages": [{"id": 1, "type": "unsupported"}]},
            {"id": 2, "messages": [{"id": 1, "type": "unsupported"}, PLAIN]},
        ]
        path = tmp_path / "result.json"
        path.write_text(json.dumps({"chats": {"list": chats}}))
        messages, unreadable = read(path)
        assert messages.select("chat_id", "message_id").sort("message_id").rows() == [
            (2, 1),
            (2, 7),
        ]
        assert unreadable.select("chat_id", "error_code").rows() == [(1, "bad_date")]


class TestSideFields:
    """What a message can do without never costs it: a value that none has is dropped, counted."""

    @pytest.mark.parametrize(
        ("field", "column"),
        [
            ("from", "sender_name"),
            ("from_id", "sender_id"),
            ("forwarded_from", "forwarded_from"),
            ("author", "author"),
            ("via_bot", "via_bot"),
        ],
    )
    @pytest.mark.parametrize("value", [True, 1.5, {"user_id": 4}, ["user1"], 10**30], ids=str)
    def test_a_name_or_id_of_another_type(
        self, tmp_path: Path, field: str, column: str, value: Any
    ) -> None:
        [batch] = read_export(export(tmp_path / "result.json", PLAIN | {field: value}))
        [row] = batch.messages.rows(named=True)
        assert (row[column], row["text"], batch.dropped) == (None, "gm", {field: 1})

    @pytest.mark.parametrize("value", ["7", 7.5, {}, [7], True, 10**30], ids=str)
    def test_a_reply_to_what_is_no_id(self, tmp_path: Path, value: Any) -> None:
        path = export(tmp_path / "result.json", PLAIN | {"reply_to_message_id": value})
        [batch] = read_export(path)
        assert batch.messages["reply_to_message_id"].to_list() == [None]
        assert batch.dropped == {"reply_to_message_id": 1}

    @pytest.mark.parametrize(
        "fields",
        [
            {"edited_unixtime": "1700000000"},
            {"edited_unixtime": "soon"},
            {"edited_unixtime": {}},
            {"edited_unixtime": 10**15},
            {"edited": "yesterday"},
            {"edited": 5},
            {"edited": "2025-11-07T22:00:00"},
        ],
        ids=str,
    )
    def test_an_impossible_edit(self, tmp_path: Path, fields: dict[str, Any]) -> None:
        [batch] = read_export(export(tmp_path / "result.json", PLAIN | fields))
        assert batch.messages["edited_ts_utc"].to_list() == [None]
        assert batch.dropped == {"edited": 1}

    def test_an_edit_without_a_zone_goes_by_the_clock_that_showed_the_posting(
        self, tmp_path: Path
    ) -> None:
        row = message(tmp_path, edited="2025-11-07T22:30:45")
        assert row["edited_ts_utc"] == datetime(2025, 11, 7, 11, 30, 45, tzinfo=UTC)

    @pytest.mark.parametrize("value", [5, "x", {"a": 1}, [1], [[5], "x"]], ids=str)
    def test_buttons_that_are_none_make_nobody_a_bot(self, tmp_path: Path, value: Any) -> None:
        path = export(tmp_path / "result.json", PLAIN | {"inline_bot_buttons": value})
        [batch] = read_export(path)
        assert batch.messages["has_buttons"].to_list() == [False]
        assert batch.dropped == {"inline_bot_buttons": 1}

    @pytest.mark.parametrize("value", [None, 5, {}, [[]], "x"], ids=str)
    def test_reactions_of_any_shape_are_some(self, tmp_path: Path, value: Any) -> None:
        assert message(tmp_path, reactions=value)["has_reactions"]

    @pytest.mark.parametrize("value", ["x", [5], [None], [{"type": {}, "text": "x"}], {"a": 1}])
    def test_entities_that_are_none_leave_those_of_the_text(
        self, tmp_path: Path, value: Any
    ) -> None:
        parts = ["a ", {"type": "text_link", "text": "b", "href": "https://a.example"}]
        path = export(tmp_path / "result.json", PLAIN | {"text": parts, "text_entities": value})
        [batch] = read_export(path)
        [row] = batch.messages.rows(named=True)
        assert (row["text"], json.loads(row["entities_json"])) == ("a b", parts[1:])
        assert batch.dropped == {"text_entities": 1}

    def test_a_part_of_text_without_a_type_is_text(self, tmp_path: Path) -> None:
        row = message(tmp_path, text=[{"text": "no type"}])
        assert (row["text"], row["entities_json"]) == ("no type", "[]")


class TestAccounts:
    def test_every_chat_of_an_account_is_read_under_its_own_id(self, tmp_path: Path) -> None:
        def chat(number: int) -> dict[str, Any]:
            return {"name": f"c{number}", "id": number, "messages": [PLAIN, 5, [PLAIN]]}

        path = tmp_path / "result.json"
        account = {
            "about": "x",
            "contacts": {"list": [{"id": 9, "name": "no chat"}]},
            "chats": {"list": [chat(1), {"id": 3, "messages": []}, chat(-2)]},
            "left_chats": {"list": [chat(4), {"messages": [PLAIN]}]},
        }
        path.write_text(json.dumps(account))
        messages, unreadable = read(path)
        assert messages.select("chat_id", "chat_name").rows() == [(1, "c1"), (2, "c-2"), (4, "c4")]
        assert unreadable["error_code"].to_list().count("missing_id") == 1
        assert unreadable["error_code"].to_list().count("unknown_shape") == 6


class TestRefusedRecords:
    @pytest.mark.parametrize("value", [..., None, "7", 7.5, True, [], {}])
    def test_missing_id(self, tmp_path: Path, value: Any) -> None:
        assert refusal(tmp_path, id=value)[0] == "missing_id"

    @pytest.mark.parametrize(
        "value",
        ["", "abc", "1e9", "--5", "²", True, 1.5, [], "99999999999", -1, "0", 10**18, "9" * 40],
    )
    def test_bad_date(self, tmp_path: Path, value: Any) -> None:
        assert refusal(tmp_path, date_unixtime=value)[0] == "bad_date"

    @pytest.mark.parametrize(
        "value",
        [
            ...,
            "2025-11-07T22:29:45",
            "yesterday",
            5,
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
        ],
    )
    def test_a_clock_alone_needs_an_offset(self, tmp_path: Path, value: Any) -> None:
        assert refusal(tmp_path, date=value, date_unixtime=...)[0] == "bad_date"

    @pytest.mark.parametrize(
        "fields",
        [
            {"type": "unknown"},
            {"type": ...},
            {"type": ["message"]},
            {"text": None},
            {"text": 5},
            {"text": {"text": "x"}},
            {"text": ["a", 5]},
            {"text": [{"type": "bold"}]},
            {"text": [{"type": "bold", "text": ["x"]}]},
        ],
        ids=str,
    )
    def test_unknown_shape(self, tmp_path: Path, fields: dict[str, Any]) -> None:
        assert refusal(tmp_path, **fields)[0] == "unknown_shape"

    @pytest.mark.parametrize("record", [None, 5, "x", [], [PLAIN], True, 1.5])
    def test_a_record_that_is_no_object(self, tmp_path: Path, record: Any) -> None:
        _, unreadable = read(export(tmp_path / "result.json", record, PLAIN))
        assert unreadable["error_code"].to_list() == ["unknown_shape"]

    def test_an_oversized_text(self, tmp_path: Path) -> None:
        code, _ = refusal(tmp_path, text="x" * (MAX_TEXT + 1))
        assert code == "oversized_text"

    def test_a_chat_without_an_id(self, tmp_path: Path) -> None:
        _, unreadable = read(export(tmp_path / "result.json", PLAIN, id="group"))
        assert unreadable["error_code"].to_list() == ["missing_id"]

    def test_the_bytes_of_the_record_are_kept_as_they_were(self, tmp_path: Path) -> None:
        raw = b'{"id" : null,\n "type":"message", "from":"caller_05","date_unixtime":"1762514985" }'
        path = tmp_path / "result.json"
        path.write_bytes(b'{"id": 42, "messages": [ ' + raw + b" , {}]}")
        row = read(path)[1].row(0, named=True)
        assert row["text"].encode() == raw
        assert (row["chat_id"], row["sender_name"]) == (42, "caller_05")
        assert row["ts_utc"] == datetime(2025, 11, 7, 11, 29, 45, tzinfo=UTC)

    @pytest.mark.parametrize(
        "raw",
        [
            b'{"text": "\xff\xfe"}',
            b'{"text": NaN}',
            b'{"text": "a\x01b"}',
            b'{"id": ' + b"1" * 5000 + b"}",
            b'{"a": 1,}',
            b"[}",
            b'{"a" 1}',
        ],
    )
    def test_a_record_that_is_no_json_is_refused_alone(self, tmp_path: Path, raw: bytes) -> None:
        path = tmp_path / "result.json"
        whole = json.dumps(PLAIN).encode()
        path.write_bytes(b'{"id": 42, "messages": [%b, %b, %b]}' % (whole, raw, whole))
        messages, unreadable = read(path)
        assert messages.height == 2
        row = unreadable.row(0, named=True)
        assert row["error_code"] == "bad_json"
        kept = row["text"]
        if kept.startswith(NOT_UTF8):
            assert base64.b64decode(kept.removeprefix(NOT_UTF8)) == raw
        else:
            assert kept.encode() == raw

    @pytest.mark.parametrize("depth", [100, 900, 50_000])
    def test_deep_nesting_costs_one_record(self, tmp_path: Path, depth: int) -> None:
        deep = json.dumps(PLAIN).removesuffix("}") + ', "text": ' + "[" * depth + "]" * depth + "}"
        path = tmp_path / "result.json"
        path.write_text('{"id": 42, "messages": [' + deep + "," + json.dumps(PLAIN) + "]}")
        messages, unreadable = read(path)
        assert (messages.height, unreadable["error_code"].to_list()) == (1, ["unknown_shape"])

    def test_an_oversized_record_costs_one_record(self, tmp_path: Path) -> None:
        path = export(tmp_path / "result.json", PLAIN | {"text": "x" * 5000}, PLAIN)
        batches = list(read_export(path, max_record_bytes=4000))
        [row] = batches[0].unreadable.rows(named=True)
        assert (row["error_code"], batches[0].messages.height) == ("oversized_record", 1)
        assert "bytes; no message is that large; only" not in row["error_reason"]
        account = tmp_path / "account.json"
        record = PLAIN | {"text": "x" * 5000}
        account.write_text(
            json.dumps({"chats": {"list": [{"id": 1, "messages": [record, PLAIN]}]}})
        )
        batches = list(read_export(account, max_record_bytes=4000))
        assert batches[0].unreadable["error_code"].to_list() == ["oversized_record"]
        assert batches[0].messages.height == 1

    def test_what_is_kept_has_a_limit_that_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rows, "MAX_KEPT", 50)
        monkeypatch.setattr(rows, "MAX_KEPT_IN_ALL", 60)
        monkeypatch.setattr(rows, "MAX_KEPT_AFTER", 10)
        path = export(tmp_path / "result.json", *[{"text": "é" * 40}] * 3)
        kept = read(path)[1]
        assert [len(text.encode()) for text in kept["text"]] == [50, 50, 10]
        assert "only its first 10 bytes of 252 are kept" in kept["error_reason"][2]

    def test_a_kept_record_can_be_read_again(self, tmp_path: Path) -> None:
        raw = read(export(tmp_path / "result.json", PLAIN, id="x"))[1]["text"][0]
        batch = read_record(Chat(42, None), raw.encode())
        assert batch.messages["message_id"].to_list() == [7]

    def test_one_bad_record_does_not_cost_the_others(self, tmp_path: Path) -> None:
        messages, unreadable = read(
            export(tmp_path / "result.json", PLAIN, None, PLAIN | {"id": 8})
        )
        assert (messages["message_id"].to_list(), unreadable.height) == ([7, 8], 1)


class TestRefusedFiles:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"null",
            b"[]",
            b"{}",
            b'{"messages": 5}',
            b'{"messages": {"a": 1}}',
            b'{"chats": {"list": 5}}',
            b"hello",
            b"\x00\x01\x02",
            b'{"name": "x", "id": 1}',
            b"<html></html>",
        ],
    )
    def test_what_is_no_export_is_refused_in_one_line(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "strange.json"
        path.write_bytes(content)
        with pytest.raises(ValidationFailed) as refused:
            read(path)
        assert "strange.json" in str(refused.value)
        assert "Telegram Desktop" in str(refused.value)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize("cut", [1, 2, 30, 100])
    def test_a_truncated_file_is_refused(self, tmp_path: Path, cut: int) -> None:
        path = export(tmp_path / "result.json", *[PLAIN | {"id": n} for n in range(5)])
        path.write_bytes(path.read_bytes()[:-cut])
        with pytest.raises(ValidationFailed, match=r"result\.json.*cut-off"):
            read(path)

    @pytest.mark.parametrize(
        "damage",
        [
            b"\xff",
            b"NaN",
            b"{",
            b"}",
            b'"\x01"',
            b"1" * 5000,
            b"9223372036854775808",
            b"1e999",
            b"]]]]",
            b'{"a":1} {"b":2}',
        ],
    )
    def test_damaged_json_is_refused(self, tmp_path: Path, damage: bytes) -> None:
        path = tmp_path / "result.json"
        path.write_bytes(b'{"id": 1, "messages": [' + damage + b"]}")
        with pytest.raises(ValidationFailed) as refused:
            read(path)
        assert "\n" not in str(refused.value)

    def test_endless_nesting_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "deep.json"
        path.write_bytes(b'{"messages":[' + b'{"a":[' * 2_000_000)
        with pytest.raises(ValidationFailed, match=r"deep\.json.*cut-off"):
            read(path)
        path.write_bytes(b'{"a":[' * 2_000_000)
        with pytest.raises(ValidationFailed, match=r"deep\.json.*cut-off"):
            read(path)

    def test_brackets_in_text_are_no_nesting(self, tmp_path: Path) -> None:
        text = '[{"' * 100 + "\\"
        path = export(tmp_path / "result.json", PLAIN | {"text": text}, PLAIN | {"text": '"\\'})
        assert read(path)[0]["text"].to_list() == [text, '"\\']


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**63, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
RECORDS = st.one_of(
    JSON,
    st.dictionaries(st.sampled_from([*PLAIN, "edited", "text_entities", "action"]), JSON).map(
        lambda odd: PLAIN | odd
    ),
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(RECORDS, max_size=4), JSON, JSON)
def test_no_record_can_make_the_reading_fail(
    tmp_path: Path, records: list[Any], chat_id: Any, name: Any
) -> None:
    path = export(tmp_path / "result.json", *records, id=chat_id, name=name)
    messages, unreadable = read(path)
    assert messages.height + unreadable.height == len(records)
    assert messages.schema == STAGED
    assert unreadable.schema == UNREADABLE


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_no_damage_to_a_file_escapes_as_anything_but_a_clear_error(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = export(
        tmp_path / "result.json", PLAIN, PLAIN | {"text": [{"type": "code", "text": "x"}]}
    )
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(bytes(content))
    with suppress(QuantlabError):
        read(path)


@pytest.mark.nightly
def test_a_message_of_100_mb_costs_only_itself_and_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    whole = json.dumps(PLAIN).encode()
    with path.open("wb") as file:
        file.write(b'{"id": 42, "messages": [' + whole + b', {"id": 8, "text": "')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'"}, ' + whole + b"]}")
    tracemalloc.start()
    try:
        messages, unreadable = read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (messages.height, unreadable["error_code"].to_list()) == (2, ["oversized_record"])
    assert len(unreadable["text"][0]) == MAX_KEPT
    assert peak < 150 << 20

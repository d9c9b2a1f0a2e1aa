"""The fast way of decoding a record and the thorough one give the same row, whatever it holds."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from quantlab_assets.adapters.telegram.json import decode
from quantlab_assets.adapters.telegram.json.decode import compact_json
from quantlab_assets.adapters.telegram.json.export import read_record
from quantlab_assets.adapters.telegram.json.rows import Chat
from quantlab_assets.sample import sample_path

CHAT = Chat(7, "group")

words = st.text(st.characters(), max_size=8) | st.sampled_from(["\ud800", "\x00", "👍", "a\\b"])
anything = st.none() | st.booleans() | st.integers() | st.floats() | words | st.lists(words)
entities = st.fixed_dictionaries(
    {"type": st.sampled_from(["plain", "text_link", "mention"]) | anything, "text": words},
    optional={"href": words | anything, "user_id": anything},
)
parts = st.lists(words | entities | anything, max_size=4)
records = st.fixed_dictionaries(
    {"id": st.integers(1, 9), "type": st.just("message"), "date_unixtime": st.just("1762473600")},
    optional={
        "from": words | st.none(),
        "from_id": st.sampled_from(["user1", 1, None]),
        "text": words | parts,
        "text_entities": st.lists(entities, max_size=4) | anything,
        "reply_to_message_id": st.integers(1, 9) | anything,
        "edited_unixtime": st.sampled_from(["1762473601", "0", 1762473601]),
        "poll": st.fixed_dictionaries({"question": words | parts, "answers": parts}) | anything,
        "todo_list": st.fixed_dictionaries({"title": words | parts, "items": parts}) | anything,
        "reactions": st.recursive(anything, lambda inner: st.lists(inner, max_size=2)),
    },
)


def refuse(text: str) -> Any:
    raise msgspec.DecodeError("not this time")


def same_both_ways(record: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = read_record(CHAT, record)
    with monkeypatch.context() as patched:
        patched.setattr(decode, "decode_usual", refuse)
        thorough = read_record(CHAT, record)
    assert_frame_equal(usual.messages, thorough.messages)
    assert_frame_equal(usual.unreadable, thorough.unreadable)


@settings(max_examples=200, deadline=None)
@given(records, st.booleans())
def test_any_record(record: dict[str, Any], escaped: bool) -> None:
    text = json.dumps(record, ensure_ascii=escaped)
    with pytest.MonkeyPatch.context() as monkeypatch:
        same_both_ways(text.encode("utf-8", "surrogatepass"), monkeypatch)


def test_every_record_of_the_sample_is_a_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = json.loads((sample_path() / "telegram" / "result.json").read_text("utf-8"))
    for record in sample["messages"]:
        text = json.dumps(record, ensure_ascii=False, indent=1)
        assert decode.decode_usual(text)["id"] == record["id"]
        same_both_ways(text.encode(), monkeypatch)


def test_entities_are_stored_as_json_writes_them() -> None:
    text = "".join(map(chr, [*range(0x80), 0x2028, 0xFFFD, 0x1F600])) + '"\\/'
    told = [{"type": "bold", "text": text}, {"type": "link", "text": "", "href": text}]
    assert compact_json(told) == json.dumps(told, ensure_ascii=False, separators=(",", ":"))

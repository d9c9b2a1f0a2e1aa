"""The two faults of Telegram Desktop's own JSON are mended, in records and around them."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_assets.adapters.telegram.json import export as json_export
from quantlab_assets.adapters.telegram.json.export import read_export, read_record
from quantlab_assets.adapters.telegram.json.repair import StreamRepair, repaired
from quantlab_assets.adapters.telegram.json.rows import Batch, Chat

CHAT = Chat(7, "group")
BARE = [
    "video_files/clip.mp4",
    "photos/photo_1@07-11-2025_22-29-45.jpg",
    "files/a report (2), final [v1].pdf_thumb.jpg",
    "chats/chat_001/round_video_messages/é: 2.mp4",
    "(File not included. Change data exporting settings to download.)",
]


def record(field: str, text: str = '"gm"') -> bytes:
    head = '{"id": 7, "type": "message", "date_unixtime": "1762514985", "from_id": "user1"'
    return f'{head},{field} "text": {text}}}'.encode()


def read(path: Path) -> Batch:
    batches = list(read_export(path))
    return Batch(
        pl.concat([batch.messages for batch in batches]),
        pl.concat([batch.unreadable for batch in batches]),
        sum(batch.repaired for batch in batches),
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r'"a\x0Bb"', "a\vb"),
        (r'"\x1f"', "\x1f"),
        (r'"a\x00b"', "a\N{REPLACEMENT CHARACTER}b"),
        (r'"\\x0B and \\\x0C"', "\\x0B and \\\f"),
        (r'["x\x01", {"type": "code", "text": "\x7F"}]', "x\x01\x7f"),
    ],
)
def test_an_escape_that_json_does_not_know(written: str, meant: str) -> None:
    batch = read_record(CHAT, record("", written))
    assert (batch.messages["text"].to_list(), batch.repaired) == ([meant], 1)


@pytest.mark.parametrize("path", BARE)
@pytest.mark.parametrize("space", ["", " ", "\n   "])
def test_a_path_without_quotes(path: str, space: str) -> None:
    batch = read_record(CHAT, record(f' "thumbnail":{space}{path}{space},{space}'))
    assert (batch.messages["text"].to_list(), batch.repaired) == (["gm"], 1)
    last = record("").removesuffix(b"}") + f', "file": {path}{space}}}'.encode()
    assert read_record(CHAT, last).repaired == 1


def test_an_address_beside_the_fault_is_what_it_was() -> None:
    address = "CbTkD1zuLMbHoaewfomCkgAypSL7ZFHK4QHz6xGkV7hC"
    text = rf'"see \x0B\"{address}\": video_files/x.mp4, \"y"'
    row = read_record(CHAT, record(' "file": video_files/y.mp4,', text)).messages.row(0, named=True)
    assert row["text"] == f'see \v"{address}": video_files/x.mp4, "y'


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"id": 7, "text": "\xE9"}',
        rb'{"id": 7, "text": "\x1"}',
        rb'{"id": 7, "text": "\q\x0B"}',
        b'{"id": 7, "file": clip.mp4}',
        b'{"id": 7, "file": video_files/a"b.mp4}',
        b'{"id": 7, "file": video_files/a.mp4 "text": ""}',
    ],
)
def test_any_other_fault_stays_one_and_its_bytes_are_kept(raw: bytes) -> None:
    [row] = read_record(CHAT, raw).unreadable.rows(named=True)
    assert (row["error_code"], row["text"].encode()) == ("bad_json", raw)


def test_a_repaired_record_that_is_no_message_is_kept_as_it_stood() -> None:
    raw = record("", r'"a\x0Bb"').replace(b'"id": 7', b'"id": null')
    [row] = read_record(CHAT, raw).unreadable.rows(named=True)
    assert (row["error_code"], row["text"].encode()) == ("missing_id", raw)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_around_the_records_of_a_chat(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_export, "_CHUNK", size)
    path = tmp_path / "result.json"
    path.write_bytes(
        b'{"name": "Gr\\x0Bup", "photo": photos/me.jpg, "id": 42,\n "messages": ['
        + b",".join([record("")] * 3)
        + b'], "draft": "\\x01", "sticker": files/a, b.webp\n}'
    )
    batch = read(path)
    assert batch.messages.select("chat_id", "chat_name").unique().rows() == [(42, "Gr\vup")]
    assert (batch.messages.height, batch.unreadable.height, batch.repaired) == (3, 0, 0)


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_around_the_chats_of_an_account(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_export, "_CHUNK", size)
    path = tmp_path / "result.json"
    chats = b'{"list": [{"name": "\\x1Fx", "id": 1, "messages": [' + record("") + b"]}]}"
    path.write_bytes(
        b'{"personal_information": {"bio": "\\x0B"}, "profile_pictures": '
        b'[{"photo": profile_pictures/p.jpg}], "chats": '
        + chats
        + b', "left_chats": '
        + chats
        + b"}"
    )
    batch = read(path)
    assert batch.messages["chat_name"].to_list() == ["\x1fx"] * 2


WORDS = st.text(st.sampled_from('a\\"x0B:/,{}[] \n'), max_size=12)
VALUES: Any = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(VALUES, st.sampled_from([None, 1]), st.integers(1, 30))
def test_what_is_json_stays_as_it_is(value: Any, indent: int | None, size: int) -> None:
    text = json.dumps(value, indent=indent).encode()
    assert repaired(text) == text
    stream = StreamRepair()
    parts = [stream.feed(text[at : at + size]) for at in range(0, len(text), size)]
    assert b"".join(parts) + stream.close() == text


@settings(deadline=None)
@given(st.lists(st.sampled_from([*BARE, '"\\x0B"', '"a"', "null", "{}", "[5]"])), st.integers(1, 9))
def test_pieces_are_mended_like_the_whole(values: list[str], size: int) -> None:
    text = ("{" + ", ".join(f'"k{n}": {value}' for n, value in enumerate(values)) + "}").encode()
    stream = StreamRepair()
    parts = [stream.feed(text[at : at + size]) for at in range(0, len(text), size)]
    whole = b"".join(parts) + stream.close()
    assert whole == repaired(text)
    assert len(json.loads(whole)) == len(values)

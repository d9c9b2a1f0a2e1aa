"""Cutting a JSON text into records and skeleton, whatever the chunks."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_assets.adapters.telegram.json.structure import (
    ACCOUNT_LEVEL,
    CHAT_LEVEL,
    Oversized,
    Record,
    RecordSplitter,
)

LIMITS: dict[str, int] = {"max_bytes": 1 << 20, "kept_bytes": 100}


def cut(text: bytes, size: int, level: int = CHAT_LEVEL) -> tuple[bytes, list[Record]]:
    splitter = RecordSplitter(level, **LIMITS)
    parts = [splitter.feed(text[at : at + size]) for at in range(0, len(text), size)]
    return b"".join(part for part, _ in parts), [record for _, found in parts for record in found]


TEXT = st.text(st.sampled_from('a"\\{}[]é\n,:'), max_size=12)
VALUES = st.recursive(
    TEXT | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(TEXT, VALUES, max_size=3), max_size=5),
    st.dictionaries(TEXT, TEXT, max_size=2),
    st.integers(1, 40),
    st.sampled_from([None, 1]),
)
def test_records_are_the_bytes_between_their_brackets(
    records: list[Any], header: dict[str, str], size: int, indent: int | None
) -> None:
    document = {"name": header.get("name"), "messages": records}
    text = json.dumps(document, indent=indent, ensure_ascii=False).encode()
    skeleton, found = cut(text, size)
    assert [json.loads(record) for record in found if isinstance(record, bytes)] == records
    assert json.loads(skeleton) == document | {"messages": [{} for _ in records]}
    pieces = skeleton.split(b"{}")
    assert text == b"".join(
        piece + (found[n] if n < len(found) else b"")  # type: ignore[operator]
        for n, piece in enumerate(pieces)
    )


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_records_of_an_account_lie_deeper(size: int) -> None:
    chats = [{"id": n, "messages": [{"id": 1, "a": [{"b": 2}]}, {"id": 2}]} for n in range(2)]
    text = json.dumps({"about": {"x": [1]}, "chats": {"list": chats}}).encode()
    skeleton, found = cut(text, size, ACCOUNT_LEVEL)
    assert [json.loads(r)["id"] for r in found if isinstance(r, bytes)] == [1, 2, 1, 2]
    assert json.loads(skeleton)["about"] == {"x": [1]}


@pytest.mark.parametrize("size", [1, 64, 10_000])
def test_an_oversized_record_is_counted_and_its_head_kept(size: int) -> None:
    small = {"max_bytes": 500, "kept_bytes": 100}
    splitter = RecordSplitter(CHAT_LEVEL, **small)
    text = b'{"messages": [{"text": "' + b"x" * 5000 + b'"}, {"id": 1}]}'
    found = [
        record
        for at in range(0, len(text), size)
        for record in splitter.feed(text[at : at + size])[1]
    ]
    assert found == [Oversized(b'{"text": "' + b"x" * 90, 5012), b'{"id": 1}']

"""Telegram Desktop's JSON export, of one chat or of a whole account, streamed record by record.

The file is cut into records and the skeleton around them (`structure`). The skeleton goes through a
streaming parser, which refuses a file that is no JSON, no export, or cut off, as a whole. Each
record is decoded by itself: it becomes a row of `telegram_messages`, or a row of
`alerts_quarantine` with its original bytes and a code that says why it could not be read. Nothing
in a record can make the reading fail, or cost the records around it. See docs/alerts.md.

The skeleton's numbers are read with `use_float`: without it ijson's C backend crashes the process
on an integer of more digits than Python converts.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import ijson

from quantlab_assets.adapters.telegram.json.decode import Scalar, clean
from quantlab_assets.adapters.telegram.json.repair import StreamRepair
from quantlab_assets.adapters.telegram.json.rows import MAX_KEPT, Batch, Chat, Rows
from quantlab_assets.adapters.telegram.json.structure import (
    ACCOUNT_LEVEL,
    CHAT_LEVEL,
    Record,
    RecordSplitter,
)
from quantlab_assets.adapters.telegram.people import People
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.chats import chat_id_of
from quantlab_assets.domain.telegram.clock.times import AUTO
from quantlab_assets.domain.telegram.pseudonyms import Pseudonyms
from quantlab_assets.domain.telegram.rules import Rules, load_rules

PARSER_VERSION: Final = "json-4"
MAX_RECORD_BYTES: Final = 32 << 20
"""The largest record that is decoded; a larger one is quarantined by itself."""
_CHUNK: Final = 1 << 20
_PEOPLE: Final = ("personal_chat", "saved_messages")
"""Types of chat whose name and id are a person's."""
_EXPECTED: Final = (
    "expected Telegram Desktop's JSON export: an object with `messages` (one chat) or `chats.list` "
    "(an account)"
)
Layout = Literal["chat", "account"]


def layout_of(path: Path) -> tuple[Layout, Chat]:
    """Whether the file exports a chat (and which) or an account.

    Raises `ValidationFailed` if it is neither, or no JSON.
    """
    header: dict[str, Any] = {}
    found: Layout | None = None
    with _opened(path) as file:
        for events, _, _ in _skeleton(path, file, CHAT_LEVEL, 0, kept_bytes=0):
            for prefix, event, value in events:
                if event == "map_key" and value == "list" and prefix in ("chats", "left_chats"):
                    return "account", Chat(None, None)
                if prefix == "messages" and event == "start_array":
                    found = "chat"
                elif prefix in _HEADER and event in ("number", "string"):
                    header[prefix] = value
                if found and "id" in header:
                    return found, _chat(header)
    if found is None:
        raise _no_export(path)
    return found, _chat(header)


def _no_export(path: Path) -> ValidationFailed:
    return ValidationFailed(f"{path.name}: not a Telegram export; {_EXPECTED}")


def read_export(
    path: Path,
    rules: Rules | None = None,
    pseudonyms: Pseudonyms | None = None,
    *,
    max_record_bytes: int = MAX_RECORD_BYTES,
    timezone: str = AUTO,
) -> Iterator[Batch]:
    """The records of an export in batches of bounded size.

    `timezone`, if it is an IANA zone, is the clock of times that stand without an offset.
    With `pseudonyms` no name or id of a person is in them, and no bytes of unreadable records.
    Raises `ValidationFailed` if the JSON is damaged or cut off, with batches before that wasted: a
    caller keeps nothing of such a file.
    """
    layout, chat = layout_of(path)
    rows = Rows(People(rules or load_rules(), pseudonyms), timezone)
    for of, record in _records(path, layout, chat, max_record_bytes):
        rows.add(of, record)
        if rows.full:
            yield rows.take()
    rows.end()
    yield rows.take()


def read_record(
    chat: Chat, record: bytes, rules: Rules | None = None, *, timezone: str = AUTO
) -> Batch:
    """One record by itself: one row of one of the two frames."""
    rows = Rows(People(rules or load_rules(), None), timezone)
    rows.add(chat, record)
    rows.end()
    return rows.take()


_HEADER: Final = ("id", "name", "type")
_Events = list[tuple[str, str, Any]]


def _skeleton(
    path: Path, file: BinaryIO, level: int, max_record_bytes: int, kept_bytes: int = MAX_KEPT
) -> Iterator[tuple[_Events, list[Record], int]]:
    """The events of the skeleton chunk by chunk, with the records that end in the chunk, and how
    many records there were before."""
    splitter = RecordSplitter(level, max_bytes=max_record_bytes, kept_bytes=kept_bytes)
    events: Any = ijson.sendable_list()
    parser = ijson.parse_coro(events, use_float=True)
    repair = StreamRepair()
    read = 0
    while chunk := file.read(_CHUNK):
        skeleton, records = splitter.feed(chunk)
        skeleton = repair.feed(skeleton)
        if skeleton:
            with _json_errors(path, read):
                parser.send(skeleton)
        yield events, records, read
        events.clear()
        read += len(records)
    with _json_errors(path, read):
        if rest := repair.close():
            parser.send(rest)
        parser.close()
    yield events, [], read


def _records(
    path: Path, layout: Layout, chat: Chat, max_record_bytes: int
) -> Iterator[tuple[Chat, Record | Scalar]]:
    """Records with their chat: of the one chat, or from both lists of an account."""
    if layout == "chat":
        level, lists, wholes = CHAT_LEVEL, {"messages.item"}, {"messages"}
    else:
        wholes = {"chats.list", "left_chats.list"}
        level, lists = ACCOUNT_LEVEL, {f"{whole}.item.messages.item" for whole in wholes}
    starts = {item.removesuffix(".messages.item") for item in lists} - lists
    scalars = {f"{item}.{name}": name for item in starts for name in _HEADER}
    header: dict[str, Any] = {}
    current: Chat | None = chat if layout == "chat" else None
    waiting: deque[Record] = deque()
    depth = 0
    is_export = False
    with _opened(path) as file:
        for events, records, _ in _skeleton(path, file, level, max_record_bytes):
            waiting.extend(records)
            for prefix, event, value in events:
                if event in ("start_map", "start_array"):
                    if depth == level:
                        record = waiting.popleft()
                        if prefix in lists:
                            current = current or _chat(header)
                            yield current, record
                    elif prefix in starts:
                        header, current = {}, None
                    elif prefix in wholes and event == "start_array":
                        is_export = True
                    depth += 1
                elif event in ("end_map", "end_array"):
                    depth -= 1
                elif prefix in lists:
                    current = current or _chat(header)
                    yield current, Scalar(value)
                elif prefix in scalars and event in ("number", "string"):
                    header[scalars[prefix]] = value
    if not is_export:
        raise _no_export(path)


def _chat(header: Mapping[str, Any]) -> Chat:
    name = header.get("name")
    return Chat(
        chat_id=chat_id_of(header.get("id")),
        name=clean(name) if isinstance(name, str) else None,
        personal=header.get("type") in _PEOPLE,
    )


def _opened(path: Path) -> BinaryIO:
    file = path.open("rb")
    if file.read(3) != b"\xef\xbb\xbf":
        file.seek(0)
    return file


class _json_errors:  # noqa: N801
    """Turns the parser's errors into one line that names the file."""

    def __init__(self, path: Path, read: int) -> None:
        self._path, self._read = path, read

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> Literal[False]:
        if isinstance(error, (ijson.JSONError, ArithmeticError, UnicodeDecodeError, ValueError)):
            cause = str(error).strip().splitlines() or [""]
            raise ValidationFailed(
                f"{self._path.name}: damaged or cut-off JSON after {self._read} records "
                f"({cause[0].strip().strip('.')[:80]}); {_EXPECTED}; export it again"
            ) from error
        return False

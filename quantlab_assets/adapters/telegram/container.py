"""What a file is before it is read: its encoding, and the programs whose JSON is no export.

Only the beginning of a file is looked at. What a record of an export means is not here.
"""

import codecs
import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import ijson

from quantlab_assets.domain.errors import ValidationFailed

_HEAD: Final = 256 << 10
_RECORDS: Final = 20
"""How many records must be another program's before a file is."""
_DEEPEST: Final = 100
_CHUNK: Final = 1 << 20
_WHAT_TO_DO: Final = (
    "export the chat with Telegram Desktop (Export chat history, machine-readable JSON)"
)
_PROGRAMS: Final = (
    ("a TDLib dump", ("@type",), ()),
    ("a Telethon dump", ("_", "peer_id"), ()),
    ("a Telethon dump", ("_", "to_id"), ()),
    ("a Pyrogram dump", ("_",), ("chat", "from_user", "sender_chat")),
    ("a dump of Telegram's API", ("_",), ()),
    ("messages of the Bot API", ("message_id",), ("chat", "from")),
    ("updates of the Bot API", ("update_id",), ()),
)
"""What a dump is, by the fields that all must be there, and of which one must be."""


@dataclass(slots=True)
class _Head:
    """The outermost shape of a JSON file, its own fields, and those of its first records, with
    their `types`; how many of the records are `whole`."""

    shape: str = ""
    fields: set[str] = field(default_factory=set)
    records: list[set[str]] = field(default_factory=list)
    types: set[Any] = field(default_factory=set)
    whole: int = 0

    @property
    def of_desktop(self) -> bool:
        """Whether any of the first records has Telegram Desktop's fields."""
        return bool(self.types & {"message", "service"})


def check_container(path: Path) -> None:
    """Refuse JSON that is no export of Telegram Desktop, naming what it is and what to do.

    Passes what may be one, and what is no JSON: the reader says what is wrong with that. Raises
    `ValidationFailed`.
    """
    with path.open("rb") as file:
        content = file.read(_HEAD)
    content = content.removeprefix(codecs.BOM_UTF8)
    head = _head(content)
    if head.shape == "object" and "chats" in head.fields:
        return
    what = _program(head)
    if what is None and _are_lines(content):
        what = "JSON lines, a message or more in each"
    if what is None and head.shape == "list":
        what = "a list of messages without their chat" if head.of_desktop else "a JSON list"
    if what is None and head.whole and not head.of_desktop and "id" not in head.fields:
        what = "messages of another program, without Telegram Desktop's fields"
    if what is not None:
        raise ValidationFailed(
            f"{path.name}: {what}, not a Telegram export by Telegram Desktop; {_WHAT_TO_DO}"
        )


def encoding_of(path: Path) -> str | None:
    """`utf-16` or `utf-16-le`, `utf-16-be` of a file without a mark; None of all others."""
    with path.open("rb") as file:
        first = file.read(4)
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(first) == 4 and first[1] == first[3] == 0 and first[0] and first[2]:
        return "utf-16-le"
    if len(first) == 4 and first[0] == first[2] == 0 and first[1] and first[3]:
        return "utf-16-be"
    return None


def in_utf8(path: Path, work: Path) -> Path:
    """The file in UTF-8: itself, or a disposable copy of the same name below `work`.

    Raises `ValidationFailed` if it ends within a character.
    """
    encoding = encoding_of(path)
    if encoding is None:
        return path
    work.mkdir(parents=True, exist_ok=True)
    copy = work / path.name
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    with path.open("rb") as file, copy.open("wb") as target:
        while chunk := file.read(_CHUNK):
            target.write(decoder.decode(chunk).encode("utf-8", "replace"))
        target.write(decoder.decode(b"", final=True).encode("utf-8", "replace"))
    return copy


def _program(head: _Head) -> str | None:
    """Whose JSON it is, if no record has Telegram Desktop's fields and one tells."""
    if head.of_desktop:
        return None
    for fields in [*head.records, head.fields]:
        for what, needed, any_of in _PROGRAMS:
            if fields.issuperset(needed) and (not any_of or fields.intersection(any_of)):
                return what
    return None


def _are_lines(content: bytes) -> bool:
    """Whether the first line is a JSON object by itself, and another begins after it."""
    first, _, rest = content.lstrip().partition(b"\n")
    if not first.startswith(b"{") or not rest.lstrip().startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _head(content: bytes) -> _Head:
    head = _Head()
    # A head ends anywhere, and what is no JSON is the reader's to refuse.
    with suppress(ijson.JSONError, ArithmeticError, ValueError, RecursionError):
        for prefix, event, value in _events(content):
            if not head.shape:
                head.shape = {"start_map": "object", "start_array": "list"}.get(event, "other")
            item = "item" if head.shape == "list" else "messages.item"
            if event == "map_key" and prefix == "":
                head.fields.add(value)
            elif event == "start_map" and prefix == item:
                if len(head.records) == _RECORDS:
                    break
                head.records.append(set())
            elif event == "end_map" and prefix == item:
                head.whole += 1
            elif event == "map_key" and prefix == item:
                head.records[-1].add(value)
            elif event == "string" and prefix == f"{item}.type":
                head.types.add(value)
    return head


def _shallow(content: bytes) -> bytes:
    """The content up to where brackets nest deeper than in any dump: the parser's C code crashes
    the process on thousands of them."""
    depth = 0
    for bracket in re.finditer(rb"[\[{]|[\]}]", content):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > _DEEPEST:
            return content[: bracket.start()]
    return content


def _events(content: bytes) -> Iterator[tuple[str, str, Any]]:
    yield from ijson.parse(io.BytesIO(_shallow(content)), use_float=True, buf_size=4096)

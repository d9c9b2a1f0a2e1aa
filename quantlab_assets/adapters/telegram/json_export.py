"""Telegram Desktop's JSON export, of one chat or of a whole account, streamed record by record.

A record becomes a row of `telegram_messages`, or a row of `alerts_quarantine` with a code that says
why it could not be read. Nothing in a record can make the reading fail; a file that is not JSON, or
no export, is refused as a whole. See docs/alerts.md.

Numbers are read with `use_float`: without it ijson's C backend crashes the process on an integer of
more digits than Python converts. An integer beyond 64 bits therefore refuses the file.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import ijson
import polars as pl
from ijson.common import ObjectBuilder

from quantlab_assets.domain.artifact_types import ALERTS_QUARANTINE
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.frames import MESSAGES, frame_schema
from quantlab_assets.domain.telegram.rules import Rules, load_rules
from quantlab_assets.domain.telegram.senders import sender_kind

PARSER_VERSION: Final = "json-1"
INGEST_SOURCE: Final = "telegram_json"

MAX_TEXT: Final = 100_000
"""Longest text of a message, in characters; Telegram itself allows 4,096."""
MAX_RAW: Final = 65_536
"""How much of an unreadable record is kept, in characters of its JSON."""

_BATCH_RECORDS: Final = 20_000
_BATCH_CHARACTERS: Final = 8_000_000
_EARLIEST: Final = datetime(2013, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FAR: Final = 10**10
_SECONDS: Final = re.compile(r"-?[0-9]{1,11}")
_INT64: Final = range(-(2**63), 2**63)
_EXPECTED: Final = (
    "expected Telegram Desktop's JSON export: an object with `messages` (one chat) or `chats.list` "
    "(an account)"
)

STAGED: Final = pl.Schema({n: t for n, t in MESSAGES.items() if n != "seen_at_utc"})
"""Columns of `telegram_messages` without `seen_at_utc`, which is known only when all is read."""
UNREADABLE: Final = frame_schema(ALERTS_QUARANTINE)

Layout = Literal["chat", "account"]


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat as its export names it; `chat_id` is None if it has no valid id."""

    chat_id: int | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records of an export: columns `STAGED`, and columns `UNREADABLE`."""

    messages: pl.DataFrame
    unreadable: pl.DataFrame


class _RefusedError(Exception):
    """A record that cannot be read: a quarantine code and what is wrong."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def layout_of(path: Path) -> tuple[Layout, Chat]:
    """Whether the file exports a chat (and which) or an account.

    Raises `ValidationFailed` if it is neither, or no JSON.
    """
    header: dict[str, Any] = {}
    found: Layout | None = None
    with _opened(path) as file, _json_errors(path, 0):
        for prefix, event, value in ijson.parse(file, use_float=True):
            if prefix in ("chats.list", "left_chats.list") and event == "start_array":
                return "account", Chat(None, None)
            if prefix == "messages" and event == "start_array":
                found = "chat"
            elif prefix in ("id", "name") and event in ("number", "string"):
                header[prefix] = value
            if found and "id" in header:
                break
    if found is None:
        raise ValidationFailed(f"{path.name}: not a Telegram export; {_EXPECTED}")
    return found, _chat(header)


def read_export(path: Path, layout: tuple[Layout, Chat] | None = None) -> Iterator[Batch]:
    """The records of an export in batches of bounded size.

    Raises `ValidationFailed` if the JSON is damaged or cut off, with batches before that wasted: a
    caller keeps nothing of such a file.
    """
    kind, chat = layout or layout_of(path)
    rows = _Rows()
    read = 0
    with _opened(path) as file:
        records = _chat_records(file, chat) if kind == "chat" else _account_records(file)
        while True:
            with _json_errors(path, read):
                record = next(records, None)
            if record is None:
                break
            read += 1
            rows.add(*record)
            if rows.full:
                yield rows.take()
    yield rows.take()


def _chat_records(file: BinaryIO, chat: Chat) -> Iterator[tuple[Chat, Any]]:
    for record in ijson.items(file, "messages.item", use_float=True):
        yield chat, record


def _account_records(file: BinaryIO) -> Iterator[tuple[Chat, Any]]:
    """Records with their chat, from both lists of an account. `ijson.items` would lose the chat."""
    lists = ("chats.list.item", "left_chats.list.item")
    starts = {f"{item}": item for item in lists}
    scalars = {f"{item}.{name}": name for item in lists for name in ("id", "name")}
    records = {f"{item}.messages.item" for item in lists}
    header: dict[str, Any] = {}
    chat: Chat | None = None
    builder: ObjectBuilder | None = None
    inside = ""
    for prefix, event, value in ijson.parse(file, use_float=True):
        if builder is not None:
            builder.event(event, value)
            if prefix == inside and event in ("end_map", "end_array"):
                yield chat or Chat(None, None), builder.value
                builder = None
        elif prefix in records:
            chat = chat or _chat(header)
            if event in ("start_map", "start_array"):
                builder, inside = ObjectBuilder(), prefix
                builder.event(event, value)
            else:
                yield chat, value
        elif prefix in scalars and event in ("number", "string"):
            header[scalars[prefix]] = value
        elif prefix in starts and event == "start_map":
            header, chat = {}, None


def _chat(header: Mapping[str, Any]) -> Chat:
    name = header.get("name")
    return Chat(
        chat_id=_int64(header.get("id")), name=_clean(name) if isinstance(name, str) else None
    )


@dataclass(slots=True)
class _Rows:
    """Rows read so far, by column."""

    rules: Rules = field(default_factory=load_rules)
    messages: list[tuple[Any, ...]] = field(default_factory=list)
    unreadable: list[tuple[Any, ...]] = field(default_factory=list)
    characters: int = 0
    kinds: dict[tuple[str | None, str | None, bool], str] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        count = len(self.messages) + len(self.unreadable)
        return count >= _BATCH_RECORDS or self.characters >= _BATCH_CHARACTERS

    def add(self, chat: Chat, record: Any) -> None:
        try:
            row = self._row(chat, record)
            self.messages.append(row)
            self.characters += len(row[-3]) + len(row[-2])
        except _RefusedError as refused:
            kept = _unreadable_row(chat, record, refused)
            self.unreadable.append(kept)
            self.characters += len(kept[4])

    def take(self) -> Batch:
        batch = Batch(
            pl.DataFrame(self.messages, schema=STAGED, orient="row"),
            pl.DataFrame(self.unreadable, schema=UNREADABLE, orient="row"),
        )
        self.messages, self.unreadable, self.characters = [], [], 0
        return batch

    def _row(self, chat: Chat, record: Any) -> tuple[Any, ...]:
        if not isinstance(record, dict):
            raise _RefusedError("unknown_shape", "the record is not an object")
        kind = record.get("type")
        if kind not in ("message", "service"):
            raise _RefusedError("unknown_shape", f"type is {_shown(kind)}, not message or service")
        if chat.chat_id is None:
            raise _RefusedError("missing_id", "the chat has no id")
        message_id = _int64(record.get("id"))
        if message_id is None:
            raise _RefusedError("missing_id", f"id is {_shown(record.get('id'))}, not a number")
        posted = _time(record, "date", "date_unixtime")
        if posted is None:
            raise _RefusedError("bad_date", "the record has no date")
        edited = _time(record, "edited", "edited_unixtime")
        if edited is not None and edited < posted:
            raise _RefusedError("bad_date", "the record was edited before it was posted")
        service = kind == "service" or "action" in record
        name = _text_or_none(record, "actor" if service else "from")
        sender_id = _sender_id(record, "actor_id" if service else "from_id")
        text, entities = _text(record)
        identity = (name, sender_id, service)
        if identity not in self.kinds:
            self.kinds[identity] = sender_kind(*identity, self.rules)
        return (
            chat.chat_id,
            chat.name,
            message_id,
            posted,
            edited,
            name,
            sender_id,
            self.kinds[identity],
            _reply_to(record),
            _text_or_none(record, "forwarded_from"),
            service,
            text,
            entities,
            INGEST_SOURCE,
        )


def _unreadable_row(chat: Chat, record: Any, refused: _RefusedError) -> tuple[Any, ...]:
    known = record if isinstance(record, dict) else {}
    try:
        posted = _time(known, "date", "date_unixtime")
    except _RefusedError:
        posted = None
    sender = known.get("from")
    raw = json.dumps(record, ensure_ascii=False, default=str)[:MAX_RAW]
    return (
        chat.chat_id,
        _int64(known.get("id")),
        posted,
        _clean(sender) if isinstance(sender, str) else None,
        _clean(raw),
        refused.code,
        _clean(refused.reason),
    )


def _time(record: Mapping[str, Any], local: str, unix: str) -> datetime | None:
    """The time of a record in UTC; None if it has none. Unix seconds win; a clock time needs an
    offset. Old exports write the epoch for "never edited"."""
    seconds = record.get(unix)
    clock = record.get(local)
    if seconds is None and clock is None:
        return None
    if seconds is not None:
        number = _int64(seconds)
        if number is None and isinstance(seconds, str) and _SECONDS.fullmatch(seconds):
            number = int(seconds)
        if number is None:
            raise _RefusedError("bad_date", f"{unix} is {_shown(seconds)}, not Unix seconds")
        if number == 0 and local == "edited":
            return None
        return _in_range(_EPOCH, number, unix)
    if not isinstance(clock, str):
        raise _RefusedError("bad_date", f"{local} is {_shown(clock)}, not a time")
    try:
        moment = datetime.fromisoformat(clock)
    except ValueError:
        raise _RefusedError("bad_date", f"{local} is {_shown(clock)}, not a time") from None
    if local == "edited" and moment.year <= 1970:
        return None
    if moment.tzinfo is None:
        raise _RefusedError("bad_date", f"{local} has no offset and there is no {unix}")
    try:
        return _in_range(moment.astimezone(UTC), 0, local)
    except OverflowError:
        raise _RefusedError("bad_date", f"{local} is out of range") from None


def _in_range(base: datetime, seconds: int, name: str) -> datetime:
    if (
        not -_FAR <= seconds <= _FAR
        or not _EARLIEST <= (moment := base + timedelta(seconds=seconds)) < _LATEST
    ):
        raise _RefusedError("bad_date", f"{name} is not between 2013 and 2100")
    return moment


def _text(record: Mapping[str, Any]) -> tuple[str, str]:
    """The text, and its entities as JSON: a list of `{type, text, href?}` without plain parts."""
    value = record.get("text", "")
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list):
        raise _RefusedError("unknown_shape", "text is neither text nor a list of parts")
    try:
        text = _clean("".join([part if type(part) is str else part["text"] for part in parts]))
    except (TypeError, KeyError):
        raise _RefusedError("unknown_shape", "a part of text holds no text") from None
    if len(text) > MAX_TEXT:
        raise _RefusedError("oversized_text", f"text has {len(text)} characters, over {MAX_TEXT}")
    entities = _entities(record.get("text_entities") or parts)
    if "inline_bot_buttons" in record:
        entities += _buttons(record["inline_bot_buttons"])
    if not entities:
        return text, "[]"
    return text, _clean(json.dumps(entities, ensure_ascii=False, separators=(",", ":")))


def _entities(parts: Any) -> list[dict[str, str]]:
    if not isinstance(parts, list):
        raise _RefusedError("unknown_shape", "text_entities is not a list")
    entities = []
    for part in parts:
        if type(part) is str:
            continue
        if not isinstance(part, dict):
            raise _RefusedError("unknown_shape", "an entity is not an object")
        kind, text = part.get("type"), part.get("text")
        if not (isinstance(kind, str) and isinstance(text, str)):
            raise _RefusedError("unknown_shape", "an entity has no type or no text")
        if kind == "plain":
            continue
        href = part.get("href")
        entity = {"type": kind, "text": text}
        entities.append(entity | {"href": href} if isinstance(href, str) else entity)
    return entities


def _buttons(rows: Any) -> list[dict[str, str]]:
    """Buttons under a message that open a link; others, of whatever shape, are of no interest."""
    lines = [row for row in rows if isinstance(row, list)] if isinstance(rows, list) else []
    cells = [cell for row in lines for cell in row if isinstance(cell, dict)]
    return [
        {"type": "button", "text": cell["text"], "href": cell["data"]}
        for cell in cells
        if cell.get("type") == "url"
        and isinstance(cell.get("text"), str)
        and isinstance(cell.get("data"), str)
    ]


def _reply_to(record: Mapping[str, Any]) -> int | None:
    """The message of the same chat that this one answers."""
    value = record.get("reply_to_message_id")
    if value is None or record.get("reply_to_peer_id") is not None:
        return None
    number = _int64(value)
    if number is None:
        raise _RefusedError("unknown_shape", f"reply_to_message_id is {_shown(value)}")
    return number


def _sender_id(record: Mapping[str, Any], name: str) -> str | None:
    """The sender's id as text; exports of old wrote a bare number for a user."""
    number = _int64(record.get(name))
    return _text_or_none(record, name) if number is None else f"user{number}"


def _text_or_none(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise _RefusedError("unknown_shape", f"{name} is {_shown(value)}, not text")
    return None if value is None else _clean(value)


def _int64(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and value in _INT64:
        return value
    return None


def _clean(text: str) -> str:
    """Text that UTF-8 can hold: NULs and lone surrogates become U+FFFD, so that removing them never
    joins two halves into an address."""
    if "\x00" in text:
        text = text.replace("\x00", "�")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."


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

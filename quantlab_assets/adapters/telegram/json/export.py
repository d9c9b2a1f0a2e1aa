"""Telegram Desktop's JSON export, of one chat or of a whole account, streamed record by record.

The file is cut into records and the skeleton around them (`structure`). The skeleton goes through a
streaming parser, which refuses a file that is no JSON, no export, or cut off, as a whole. Each
record is decoded by itself: it becomes a row of `telegram_messages`, or a row of
`alerts_quarantine` with its original bytes and a code that says why it could not be read. Nothing
in a record can make the reading fail, or cost the records around it. See docs/alerts.md.

The skeleton's numbers are read with `use_float`: without it ijson's C backend crashes the process
on an integer of more digits than Python converts.
"""

import base64
import json
import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NoReturn, TypedDict

import ijson
import msgspec
import polars as pl

from quantlab_assets.adapters.telegram.json.repair import StreamRepair, repaired
from quantlab_assets.adapters.telegram.json.structure import (
    ACCOUNT_LEVEL,
    CHAT_LEVEL,
    Oversized,
    Record,
    RecordSplitter,
)
from quantlab_assets.adapters.telegram.people import People
from quantlab_assets.domain.artifacts.seed_types import ALERTS_QUARANTINE
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.chats import chat_id_of
from quantlab_assets.domain.telegram.clock.times import AUTO, LABEL, utc_of
from quantlab_assets.domain.telegram.frames import MESSAGES, frame_schema
from quantlab_assets.domain.telegram.pseudonyms import Pseudonyms
from quantlab_assets.domain.telegram.rules import Rules, load_rules
from quantlab_assets.domain.time_us import SECOND_US, to_us

PARSER_VERSION: Final = "json-4"
INGEST_SOURCE: Final = "telegram_json"

MAX_TEXT: Final = 100_000
"""Longest text of a message, in characters; Telegram itself allows 4,096."""
MAX_RECORD_BYTES: Final = 32 << 20
"""The largest record that is decoded; a larger one is quarantined by itself."""
MAX_KEPT: Final = 1 << 20
"""How much of an unreadable record is kept, in bytes."""
MAX_KEPT_IN_ALL: Final = 64 << 20
"""How much of all unreadable records of an export is kept; of those after it `MAX_KEPT_AFTER`."""
MAX_KEPT_AFTER: Final = 1024
NOT_UTF8: Final = "base64:"
"""What kept bytes begin with that are no UTF-8; a JSON record never begins so."""

_CHUNK: Final = 1 << 20
_BATCH_RECORDS: Final = 20_000
_BATCH_CHARACTERS: Final = 8_000_000
_EARLIEST: Final = to_us(datetime(2013, 1, 1, tzinfo=UTC))
_LATEST: Final = to_us(datetime(2100, 1, 1, tzinfo=UTC))
_SECONDS: Final = re.compile(r"-?[0-9]{1,11}")
_INT64: Final = range(-(2**63), 2**63)
_PEOPLE: Final = ("personal_chat", "saved_messages")
"""Types of chat whose name and id are a person's."""
_UNSUPPORTED: Final = "unsupported"
"""The type of a record of which the exporting Telegram Desktop knew nothing but the id."""
_OTHER_TEXT: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "poll": ("question", ("answers",)),
    "todo_list": ("title", ("items", "answers", "tasks")),
    "invoice_information": ("title", ("description",)),
}
"""Fields that hold text beside `text`: by field its heading, and what comes below it."""
_OTHER_FIELDS: Final = frozenset(_OTHER_TEXT)
_LINK_BUTTONS: Final = ("url", "web_view", "simple_web_view", "auth", "login_url")
_MENTIONS: Final = ("mention", "mention_name")
_EXPECTED: Final = (
    "expected Telegram Desktop's JSON export: an object with `messages` (one chat) or `chats.list` "
    "(an account)"
)

STAGED: Final = pl.Schema({n: t for n, t in MESSAGES.items() if n != "seen_at_utc"})
"""Columns of `telegram_messages` without `seen_at_utc`, which is known only when all is read.

`has_reactions` is of the record itself here; that the export has none at all is known later too."""
UNREADABLE: Final = frame_schema(ALERTS_QUARANTINE)

Layout = Literal["chat", "account"]


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat as its export names it; `chat_id` is None if it has no valid id. `personal` if it is
    with one person, so that its name and id are that person's."""

    chat_id: int | None
    name: str | None
    personal: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records of an export: columns `STAGED`, and columns `UNREADABLE`."""

    messages: pl.DataFrame
    unreadable: pl.DataFrame
    repaired: int = 0
    """How many of the messages were read only after a repair of their JSON (see `repair`)."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """How many of the messages lost a side field of a type or value that none has, by field."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """An element of a list of messages that is no object and no list."""

    value: Any


class _RefusedError(Exception):
    """A record that cannot be read: a quarantine code and what is wrong.

    `{}` in the reason is a value of the record, which may name a person."""

    def __init__(self, code: str, reason: str, *values: Any) -> None:
        super().__init__(code)
        self.code = code
        self._reason = reason
        self._values = values

    def reason(self, *, shown: bool) -> str:
        """What is wrong, with the values themselves if they may be shown, else their types."""
        if not self._values:
            return self._reason
        values = (_shown(value) if shown else type(value).__name__ for value in self._values)
        return self._reason.format(*values)


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
    rows = _Rows(People(rules or load_rules(), pseudonyms), timezone)
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
    rows = _Rows(People(rules or load_rules(), None), timezone)
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
        name=_clean(name) if isinstance(name, str) else None,
        personal=header.get("type") in _PEOPLE,
    )


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_decode: Final = json.JSONDecoder(parse_constant=_no_constant).decode
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class _Entity(msgspec.Struct, omit_defaults=True):
    """A part of a text that is more than text, as it is stored."""

    type: str
    text: str
    href: str | msgspec.UnsetType = msgspec.UNSET


# By call, since `from` is a keyword. What is not named here is only checked to be JSON.
_Usual = TypedDict(
    "_Usual",
    {
        "type": Any,
        "id": Any,
        "date": Any,
        "date_unixtime": Any,
        "edited": Any,
        "edited_unixtime": Any,
        "action": Any,
        "from": Any,
        "from_id": Any,
        "actor": Any,
        "actor_id": Any,
        "forwarded_from": Any,
        "reply_to_message_id": Any,
        "reply_to_peer_id": Any,
        "author": Any,
        "via_bot": Any,
        "reactions": msgspec.Raw,
        "inline_bot_buttons": Any,
        "poll": Any,
        "todo_list": Any,
        "invoice_information": Any,
        "text": str | list[str | _Entity],
        "text_entities": list[_Entity],
    },
    total=False,
)
_decode_usual: Final = msgspec.json.Decoder(_Usual).decode
"""Reads a record as exports usually have it, several times faster than `_decode`. What it refuses
is left to `_decode`, which says what is wrong or makes the best of it."""


def compact_json(entities: list[Any]) -> str:
    """Entities as they are stored: JSON without spaces, in UTF-8."""
    try:
        return msgspec.json.encode(entities).decode()
    except UnicodeEncodeError:
        return _clean(_encode(entities))


@dataclass(slots=True)
class _Rows:
    """Rows read so far, by column."""

    people: People
    timezone: str = AUTO
    messages: list[tuple[Any, ...]] = field(default_factory=list)
    unreadable: list[tuple[Any, ...]] = field(default_factory=list)
    services: dict[int, set[int]] = field(default_factory=dict)
    """The service messages of each chat so far: a message answers none that comes later."""
    times: dict[int, int] = field(default_factory=dict)
    """The time of the newest message read of each chat, for a record that has none."""
    timeless: list[tuple[Chat, Record | Scalar]] = field(default_factory=list)
    """Unsupported records before the first message of their chat."""
    characters: int = 0
    kept: int = 0
    repaired: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def full(self) -> bool:
        count = len(self.messages) + len(self.unreadable)
        return count >= _BATCH_RECORDS or self.characters >= _BATCH_CHARACTERS

    def add(self, chat: Chat, record: Record | Scalar) -> None:
        known: Any = {}
        try:
            known, mended = _decoded(record)
            if self._waits(chat, known):
                self.timeless.append((chat, record))
                return
            row = self._row(chat, known)
            self.messages.append(row)
            self.repaired += mended
            self.characters += len(row[-3]) + len(row[-2])
            if self.timeless:
                self._add_timeless(of=chat)
        except _RefusedError as refused:
            self._refuse(chat, record, known, refused)
        except RecursionError:
            deep = _RefusedError("unknown_shape", "brackets nest too deep for any message")
            self._refuse(chat, record, {}, deep)

    def end(self) -> None:
        """Refuse what waits for a message of its chat: there is none."""
        waiting, self.timeless = self.timeless, []
        why = _RefusedError("bad_date", "unsupported, and no message of its chat tells a time")
        for chat, record in waiting:
            self._refuse(chat, record, _decoded(record)[0], why)

    def _waits(self, chat: Chat, known: Any) -> bool:
        """Whether a record tells nothing but its id, and no message of its chat came before."""
        return (
            type(known) is dict
            and known.get("type") == _UNSUPPORTED
            and known.get("date") is None
            and known.get("date_unixtime") is None
            and chat.chat_id is not None
            and _int64(known.get("id")) is not None
            and chat.chat_id not in self.times
        )

    def _add_timeless(self, of: Chat) -> None:
        ready = [(chat, record) for chat, record in self.timeless if chat.chat_id == of.chat_id]
        self.timeless = [each for each in self.timeless if each[0].chat_id != of.chat_id]
        for chat, record in ready:
            self.add(chat, record)

    def take(self) -> Batch:
        messages, unreadable = _frame(self.messages, STAGED), _frame(self.unreadable, UNREADABLE)
        batch = Batch(messages, unreadable, self.repaired, dict(self.dropped))
        self.messages, self.unreadable, self.characters, self.repaired = [], [], 0, 0
        self.dropped.clear()
        return batch

    def _refuse(self, chat: Chat, record: Record | Scalar, known: Any, why: _RefusedError) -> None:
        known = known if isinstance(known, dict) else {}
        try:
            posted = _time(known, "date", "date_unixtime", self.timezone)
        except _RefusedError:
            posted = None
        name, sender_id = known.get("from"), known.get("from_id")
        sender = _clean(name) if isinstance(name, str) else None
        if sender is not None:
            sender, _, _ = self.people.sender(
                sender, sender_id if isinstance(sender_id, str) else None, service=False
            )
        text, cut = self._kept(record)
        chat_id, _ = self.people.chat(chat.chat_id, chat.name, personal=chat.personal)
        row = (chat_id, _int64(known.get("id")), posted, sender, text, why.code)
        reason = why.reason(shown=self.people.pseudonyms is None)
        self.unreadable.append((*row, _clean(reason) + cut))
        self.characters += len(text or "")

    def _kept(self, record: Record | Scalar) -> tuple[str | None, str]:
        """The original bytes of a record as text, and what to add to the reason if they are cut."""
        if self.people.pseudonyms is not None:
            return None, "; its bytes are not kept, since names are replaced by pseudonyms"
        if isinstance(record, Scalar):
            raw = json.dumps(record.value, ensure_ascii=False).encode("utf-8", "surrogatepass")
            size = len(raw)
        elif isinstance(record, Oversized):
            raw, size = record.head, record.size
        else:
            raw, size = record, len(record)
        limit = MAX_KEPT if self.kept < MAX_KEPT_IN_ALL else MAX_KEPT_AFTER
        raw = raw[:limit]
        self.kept += len(raw)
        cut = f"; only its first {len(raw)} bytes of {size} are kept" if len(raw) < size else ""
        try:
            return raw.decode(), cut
        except UnicodeDecodeError as error:
            if cut and error.end == len(raw) and error.reason == "unexpected end of data":
                return raw[: error.start].decode(), cut
            return NOT_UTF8 + base64.b64encode(raw).decode(), cut

    def _parts(self, value: Any) -> Any:
        """Parts of text with the people mentioned in them replaced; whatever else is left alone."""
        if self.people.pseudonyms is None or not isinstance(value, list):
            return value
        return [self._part(part) for part in value]

    def _part(self, part: Any) -> Any:
        if type(part) is _Entity:
            if part.type not in _MENTIONS:
                return part
            return msgspec.structs.replace(part, text=self.people.mention(_clean(part.text)))
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            return part
        kind, text = part.get("type"), part["text"]
        if kind in _MENTIONS or (not isinstance(kind, str) and text.startswith("@")):
            return {**part, "text": self.people.mention(_clean(text))}
        return part

    def _row(self, chat: Chat, record: Any) -> tuple[Any, ...]:
        if not isinstance(record, dict):
            raise _RefusedError("unknown_shape", "the record is not an object")
        kind = record.get("type")
        if kind not in ("message", "service", _UNSUPPORTED):
            raise _RefusedError("unknown_shape", "type is {}, not message or service", kind)
        if chat.chat_id is None:
            raise _RefusedError("missing_id", "the chat has no id")
        message_id = _int64(record.get("id"))
        if message_id is None:
            raise _RefusedError("missing_id", "id is {}, not a number", record.get("id"))
        posted = _time(record, "date", "date_unixtime", self.timezone)
        if posted is None and kind == _UNSUPPORTED:
            posted = self.times.get(chat.chat_id)
        if posted is None:
            raise _RefusedError("bad_date", "the record has no date")
        edited = self._edited(record, posted)
        service = kind == "service" or "action" in record
        name, sender_id, sent_by = self.people.sender(
            self._name(record, "actor" if service else "from"),
            self._sender_id(record, "actor_id" if service else "from_id"),
            service=service,
        )
        text, entities, has_buttons = self._text(record)
        forwarded = self._name(record, "forwarded_from")
        author = self._name(record, "author")
        via_bot = self._name(record, "via_bot")
        reply_to = self._reply_to(record)
        self.times[chat.chat_id] = posted
        services = self.services.setdefault(chat.chat_id, set())
        if service:
            services.add(message_id)
        return (
            *self.people.chat(chat.chat_id, chat.name, personal=chat.personal),
            message_id,
            posted,
            edited,
            name,
            sender_id,
            sent_by,
            None if author is None else self.people.person(author),
            None if via_bot is None else self._via_bot(via_bot),
            reply_to,
            None if reply_to is None else reply_to in services,
            None if forwarded is None else self.people.person(forwarded),
            service,
            has_buttons,
            "reactions" in record,
            text,
            entities,
            INGEST_SOURCE,
        )

    def _edited(self, record: Mapping[str, Any], posted: int) -> int | None:
        """When a message was edited; None also if it says something impossible."""
        edited: int | None
        try:
            edited = _time(record, "edited", "edited_unixtime", self.timezone)
        except _RefusedError:
            edited = _edited_by_own_clock(record, posted)
            if edited is None:
                self.dropped["edited"] += 1
        if edited is not None and edited < posted:
            self.dropped["edited"] += 1
            return None
        return edited

    def _name(self, record: Mapping[str, Any], name: str) -> str | None:
        """A side field that is text; anything else is not what it says, and may name a person."""
        value = record.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            self.dropped[name] += 1
            return None
        return _clean(value)

    def _sender_id(self, record: Mapping[str, Any], name: str) -> str | None:
        """The sender's id as text; exports of old wrote a bare number for a user."""
        number = _int64(record.get(name))
        return self._name(record, name) if number is None else f"user{number}"

    def _via_bot(self, name: str) -> str:
        return name if self.people.pseudonyms is None else self.people.mention(name)

    def _reply_to(self, record: Mapping[str, Any]) -> int | None:
        """The message of the same chat that this one answers."""
        value = record.get("reply_to_message_id")
        if value is None or record.get("reply_to_peer_id") is not None:
            return None
        number = _int64(value)
        if number is None:
            self.dropped["reply_to_message_id"] += 1
        return number

    def _text(self, record: Mapping[str, Any]) -> tuple[str, str, bool]:
        """The text, its entities as JSON (a list of `{type, text, href?}` without plain parts), and
        whether the message has buttons."""
        value = self._parts(record.get("text", ""))
        told = self._parts(record.get("text_entities"))
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list):
            raise _RefusedError("unknown_shape", "text is neither text nor a list of parts")
        try:
            text = _clean("".join([part if type(part) is str else part.text for part in parts]))
        except (AttributeError, TypeError):
            text = _clean("".join(map(_text_of, parts)))
        entities, odd = _entities(told or parts)
        if odd:
            self.dropped["text_entities"] += 1
            entities = _entities(parts)[0] or entities
        has_buttons = False
        more: list[str] = []
        if "inline_bot_buttons" in record:
            buttons = record["inline_bot_buttons"]
            cells = _cells(buttons)
            has_buttons = bool(cells)
            if buttons and not cells:
                self.dropped["inline_bot_buttons"] += 1
            entities += _links(cells)
            more = _copied(cells)
        if not _OTHER_FIELDS.isdisjoint(record):
            for name in sorted(_OTHER_FIELDS & record.keys()):
                more += self._lines(name, record[name], entities)
        if more:
            text = "\n".join([text, *more] if text else more)
        if len(text) > MAX_TEXT:
            raise _RefusedError(
                "oversized_text", f"text has {len(text)} characters, over {MAX_TEXT}"
            )
        return text, compact_json(entities) if entities else "[]", has_buttons

    def _lines(self, name: str, value: Any, entities: list[Any]) -> list[str]:
        """The lines of a field that holds text beside `text`; its links join the entities."""
        if not isinstance(value, dict):
            self.dropped[name] += value is not None
            return []
        heading, below = _OTHER_TEXT[name]
        told = [value.get(heading)]
        for each in map(value.get, below):
            told += each if isinstance(each, list) else [each]
        lines: list[str] = []
        for item in self._parts(told):
            inner = item.get("text") if isinstance(item, dict) else item
            parts = self._parts(inner if isinstance(inner, list) else [inner])
            entities += _entities(parts)[0]
            lines.append(_clean("".join(filter(None, map(_text_or_nothing, parts)))))
        return [line for line in lines if line]


def _decoded(record: Record | Scalar) -> tuple[Any, bool]:
    """What a record says, and whether its JSON had to be repaired for that."""
    if isinstance(record, bytes):
        try:
            text = record.decode()
            try:
                return _decode_usual(record), False
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                return _thoroughly_decoded(record, text)
        except UnicodeDecodeError:
            raise _RefusedError("bad_json", "the record is not UTF-8") from None
        except ValueError as error:
            cause = str(error).splitlines()[0][:120]
            raise _RefusedError("bad_json", f"the record is not JSON: {cause}") from None
    if isinstance(record, Scalar):
        return record.value, False
    raise _RefusedError(
        "oversized_record", f"the record has {record.size} bytes; no message is that large"
    )


def _thoroughly_decoded(record: bytes, text: str) -> tuple[Any, bool]:
    try:
        return _decode(text), False
    except ValueError:
        mended = repaired(record)
        if mended == record:
            raise
        return _decode(mended.decode()), True


def _frame(rows: list[tuple[Any, ...]], schema: pl.Schema) -> pl.DataFrame:
    """Rows as a frame; times are given in microseconds."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pl.DataFrame(
        [
            pl.Series(name, values, pl.Int64).cast(dtype)
            if isinstance(dtype, pl.Datetime)
            else pl.Series(name, values, dtype)
            for (name, dtype), values in zip(schema.items(), columns, strict=True)
        ]
    )


def _time(record: Mapping[str, Any], local: str, unix: str, timezone: str) -> int | None:
    """The time of a record in microseconds since 1970, UTC; None if it has none. Unix seconds win;
    a clock time needs an offset, or the zone of its clock. Old exports write the epoch for "never
    edited"."""
    seconds = record.get(unix)
    if seconds is not None:
        number = _int64(seconds)
        if number is None and isinstance(seconds, str) and _SECONDS.fullmatch(seconds):
            number = int(seconds)
        if number is None:
            raise _RefusedError("bad_date", f"{unix} is {{}}, not Unix seconds", seconds)
        if number == 0 and local == "edited":
            return None
        return _in_range(number * SECOND_US, unix)
    clock = record.get(local)
    if clock is None:
        return None
    if not isinstance(clock, str):
        raise _RefusedError("bad_date", f"{local} is {{}}, not a time", clock)
    try:
        moment = datetime.fromisoformat(clock)
    except ValueError:
        raise _RefusedError("bad_date", f"{local} is {{}}, not a time", clock) from None
    if local == "edited" and moment.year <= 1970:
        return None
    if moment.tzinfo is None:
        if timezone in (AUTO, LABEL):
            raise _RefusedError("bad_date", f"{local} has no offset and there is no {unix}")
        known = utc_of(moment, timezone)
        if known is None:
            raise _RefusedError("bad_date", f"{timezone} never showed {local}: {clock}")
        moment = known
    return _in_range(to_us(moment), local)


def _in_range(moment: int, name: str) -> int:
    if not _EARLIEST <= moment < _LATEST:
        raise _RefusedError("bad_date", f"{name} is not between 2013 and 2100")
    return moment


def _edited_by_own_clock(record: Mapping[str, Any], posted: int) -> int | None:
    """The time of an edit by the clock that showed the posting too, whose true time is known."""
    try:
        later = datetime.fromisoformat(record["edited"]) - datetime.fromisoformat(record["date"])
    except (KeyError, TypeError, ValueError):
        return None
    edited = posted + later // timedelta(microseconds=1)
    return edited if edited < _LATEST else None


def _text_of(part: Any) -> str:
    text = part.get("text") if type(part) is dict else getattr(part, "text", part)
    if type(text) is not str:
        raise _RefusedError("unknown_shape", "a part of text holds no text")
    return text


def _text_or_nothing(part: Any) -> str | None:
    text = part.get("text") if type(part) is dict else part
    return text if type(text) is str else None


def _entities(parts: Any) -> tuple[list[Any], bool]:
    """The parts that are more than text, and whether any of them was none, or not all of one."""
    if not isinstance(parts, list):
        return [], True
    entities: list[Any] = []
    odd = False
    for part in parts:
        if type(part) is _Entity:
            if part.type != "plain":
                entities.append(part)
            continue
        if type(part) is not dict:
            odd = odd or type(part) is not str
            continue
        kind, text = part.get("type"), part.get("text")
        if type(kind) is not str or type(text) is not str:
            odd = True
        elif kind != "plain":
            href = part.get("href")
            entity = {"type": kind, "text": text}
            if type(href) is str:
                entity["href"] = href
            entities.append(entity)
    return entities, odd


def _cells(buttons: Any) -> list[dict[str, Any]]:
    """The buttons under a message, row by row; what is none is left out."""
    rows = [row for row in buttons if isinstance(row, list)] if isinstance(buttons, list) else []
    return [cell for row in rows for cell in row if isinstance(cell, dict)]


def _links(cells: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Buttons that open a link, also one in a window of Telegram's own; of the others `_copied`
    reads some, and the rest, of whatever shape, are of no interest."""
    return [
        {"type": "button", "text": cell["text"], "href": cell["data"]}
        for cell in cells
        if cell.get("type") in _LINK_BUTTONS
        and isinstance(cell.get("text"), str)
        and isinstance(cell.get("data"), str)
    ]


def _copied(cells: list[dict[str, Any]]) -> list[str]:
    """What buttons copy when they are pressed: text that the message brings."""
    return [
        _clean(cell["data"])
        for cell in cells
        if cell.get("type") == "copy_text" and isinstance(cell.get("data"), str)
    ]


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

"""Records as rows: of `telegram_messages`, or of `alerts_quarantine` with their original bytes.

How records are cut out of a file is in `export` and `structure`.
"""

import base64
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import polars as pl

from quantlab_assets.adapters.telegram.json.decode import (
    NOT_UTF8,
    Entity,
    RefusedError,
    Scalar,
    clean,
    compact_json,
    decoded,
)
from quantlab_assets.adapters.telegram.json.fields import edited_by_own_clock, int64, time_of
from quantlab_assets.adapters.telegram.json.structure import (
    Oversized,
    Record,
)
from quantlab_assets.adapters.telegram.json.texts import (
    OTHER_FIELDS,
    OTHER_TEXT,
    cells_of,
    copied_by,
    entities_of,
    links_of,
    text_of,
    text_or_nothing,
)
from quantlab_assets.adapters.telegram.people import People
from quantlab_assets.domain.artifacts.seed_types import ALERTS_QUARANTINE
from quantlab_assets.domain.telegram.clock.times import AUTO
from quantlab_assets.domain.telegram.frames import MESSAGES, frame_schema

INGEST_SOURCE: Final = "telegram_json"
MAX_TEXT: Final = 100_000
"""Longest text of a message, in characters; Telegram itself allows 4,096."""
MAX_KEPT: Final = 1 << 20
"""How much of an unreadable record is kept, in bytes."""
MAX_KEPT_IN_ALL: Final = 64 << 20
"""How much of all unreadable records of an export is kept; of those after it `MAX_KEPT_AFTER`."""
MAX_KEPT_AFTER: Final = 1024
_BATCH_RECORDS: Final = 20_000
_BATCH_CHARACTERS: Final = 8_000_000
_UNSUPPORTED: Final = "unsupported"
"""The type of a record of which the exporting Telegram Desktop knew nothing but the id."""
_MENTIONS: Final = ("mention", "mention_name")
STAGED: Final = pl.Schema({n: t for n, t in MESSAGES.items() if n != "seen_at_utc"})
"""Columns of `telegram_messages` without `seen_at_utc`, which is known only when all is read.

`has_reactions` is of the record itself here; that the export has none at all is known later too."""
UNREADABLE: Final = frame_schema(ALERTS_QUARANTINE)


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


@dataclass(slots=True)
class Rows:
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
        """Whether there are enough for a batch."""
        count = len(self.messages) + len(self.unreadable)
        return count >= _BATCH_RECORDS or self.characters >= _BATCH_CHARACTERS

    def add(self, chat: Chat, record: Record | Scalar) -> None:
        """Read a record of the chat: a row of messages, or one of quarantine."""
        known: Any = {}
        try:
            known, mended = decoded(record)
            if self._waits(chat, known):
                self.timeless.append((chat, record))
                return
            row = self._row(chat, known)
            self.messages.append(row)
            self.repaired += mended
            self.characters += len(row[-3]) + len(row[-2])
            if self.timeless:
                self._add_timeless(of=chat)
        except RefusedError as refused:
            self._refuse(chat, record, known, refused)
        except RecursionError:
            deep = RefusedError("unknown_shape", "brackets nest too deep for any message")
            self._refuse(chat, record, {}, deep)

    def end(self) -> None:
        """Refuse what waits for a message of its chat: there is none."""
        waiting, self.timeless = self.timeless, []
        why = RefusedError("bad_date", "unsupported, and no message of its chat tells a time")
        for chat, record in waiting:
            self._refuse(chat, record, decoded(record)[0], why)

    def _waits(self, chat: Chat, known: Any) -> bool:
        """Whether a record tells nothing but its id, and no message of its chat came before."""
        return (
            type(known) is dict
            and known.get("type") == _UNSUPPORTED
            and known.get("date") is None
            and known.get("date_unixtime") is None
            and chat.chat_id is not None
            and int64(known.get("id")) is not None
            and chat.chat_id not in self.times
        )

    def _add_timeless(self, of: Chat) -> None:
        ready = [(chat, record) for chat, record in self.timeless if chat.chat_id == of.chat_id]
        self.timeless = [each for each in self.timeless if each[0].chat_id != of.chat_id]
        for chat, record in ready:
            self.add(chat, record)

    def take(self) -> Batch:
        """The rows so far as a batch; there are none afterwards."""
        messages, unreadable = _frame(self.messages, STAGED), _frame(self.unreadable, UNREADABLE)
        batch = Batch(messages, unreadable, self.repaired, dict(self.dropped))
        self.messages, self.unreadable, self.characters, self.repaired = [], [], 0, 0
        self.dropped.clear()
        return batch

    def _refuse(self, chat: Chat, record: Record | Scalar, known: Any, why: RefusedError) -> None:
        known = known if isinstance(known, dict) else {}
        try:
            posted = time_of(known, "date", "date_unixtime", self.timezone)
        except RefusedError:
            posted = None
        name, sender_id = known.get("from"), known.get("from_id")
        sender = clean(name) if isinstance(name, str) else None
        if sender is not None:
            sender, _, _ = self.people.sender(
                sender, sender_id if isinstance(sender_id, str) else None, service=False
            )
        text, cut = self._kept(record)
        chat_id, _ = self.people.chat(chat.chat_id, chat.name, personal=chat.personal)
        row = (chat_id, int64(known.get("id")), posted, sender, text, why.code)
        reason = why.reason(shown=self.people.pseudonyms is None)
        self.unreadable.append((*row, clean(reason) + cut))
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
        if type(part) is Entity:
            if part.type not in _MENTIONS:
                return part
            return msgspec.structs.replace(part, text=self.people.mention(clean(part.text)))
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            return part
        kind, text = part.get("type"), part["text"]
        if kind in _MENTIONS or (not isinstance(kind, str) and text.startswith("@")):
            return {**part, "text": self.people.mention(clean(text))}
        return part

    def _row(self, chat: Chat, record: Any) -> tuple[Any, ...]:
        if not isinstance(record, dict):
            raise RefusedError("unknown_shape", "the record is not an object")
        kind = record.get("type")
        if kind not in ("message", "service", _UNSUPPORTED):
            raise RefusedError("unknown_shape", "type is {}, not message or service", kind)
        if chat.chat_id is None:
            raise RefusedError("missing_id", "the chat has no id")
        message_id = int64(record.get("id"))
        if message_id is None:
            raise RefusedError("missing_id", "id is {}, not a number", record.get("id"))
        posted = time_of(record, "date", "date_unixtime", self.timezone)
        if posted is None and kind == _UNSUPPORTED:
            posted = self.times.get(chat.chat_id)
        if posted is None:
            raise RefusedError("bad_date", "the record has no date")
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
            edited = time_of(record, "edited", "edited_unixtime", self.timezone)
        except RefusedError:
            edited = edited_by_own_clock(record, posted)
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
        return clean(value)

    def _sender_id(self, record: Mapping[str, Any], name: str) -> str | None:
        """The sender's id as text; exports of old wrote a bare number for a user."""
        number = int64(record.get(name))
        return self._name(record, name) if number is None else f"user{number}"

    def _via_bot(self, name: str) -> str:
        return name if self.people.pseudonyms is None else self.people.mention(name)

    def _reply_to(self, record: Mapping[str, Any]) -> int | None:
        """The message of the same chat that this one answers."""
        value = record.get("reply_to_message_id")
        if value is None or record.get("reply_to_peer_id") is not None:
            return None
        number = int64(value)
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
            raise RefusedError("unknown_shape", "text is neither text nor a list of parts")
        try:
            text = clean("".join([part if type(part) is str else part.text for part in parts]))
        except (AttributeError, TypeError):
            text = clean("".join(map(text_of, parts)))
        entities, odd = entities_of(told or parts)
        if odd:
            self.dropped["text_entities"] += 1
            entities = entities_of(parts)[0] or entities
        has_buttons = False
        more: list[str] = []
        if "inline_bot_buttons" in record:
            buttons = record["inline_bot_buttons"]
            cells = cells_of(buttons)
            has_buttons = bool(cells)
            if buttons and not cells:
                self.dropped["inline_bot_buttons"] += 1
            entities += links_of(cells)
            more = copied_by(cells)
        if not OTHER_FIELDS.isdisjoint(record):
            for name in sorted(OTHER_FIELDS & record.keys()):
                more += self._lines(name, record[name], entities)
        if more:
            text = "\n".join([text, *more] if text else more)
        if len(text) > MAX_TEXT:
            raise RefusedError(
                "oversized_text", f"text has {len(text)} characters, over {MAX_TEXT}"
            )
        return text, compact_json(entities) if entities else "[]", has_buttons

    def _lines(self, name: str, value: Any, entities: list[Any]) -> list[str]:
        """The lines of a field that holds text beside `text`; its links join the entities."""
        if not isinstance(value, dict):
            self.dropped[name] += value is not None
            return []
        heading, below = OTHER_TEXT[name]
        told = [value.get(heading)]
        for each in map(value.get, below):
            told += each if isinstance(each, list) else [each]
        lines: list[str] = []
        for item in self._parts(told):
            inner = item.get("text") if isinstance(item, dict) else item
            parts = self._parts(inner if isinstance(inner, list) else [inner])
            entities += entities_of(parts)[0]
            lines.append(clean("".join(filter(None, map(text_or_nothing, parts)))))
        return [line for line in lines if line]


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

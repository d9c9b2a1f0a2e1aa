"""A record of an export from its bytes to plain values: the usual shape fast, others with care.

What the values mean is in `fields`, `texts` and `rows`.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypedDict

import msgspec

from quantlab_assets.adapters.telegram.json.repair import repaired
from quantlab_assets.adapters.telegram.json.structure import (
    Record,
)

NOT_UTF8: Final = "base64:"
"""What kept bytes begin with that are no UTF-8; a JSON record never begins so."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """An element of a list of messages that is no object and no list."""

    value: Any


class RefusedError(Exception):
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
        values = (abridged(value) if shown else type(value).__name__ for value in self._values)
        return self._reason.format(*values)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_decode: Final = json.JSONDecoder(parse_constant=_no_constant).decode
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Entity(msgspec.Struct, omit_defaults=True):
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
        "text": str | list[str | Entity],
        "text_entities": list[Entity],
    },
    total=False,
)
decode_usual: Final = msgspec.json.Decoder(_Usual).decode
"""Reads a record as exports usually have it, several times faster than `_decode`. What it refuses
is left to `_decode`, which says what is wrong or makes the best of it."""


def compact_json(entities: list[Any]) -> str:
    """Entities as they are stored: JSON without spaces, in UTF-8."""
    try:
        return msgspec.json.encode(entities).decode()
    except UnicodeEncodeError:
        return clean(_encode(entities))


def decoded(record: Record | Scalar) -> tuple[Any, bool]:
    """What a record says, and whether its JSON had to be repaired for that."""
    if isinstance(record, bytes):
        try:
            text = record.decode()
            try:
                return decode_usual(record), False
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                return _thoroughly_decoded(record, text)
        except UnicodeDecodeError:
            raise RefusedError("bad_json", "the record is not UTF-8") from None
        except ValueError as error:
            cause = str(error).splitlines()[0][:120]
            raise RefusedError("bad_json", f"the record is not JSON: {cause}") from None
    if isinstance(record, Scalar):
        return record.value, False
    raise RefusedError(
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


def clean(text: str) -> str:
    """Text that UTF-8 can hold: NULs and lone surrogates become U+FFFD, so that removing them never
    joins two halves into an address."""
    if "\x00" in text:
        text = text.replace("\x00", "�")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def abridged(value: Any) -> str:
    """A value as Python writes it, cut to what a line of reasons has room for."""
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."

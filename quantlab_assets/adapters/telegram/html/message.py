"""One message of an HTML export, from its parsed element: what can be told without the others."""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final, Literal

from selectolax.lexbor import LexborNode

Role = Literal["text", "date", "name", "reply", "forwarded", "buttons", "body", "other"]

_TITLE: Final = re.compile(
    r"\s*(\d\d\.\d\d\.\d{4}) (\d\d):(\d\d):(\d\d)(?: UTC([+-])(\d{1,2})(?::?(\d\d))?)?\s*",
    re.ASCII,
)
_ID: Final = re.compile(r"message(-?\d{1,18})", re.ASCII)
_REPLY: Final = re.compile(r"#(?:go_to_)?message(-?\d{1,18})(?!\d)", re.ASCII)
_MIGRATED: Final = -500_000_000
"""Messages of the group that a supergroup was before are numbered up from -999,999,999."""
_VIA: Final = re.compile(r"\s+via @\w+$")
_EPOCH: Final = re.compile(r"Data: (?:delete_message:\d+|refr):(\d{10})\b", re.ASCII)
_LINK: Final = re.compile(r'<a (?:[^>]*? )?href="([^"]+)"[^>]*>(.*?)</a>', re.DOTALL)
_compact: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_TAG: Final = re.compile(r"<[^>]*>")
_SPACE: Final = " \t\n\r\f"
_EARLIEST_YEAR, _LATEST_YEAR = 2013, 2099
_DAY_S: Final = 86_400
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


class UnreadableError(Exception):
    """A message that cannot be read: a quarantine code, what is wrong, and what was read of it."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.message_id: int | None = None
        self.name: str | None = None


@dataclass(slots=True)
class Said:
    """A message as it stands in the page. `local` is what the clock showed, in seconds since 1970
    as if it were UTC, and `label` the offset beside it; a service message has neither. `markup` is
    the HTML of the text if it has any, `buttons` JSON objects of the buttons that open a link,
    joined by `,`; `epoch` the Unix seconds in a bot's buttons."""

    message_id: int
    service: bool
    joined: bool
    local: int | None = None
    label: int | None = None
    name: str | None = None
    reply_to: int | None = None
    forwarded: bool = False
    forwarded_from: str | None = None
    text: str = ""
    markup: str = ""
    buttons: str = ""
    epoch: int | None = None


def read_message(node: LexborNode, attributes: Mapping[str, str | None]) -> Said | None:
    """The message, or None for a separator of days. Raises `UnreadableError`."""
    words = attributes["class"] or ""
    service = "service" in words.split()
    found = _ID.fullmatch(attributes.get("id") or "")
    if service and (found is None or _MIGRATED < int(found[1]) < 0):
        # Day separators count down from -1; older exports gave them no id.
        return None
    if found is None:
        shown = (attributes.get("id") or "")[:40]
        raise UnreadableError("missing_id", f"id is {shown!r}, not message and a number")
    said = Said(int(found[1]), service, "joined" in words)
    if service:
        return said
    try:
        for part in node.iter():
            if role_of(part.attributes.get("class")) == "body":
                _read_body(part, said)
        if said.local is None:
            raise UnreadableError("bad_date", "the record has no date")
    except UnreadableError as why:
        why.message_id, why.name = said.message_id, said.name
        raise
    return said


@lru_cache(maxsize=1024)
def role_of(css_class: str | None) -> Role:
    """What an element of a message is, by its class."""
    words = (css_class or "").split()
    if "body" in words:
        return "forwarded" if "forwarded" in words else "body"
    if "date" in words:
        return "date"
    roles: dict[str, Role] = {"text": "text", "from_name": "name", "reply_to": "reply"}
    for word in words:
        if word in roles:
            return roles[word]
    return "buttons" if "bot_buttons_table" in words else "other"


def _read_body(body: LexborNode, said: Said) -> None:
    parts = [(role_of(part.attributes.get("class")), part) for part in body.iter()]
    # Names come first: a message whose time cannot be read is its sender's all the same.
    for role, part in parts:
        if role == "name":
            said.name = _name(part)
    for role, part in parts:
        if role == "text":
            _read_text(part, said)
        elif role == "date":
            if said.local is None:
                said.local, said.label = read_title(part.attributes.get("title"))
        elif role == "reply":
            target = _REPLY.search(part.inner_html or "")
            said.reply_to = None if target is None else int(target[1])
        elif role == "forwarded":
            _read_forwarded(part, said)
        elif role == "buttons":
            _read_buttons(part.inner_html or "", said)


def _read_forwarded(body: LexborNode, said: Said) -> None:
    said.forwarded = True
    for part in body.iter():
        role = role_of(part.attributes.get("class"))
        if role == "name":
            said.forwarded_from = _name(part)
        elif role == "text":
            _read_text(part, said)
        elif role == "buttons":
            _read_buttons(part.inner_html or "", said)


def _read_text(part: LexborNode, said: Said) -> None:
    if said.text:
        return
    said.text = part.text().strip(_SPACE)
    markup = part.inner_html or ""
    if "<" in markup:
        said.markup = markup


def _name(node: LexborNode) -> str | None:
    """A name without what is printed beside it: the time of a forward, `via @bot`."""
    text = node.text()
    for extra in node.iter():
        if extra.tag == "span":
            text = text.replace(extra.text(), " ", 1)
    return _without_bot(text.strip(_SPACE))


def _without_bot(name: str) -> str | None:
    """The name without the bot that a message was sent by way of."""
    return (_VIA.sub("", name) if " via @" in name else name) or None


def read_title(title: str | None) -> tuple[int, int | None]:
    """`07.11.2025 20:57:37 UTC+10:00` as clock seconds and the label's offset in seconds."""
    found = _TITLE.fullmatch(title or "")
    if found is None:
        raise UnreadableError("bad_date", f"the date is {(title or '')[:40]!r}, not a time")
    day, hours, minutes, seconds, sign, east, more = found.groups()
    midnight = _midnight(day)
    if midnight is None or hours > "23" or minutes > "59" or seconds > "59":
        raise UnreadableError("bad_date", f"{found[0].strip()} is not between 2013 and 2100")
    local = midnight + int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    if sign is None:
        return local, None
    offset = int(east) * 3600 + int(more or 0) * 60
    if offset > 14 * 3600:
        raise UnreadableError("bad_date", f"{found[0].strip()} has no offset that a clock has")
    return local, -offset if sign == "-" else offset


@lru_cache(maxsize=4096)
def _midnight(day: str) -> int | None:
    try:
        found = date(int(day[6:]), int(day[3:5]), int(day[:2]))
    except ValueError:
        return None
    if not _EARLIEST_YEAR <= found.year <= _LATEST_YEAR:
        return None
    return (found.toordinal() - _EPOCH_DAY) * _DAY_S


def _read_buttons(markup: str, said: Said) -> None:
    epochs = [int(each) for each in _EPOCH.findall(markup)]
    if epochs:
        said.epoch = min(epochs)
    links = [
        {
            "type": "button",
            "text": html.unescape(_TAG.sub("", text)).strip(),
            "href": html.unescape(href),
        }
        for href, text in _LINK.findall(markup)
    ]
    said.buttons = ",".join(map(_compact, links))

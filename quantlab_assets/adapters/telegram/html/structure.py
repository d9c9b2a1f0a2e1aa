"""Cuts a page of an HTML export into its messages, in bounded memory.

A window of the page is cut where Telegram Desktop begins a message, and parsed as a whole; if the
parser sees one element for each cut, in their order, that is what the messages are. Those written
exactly by the template (`html_template`) need no parser. Where it does
not (another way of writing tags, a comment or a script around messages, one that is not closed) the
window is cut again by a scanner that knows what hides markup, and every message is parsed by
itself, so that damage stays where it is.
"""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from selectolax.lexbor import LexborHTMLParser, LexborNode

from quantlab_assets.adapters.telegram.html.template import READ, read_template
from quantlab_assets.domain.errors import ValidationFailed

MAX_TAGS: Final = 1_500
"""Most tags a message may have; Telegram's own cards have about a hundred."""
MAX_HEAD_BYTES: Final = 4 << 20
"""How far into a page its first message may be."""

_WINDOW: Final = 2 << 20
_START: Final = b'<div class="message '
_MARK: Final = re.compile(
    rb"<(?:div\b[^<>]{0,1000}?\bclass\s*=\s*[\"']?\s*(?P<message>message)(?=[\s\"'>])"
    rb"|(?P<comment>!--)"
    rb"|(?P<raw>script|style|textarea|title|template|xmp|iframe|noembed|noframes|plaintext)\b)",
    re.IGNORECASE,
)
"""What begins a message, and what hides markup until it is closed."""
_HIDING: Final = re.compile(
    rb"<(?:!--|script|style|textarea|title|template|xmp|iframe|noembed|noframes|plaintext)",
    re.IGNORECASE,
)
_BREAK: Final = re.compile(rb"<br\b[^<>]*>", re.IGNORECASE)
_END: Final = re.compile(rb"</(?:body|html)\s*>\s*(?:</html\s*>\s*)?$", re.IGNORECASE)
_TAIL: Final = 4096

Attributes = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Piece:
    """A message as it stands in its page: where, its bytes (of one over the limit the first), how
    many it has. And its parsed element (`node`), or `why` it could not be had: code and reason.
    """

    offset: int
    content: bytes
    size: int
    node: LexborNode | None
    attributes: Attributes
    why: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Messages that follow each other in a page: where each begins, how many bytes it has. Those
    of the template are read (rows of `html_template.READ`), the others are pieces by their place.
    """

    offsets: Sequence[int]
    sizes: Sequence[int]
    read: pl.DataFrame
    others: Sequence[tuple[int, Piece]]


class PageReader:
    """The messages of one page, in their order.

    `title` is the chat's name as the page's header has it, known once the first message is read.
    Raises `ValidationFailed` if the page is no export, or is damaged beyond its messages.
    """

    def __init__(self, name: str, file: BinaryIO, *, max_bytes: int, kept_bytes: int) -> None:
        self.title: str | None = None
        self._name = name
        self._file = file
        self._max_bytes = max_bytes
        self._kept_bytes = kept_bytes
        self._data = b""
        self._at = 0
        self._whole = False

    def windows(self) -> Iterator[Window]:
        """Every message of the page."""
        if not self._skip_head():
            return
        while True:
            self._fill(_WINDOW)
            if not self._data:
                return
            yield self._quick() or self._exact()

    def _fill(self, size: int) -> None:
        missing = size - len(self._data)
        parts = [self._data]
        while missing > 0 and not self._whole:
            more = self._file.read(missing)
            if not more:
                self._whole = True
                tail = b"".join(parts)[-_TAIL:]
                if not _END.search(tail):
                    raise ValidationFailed(
                        f"{self._name}: cut off, it does not end in </html>; export it again"
                    )
            parts.append(more)
            missing -= len(more)
        if len(parts) > 1:
            self._data = b"".join(parts)

    def _drop(self, size: int) -> None:
        self._data = self._data[size:]
        self._at += size

    def _skip_head(self) -> bool:
        """Read up to the first message; False if the page has none."""
        window = _WINDOW
        while True:
            self._fill(window)
            first, _ = self._marks(0, most=1)
            if first or self._whole or len(self._data) > MAX_HEAD_BYTES:
                break
            window *= 2
        head = self._data[: first[0]] if first else self._data[:MAX_HEAD_BYTES]
        tree = LexborHTMLParser(head) if head.count(b"<") <= MAX_TAGS else None
        name = None if tree is None else tree.css_first(".page_header .text, .page_header .bold")
        self.title = None if name is None else name.text().strip() or None
        if not first:
            if name is None or tree is None or tree.css_first(".history") is None:
                raise ValidationFailed(
                    f"{self._name}: not a Telegram export; expected a page of Telegram Desktop's "
                    "HTML export, with messages"
                )
            return False
        self._drop(first[0])
        return True

    def _marks(self, begin: int, most: int | None = None) -> tuple[list[int], int]:
        """Where messages begin in the window (the first `most` of them), and how far the scanner
        could tell."""
        found = []
        data, at = self._data, begin
        while mark := _MARK.search(data, at):
            if mark["message"]:
                found.append(mark.start())
                at = mark.end()
                if len(found) == most:
                    return found, at
                continue
            closed = self._closed(mark)
            if closed < 0:
                return found, mark.start()
            at = closed
        return found, len(data)

    def _closed(self, mark: re.Match[bytes]) -> int:
        """Where what hides markup ends; -1 if not in this window."""
        if mark["comment"]:
            # `<!-->` and `<!--->` are whole comments.
            end = self._data.find(b"-->", mark.end() - 2)
            return -1 if end < 0 else end + 3
        end_tag = re.compile(rb"</" + mark["raw"] + rb"[\s/>]", re.IGNORECASE)
        close = end_tag.search(self._data, mark.end())
        return -1 if close is None else close.end()

    def _quick(self) -> Window | None:
        """The messages that end in the window, those not of the template parsed together; None if
        that is not safe."""
        data = self._data
        starts = []
        at = data.find(_START)
        if at != 0:
            return None
        while at >= 0:
            starts.append(at)
            at = data.find(_START, at + 1)
        end = len(data)
        if not self._whole:
            end = starts.pop()
            if not starts:
                return None
        bounds = np.array([*starts, end], np.int64)
        sizes = np.diff(bounds)
        if sizes.max() > self._max_bytes:
            return None
        texts = _texts(data, bounds)
        read = READ.to_frame() if texts is None else read_template(texts, most_tags=MAX_TAGS)
        left = np.delete(np.arange(len(starts)), read["at"].to_numpy()).tolist()
        contents = [data[bounds[at] : bounds[at + 1]] for at in left]
        if any(content.count(b"<") > MAX_TAGS for content in contents):
            return None
        elements = _elements(contents)
        if elements is None:
            return None
        offsets = (bounds[:-1] + self._at).tolist()
        others = [
            (at, Piece(offsets[at], content, len(content), node, attributes))
            for at, content, (node, attributes) in zip(left, contents, elements, strict=True)
        ]
        self._drop(end)
        return Window(offsets, sizes.tolist(), read, others)

    def _exact(self) -> Window:
        """The messages that end in the window, each parsed by itself; at least one."""
        window = len(self._data)
        while True:
            starts, known = self._marks(0)
            closed = known == len(self._data)
            if closed and self._whole:
                bounds = [*starts[1:], known]
                break
            if len(starts) > 1:
                known = starts[-1]
                bounds, starts = starts[1:], starts[:-1]
                break
            if self._whole:
                raise ValidationFailed(
                    f"{self._name}: damaged at byte {self._at + known}: a comment or script is "
                    "never closed; export it again"
                )
            if window > self._max_bytes:
                return _window([self._oversized()])
            window *= 2
            self._fill(window)
        pieces = [
            read_piece(
                self._data[begin:stop],
                offset=self._at + begin,
                max_bytes=self._max_bytes,
                kept_bytes=self._kept_bytes,
            )
            for begin, stop in zip(starts, bounds, strict=True)
        ]
        self._drop(bounds[-1] if bounds else known)
        return _window(pieces)

    def _oversized(self) -> Piece:
        """A message over the limit: its first bytes; the rest is read past."""
        offset, kept, size = self._at, self._data[: self._kept_bytes], 0
        while True:
            starts, _ = self._marks(0 if size else 1)
            if starts:
                size += starts[0]
                self._drop(starts[0])
                break
            if self._whole:
                size += len(self._data)
                self._drop(len(self._data))
                break
            # What may be the beginning of a mark stays.
            past = len(self._data) - _TAIL
            size += past
            self._drop(past)
            self._fill(_WINDOW)
        why = f"the record has {size} bytes; no message is that large"
        return Piece(offset, kept, size, None, {}, ("oversized_record", why))


def page_of(title: str | None, records: Sequence[bytes]) -> bytes:
    """A page with the records of a chat, as they stood in theirs."""
    head = f"""<!DOCTYPE html>
<html><head><meta charset="utf-8"/><title>Exported Data</title></head><body>
<div class="page_wrap"><div class="page_header"><div class="content"><div class="text bold">
{html.escape(title or "")}
</div></div></div><div class="page_body chat_page"><div class="history">
"""
    return head.encode() + b"\n".join(records) + b"\n</div></div></div></body></html>\n"


def read_piece(
    content: bytes, *, offset: int = 0, max_bytes: int = 1 << 62, kept_bytes: int = 1 << 62
) -> Piece:
    """One message by itself, as it stands in its page."""
    size, kept = len(content), content[:kept_bytes]
    if size > max_bytes:
        why = f"the record has {size} bytes; no message is that large"
        return Piece(offset, kept, size, None, {}, ("oversized_record", why))
    if (tags := content.count(b"<")) > MAX_TAGS:
        why = f"the record has {tags} tags; no message has that many"
        return Piece(offset, kept, size, None, {}, ("unknown_shape", why))
    tree = _parsed(content)
    tree.strip_tags(["script", "style", "template", "noscript", "iframe"])
    for node in [] if tree.body is None else tree.body.iter():
        attributes = node.attributes
        if _is_message(attributes):
            return Piece(offset, content, size, node, attributes)
    why = "the record's tags do not make a message"
    return Piece(offset, kept, size, None, {}, ("unknown_shape", why))


def _window(pieces: Sequence[Piece]) -> Window:
    offsets, sizes = [each.offset for each in pieces], [each.size for each in pieces]
    return Window(offsets, sizes, READ.to_frame(), list(enumerate(pieces)))


def _texts(data: bytes, bounds: NDArray[np.int64]) -> pl.Series | None:
    """What is between the bounds, without a copy; None if the parser would not keep every
    character of it as it is."""
    if b"\0" in data:
        return None
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    found = pa.Array.from_buffers(pa.large_string(), len(bounds) - 1, buffers)
    try:
        found.validate(full=True)
    except pa.ArrowInvalid:
        return None
    return pl.Series(found)


def _elements(contents: list[bytes]) -> list[tuple[LexborNode, Attributes]] | None:
    """The element of each message, parsed together; None if that does not give one for each."""
    if not contents:
        return []
    # What reaches over the end of a message then shows as an element around the next.
    joined = b" ".join(contents)
    if _HIDING.search(joined):
        return None
    body = _parsed(joined).body
    nodes = [] if body is None else body.iter()
    found: list[tuple[LexborNode, Attributes]] = [(node, node.attributes) for node in nodes]
    messages = found[: len(contents)]
    if len(messages) < len(contents) or not all(_is_message(each) for _, each in messages):
        return None
    if any(_is_message(each) for _, each in found[len(contents) :]):
        return None
    return messages


def _parsed(content: bytes) -> LexborHTMLParser:
    """Line breaks of the file are spaces, as HTML has it, and `<br>` is a line break. A NUL would
    be dropped, and join what stands around it."""
    plain = content.replace(b"\n", b" ").replace(b"\r", b" ").replace(b"<br>", b"\n")
    if b"<br" in plain or b"<BR" in plain or b"<Br" in plain or b"<bR" in plain:
        plain = _BREAK.sub(b"\n", plain)
    return LexborHTMLParser(plain.replace(b"\0", "�".encode()) if b"\0" in plain else plain)


def _is_message(attributes: Attributes) -> bool:
    return "message" in (attributes.get("class") or "").split()

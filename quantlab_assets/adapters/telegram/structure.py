"""A pass over the raw bytes of a JSON file that bounds what a parser may be made to do.

Nested brackets make a path-tracking parser quadratic, and one endless record makes a streaming one
hold it all. Both are measured here before any parser runs, at the speed of the hash that needs the
same pass.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from quantlab_assets.domain.errors import ValidationFailed

MAX_DEPTH: Final = 64
CHAT_LEVEL: Final = 2
"""Brackets open around a record of a chat export: the object and its list of messages."""
ACCOUNT_LEVEL: Final = 5
"""The same of an account export: the object, `chats`, its `list`, a chat, its list of messages."""

_CHUNK: Final = 1 << 20
_QUOTE: Final = 2
_MARK: Final = np.zeros(256, np.int8)
_MARK[list(b"{[")] = 1
_MARK[list(b"}]")] = -1
_MARK[ord('"')] = _QUOTE


@dataclass(frozen=True, slots=True)
class FileShape:
    """A file's hash (`sha256:<hex>`), its size, and the longest stretch of bytes with more brackets
    open than around a record of a chat, and of an account."""

    sha256: str
    size: int
    longest_chat_record: int
    longest_account_record: int


def measure(path: Path, *, max_depth: int = MAX_DEPTH) -> FileShape:
    """Hash a file and measure its structure, in constant memory.

    Raises `ValidationFailed` if brackets nest deeper than `max_depth`.
    """
    digest, scan = hashlib.sha256(), _Scan()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            scan.feed(chunk)
            if scan.deepest > max_depth:
                raise ValidationFailed(
                    f"{path.name}: brackets nest deeper than {max_depth}; no Telegram export does"
                )
    return FileShape(
        sha256=f"sha256:{digest.hexdigest()}",
        size=scan.position,
        longest_chat_record=scan.longest(CHAT_LEVEL),
        longest_account_record=scan.longest(ACCOUNT_LEVEL),
    )


class _Scan:
    """Bracket depth outside of strings, chunk by chunk."""

    def __init__(self) -> None:
        self.position = 0
        self.deepest = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._last = {CHAT_LEVEL: 0, ACCOUNT_LEVEL: 0}
        self._longest = {CHAT_LEVEL: 0, ACCOUNT_LEVEL: 0}

    def feed(self, chunk: bytes) -> None:
        size = len(chunk)
        if self._escaped:
            chunk = b" " + chunk[1:]
        self._escaped = (len(chunk) - len(chunk.rstrip(b"\\"))) % 2 == 1
        plain = chunk.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        marks = _MARK[np.frombuffer(plain, np.uint8)]
        at = np.flatnonzero(marks)
        if at.size:
            found = marks[at]
            quotes = found == _QUOTE
            inside = (np.cumsum(quotes, dtype=np.int32) + self._in_string) % 2 == 1
            steps = np.where(inside | quotes, 0, found)
            depth = np.cumsum(steps, dtype=np.int32) + self._depth
            self._in_string = bool(inside[-1])
            self._depth = int(depth[-1])
            self.deepest = max(self.deepest, int(depth.max()))
            for level in self._last:
                self._measure(level, at[depth <= level])
        self.position += size

    def _measure(self, level: int, at: npt.NDArray[np.intp]) -> None:
        if at.size:
            gaps = np.diff(at, prepend=self._last[level] - self.position)
            self._longest[level] = max(self._longest[level], int(gaps.max()))
            self._last[level] = self.position + int(at[-1])

    def longest(self, level: int) -> int:
        return max(self._longest[level], self.position - self._last[level])

"""Cuts a JSON stream into its records and the skeleton around them, in bounded memory.

One vectorised pass over brackets and quotes finds the exact bytes of every container at a given
level. What is left, with `{}` in their places, is small and shallow, so that a streaming parser can
check it; each record is then read, kept or refused by itself. If both are valid, so was the file.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

CHAT_LEVEL: Final = 2
"""Brackets open around a record of a chat export: the object and its list of messages."""
ACCOUNT_LEVEL: Final = 5
"""The same of an account export: the object, `chats`, its `list`, a chat, its list of messages."""

PLACE: Final = b"{}"
"""What stands for a record in the skeleton."""

_QUOTE: Final = 2
_STEP: Final = {b"{": 1, b"[": 1, b"}": -1, b"]": -1, b'"': _QUOTE}
_MARKS: Final = bytes(_STEP.get(bytes([byte]), 0) % 256 for byte in range(256))
"""A byte's mark: 1 opens, -1 closes, 2 is a quote, 0 is anything else."""


@dataclass(frozen=True, slots=True)
class Oversized:
    """A record over the limit: its first bytes, and how many it has."""

    head: bytes
    size: int


Record = bytes | Oversized


class RecordSplitter:
    """Cuts chunks of a JSON text into the containers at `level` and the skeleton around them.

    A record of more than `max_bytes` is counted, and only its first `kept_bytes` are held.
    """

    def __init__(self, level: int, *, max_bytes: int, kept_bytes: int) -> None:
        self._level = level
        self._max_bytes = max_bytes
        self._kept_bytes = kept_bytes
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._open: bytearray | None = None
        self._open_size = 0

    def feed(self, chunk: bytes) -> tuple[bytes, list[Record]]:
        """The skeleton of the chunk, and the records that end in it, in their order."""
        opens, closes = self._bounds(chunk)
        skeleton: list[bytes] = []
        records: list[Record] = []
        begun = 0
        if self._open is not None:
            if not closes:
                self._extend(chunk)
                return b"", []
            begun = closes.pop(0)
            self._extend(chunk[:begun])
            records.append(self._close())
            skeleton.append(PLACE)
        for first, last in zip(opens, closes, strict=False):
            skeleton += (chunk[begun:first], PLACE)
            records.append(self._limited(chunk[first:last]))
            begun = last
        if len(opens) > len(closes):
            skeleton.append(chunk[begun : opens[-1]])
            self._open, self._open_size = bytearray(), 0
            self._extend(chunk[opens[-1] :])
        else:
            skeleton.append(chunk[begun:])
        return b"".join(skeleton), records

    def _bounds(self, chunk: bytes) -> tuple[list[int], list[int]]:
        """Where records begin, and where they end (the byte after), in this chunk."""
        if self._escaped:
            chunk = b" " + chunk[1:]
        self._escaped = (len(chunk) - len(chunk.rstrip(b"\\"))) % 2 == 1
        plain = chunk.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        marks = np.frombuffer(plain.translate(_MARKS), np.int8)
        at = np.flatnonzero(marks != 0)
        if not at.size:
            return [], []
        found = marks[at]
        quotes = found == _QUOTE
        inside = (np.cumsum(quotes, dtype=np.int32) + self._in_string) % 2 == 1
        self._in_string = bool(inside[-1])
        brackets = ~(inside | quotes)
        at, steps = at[brackets], found[brackets]
        if not at.size:
            return [], []
        depth = np.cumsum(steps, dtype=np.int64) + self._depth
        self._depth = int(depth[-1])
        opens = at[(steps == 1) & (depth == self._level + 1)]
        closes = at[(steps == -1) & (depth == self._level)] + 1
        return opens.tolist(), closes.tolist()

    def _extend(self, more: bytes) -> None:
        assert self._open is not None
        self._open_size += len(more)
        self._open += more
        if self._open_size > self._max_bytes:
            del self._open[self._kept_bytes :]

    def _close(self) -> Record:
        assert self._open is not None
        whole, self._open = bytes(self._open), None
        if self._open_size > self._max_bytes:
            return Oversized(whole[: self._kept_bytes], self._open_size)
        return whole

    def _limited(self, record: bytes) -> Record:
        if len(record) > self._max_bytes:
            return Oversized(record[: self._kept_bytes], len(record))
        return record

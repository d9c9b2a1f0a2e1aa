"""Repairs the two faults that Telegram Desktop itself writes into its JSON, and nothing else.

Control characters are escaped as `\\x0B`, which JSON does not know, and paths of files stand
without quotes: `"thumbnail": video_files/clip.mp4_thumb.jpg`. What else is wrong stays wrong, and
whoever decodes the result says so.
"""

import re
from typing import Final

_STRING: Final = rb'"(?:[^"\\]++|\\[\s\S])*+"'
_BARE: Final = (
    # A file below a folder of the export, or what stands there for one that was not exported.
    rb"(?P<colon>:\s{0,99})"
    rb'(?P<bare>(?:\w+/|\(File )[^"\\{}\x00-\x1f]{1,1000}?)'
    rb'(?=\s{0,99}(?:,\s{0,99}"|,?\s{0,99}\}))'
)
_FAULTS: Final = re.compile(
    rb"(?P<string>" + _STRING + rb')|(?P<open>"[\s\S]*\Z)|\\[\s\S]|' + _BARE
)
_ESCAPES: Final = re.compile(rb"\\(?:x(?P<code>[0-7][0-9A-Fa-f])|[\s\S])")
_UNFINISHED: Final = re.compile(
    rb':\s{0,99}(?:[\w(][^"\\{}\x00-\x1f]{0,1100}\s{0,99}(?:,\s{0,99})?)?\Z|["\\]'
)
"""What may go on in the next piece, in what follows the last whole string."""
_MAX_HELD: Final = 1 << 20


def repaired(text: bytes) -> bytes:
    """The text with every `\\xNN` inside a string as `\\u00NN`, and bare paths in quotes."""
    return _FAULTS.sub(_mended, text)


def _mended(match: re.Match[bytes]) -> bytes:
    if match["bare"] is not None:
        return match["colon"] + b'"' + match["bare"] + b'"'
    whole = match[0]
    return _ESCAPES.sub(_escape, whole) if b"\\x" in whole else whole


def _escape(match: re.Match[bytes]) -> bytes:
    return match[0] if match["code"] is None else b"\\u00" + match["code"]


class StreamRepair:
    """Repairs a JSON text that comes in pieces: what a piece leaves open waits for the next.

    A string of over a MiB is no title of anything: from there on the text goes through as it is.
    """

    def __init__(self) -> None:
        self._held = b""
        self._on = True

    def feed(self, text: bytes) -> bytes:
        """The repaired text, as far as it is certain."""
        if not self._on or not (self._held or b'"' in text or b":" in text):
            return text
        text, self._held = self._held + text, b""
        last = 0
        parts: list[bytes] = []
        for match in _FAULTS.finditer(text):
            if match["open"] is not None:
                break
            parts += (text[last : match.start()], _mended(match))
            last = match.end()
        rest = text[last:]
        unfinished = _UNFINISHED.search(rest)
        if unfinished is not None:
            rest, self._held = rest[: unfinished.start()], rest[unfinished.start() :]
            if len(self._held) > _MAX_HELD:
                rest, self._held, self._on = rest + self._held, b"", False
        return b"".join((*parts, rest))

    def close(self) -> bytes:
        """What still waits."""
        held, self._held = self._held, b""
        return held

"""Text from outside as it may be shown: no character of it moves, hides or ends the text around."""

import re
from typing import Final

# C0 and C1 controls, and the marks that reorder or hide text around them.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)


def printable(text: str) -> str:
    """Text without control and hidden characters, on one line."""
    return _UNPRINTABLE.sub(" ", text)

"""Which column of a file without a header is what."""

import re
from collections.abc import Sequence
from typing import Final

_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_ISO_START: Final = re.compile(r"\d{4}[-/]\d{2}[-/]\d{2}")
_PRICES: Final = ("open", "high", "low", "close", "volume")


def by_position(cells: Sequence[str]) -> dict[str, int] | None:
    """Column index by role for a first row without a header; None if it is no candle.

    Known: time, four prices and optionally a volume; after a first time, its ISO form may follow.
    """
    if not cells or not (_NUMBER.fullmatch(cells[0]) or _ISO_START.match(cells[0])):
        return None
    first_price = 2 if len(cells) > 1 and _ISO_START.match(cells[1]) else 1
    prices = len(cells) - first_price
    if prices not in (4, 5):
        return None
    return {"time": 0, **{role: first_price + i for i, role in enumerate(_PRICES[:prices])}}

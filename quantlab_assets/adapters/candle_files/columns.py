"""Which column of a file is what: by header names, or by position where there is no header."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "time": ("timestamp", "ts", "time", "unix", "unixtime", "open_time", "datetime", "date"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "v", "vol"),
    "address": ("token_address", "token", "mint", "address", "contract"),
    "network": ("token_chain", "network", "blockchain", "chain"),
    "interval": ("interval_s", "interval", "resolution", "res", "timeframe"),
}
"""Header names (lower case) by role, the preferred one first."""

REQUIRED: Final = ("time", "open", "high", "low", "close")

_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_ISO_START: Final = re.compile(r"\d{4}[-/]\d{2}[-/]\d{2}")
_PRICES: Final = ("open", "high", "low", "close", "volume")

MAX_COLUMNS: Final = 64


def by_header(names: Sequence[str]) -> dict[str, int] | None:
    """Column index by role, if the names are a candle file's header; None if they are not."""
    positions: dict[str, int] = {}
    for index, name in enumerate(names):
        positions.setdefault(re.sub(r"[\s-]+", "_", name.strip().lower()), index)
    roles = {
        role: positions[found]
        for role, known in NAMES.items()
        if (found := next((name for name in known if name in positions), None))
    }
    return roles if all(role in roles for role in REQUIRED) else None


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

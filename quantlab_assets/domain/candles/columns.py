"""Which column of a file or a table is what, by its name."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from quantlab_assets.domain.artifacts.type import INTERVALS

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


def declared_interval() -> pl.Expr:
    """The interval a row says it has, in seconds: `5m` or `300`; null where it says none."""
    text = pl.col("interval").str.strip_chars().str.to_lowercase()
    return pl.coalesce(
        text.replace_strict(INTERVALS, default=None, return_dtype=pl.Int64),
        text.cast(pl.Int64, strict=False),
    )

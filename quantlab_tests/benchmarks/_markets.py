"""Made-up candles and calls for benchmarks: prices walk at random, some minutes are missing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import base58
import numpy as np
import polars as pl

from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.slices.windows import WINDOW_SCHEMA

START: Final = datetime(2025, 5, 1, tzinfo=UTC)
MISSING: Final = 0.03
SILENT: Final = 0.1


class Market(NamedTuple):
    """Calls (columns of `alerts_v1`), sorted candles (`ohlcv_slice_v2`), and their windows."""

    alerts: pl.DataFrame
    candles: pl.DataFrame
    windows: pl.DataFrame


def token_names(count: int, seed: int = 1) -> list[str]:
    """Distinct Solana mints, sorted."""
    drawn = np.random.default_rng(seed)
    return sorted({base58.b58encode(drawn.bytes(32)).decode() for _ in range(count)})


def minute_candles(token: str, minutes: int, seed: int) -> pl.DataFrame:
    """The candles of one token from `START` on; 3 in 100 are missing, 1 in 10 did not trade."""
    drawn = np.random.default_rng(seed)
    at = np.flatnonzero(drawn.random(minutes) >= MISSING)
    price = np.exp(np.cumsum(drawn.normal(0, 0.01, len(at))))
    traded = drawn.random(len(at)) >= SILENT
    columns = {
        "token_address": pl.repeat(token, len(at), eager=True),
        "chain": pl.repeat("solana", len(at), eager=True),
        "token_chain": pl.repeat("solana", len(at), eager=True),
        "interval_s": np.full(len(at), 60),
        "ts": _times(at * 60),
        "open": price,
        "high": price * 1.01,
        "low": price * 0.99,
        "close": price,
        "volume": np.where(traded, drawn.random(len(at)) * 1e4, 0.0),
    }
    return pl.DataFrame(columns).select(OHLCV_SLICE.schema.names)


def market(tokens: int, minutes: int, alerts: int, seed: int = 1) -> Market:
    """Calls at random times, with candles for four hours before and two days after each."""
    names = token_names(tokens, seed)
    candles = pl.concat(
        [minute_candles(name, minutes, i) for i, name in enumerate(names)], rechunk=True
    )
    drawn = np.random.default_rng(seed)
    called = drawn.integers(0, tokens, alerts)
    calls = pl.DataFrame(
        {
            "alert_id": [f"1:{number}:x" for number in range(alerts)],
            "chain": pl.repeat("solana", alerts, eager=True),
            "token_chain": pl.repeat(None, alerts, dtype=pl.String, eager=True),
            "mint": pl.Series(names).gather(called),
            "caller_name_norm": [f"caller_{number % 50:02d}" for number in range(alerts)],
            "alert_ts_utc": _times(drawn.integers(4 * 3600, minutes * 60 - 48 * 3600, alerts)),
        }
    )
    end = START + timedelta(minutes=minutes)
    windows = pl.DataFrame(
        [("solana", name, "solana", 60, START, end) for name in names],
        schema=WINDOW_SCHEMA,
        orient="row",
    )
    return Market(calls, candles, windows)


def in_slices(tokens: int, minutes: int) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each token with its candles, one at a time."""
    for number, name in enumerate(token_names(tokens)):
        yield name, minute_candles(name, minutes, number)


def _times(seconds: np.ndarray) -> pl.Series:  # type: ignore[type-arg]
    """Seconds after `START` as UTC times."""
    us = seconds.astype(np.int64) * 1_000_000 + int(START.timestamp()) * 1_000_000
    return pl.Series(us).cast(pl.Datetime("us", "UTC"))

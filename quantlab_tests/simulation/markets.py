"""Small hostile markets: builders for hand-written cases, Hypothesis strategies for generated ones.

Prices walk on a coarse grid and levels are round fractions of it, so stops, targets and limits are
often touched exactly. Candle times sit near each other, near midnight and on hours; alert times are
placed by the candles, so that order times and waits fall exactly on a candle's `ts` or one
microsecond beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import strategies as st

from quantlab_assets.domain.experiments.strategy import Strategy

TIMESTAMP = pl.Datetime("us", "UTC")
ALERT_SCHEMA = {
    "alert_id": pl.String,
    "alert_ts_utc": TIMESTAMP,
    "known_ts_utc": TIMESTAMP,
    "chain": pl.String,
    "mint": pl.String,
    "caller_name_norm": pl.String,
}
CANDLE_SCHEMA = {
    "token_address": pl.String,
    "chain": pl.String,
    "interval_s": pl.Int64,
    "ts": TIMESTAMP,
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
}

START = datetime(2025, 11, 7, 20, 0, tzinfo=UTC)
"""Where generated markets begin: on the hour, four hours before midnight UTC."""

TOKENS = (
    ("solana", "MintA"),
    ("solana", "MintB"),
    ("evm", "0xaa"),
    ("evm", "MintA"),  # one address on two chains is two tokens
)
CALLERS = ("ann", "bob", "Zed", "émile")
INTERVALS = (60, 300, 3600)


@dataclass(frozen=True)
class Case:
    """One simulation input; prints as the rows themselves when Hypothesis reports it."""

    alerts: pl.DataFrame
    candles: pl.DataFrame
    strategy: Strategy

    def __repr__(self) -> str:
        return (
            f"Case(strategy={self.strategy.model_dump(mode='json')},\n"
            f"alerts={self.alerts.rows()},\ncandles={self.candles.rows()})"
        )


# ----------------------------------------------------------------------------------------------
# Builders


def at(seconds: float) -> datetime:
    """The moment `seconds` after START."""
    return START + timedelta(seconds=seconds)


def alert_frame(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Rows with any of the alert columns; the rest default to one caller of one Solana token."""
    filled = []
    for i, row in enumerate(rows):
        known = row.get("known_ts_utc", START)
        defaults = {
            "alert_id": f"a{i}",
            "alert_ts_utc": known,
            "known_ts_utc": known,
            "chain": "solana",
            "mint": "MintA",
            "caller_name_norm": "ann",
        }
        filled.append(defaults | row)
    return pl.DataFrame(filled, schema=ALERT_SCHEMA)


def candle_frame(
    bars: Iterable[Sequence[float]],
    *,
    token: tuple[str, str] = ("solana", "MintA"),
    interval_s: int = 60,
    start: datetime = START,
    volume: float | None = 1.0,
) -> pl.DataFrame:
    """One candle after another from `start`, each bar being (open, high, low, close)."""
    chain, address = token
    rows = [
        (address, chain, interval_s, start + timedelta(seconds=i * interval_s), *bar, volume)
        for i, bar in enumerate(bars)
    ]
    return pl.DataFrame(rows, schema=CANDLE_SCHEMA, orient="row")


def build_strategy(
    *,
    entry: dict[str, Any] | None = None,
    exit: dict[str, Any] | None = None,
    costs: dict[str, Any] | None = None,
    sizing: dict[str, Any] | None = None,
) -> Strategy:
    """A strategy without costs unless they are given."""
    parts = {
        "entry": entry or {},
        "exit": exit or {},
        "costs": {"fee_bps": 0.0, "slippage_bps": 0.0} if costs is None else costs,
        "sizing": sizing or {},
    }
    return Strategy.model_validate(parts)


# ----------------------------------------------------------------------------------------------
# Generated strategies

LADDERS: tuple[tuple[tuple[float, float], ...], ...] = (
    (),
    ((0.5, 1.0),),
    ((1.0, 0.5),),
    ((0.25, 0.5), (0.5, 0.5)),
    ((0.25, 0.25), (0.5, 0.25), (1.0, 0.25)),
    ((0.1, 1 / 3), (0.2, 1 / 3), (0.3, 1 / 3)),
    ((0.2, 0.7), (1.0, 0.2), (2.0, 0.1)),
    tuple((0.1 * (i + 1), 0.1) for i in range(10)),  # 1 - 0.1 - ... leaves dust
    ((0.25, 1 - 1e-12), (0.5, 1e-12)),  # the first fill may leave dust
    ((0.25, 1 - 1e-9), (0.5, 1e-10)),  # the ladder leaves more than dust
)


@st.composite
def strategies(draw: st.DrawFn) -> Strategy:
    """Every rule on or off, with levels that the price grid touches exactly."""
    entry: dict[str, Any] = {
        "mode": draw(st.sampled_from(["next_open", "limit_dip"])),
        "delay_s": draw(st.sampled_from([0, 1, 60, 90])),
        "max_wait_s": draw(st.sampled_from([3600, 7200, 200_000, 300, 60, 0])),
    }
    if entry["mode"] == "limit_dip":
        entry["dip_pct"] = draw(st.sampled_from([0.25, 0.1, 0.5]))

    exits: dict[str, Any] = {"intrabar": draw(st.sampled_from(["stop_first", "target_first"]))}
    stop_loss = draw(st.sampled_from([None, 0.5, 0.25, None, 0.75, 0.1]))
    if stop_loss is not None:
        exits["stop_loss_pct"] = stop_loss
    ladder = draw(st.sampled_from(LADDERS))
    if ladder:
        exits["take_profits"] = [{"gain_pct": gain, "fraction": part} for gain, part in ladder]
    trailing = draw(
        st.sampled_from([None, (0.25, 0.25), (0.5, 0.5), (0.25, 0.1), (0.0, 0.5), (0.25, 0.2)])
    )
    if trailing is not None:
        exits["trailing"] = {"activation_pct": trailing[0], "distance_pct": trailing[1]}
    breakeven = draw(st.sampled_from([None, 0.25, 0.1, 0.5, 0.125]))
    if breakeven is not None:
        exits["breakeven_after_pct"] = breakeven
    max_hold = draw(st.sampled_from([None, None, None, 90_000, 90_000, 3600, 300, 90, 60]))
    if max_hold is not None:
        exits["max_hold_s"] = max_hold

    fee, slippage = draw(st.sampled_from([(0.0, 0.0), (30.0, 50.0), (100.0, 0.0), (0.0, 250.0)]))
    stake, capital = draw(st.sampled_from([(1.0, 100.0), (10.0, 10.0), (30.0, 7.0)]))
    sizing: dict[str, Any] = {"stake": stake, "initial_capital": capital}
    max_open = draw(st.sampled_from([None, 1, 2]))
    if max_open is not None:
        sizing["max_open_positions"] = max_open
    costs = {"fee_bps": fee, "slippage_bps": slippage}
    return build_strategy(entry=entry, exit=exits, costs=costs, sizing=sizing)


# ----------------------------------------------------------------------------------------------
# Generated candles

CandleRow = tuple[str, str, int, datetime, float, float, float, float, float | None]
Bar = tuple[float, float, float, float, float | None]

TOP = 40
GAPS = (0, 0, 0, 0, 1, -1, 4, -4)
MOVES = (0, 1, -1, 2, -2, 4, -4)
WICKS = (0, 0, 0, 0, 0, 1, 1, 2, 2, 20)
VOLUMES = (1.0, None, 0.0, 2.0)


def on_grid(price: int) -> int:
    """The nearest allowed price; never zero."""
    return max(1, min(TOP, price))


@st.composite
def bars(draw: st.DrawFn, previous_close: int) -> tuple[int, int, int, int]:
    """A valid (open, high, low, close) in grid steps, near the last close, now and then a spike."""
    open_ = on_grid(previous_close + draw(st.sampled_from(GAPS)))
    close = on_grid(open_ + draw(st.sampled_from(MOVES)))
    high = max(open_, close) + draw(st.sampled_from(WICKS))
    low = on_grid(min(open_, close) - draw(st.sampled_from(WICKS)))
    return open_, high, low, close


@st.composite
def slices(draw: st.DrawFn, token: tuple[str, str], unit: float) -> list[CandleRow]:
    """Candles of one token and interval with holes; of several slices many overlap."""
    interval = draw(st.sampled_from(INTERVALS))
    hours = draw(st.sampled_from([0, 0, 0, 1, 3, 27, 50]))
    first = START + timedelta(hours=hours, seconds=interval * draw(st.integers(0, 2)))
    chain, address = token
    rows: list[CandleRow] = []
    slot, close = 0, 8
    for _ in range(draw(st.sampled_from([4, 6, 9, 14, 9, 6, 1, 0]))):
        slot += draw(st.sampled_from([0, 0, 0, 0, 0, 1, 7]))
        open_, high, low, close = draw(bars(close))
        ts = first + timedelta(seconds=interval * slot)
        prices = (open_ * unit, high * unit, low * unit, close * unit)
        rows.append((address, chain, interval, ts, *prices, draw(st.sampled_from(VOLUMES))))
        slot += 1
    return rows


@st.composite
def token_candles(draw: st.DrawFn, token: tuple[str, str]) -> list[CandleRow]:
    """All candles of one token: none, one, or overlapping slices, some candles twice."""
    unit = draw(st.sampled_from([1.0, 0.1, 3.7e-6]))
    count = draw(st.sampled_from([1, 2, 1, 3, 2, 1, 0]))
    rows = [row for _ in range(count) for row in draw(slices(token, unit))]
    if rows:
        for twice in draw(st.lists(st.sampled_from(rows), max_size=2)):
            again = [price * unit for price in draw(bars(8))]
            volume = draw(st.sampled_from(VOLUMES))
            rows.append(twice if draw(st.booleans()) else (*twice[:4], *again, volume))
    return rows


# ----------------------------------------------------------------------------------------------
# Generated alerts


@st.composite
def alerts_on(
    draw: st.DrawFn, candles: Sequence[CandleRow], tokens: Sequence[tuple[str, str]], rule: Strategy
) -> list[dict[str, Any]]:
    """Alerts whose order times and waits meet the candles exactly, nearly, or not at all."""
    delay, wait = timedelta(seconds=rule.entry.delay_s), timedelta(seconds=rule.entry.max_wait_s)
    tick = timedelta(microseconds=1)
    alerts = []
    for i in range(draw(st.sampled_from([2, 4, 6, 3, 1, 0]))):
        token = draw(st.sampled_from(tokens))
        own = sorted({row[3] for row in candles if (row[1], row[0]) == token}) or [START]
        anchor = draw(st.sampled_from([own[0], *own]))
        known = draw(
            st.sampled_from(
                [
                    anchor - delay,
                    anchor - delay,
                    anchor - delay - tick,
                    anchor - delay + tick,
                    anchor - delay - wait,
                    anchor - delay - timedelta(seconds=30),
                    anchor - delay - wait - tick,
                    anchor - delay - wait + tick,
                    anchor - timedelta(seconds=100),
                    anchor + timedelta(seconds=30),
                    own[0] - timedelta(days=1),
                    own[-1] + timedelta(hours=2),
                ]
            )
        )
        alerts.append(
            {
                "alert_id": f"{draw(st.sampled_from(['9', '10', 'x']))}:{i}",
                "alert_ts_utc": known - timedelta(seconds=draw(st.sampled_from([0, 30]))),
                "known_ts_utc": known,
                "chain": token[0],
                "mint": token[1],
                "caller_name_norm": draw(st.sampled_from(CALLERS)),
            }
        )
    return alerts


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A whole input: several tokens, some without candles, several callers, rows in any order."""
    rule = draw(strategies())
    tokens = draw(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=3, unique=True))
    rows = [row for token in tokens for row in draw(token_candles(token))]
    alerts = draw(alerts_on(rows, tokens, rule))
    order = draw(st.randoms(use_true_random=False))
    order.shuffle(rows)
    order.shuffle(alerts)
    return Case(
        alerts=pl.DataFrame(alerts, schema=ALERT_SCHEMA),
        candles=pl.DataFrame(rows, schema=CANDLE_SCHEMA, orient="row"),
        strategy=rule,
    )

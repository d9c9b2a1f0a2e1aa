"""A slow, obvious second implementation of the simulation rules in docs/simulation.md.

It belongs to the tests: the fast engine must give what this module gives, bit for bit, so it shares
no code with the engine. Everything is plain Python: times are integer microseconds UTC, prices are
floats, formulas are evaluated left to right as docs/simulation.md writes them, and sums run over
trades in trade order (entry_ts, alert_id) with `+`. It does not validate its input: candles are
valid and aligned, alert ids are unique, no key or time is null.

Decisions where the text leaves room:

Candles
- A token is (chain, address): an alert's (chain, mint) meets candles of the same (chain,
  token_address).
- Duplicates (same token, interval, ts): a null volume loses to any number; at equal volume the
  greatest (open, high, low, close) wins, which is the last row in canonical order. Duplicates are
  settled before intervals merge.
- "Any finer candle" is any candle of a smaller interval, whether or not a still finer one displaces
  it as well; candles that only touch do not overlap.

Entry and walk
- The wait limit is inclusive; the fill must lie in [order time, order time + max_wait] by the
  candle's ts.
- `no_candles` wins over `no_entry_candle`: it means that the token has no candle at any time.
- A candle fully behind the time limit (after a hole) is still walked in order: open, inside, then
  `max_hold` at its close.
- The last candle tests the time limit first: `max_hold` wins over `end_of_data`.
- The remainder is a running difference, 1 - f1 - f2 ...; a ladder leg sells its own fraction, never
  clamped; the last leg sells the remainder. Nothing is sold once the remainder is <= 1e-12.
- "An unfilled target" for `ambiguous_candles` is one still unfilled when step 2 begins.
- A limit_dip entry candle's low counts for trough_multiple (the price was at the limit before it
  went lower).

Money
- fee = fee_bps/10000, slip = slippage_bps/10000; fees = fee*stake + fee*P, with P the proceeds of
  all legs, added in order.
- exit_price = sum(fraction*raw), not divided by the sum of fractions; it is the same sum that
  gross_pnl uses.
- slippage_cost = gross_pnl - net_pnl - fees, so gross - fees - slippage = net.
- Alerts skipped for capacity never open, so they take no room from later ones.

Curves
- Grid: every hour from floor(first entry) up to the last exit, plus the last exit if it is off the
  hour; no trades, no rows.
- cumulative_net_pnl is the net_pnl of trades closed by ts (exit_ts <= ts); a half-sold trade is
  still open.
- An open trade is worth its net_pnl as if the rest were sold at the mark now: exit slippage and fee
  included.
- The mark is the close of the latest candle, from the entry candle on, that has ended by ts; before
  that, the entry price.
- equity = initial_capital + cumulative_net_pnl + sum of open trades; drawdown = (high -
  equity)/high, positive, where high is the running maximum that starts at initial_capital.

Metrics
- Callers and chains are those of the alerts, so one without a trade has rows too; each scope has
  its own curve from its own trades and the full initial_capital. Capacity is settled once, over all
  alerts.
- With no trades counts and totals are 0 and every other metric is null.
- avg_win, avg_loss (negative) and expectancy are means of net_pnl; profit_factor = gross wins /
  -(gross losses).
- total_costs = sum of (fees + slippage_cost).
- A quantile q of n sorted values is x[i] + (x[i+1]-x[i])*(h-i) at h = (n-1)*q, i = floor(h).
- Daily equity is the last curve point whose ts lies in the UTC day (a point at 00:00 belongs to the
  day it begins); the first day's return is over initial_capital, so there are as many returns as
  days. A base <= 0 leaves no returns.
- sharpe = mean/std*sqrt(365); sortino divides by sqrt(sum(min(r,0)^2)/(n-1)) about zero; null if
  the divisor is 0.
- calmar = ((last equity/initial_capital)^(365/days) - 1)/max_drawdown, days as above; null under 2
  days, without a drawdown, if equity ends below 0, or if it overflows.
- ambiguous_share is the share of trades with at least one ambiguous candle.
- alerts_without_entry = alerts_seen - total_trades, capacity included.

Diagnostics
- One row per alert without a trade, sorted by alert_id, level `warning`; ts is the order time, for
  `capacity` the entry time that was refused. The message is for people and is not part of the
  contract.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import polars as pl

from quantlab_assets.domain.experiments.strategy import Strategy

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
DUST = 1e-12

TIMESTAMP = pl.Datetime("us", "UTC")

TRADES_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "trade_id": pl.String,
    "alert_id": pl.String,
    "caller_name_norm": pl.String,
    "chain": pl.String,
    "mint": pl.String,
    "alert_ts_utc": TIMESTAMP,
    "entry_ts": TIMESTAMP,
    "entry_price": pl.Float64,
    "exit_ts": TIMESTAMP,
    "exit_price": pl.Float64,
    "exit_reason": pl.String,
    "exit_legs": pl.Int64,
    "stake": pl.Float64,
    "gross_pnl": pl.Float64,
    "net_pnl": pl.Float64,
    "net_return": pl.Float64,
    "fees": pl.Float64,
    "slippage_cost": pl.Float64,
    "peak_multiple": pl.Float64,
    "trough_multiple": pl.Float64,
    "duration_s": pl.Int64,
    "candles_held": pl.Int64,
    "ambiguous_candles": pl.Int64,
}
METRICS_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "scope": pl.String,
    "scope_value": pl.String,
    "metric_name": pl.String,
    "metric_value": pl.Float64,
}
CURVES_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "ts": TIMESTAMP,
    "equity": pl.Float64,
    "cumulative_net_pnl": pl.Float64,
    "open_positions": pl.Int64,
    "drawdown": pl.Float64,
}
DIAGNOSTICS_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "alert_id": pl.String,
    "level": pl.String,
    "code": pl.String,
    "message": pl.String,
    "ts": TIMESTAMP,
}
METRIC_NAMES = (
    "total_trades",
    "winning_trades",
    "losing_trades",
    "win_rate",
    "avg_win",
    "avg_loss",
    "profit_factor",
    "expectancy",
    "total_net_pnl",
    "total_gross_pnl",
    "total_costs",
    "median_return",
    "return_p05",
    "return_p95",
    "max_drawdown",
    "sharpe",
    "sortino",
    "calmar",
    "avg_duration_s",
    "ambiguous_share",
    "alerts_seen",
    "alerts_without_entry",
)


# ----------------------------------------------------------------------------------------------
# Records


@dataclass(frozen=True)
class Candle:
    """One merged candle; `ts` and `end` in microseconds."""

    ts: int
    end: int
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True)
class Alert:
    alert_id: str
    alert_ts: int
    known_ts: int
    chain: str
    mint: str
    caller: str


@dataclass(frozen=True)
class Rules:
    """The strategy as plain numbers: microseconds, fractions, None for what is off."""

    mode: str
    delay: int
    dip: float | None
    max_wait: int
    stop_loss: float | None
    targets: tuple[tuple[float, float], ...]  # (gain, fraction), gains ascending
    trailing: tuple[float, float] | None  # (activation, distance)
    breakeven_after: float | None
    max_hold: int | None
    target_first: bool
    fee: float
    slip: float
    stake: float
    initial_capital: float
    max_open: int | None


@dataclass(frozen=True)
class Leg:
    ts: int
    fraction: float
    price: float
    reason: str


@dataclass
class Position:
    """One walked trade: where it went in, its legs, and its money."""

    alert: Alert
    candles: list[Candle]
    entry_index: int
    entry_price: float
    legs: list[Leg] = field(default_factory=list)
    remaining: float = 1.0
    exit_index: int = -1
    ambiguous: int = 0
    exit_price: float = math.nan
    gross_pnl: float = math.nan
    net_pnl: float = math.nan
    fees: float = math.nan
    peak_multiple: float = math.nan
    trough_multiple: float = math.nan

    @property
    def entry_ts(self) -> int:
        return self.candles[self.entry_index].ts

    @property
    def exit_ts(self) -> int:
        return self.legs[-1].ts

    @property
    def exit_reason(self) -> str:
        return self.legs[-1].reason

    @property
    def is_closed(self) -> bool:
        return self.remaining == 0.0

    def sell(self, fraction: float, price: float, ts: int, reason: str) -> None:
        """Add one leg; a remainder of dust becomes zero."""
        self.legs.append(Leg(ts, fraction, price, reason))
        self.remaining = self.remaining - fraction
        if self.remaining <= DUST:
            self.remaining = 0.0


@dataclass(frozen=True)
class Skipped:
    """An alert that did not become a trade."""

    alert: Alert
    code: str
    ts: int


@dataclass(frozen=True)
class CurvePoint:
    ts: int
    equity: float
    cumulative_net_pnl: float
    open_positions: int
    drawdown: float


@dataclass(frozen=True)
class Reference:
    """What `simulate` gives: four frames, and the walked positions with their legs."""

    trades: pl.DataFrame
    metrics: pl.DataFrame
    curves: pl.DataFrame
    diagnostics: pl.DataFrame
    positions: tuple[Position, ...]


# ----------------------------------------------------------------------------------------------
# The simulation


def simulate(alerts: pl.DataFrame, candles: pl.DataFrame, strategy: Strategy) -> Reference:
    """Trade every alert by `strategy` over `candles`, by the rules of docs/simulation.md."""
    rules = read_rules(strategy)
    seen = read_alerts(alerts)
    series = merge_tokens(candles)

    skipped: list[Skipped] = []
    candidates: list[Position] = []
    for alert in seen:
        outcome = trade_alert(alert, series.get((alert.chain, alert.mint), []), rules)
        if isinstance(outcome, Skipped):
            skipped.append(outcome)
        else:
            candidates.append(outcome)

    candidates.sort(key=lambda position: (position.entry_ts, position.alert.alert_id))
    positions, refused = apply_capacity(candidates, rules)
    skipped.extend(refused)
    skipped.sort(key=lambda skip: skip.alert.alert_id)

    return Reference(
        trades=trades_frame(positions, rules),
        metrics=metrics_frame(seen, positions, rules),
        curves=curves_frame(build_curve(positions, rules)),
        diagnostics=diagnostics_frame(skipped),
        positions=tuple(positions),
    )


def trade_alert(alert: Alert, candles: list[Candle], rules: Rules) -> Position | Skipped:
    """Enter and walk one alert over its token's merged candles, capacity aside."""
    order_ts = alert.known_ts + rules.delay
    if not candles:
        return Skipped(alert, "no_candles", order_ts)
    entry = find_entry(candles, order_ts, rules)
    if isinstance(entry, str):
        return Skipped(alert, entry, order_ts)
    index, price = entry
    position = Position(alert, candles, index, price)
    walk(position, rules)
    settle(position, rules)
    return position


def find_entry(candles: list[Candle], order_ts: int, rules: Rules) -> tuple[int, float] | str:
    """(candle index, raw entry price), or the diagnostic code that says why there is none."""
    reference = None
    for i, candle in enumerate(candles):
        if candle.ts < order_ts:
            continue
        if candle.ts - order_ts > rules.max_wait:
            break
        if rules.mode == "next_open":
            return i, candle.open
        if reference is None:
            reference = candle.open
        assert rules.dip is not None
        limit = reference * (1 - rules.dip)
        if candle.low <= limit:
            return i, min(candle.open, limit)
    return "no_entry_candle" if reference is None else "entry_expired"


def walk(position: Position, rules: Rules) -> None:
    """Add the legs of one position, candle by candle, until nothing remains."""
    entry = position.entry_price
    peak = entry
    targets = [
        (entry * (1 + gain), fraction) for gain, fraction in rules.targets
    ]  # unfilled, ascending

    for i in range(position.entry_index, len(position.candles)):
        candle = position.candles[i]
        in_entry_candle = i == position.entry_index
        dip_entry = in_entry_candle and rules.mode == "limit_dip"
        position.exit_index = i
        stop, stop_reason = stop_level(entry, peak, rules)

        # 1. Open
        if not in_entry_candle:
            if candle.open <= stop:
                position.sell(position.remaining, candle.open, candle.ts, stop_reason)
                return
            fill_targets(position, targets, candle.open, candle.ts, at_open=True)
            if position.is_closed:
                return

        # 2. Inside
        stop_touched = candle.low <= stop
        target_touched = not dip_entry and len(targets) > 0 and targets[0][0] <= candle.high
        if stop_touched and target_touched:
            position.ambiguous += 1
        if target_touched and (rules.target_first or not stop_touched):
            fill_targets(position, targets, candle.high, candle.end, at_open=False)
            if position.is_closed:
                return
        if stop_touched:
            position.sell(position.remaining, stop, candle.end, stop_reason)
            return

        # 3. Time
        if rules.max_hold is not None and candle.end >= position.entry_ts + rules.max_hold:
            position.sell(position.remaining, candle.close, candle.end, "max_hold")
            return

        # 4. Peak
        if not dip_entry:
            peak = max(peak, candle.high)

    last = position.candles[-1]
    position.sell(position.remaining, last.close, last.end, "end_of_data")


def stop_level(entry: float, peak: float, rules: Rules) -> tuple[float, str]:
    """The highest stop in force before a candle and its reason; -inf if there is none."""
    level, reason = -math.inf, ""
    if rules.stop_loss is not None:
        level, reason = entry * (1 - rules.stop_loss), "stop_loss"
    if (
        rules.breakeven_after is not None
        and peak >= entry * (1 + rules.breakeven_after)
        and entry > level
    ):
        level, reason = entry, "breakeven"
    if rules.trailing is not None:
        activation, distance = rules.trailing
        trail = peak * (1 - distance)
        if peak >= entry * (1 + activation) and trail > level:
            level, reason = trail, "trailing"
    return level, reason


def fill_targets(
    position: Position,
    targets: list[tuple[float, float]],
    reached: float,
    ts: int,
    *,
    at_open: bool,
) -> None:
    """Fill unfilled targets with level <= `reached`: at the open itself, or each at its level."""
    while targets and targets[0][0] <= reached and not position.is_closed:
        level, fraction = targets.pop(0)
        position.sell(fraction, reached if at_open else level, ts, "take_profit")


def apply_capacity(
    candidates: Sequence[Position], rules: Rules
) -> tuple[list[Position], list[Skipped]]:
    """Keep what may open; `candidates` come in order of entry time, then alert_id."""
    kept: list[Position] = []
    refused: list[Skipped] = []
    for candidate in candidates:
        now = candidate.entry_ts
        open_now = 0
        for other in kept:
            if other.entry_ts <= now < other.exit_ts:
                open_now += 1
        if rules.max_open is not None and open_now >= rules.max_open:
            refused.append(Skipped(candidate.alert, "capacity", now))
        else:
            kept.append(candidate)
    return kept, refused


# ----------------------------------------------------------------------------------------------
# Money


def proceeds_of(entry_price: float, fraction: float, price: float, rules: Rules) -> float:
    """What selling `fraction` of the position at raw `price` brings after slippage, before fees."""
    entry_exec = entry_price * (1 + rules.slip)
    units = rules.stake / entry_exec
    return units * fraction * price * (1 - rules.slip)


def net_of(total_proceeds: float, rules: Rules) -> tuple[float, float]:
    """(net_pnl, fees) of a trade whose legs brought `total_proceeds`."""
    fees = rules.fee * rules.stake + rules.fee * total_proceeds
    return total_proceeds - rules.stake - fees, fees


def settle(position: Position, rules: Rules) -> None:
    """Fill in the money and the excursions of a walked position."""
    total_proceeds = 0.0
    weighted = 0.0
    for leg in position.legs:
        total_proceeds = total_proceeds + proceeds_of(
            position.entry_price, leg.fraction, leg.price, rules
        )
        weighted = weighted + leg.fraction * leg.price
    position.net_pnl, position.fees = net_of(total_proceeds, rules)
    position.exit_price = weighted
    position.gross_pnl = rules.stake * (weighted / position.entry_price - 1)

    highest = position.entry_price
    lowest = position.candles[position.entry_index].low
    for i in range(position.entry_index, position.exit_index + 1):
        candle = position.candles[i]
        if not (rules.mode == "limit_dip" and i == position.entry_index):
            highest = max(highest, candle.high)
        lowest = min(lowest, candle.low)
    position.peak_multiple = highest / position.entry_price
    position.trough_multiple = lowest / position.entry_price


def value_at(position: Position, ts: int, rules: Rules) -> float:
    """net_pnl of an open position at `ts`, as if the rest were sold at the mark."""
    total_proceeds = 0.0
    remaining = 1.0
    for leg in position.legs:
        if leg.ts <= ts:
            total_proceeds = total_proceeds + proceeds_of(
                position.entry_price, leg.fraction, leg.price, rules
            )
            remaining = remaining - leg.fraction
    mark = position.entry_price
    for i in range(position.entry_index, position.exit_index + 1):
        if position.candles[i].end <= ts:
            mark = position.candles[i].close
    total_proceeds = total_proceeds + proceeds_of(position.entry_price, remaining, mark, rules)
    net_pnl, _ = net_of(total_proceeds, rules)
    return net_pnl


# ----------------------------------------------------------------------------------------------
# Curves and metrics


def build_curve(positions: Sequence[Position], rules: Rules) -> list[CurvePoint]:
    """Hourly equity of these positions, in trade order; empty without positions."""
    if not positions:
        return []
    first_entry = min(position.entry_ts for position in positions)
    last_exit = max(position.exit_ts for position in positions)
    grid = list(range(first_entry // HOUR * HOUR, last_exit + 1, HOUR))
    if grid[-1] != last_exit:
        grid.append(last_exit)

    points: list[CurvePoint] = []
    high = rules.initial_capital
    for ts in grid:
        realised = 0.0
        unrealised = 0.0
        open_positions = 0
        for position in positions:
            if position.exit_ts <= ts:
                realised = realised + position.net_pnl
            elif position.entry_ts <= ts:
                unrealised = unrealised + value_at(position, ts, rules)
                open_positions += 1
        equity = rules.initial_capital + realised + unrealised
        high = max(high, equity)
        points.append(CurvePoint(ts, equity, realised, open_positions, (high - equity) / high))
    return points


def daily_returns(curve: Sequence[CurvePoint], initial_capital: float) -> list[float] | None:
    """Return of each UTC day, the first over `initial_capital`; None if a base is not positive."""
    closing: dict[int, float] = {}
    for point in curve:
        closing[point.ts // DAY] = point.equity
    returns: list[float] = []
    base = initial_capital
    for day in sorted(closing):
        if base <= 0:
            return None
        returns.append(closing[day] / base - 1)
        base = closing[day]
    return returns


def sharpe_ratio(returns: Sequence[float]) -> float | None:
    n = len(returns)
    if n < 2:
        return None
    mean = add_up(returns) / n
    std = math.sqrt(add_up([(r - mean) * (r - mean) for r in returns]) / (n - 1))
    return None if std == 0 else mean / std * math.sqrt(365)


def sortino_ratio(returns: Sequence[float]) -> float | None:
    n = len(returns)
    if n < 2:
        return None
    mean = add_up(returns) / n
    downside = math.sqrt(add_up([min(r, 0.0) * min(r, 0.0) for r in returns]) / (n - 1))
    return None if downside == 0 else mean / downside * math.sqrt(365)


def calmar_ratio(curve: Sequence[CurvePoint], initial_capital: float) -> float | None:
    days = len({point.ts // DAY for point in curve})
    if days < 2:
        return None
    max_drawdown = max(point.drawdown for point in curve)
    growth = curve[-1].equity / initial_capital
    if max_drawdown == 0 or growth < 0:
        return None
    try:
        return (growth ** (365 / days) - 1) / max_drawdown
    except OverflowError:
        return None


def quantile(values: Iterable[float], q: float) -> float | None:
    ordered = sorted(values)
    if not ordered:
        return None
    h = (len(ordered) - 1) * q
    i = math.floor(h)
    if i + 1 >= len(ordered):
        return ordered[-1]
    return ordered[i] + (ordered[i + 1] - ordered[i]) * (h - i)


def add_up(values: Iterable[float]) -> float:
    """Plain addition from left to right."""
    total = 0.0
    for value in values:
        total = total + value
    return total


def mean_of(values: Sequence[float]) -> float | None:
    return add_up(values) / len(values) if values else None


def metrics_of(
    alerts: Sequence[Alert], positions: Sequence[Position], rules: Rules
) -> dict[str, float | None]:
    """Every metric of one scope, in the order of METRIC_NAMES."""
    net = [position.net_pnl for position in positions]
    wins = [pnl for pnl in net if pnl > 0]
    losses = [pnl for pnl in net if pnl < 0]
    net_returns = [pnl / rules.stake for pnl in net]
    curve = build_curve(positions, rules)
    returns = daily_returns(curve, rules.initial_capital)
    n = len(positions)
    values: dict[str, float | None] = {
        "total_trades": n,
        "winning_trades": len(wins),
        "losing_trades": len(losses),
        "win_rate": len(wins) / n if n else None,
        "avg_win": mean_of(wins),
        "avg_loss": mean_of(losses),
        "profit_factor": add_up(wins) / -add_up(losses) if losses else None,
        "expectancy": mean_of(net),
        "total_net_pnl": add_up(net),
        "total_gross_pnl": add_up(position.gross_pnl for position in positions),
        "total_costs": add_up(position.fees + slippage_cost_of(position) for position in positions),
        "median_return": quantile(net_returns, 0.5),
        "return_p05": quantile(net_returns, 0.05),
        "return_p95": quantile(net_returns, 0.95),
        "max_drawdown": max(point.drawdown for point in curve) if curve else None,
        "sharpe": None if returns is None else sharpe_ratio(returns),
        "sortino": None if returns is None else sortino_ratio(returns),
        "calmar": calmar_ratio(curve, rules.initial_capital),
        "avg_duration_s": mean_of([duration_s_of(position) for position in positions]),
        "ambiguous_share": sum(1 for position in positions if position.ambiguous > 0) / n
        if n
        else None,
        "alerts_seen": len(alerts),
        "alerts_without_entry": len(alerts) - n,
    }
    assert tuple(values) == METRIC_NAMES
    return {name: finite_or_none(value) for name, value in values.items()}


def finite_or_none(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def slippage_cost_of(position: Position) -> float:
    return position.gross_pnl - position.net_pnl - position.fees


def duration_s_of(position: Position) -> int:
    return (position.exit_ts - position.entry_ts) // SECOND


# ----------------------------------------------------------------------------------------------
# Frames in


def read_rules(strategy: Strategy) -> Rules:
    """The strategy model as plain numbers."""
    entry, exits, costs, sizing = strategy.entry, strategy.exit, strategy.costs, strategy.sizing
    trailing = exits.trailing
    return Rules(
        mode=entry.mode,
        delay=microseconds(entry.delay_s),
        dip=entry.dip_pct,
        max_wait=microseconds(entry.max_wait_s),
        stop_loss=exits.stop_loss_pct,
        targets=tuple((float(t.gain_pct), float(t.fraction)) for t in exits.take_profits),
        trailing=None
        if trailing is None
        else (float(trailing.activation_pct), float(trailing.distance_pct)),
        breakeven_after=exits.breakeven_after_pct,
        max_hold=None if exits.max_hold_s is None else microseconds(exits.max_hold_s),
        target_first=exits.intrabar == "target_first",
        fee=costs.fee_bps / 10000,
        slip=costs.slippage_bps / 10000,
        stake=float(sizing.stake),
        initial_capital=float(sizing.initial_capital),
        max_open=sizing.max_open_positions,
    )


def microseconds(seconds: float) -> int:
    return round(seconds * SECOND)


def read_alerts(alerts: pl.DataFrame) -> list[Alert]:
    """Alerts by alert_id, whatever the order of the rows."""
    rows = alerts.select(
        "alert_id",
        pl.col("alert_ts_utc").dt.epoch("us"),
        pl.col("known_ts_utc").dt.epoch("us"),
        "chain",
        "mint",
        "caller_name_norm",
    ).rows()
    return sorted((Alert(*row) for row in rows), key=lambda alert: alert.alert_id)


def merge_tokens(candles: pl.DataFrame) -> dict[tuple[str, str], list[Candle]]:
    """Merged candles of every (chain, token_address), by ts."""
    rows = candles.select(
        "chain",
        "token_address",
        "interval_s",
        pl.col("ts").dt.epoch("us"),
        "open",
        "high",
        "low",
        "close",
        "volume",
    ).rows()
    tokens: dict[tuple[str, str], list[tuple]] = {}
    for chain, address, *candle in rows:
        tokens.setdefault((chain, address), []).append(tuple(candle))
    return {token: merge_intervals(rows) for token, rows in tokens.items()}


def merge_intervals(rows: Iterable[tuple]) -> list[Candle]:
    """One token's candles by ts, without duplicates, each dropped if a finer one overlaps it.

    Rows are (interval_s, ts, open, high, low, close, volume).
    """
    best: dict[tuple[int, int], tuple] = {}
    for interval_s, ts, open_, high, low, close, volume in rows:
        rank = (-math.inf if volume is None else volume, open_, high, low, close)
        if (interval_s, ts) not in best or rank > best[interval_s, ts]:
            best[interval_s, ts] = rank

    starts: dict[int, list[int]] = {}
    for interval_s, ts in sorted(best):
        starts.setdefault(interval_s, []).append(ts)

    merged: list[Candle] = []
    for (interval_s, ts), (_, open_, high, low, close) in best.items():
        end = ts + interval_s * SECOND
        overlapped = False
        for finer_s, finer_starts in starts.items():
            if finer_s < interval_s:
                # Overlap: the finer one starts before this one ends, and ends after it starts.
                before_end = bisect_left(finer_starts, end)
                ended_by_ts = bisect_right(finer_starts, ts - finer_s * SECOND)
                if before_end > ended_by_ts:
                    overlapped = True
        if not overlapped:
            merged.append(Candle(ts, end, open_, high, low, close))
    return sorted(merged, key=lambda candle: candle.ts)


# ----------------------------------------------------------------------------------------------
# Frames out


def trades_frame(positions: Sequence[Position], rules: Rules) -> pl.DataFrame:
    rows = [
        (
            position.alert.alert_id,
            position.alert.alert_id,
            position.alert.caller,
            position.alert.chain,
            position.alert.mint,
            position.alert.alert_ts,
            position.entry_ts,
            position.entry_price,
            position.exit_ts,
            position.exit_price,
            position.exit_reason,
            len(position.legs),
            rules.stake,
            position.gross_pnl,
            position.net_pnl,
            position.net_pnl / rules.stake,
            position.fees,
            slippage_cost_of(position),
            position.peak_multiple,
            position.trough_multiple,
            duration_s_of(position),
            position.exit_index - position.entry_index + 1,
            position.ambiguous,
        )
        for position in positions
    ]
    return frame(rows, TRADES_SCHEMA)


def metrics_frame(
    alerts: Sequence[Alert], positions: Sequence[Position], rules: Rules
) -> pl.DataFrame:
    scopes = [("all", "all", list(alerts), list(positions))]
    for caller in sorted({alert.caller for alert in alerts}):
        own_alerts = [alert for alert in alerts if alert.caller == caller]
        scopes.append(
            ("caller", caller, own_alerts, [p for p in positions if p.alert.caller == caller])
        )
    for chain in sorted({alert.chain for alert in alerts}):
        own_alerts = [alert for alert in alerts if alert.chain == chain]
        scopes.append(
            ("chain", chain, own_alerts, [p for p in positions if p.alert.chain == chain])
        )
    rows = []
    for scope, scope_value, own_alerts, own_positions in scopes:
        for name, value in metrics_of(own_alerts, own_positions, rules).items():
            rows.append((scope, scope_value, name, value))
    return frame(rows, METRICS_SCHEMA)


def curves_frame(curve: Sequence[CurvePoint]) -> pl.DataFrame:
    rows = [(p.ts, p.equity, p.cumulative_net_pnl, p.open_positions, p.drawdown) for p in curve]
    return frame(rows, CURVES_SCHEMA)


MESSAGES = {
    "no_candles": "the token has no candles",
    "no_entry_candle": "no candle opens between the order time and the end of the wait",
    "entry_expired": "the limit was not reached before the end of the wait",
    "capacity": "as many positions as allowed were open",
}


def diagnostics_frame(skipped: Sequence[Skipped]) -> pl.DataFrame:
    rows = [
        (skip.alert.alert_id, "warning", skip.code, MESSAGES[skip.code], skip.ts)
        for skip in skipped
    ]
    return frame(rows, DIAGNOSTICS_SCHEMA)


def frame(rows: Sequence[tuple], schema: dict) -> pl.DataFrame:
    """Rows with integer microseconds for times, as a frame of `schema`."""
    raw = {name: pl.Int64 if dtype == TIMESTAMP else dtype for name, dtype in schema.items()}
    return pl.DataFrame(rows, schema=raw, orient="row").cast(schema)

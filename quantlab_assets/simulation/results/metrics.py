"""Figures that judge a strategy: over all alerts, for each caller, for each chain.

Sums run in trade order, standard deviations divide by n - 1, quantiles interpolate linearly. A
figure that is not defined is null, never zero or infinite. Definitions: docs/simulation.md,
"Metrics".
"""

import contextlib
import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from quantlab_assets.domain.time_us import SECOND_US
from quantlab_assets.simulation.compiled.arrays import Codes, Floats, Integers, compiled
from quantlab_assets.simulation.frames import METRIC_COLUMNS
from quantlab_assets.simulation.results.ambiguity import Ambiguity
from quantlab_assets.simulation.results.curves import Curves
from quantlab_assets.simulation.results.trades import Trades
from quantlab_assets.simulation.walk.money import Rates

DAY = 86_400 * SECOND_US

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
"""The metrics of every scope, in the order of their rows."""

AMBIGUITY_METRIC_NAMES = (
    "net_pnl_pessimistic",
    "net_pnl_optimistic",
    "break_even_slippage_bps",
)
"""Metrics of scope `all` alone, after the others."""


@dataclass(frozen=True)
class Scopes:
    """Groups of alerts: all of them, then those of each caller, then those of each chain, by name.

    `of_alert` has a row for each alert and a column for each kind of scope, and numbers the scopes
    as in `names`. `alerts_seen` has an item for each scope.
    """

    names: tuple[tuple[str, str], ...]
    of_alert: Integers
    alerts_seen: Integers

    @classmethod
    def of(cls, alerts: pl.DataFrame) -> "Scopes":
        """Find the scopes of checked `alerts`."""
        names = [("all", "all")]
        numbers = [np.zeros(alerts.height, dtype=np.int64)]
        for scope, column in (("caller", "caller_name_norm"), ("chain", "chain")):
            # Dense ranks number the values as they stand in the sorted list of them.
            rank = alerts[column].rank("dense").cast(pl.Int64).to_numpy()
            numbers.append(len(names) + rank - 1)
            names.extend((scope, value) for value in alerts[column].unique().sort())
        of_alert = np.stack(numbers, axis=1)
        return cls(tuple(names), of_alert, np.bincount(of_alert.ravel(), minlength=len(names)))


def metrics_frame(
    scopes: Scopes, trades: Trades, curves: Curves, ambiguity: Ambiguity, rates: Rates
) -> pl.DataFrame:
    """Show the metrics of every scope as a frame of `METRIC_COLUMNS`.

    `curves` has the curve of each scope, without points where a scope has no trade.
    """
    scope_of = scopes.of_alert[trades.positions.alert]
    trades_in = np.bincount(scope_of.ravel(), minlength=len(scopes.names))
    # Scopes of one kind follow each other, so kind by kind, by scope, is scope by scope.
    members = np.argsort(scope_of, axis=0, kind="stable").T.ravel()
    returns = (trades.money.net_pnl / rates.stake)[members]
    figures = _figures(
        members,
        np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(trades_in))),
        returns[np.lexsort((returns, np.repeat(np.arange(len(trades_in)), trades_in)))],
        scopes.alerts_seen,
        trades.money.net_pnl,
        trades.money.gross_pnl,
        trades.money.fees + trades.money.slippage_cost,
        trades.duration_s,
        trades.fills.ambiguous,
        curves.offset,
        curves.ts,
        curves.equity,
        curves.drawdown,
        rates.initial_capital,
    )
    values = [_readable(row) for row in figures]
    names: list[tuple[str, ...]] = [METRIC_NAMES] * len(values)
    names[0] = METRIC_NAMES + AMBIGUITY_METRIC_NAMES
    values[0] += [
        ambiguity.net_pnl_pessimistic,
        ambiguity.net_pnl_optimistic,
        ambiguity.break_even_slippage_bps,
    ]
    columns: dict[str, list[str] | list[float | None]] = {
        "scope": [scope[0] for scope, mine in zip(scopes.names, names, strict=True) for _ in mine],
        "scope_value": [
            scope[1] for scope, mine in zip(scopes.names, names, strict=True) for _ in mine
        ],
        "metric_name": [name for mine in names for name in mine],
        "metric_value": [value for mine in values for value in mine],
    }
    return pl.DataFrame(columns, schema=dict(METRIC_COLUMNS))


GROWTH, DAYS = len(METRIC_NAMES), len(METRIC_NAMES) + 1
"""Two more columns of `_figures`, from which `calmar` is made."""


def _readable(figures: Floats) -> list[float | None]:
    """Return one scope's metrics with None for what is not defined."""
    values: list[float | None] = [
        value if math.isfinite(value) else None for value in figures[:GROWTH].tolist()
    ]
    drawdown = values[METRIC_NAMES.index("max_drawdown")]
    growth, days = float(figures[GROWTH]), float(figures[DAYS])
    if days >= 2 and drawdown and growth >= 0:
        # Python's power raises where others give infinity; the compiled one may round differently.
        with contextlib.suppress(OverflowError):
            calmar = (growth ** (365 / days) - 1) / drawdown
            values[METRIC_NAMES.index("calmar")] = calmar if math.isfinite(calmar) else None
    return values


@compiled
def _figures(
    members: Integers,
    member_offset: Integers,
    ordered_returns: Floats,
    alerts_seen: Integers,
    net_pnl: Floats,
    gross_pnl: Floats,
    costs: Floats,
    duration_s: Integers,
    ambiguous: Codes,
    curve_offset: Integers,
    ts: Integers,
    equity: Floats,
    drawdown: Floats,
    initial_capital: float,
) -> Floats:
    """Return a row of figures for each scope, in the order of METRIC_NAMES, NaN where undefined.

    Scope s has the trades `members[member_offset[s]:member_offset[s + 1]]`, in trade order, the
    same part of `ordered_returns`, ascending, and the curve points `curve_offset[s]` to
    `curve_offset[s + 1]`. Calmar is left to `_readable`.
    """
    scopes = len(alerts_seen)
    figures = np.full((scopes, 24), np.nan)
    for scope in range(scopes):
        mine = members[member_offset[scope] : member_offset[scope + 1]]
        n = len(mine)
        wins, losses, unclear = 0, 0, 0
        won, lost, net, gross, cost, duration = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for trade in mine:
            if net_pnl[trade] > 0:
                wins += 1
                won += net_pnl[trade]
            elif net_pnl[trade] < 0:
                losses += 1
                lost += net_pnl[trade]
            net += net_pnl[trade]
            gross += gross_pnl[trade]
            cost += costs[trade]
            duration += duration_s[trade]
            unclear += ambiguous[trade] > 0
        row = figures[scope]
        row[0], row[1], row[2] = n, wins, losses
        row[8], row[9], row[10] = net, gross, cost
        row[20], row[21] = alerts_seen[scope], alerts_seen[scope] - n
        if wins > 0:
            row[4] = won / wins
        if losses > 0:
            row[5] = lost / losses
            row[6] = won / -lost
        if n == 0:
            continue
        row[3] = wins / n
        row[7] = net / n
        row[18] = duration / n
        row[19] = unclear / n
        ordered = ordered_returns[member_offset[scope] : member_offset[scope + 1]]
        row[11] = _quantile(ordered, 0.5)
        row[12] = _quantile(ordered, 0.05)
        row[13] = _quantile(ordered, 0.95)
        first, stop = curve_offset[scope], curve_offset[scope + 1]
        deepest = drawdown[first]
        for point in range(first, stop):
            deepest = max(deepest, drawdown[point])
        row[14] = deepest
        returns, days = _daily_returns(ts[first:stop], equity[first:stop], initial_capital)
        row[15], row[16] = _sharpe_and_sortino(returns)
        row[22] = equity[stop - 1] / initial_capital
        row[23] = days
    return figures


@compiled
def _quantile(ordered: Floats, share: float) -> float:
    """Return the quantile of ascending values, interpolated linearly."""
    position = (len(ordered) - 1) * share
    below = int(np.floor(position))
    if below + 1 >= len(ordered):
        return float(ordered[-1])
    return float(ordered[below] + (ordered[below + 1] - ordered[below]) * (position - below))


@compiled
def _daily_returns(ts: Integers, equity: Floats, initial_capital: float) -> tuple[Floats, int]:
    """Return the return of each UTC day, from its last point, and the number of days.

    The first day's is over the initial capital. There are no returns if one has no positive base.
    """
    days = ts[-1] // DAY - ts[0] // DAY + 1
    returns = np.empty(days)
    day = 0
    base = initial_capital
    for point in range(len(ts)):
        if point + 1 == len(ts) or ts[point + 1] // DAY != ts[point] // DAY:
            if base <= 0:
                return returns[:0], days
            returns[day] = equity[point] / base - 1
            base = equity[point]
            day += 1
    return returns, days


@compiled
def _sharpe_and_sortino(returns: Floats) -> tuple[float, float]:
    """Return both ratios of daily returns, annualised by 365 days; NaN where not defined."""
    n = len(returns)
    if n < 2:
        return np.nan, np.nan
    total = 0.0
    for value in returns:
        total += value
    mean = total / n
    spread, downside = 0.0, 0.0
    for value in returns:
        spread += (value - mean) * (value - mean)
        downside += min(value, 0.0) * min(value, 0.0)
    spread = math.sqrt(spread / (n - 1))
    downside = math.sqrt(downside / (n - 1))
    sharpe = mean / spread * math.sqrt(365) if spread > 0 else np.nan
    sortino = mean / downside * math.sqrt(365) if downside > 0 else np.nan
    return sharpe, sortino

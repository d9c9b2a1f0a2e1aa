"""Equity over time, on UTC hours, for all trades and for the trades of each scope.

A scope is a group of trades (all, one caller's, one chain's) looked at as if it alone had the
initial capital. One pass over the trades, in trade order, adds each to its scopes, so that every
sum runs in trade order and a position is valued once however many scopes it belongs to.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from quantlab_assets.domain.time_us import SECOND_US
from quantlab_assets.simulation.compiled.arrays import Floats, Integers, compiled
from quantlab_assets.simulation.frames import CURVE_COLUMNS
from quantlab_assets.simulation.market.candle_book import CandleBook
from quantlab_assets.simulation.market.candles import Candles
from quantlab_assets.simulation.results.trades import Trades
from quantlab_assets.simulation.walk import kernel
from quantlab_assets.simulation.walk.money import Money, Rates
from quantlab_assets.simulation.walk.positions import Fills, Positions

HOUR = 3600 * SECOND_US


@dataclass(frozen=True)
class Curves:
    """The curves of scopes, one after the other.

    Scope s has the points `offset[s]` to `offset[s + 1]`: hours from that of its first entry up to
    its last exit, and that exit if it is off the hour; no points if it has no trade.
    `open_positions` is kept for scope 0 only.
    """

    offset: Integers
    ts: Integers
    equity: Floats
    realised: Floats
    drawdown: Floats
    open_positions: Integers


def draw(book: CandleBook, trades: Trades, scope_of: Integers, scopes: int, rates: Rates) -> Curves:
    """Draw the curve of each of the `scopes`.

    `scope_of` has a row for each trade: the scopes it belongs to, the first of which is 0 for all.
    """
    first_entry = np.full(scopes, kernel.NEVER)
    last_exit = np.full(scopes, -kernel.NEVER)
    for membership in range(scope_of.shape[1]):
        np.minimum.at(first_entry, scope_of[:, membership], trades.entry_ts)
        np.maximum.at(last_exit, scope_of[:, membership], trades.exit_ts)
    # Hours up to the last exit, rounded up: where it is off the hour the last point stands on it.
    start = first_entry // HOUR * HOUR
    points = np.where(last_exit < start, 0, -(-last_exit // HOUR) - start // HOUR + 1)
    offset = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(points)))

    size = int(offset[-1])
    realised, unrealised = np.zeros(size), np.zeros(size)
    open_positions = np.zeros(int(points[:1].sum()), dtype=np.int64)
    _add_trades(
        scope_of,
        start,
        offset,
        book.candles,
        trades.positions,
        trades.fills,
        trades.money,
        trades.entry_ts,
        trades.exit_ts,
        rates,
        realised,
        unrealised,
        open_positions,
    )
    ts, equity, drawdown = _finish(
        start, last_exit, offset, rates.initial_capital, realised, unrealised
    )
    return Curves(offset, ts, equity, realised, drawdown, open_positions)


def curves_frame(curves: Curves) -> pl.DataFrame:
    """Show the curve of scope 0 as a frame of `CURVE_COLUMNS`; without trades it has no rows."""
    points = len(curves.open_positions)
    columns: dict[str, npt.NDArray[np.generic]] = {
        "ts": curves.ts[:points],
        "equity": curves.equity[:points],
        "cumulative_net_pnl": curves.realised[:points],
        "open_positions": curves.open_positions,
        "drawdown": curves.drawdown[:points],
    }
    return pl.DataFrame(
        [pl.Series(name, columns[name]).cast(dtype) for name, dtype in CURVE_COLUMNS.items()]
    )


@compiled
def _add_trades(
    scope_of: Integers,
    start: Integers,
    offset: Integers,
    candles: Candles,
    positions: Positions,
    fills: Fills,
    money: Money,
    entry_ts: Integers,
    exit_ts: Integers,
    rates: Rates,
    realised: Floats,
    unrealised: Floats,
    open_positions: Integers,
) -> None:
    """Add each trade to its scopes: what it is worth at each hour while open, its net P&L after."""
    worth = np.empty(64)
    for trade in range(len(entry_ts)):
        first_hour = -(-entry_ts[trade] // HOUR)
        end_hour = -(-exit_ts[trade] // HOUR)  # the first hour at which it is closed
        hours = end_hour - first_hour
        if hours > len(worth):
            worth = np.empty(2 * hours)
        leg, proceeds, remaining = 0, 0.0, 1.0
        candle = positions.entry[trade] - 1  # the latest that has ended; at first none
        mark = positions.price[trade]
        for hour in range(first_hour, end_hour):
            now = hour * HOUR
            while leg < fills.legs[trade] and fills.leg_ts[trade, leg] <= now:
                proceeds += money.leg_proceeds[trade, leg]
                remaining -= fills.leg_fraction[trade, leg]
                leg += 1
            ended = _latest_ended(candle, fills.exit[trade], now, candles.ts, candles.interval_s)
            if ended > candle:
                candle = ended
                mark = candles.close[candle]
            total = proceeds + money.units[trade] * remaining * mark * (1 - rates.slip)
            fees = rates.fee * rates.stake + rates.fee * total
            worth[hour - first_hour] = total - rates.stake - fees
        for membership in range(scope_of.shape[1]):
            scope = scope_of[trade, membership]
            zero = offset[scope] - start[scope] // HOUR
            for hour in range(first_hour, end_hour):
                unrealised[zero + hour] += worth[hour - first_hour]
            if membership == 0:
                for hour in range(first_hour, end_hour):
                    open_positions[zero + hour] += 1
            # The last point may be off the hour; it stands where the next hour would.
            for point in range(zero + end_hour, offset[scope + 1]):
                realised[point] += money.net_pnl[trade]


@compiled
def _latest_ended(candle: int, last: int, now: int, ts: Integers, interval_s: Integers) -> int:
    """Return the latest of the candles `candle` to `last` that has ended by `now`.

    `candle` itself is returned if no later one has. Searched in growing strides: the next hour is
    near.
    """
    stride = 1
    reach = candle
    while reach + stride <= last and (
        ts[reach + stride] + interval_s[reach + stride] * SECOND_US <= now
    ):
        reach += stride
        stride *= 2
    beyond = min(reach + stride, last + 1)
    while beyond - reach > 1:
        middle = (reach + beyond) // 2
        if ts[middle] + interval_s[middle] * SECOND_US <= now:
            reach = middle
        else:
            beyond = middle
    return reach


@compiled
def _finish(
    start: Integers,
    last_exit: Integers,
    offset: Integers,
    initial_capital: float,
    realised: Floats,
    unrealised: Floats,
) -> tuple[Integers, Floats, Floats]:
    """Return ts, equity and drawdown of every point."""
    ts = np.empty(len(realised), dtype=np.int64)
    equity = np.empty(len(realised))
    drawdown = np.empty(len(realised))
    for scope in range(len(start)):
        high = initial_capital
        for point in range(offset[scope], offset[scope + 1]):
            ts[point] = min(start[scope] + (point - offset[scope]) * HOUR, last_exit[scope])
            equity[point] = initial_capital + realised[point] + unrealised[point]
            high = max(high, equity[point])
            drawdown[point] = (high - equity[point]) / high
    return ts, equity, drawdown

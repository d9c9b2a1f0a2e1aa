"""How far the result hangs on what candles do not tell, and on the assumed slippage.

A candle that holds both the stop and a target does not say which came first. Both orders leave in
that same candle, so they open the same positions and differ only in the money of ambiguous trades:
it is enough to walk those again in the other order.
"""

from dataclasses import dataclass

from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_assets.simulation.compiled.sums import add_up
from quantlab_assets.simulation.market.candle_book import CandleBook
from quantlab_assets.simulation.results.trades import Trades
from quantlab_assets.simulation.walk.fills import run_exits
from quantlab_assets.simulation.walk.money import BASIS_POINTS, Rates, settle


@dataclass(frozen=True)
class Ambiguity:
    """Total net P&L at its worst and best over the two intrabar orders, and break-even slippage."""

    net_pnl_pessimistic: float
    net_pnl_optimistic: float
    break_even_slippage_bps: float | None


def assess(book: CandleBook, trades: Trades, strategy: Strategy) -> Ambiguity:
    """Return the ambiguity of `trades`, the outcome of `strategy` over `book`."""
    net_pnl = trades.money.net_pnl
    this_order = add_up(net_pnl)
    unclear = trades.fills.ambiguous > 0
    other_order = this_order
    if unclear.any():
        positions = trades.positions.take(unclear)
        fills = run_exits(book, positions, other_intrabar(strategy), threads=1)
        other_pnl = net_pnl.copy()
        other_pnl[unclear] = settle(positions.price, fills, Rates.of(strategy)).net_pnl
        other_order = add_up(other_pnl)
    return Ambiguity(
        net_pnl_pessimistic=min(this_order, other_order),
        net_pnl_optimistic=max(this_order, other_order),
        break_even_slippage_bps=break_even_slippage_bps(trades, Rates.of(strategy)),
    )


def other_intrabar(strategy: Strategy) -> Strategy:
    """Return `strategy` with the other order of stop and targets inside a candle."""
    flipped = "stop_first" if strategy.exit.intrabar == "target_first" else "target_first"
    return strategy.model_copy(
        update={"exit": strategy.exit.model_copy(update={"intrabar": flipped})}
    )


def break_even_slippage_bps(trades: Trades, rates: Rates) -> float | None:
    """Return the slippage, in basis points a side, at which the total net P&L is zero.

    Fills do not depend on slippage, so with G the sum of the trades' raw exit over entry prices and
    n their number the total is zero where `(1-s)/(1+s) * G * (1-fee) = n * (1+fee)`. None without
    trades, or if they lose even without slippage.
    """
    multiples = add_up(trades.money.exit_price / trades.positions.price)
    if len(trades) == 0 or multiples * (1 - rates.fee) < len(trades) * (1 + rates.fee):
        return None
    ratio = len(trades) * (1 + rates.fee) / (multiples * (1 - rates.fee))
    return (1 - ratio) / (1 + ratio) * BASIS_POINTS

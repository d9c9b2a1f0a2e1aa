"""`simulate`: a strategy, alerts and candles in; trades, metrics, curves and diagnostics out.

The rules are in docs/simulation.md. The result depends on the contents of the two frames and on the
strategy, on nothing else: not on the order of rows, the number of threads or the clock.
"""

import polars as pl

from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_assets.simulation.frames import (
    SimulationResult,
    check_alerts,
    check_candles,
    check_strategy,
)
from quantlab_assets.simulation.market.candle_book import CandleBook, lay_out
from quantlab_assets.simulation.results import ambiguity, curves
from quantlab_assets.simulation.results.diagnostics import diagnostics_frame
from quantlab_assets.simulation.results.metrics import Scopes, metrics_frame
from quantlab_assets.simulation.results.trades import Trades, entry_order, last_leg_ts, trades_frame
from quantlab_assets.simulation.walk import sizing
from quantlab_assets.simulation.walk.fills import find_entries, open_positions, run_exits
from quantlab_assets.simulation.walk.money import Rates, settle
from quantlab_assets.simulation.walk.positions import Entries, Fills, Positions


def simulate(
    alerts: pl.DataFrame, candles: pl.DataFrame, strategy: Strategy, *, threads: int | None = None
) -> SimulationResult:
    """Trade `strategy` on `alerts` over `candles`.

    The columns of the frames are `frames.ALERT_COLUMNS` and `frames.CANDLE_COLUMNS`; others are
    ignored. `threads` limits the processors used; the result is the same for any number.

    Raises `ValidationFailed` naming column and row of what is wrong with a frame, or what is no
    frame or strategy at all.
    """
    check_strategy(strategy, "strategy")
    checked = check_alerts(alerts)
    book = lay_out(check_candles(candles), checked, threads)
    known_ts = checked["known_ts_utc"].to_physical().to_numpy()
    entries = find_entries(book, known_ts, strategy.entry, threads)
    positions = open_positions(book, entries)
    fills = run_exits(book, positions, strategy, threads)
    return report(checked, Scopes.of(checked), book, entries, positions, fills, strategy)


def report(
    alerts: pl.DataFrame,
    scopes: Scopes,
    book: CandleBook,
    entries: Entries,
    positions: Positions,
    fills: Fills,
    strategy: Strategy,
) -> SimulationResult:
    """Turn the fills of all positions, which come by alert_id, into the frames of a result."""
    rates = Rates.of(strategy)
    order = entry_order(book, positions)
    positions, fills = positions.take(order), fills.take(order)
    entry_ts, exit_ts = book.candles.ts[positions.entry], last_leg_ts(fills)
    admitted = sizing.admit(entry_ts, exit_ts, strategy.sizing.max_open_positions)
    refused, refused_ts = positions.alert[~admitted], entry_ts[~admitted]
    if not admitted.all():
        positions, fills = positions.take(admitted), fills.take(admitted)
        entry_ts, exit_ts = entry_ts[admitted], exit_ts[admitted]

    money = settle(positions.price, fills, rates)
    trades = Trades(positions, fills, money, entry_ts, exit_ts)
    scope_of = scopes.of_alert[positions.alert]
    drawn = curves.draw(book, trades, scope_of, len(scopes.names), rates)
    return SimulationResult(
        trades=trades_frame(alerts, trades, rates),
        metrics=metrics_frame(
            scopes, trades, drawn, ambiguity.assess(book, trades, strategy), rates
        ),
        curves=curves.curves_frame(drawn),
        diagnostics=diagnostics_frame(alerts, entries, refused, refused_ts, strategy),
    )

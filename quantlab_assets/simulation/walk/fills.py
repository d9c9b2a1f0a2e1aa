"""From a strategy and a candle book to raw fills: when and at what raw price each alert trades.

No money here: costs and stakes change nothing about a fill (see `money`).
"""

from collections.abc import Iterable

import numpy as np

from quantlab_assets.domain.experiments.strategy import Entry, Strategy
from quantlab_assets.domain.time_us import SECOND_US
from quantlab_assets.simulation.compiled.arrays import Floats, Integers, frozen
from quantlab_assets.simulation.compiled.parallel import in_slices
from quantlab_assets.simulation.market.candle_book import CandleBook
from quantlab_assets.simulation.walk import kernel
from quantlab_assets.simulation.walk.positions import Entries, Fills, Positions


def find_entries(
    book: CandleBook, known_ts: Integers, rules: Entry, threads: int | None = None
) -> Entries:
    """Find each alert's entry; `known_ts` are the times the alerts' addresses became known."""
    alerts = len(known_ts)
    order_ts = frozen(known_ts + rules.delay_s * SECOND_US)
    entries = Entries(order_ts, np.zeros(alerts, dtype=np.int64), np.zeros(alerts))
    entry_rules = kernel.EntryRules(
        max_wait_us=rules.max_wait_s * SECOND_US,
        dip_keep=0.0 if rules.dip_pct is None else 1 - rules.dip_pct,
    )

    def search(start: int, stop: int) -> None:
        kernel.find_entries(
            order_ts,
            entry_rules,
            book.first,
            book.last,
            book.candles,
            entries.row,
            entries.price,
            start,
            stop,
        )

    in_slices(search, alerts, threads)
    return entries


def open_positions(book: CandleBook, entries: Entries) -> Positions:
    """Return a position for each alert that found an entry, by alert."""
    every_alert = np.arange(len(entries.row))
    return Positions(every_alert, entries.row, book.last, entries.price).take(entries.row >= 0)


def exit_rules(strategy: Strategy) -> kernel.ExitRules:
    """Return the exits of a strategy as the kernel takes them."""
    exits = strategy.exit
    off = float("inf")
    return kernel.ExitRules(
        stop_keep=0.0 if exits.stop_loss_pct is None else 1 - exits.stop_loss_pct,
        breakeven_gain=off if exits.breakeven_after_pct is None else 1 + exits.breakeven_after_pct,
        trail_gain=off if exits.trailing is None else 1 + exits.trailing.activation_pct,
        trail_keep=0.0 if exits.trailing is None else 1 - exits.trailing.distance_pct,
        max_hold_us=kernel.NEVER if exits.max_hold_s is None else exits.max_hold_s * SECOND_US,
        target_first=exits.intrabar == "target_first",
        dip_entry=strategy.entry.mode == "limit_dip",
    )


def ladder_of(strategy: Strategy) -> kernel.Ladder:
    """Return the take-profits of a strategy as the kernel takes them."""
    targets = strategy.exit.take_profits
    return kernel.Ladder(
        gains=_floats(1 + target.gain_pct for target in targets),
        fractions=_floats(target.fraction for target in targets),
    )


def _floats(values: Iterable[float]) -> Floats:
    return frozen(np.fromiter(values, dtype=np.float64))


def run_exits(
    book: CandleBook, positions: Positions, strategy: Strategy, threads: int | None = None
) -> Fills:
    """Walk `positions` through the candles by the exits of `strategy`."""
    rules, ladder = exit_rules(strategy), ladder_of(strategy)
    fills = Fills.empty(len(positions.entry), len(ladder.gains))

    def walk(start: int, stop: int) -> None:
        kernel.run_exits(positions, rules, ladder, book.candles, fills, start, stop)

    in_slices(walk, len(positions.entry), threads)
    return fills

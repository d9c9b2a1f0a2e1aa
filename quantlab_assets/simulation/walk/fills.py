"""From a strategy and a candle book to raw fills: when and at what raw price each alert trades.

No money here: costs and stakes change nothing about a fill (see `trades`).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from quantlab_assets.domain.experiments.strategy import Entry, Exit, Strategy
from quantlab_assets.simulation.compiled.arrays import (
    SECOND,
    Codes,
    Flags,
    Floats,
    Integers,
    frozen,
)
from quantlab_assets.simulation.compiled.parallel import in_slices
from quantlab_assets.simulation.market.candle_book import CandleBook
from quantlab_assets.simulation.walk import kernel


@dataclass(frozen=True)
class Entries:
    """The outcome of looking for an entry, one item an alert.

    `row` is the entry candle or a negative code of `kernel`; `price` the raw fill price.
    """

    order_ts: Integers
    row: Integers
    price: Floats


@dataclass(frozen=True)
class Positions:
    """Positions to walk through the candles: one item each, and not more than one an alert."""

    alert: Integers
    entry: Integers
    last: Integers
    price: Floats

    def take(self, chosen: Flags | Integers) -> "Positions":
        """Return some of the positions, in the order chosen."""
        return Positions(
            self.alert[chosen],
            frozen(self.entry[chosen]),
            frozen(self.last[chosen]),
            frozen(self.price[chosen]),
        )


@dataclass(frozen=True)
class Fills:
    """What happened to positions: one item each, legs by column, unused legs zero."""

    exit: Integers
    reason: Codes
    legs: Integers
    ambiguous: Codes
    peak: Floats
    trough: Floats
    leg_ts: Integers
    leg_price: Floats
    leg_fraction: Floats

    @classmethod
    def empty(cls, shape: tuple[int, ...], targets: int) -> "Fills":
        """Return room for fills of `shape`, at most `targets` rungs and one last leg each.

        The room is not cleared: loops write every place, in large pages the first time.
        """
        return cls(
            exit=np.empty(shape, dtype=np.int64),
            reason=np.empty(shape, dtype=np.int8),
            legs=np.empty(shape, dtype=np.int64),
            ambiguous=np.empty(shape, dtype=np.int8),
            peak=np.empty(shape),
            trough=np.empty(shape),
            leg_ts=np.empty((*shape, targets + 1), dtype=np.int64),
            leg_price=np.empty((*shape, targets + 1)),
            leg_fraction=np.empty((*shape, targets + 1)),
        )

    def take(self, chosen: Flags | Integers) -> "Fills":
        """Return the fills of some positions, in the order chosen."""
        return self._each(lambda array: array[chosen])

    def of_strategy(self, number: int) -> "Fills":
        """Return one strategy's fills of those of many, which have a column for each strategy."""
        return self._each(lambda array: array[:, number])

    def _each(self, part: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> "Fills":
        return Fills(**{field.name: part(getattr(self, field.name)) for field in fields(self)})


def find_entries(
    book: CandleBook, known_ts: Integers, rules: Entry, threads: int | None = None
) -> Entries:
    """Find each alert's entry; `known_ts` are the times the alerts' addresses became known."""
    alerts = len(known_ts)
    order_ts = frozen(known_ts + rules.delay_s * SECOND)
    found = Entries(order_ts, np.zeros(alerts, dtype=np.int64), np.zeros(alerts))
    dip_keep = 0.0 if rules.dip_pct is None else 1 - rules.dip_pct

    def search(start: int, stop: int) -> None:
        kernel.find_entries(
            order_ts,
            rules.max_wait_s * SECOND,
            dip_keep,
            book.first,
            book.last,
            book.ts,
            book.open,
            book.low,
            found.row,
            found.price,
            start,
            stop,
        )

    in_slices(search, alerts, threads)
    return found


def open_positions(book: CandleBook, entries: Entries) -> Positions:
    """Return a position for each alert that found an entry, by alert."""
    every_alert = np.arange(len(entries.row))
    return Positions(every_alert, entries.row, book.last, entries.price).take(entries.row >= 0)


def exit_rules(strategy: Strategy) -> tuple[kernel.ExitRules, Floats, Floats]:
    """Return the exits as the kernel takes them: factors, gains (as 1 + gain) and fractions."""
    exits = strategy.exit
    off = float("inf")
    rules = kernel.ExitRules(
        stop_keep=0.0 if exits.stop_loss_pct is None else 1 - exits.stop_loss_pct,
        breakeven_gain=off if exits.breakeven_after_pct is None else 1 + exits.breakeven_after_pct,
        trail_gain=off if exits.trailing is None else 1 + exits.trailing.activation_pct,
        trail_keep=0.0 if exits.trailing is None else 1 - exits.trailing.distance_pct,
        max_hold_us=kernel.NEVER if exits.max_hold_s is None else exits.max_hold_s * SECOND,
        target_first=exits.intrabar == "target_first",
        dip_entry=strategy.entry.mode == "limit_dip",
    )
    gains, fractions = _ladder(exits)
    return rules, gains, fractions


def _ladder(exits: Exit) -> tuple[Floats, Floats]:
    gains = np.array([1 + target.gain_pct for target in exits.take_profits], dtype=np.float64)
    fractions = np.array([target.fraction for target in exits.take_profits], dtype=np.float64)
    return frozen(gains), frozen(fractions)


def run_exits(
    book: CandleBook, positions: Positions, strategy: Strategy, threads: int | None = None
) -> Fills:
    """Walk `positions` through the candles by the exits of `strategy`."""
    rules, gains, fractions = exit_rules(strategy)
    fills = Fills.empty((len(positions.entry),), len(gains))

    def walk(start: int, stop: int) -> None:
        kernel.run_exits(
            positions.entry,
            positions.last,
            positions.price,
            rules,
            gains,
            fractions,
            book.ts,
            book.interval_s,
            book.open,
            book.high,
            book.low,
            book.close,
            fills.exit,
            fills.reason,
            fills.legs,
            fills.ambiguous,
            fills.peak,
            fills.trough,
            fills.leg_ts.reshape(-1),
            fills.leg_price.reshape(-1),
            fills.leg_fraction.reshape(-1),
            start,
            stop,
        )

    in_slices(walk, len(positions.entry), threads)
    return fills

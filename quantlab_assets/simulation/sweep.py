"""`simulate_many`: many strategies over the same alerts and candles.

Candles are laid out once, entries are found once for each way to enter, and exits by `index`.
Results are those of `simulate`, one by one, to the bit.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl

from quantlab_assets.domain.experiments.strategy import Entry, Strategy
from quantlab_assets.simulation.compiled.arrays import Floats
from quantlab_assets.simulation.compiled.parallel import available_threads, in_slices
from quantlab_assets.simulation.engine import report
from quantlab_assets.simulation.frames import (
    SimulationResult,
    check_alerts,
    check_candles,
    check_strategy,
)
from quantlab_assets.simulation.market.candle_book import CandleBook, lay_out
from quantlab_assets.simulation.results.metrics import Scopes
from quantlab_assets.simulation.walk.fills import (
    Entries,
    Fills,
    Positions,
    exit_rules,
    find_entries,
    open_positions,
    run_exits,
)
from quantlab_assets.simulation.walk.index import Grid, can_index, sweep_exits
from quantlab_assets.simulation.walk.kernel import ExitRules

WORTH_AN_INDEX = 4
"""With fewer strategies that enter alike, walking is as quick as building the index."""

MEMORY = 1 << 30
"""Bytes of fills kept at a time, over all ways to enter."""


@dataclass(frozen=True)
class _Group:
    """Strategies that enter alike, by their numbers, and the positions all of them open."""

    numbers: tuple[int, ...]
    entries: Entries
    positions: Positions


def simulate_many(
    alerts: pl.DataFrame,
    candles: pl.DataFrame,
    strategies: Iterable[Strategy],
    *,
    threads: int | None = None,
) -> Iterator[SimulationResult]:
    """Trade each of `strategies` on `alerts` over `candles`, and yield their results in order.

    Each result is exactly that of `simulate`. They are made as they are asked for, so that hundreds
    of strategies need the memory of a few. The frames are checked before the first: raises
    `ValidationFailed` as `simulate` does, at once.
    """
    strategies = tuple(strategies)
    for number, strategy in enumerate(strategies):
        check_strategy(strategy, f"strategies.{number}")
    checked = check_alerts(alerts)
    book = lay_out(check_candles(candles), checked, threads)
    known_ts = checked["known_ts_utc"].to_physical().to_numpy()
    alike: dict[Entry, list[int]] = {}
    for number, strategy in enumerate(strategies):
        alike.setdefault(strategy.entry, []).append(number)
    groups = []
    for rules, numbers in alike.items():
        entries = find_entries(book, known_ts, rules, threads)
        groups.append(_Group(tuple(numbers), entries, open_positions(book, entries)))
    return _results(checked, book, strategies, groups, threads)


def _results(
    alerts: pl.DataFrame,
    book: CandleBook,
    strategies: Sequence[Strategy],
    groups: Sequence[_Group],
    threads: int | None,
) -> Iterator[SimulationResult]:
    scopes = Scopes.of(alerts)
    group_of = {number: group for group in groups for number in group.numbers}
    waiting: dict[int, Fills] = {}
    at_once = available_threads() if threads is None else max(1, threads)

    def tell(number: int) -> SimulationResult:
        group, fills = group_of[number], waiting.pop(number)
        return report(
            alerts, scopes, book, group.entries, group.positions, fills, strategies[number]
        )

    with ThreadPoolExecutor(at_once) as pool:
        for window in range(0, len(strategies), at_once):
            numbers = range(window, min(window + at_once, len(strategies)))
            for number in numbers:
                if number not in waiting:
                    batch = _next_batch(group_of[number], number, strategies, len(groups))
                    chosen = [strategies[each] for each in batch]
                    fills = sweep(book, group_of[number].positions, chosen, threads)
                    waiting.update(zip(batch, fills, strict=True))
            yield from pool.map(tell, numbers)


def _next_batch(
    group: _Group, number: int, strategies: Sequence[Strategy], groups: int
) -> tuple[int, ...]:
    """Return as many strategies of `group`, from `number` on, as fit its share of the memory."""
    begin = group.numbers.index(number)
    rungs = max(len(strategies[each].exit.take_profits) for each in group.numbers)
    bytes_each = max(1, len(group.positions.entry)) * (40 + 24 * (rungs + 1))
    return group.numbers[begin : begin + max(1, MEMORY // groups // bytes_each)]


def sweep(
    book: CandleBook,
    positions: Positions,
    strategies: Sequence[Strategy],
    threads: int | None = None,
) -> list[Fills]:
    """Return the fills of `positions` under each of `strategies`, which enter alike."""
    exits = [exit_rules(strategy) for strategy in strategies]
    indexed = [number for number, (_, gains, _) in enumerate(exits) if can_index(gains)]
    if len(indexed) < WORTH_AN_INDEX:
        indexed = []
    found = dict(
        zip(indexed, _search(book, positions, [exits[n] for n in indexed], threads), strict=True)
    )
    return [
        found[number] if number in found else run_exits(book, positions, strategy, threads)
        for number, strategy in enumerate(strategies)
    ]


def _search(
    book: CandleBook,
    positions: Positions,
    exits: list[tuple[ExitRules, Floats, Floats]],
    threads: int | None,
) -> list[Fills]:
    if not exits:
        return []
    grid = Grid.of(exits)
    shape = (len(positions.entry), len(exits))
    fills = Fills.empty(shape, len(grid.gains) // len(exits))
    dip_entry = exits[0][0].dip_entry

    def search(start: int, stop: int) -> None:
        sweep_exits(
            positions.entry,
            positions.last,
            positions.price,
            dip_entry,
            grid.target_levels,
            grid.stop_levels,
            grid.breakeven_levels,
            grid.trail_gain,
            grid.trail_keep,
            grid.hold_levels,
            grid.targets,
            grid.target_of,
            grid.gains,
            grid.fractions,
            grid.stop_of,
            grid.breakeven_of,
            grid.trail_of,
            grid.hold_of,
            grid.target_first,
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

    in_slices(search, shape[0], threads, smallest=32)
    return [fills.of_strategy(number) for number in range(len(exits))]

"""`simulate_many`: many strategies over the same alerts and candles.

Candles are laid out once and entries found once for each way to enter; then each strategy is walked
and told of by one thread, several strategies at a time. Results are those of `simulate`, one by
one, to the bit.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import polars as pl

from quantlab_assets.domain.experiments.strategy import Entry, Strategy
from quantlab_assets.simulation.compiled.parallel import available_threads
from quantlab_assets.simulation.engine import report
from quantlab_assets.simulation.frames import (
    SimulationResult,
    check_alerts,
    check_candles,
    check_strategy,
)
from quantlab_assets.simulation.market.candle_book import CandleBook, lay_out
from quantlab_assets.simulation.results.metrics import Scopes
from quantlab_assets.simulation.walk.fills import find_entries, open_positions, run_exits
from quantlab_assets.simulation.walk.positions import Entries, Positions


def simulate_many(
    alerts: pl.DataFrame,
    candles: pl.DataFrame,
    strategies: Iterable[Strategy],
    *,
    threads: int | None = None,
) -> Iterator[SimulationResult]:
    """Trade each of `strategies` on `alerts` over `candles`, and yield their results in order.

    Each result is exactly that of `simulate`. They are made a few ahead of what is asked for, so
    that hundreds of strategies need the memory of a few. The frames are checked before the first:
    raises `ValidationFailed` as `simulate` does, at once.
    """
    strategies = tuple(strategies)
    for number, strategy in enumerate(strategies):
        check_strategy(strategy, f"strategies.{number}")
    checked = check_alerts(alerts)
    book = lay_out(check_candles(candles), checked, threads)
    known_ts = checked["known_ts_utc"].to_physical().to_numpy()
    entered: dict[Entry, tuple[Entries, Positions]] = {}
    for rules in dict.fromkeys(strategy.entry for strategy in strategies):
        entries = find_entries(book, known_ts, rules, threads)
        entered[rules] = entries, open_positions(book, entries)
    return _results(checked, book, strategies, entered, threads)


def _results(
    alerts: pl.DataFrame,
    book: CandleBook,
    strategies: Sequence[Strategy],
    entered: Mapping[Entry, tuple[Entries, Positions]],
    threads: int | None,
) -> Iterator[SimulationResult]:
    scopes = Scopes.of(alerts)
    at_once = available_threads() if threads is None else max(1, threads)
    threads_each = max(1, at_once // max(1, len(strategies)))

    def simulate_one(strategy: Strategy) -> SimulationResult:
        entries, positions = entered[strategy.entry]
        fills = run_exits(book, positions, strategy, threads_each)
        return report(alerts, scopes, book, entries, positions, fills, strategy)

    under_way: deque[Future[SimulationResult]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        for strategy in strategies:
            under_way.append(pool.submit(simulate_one, strategy))
            if len(under_way) > at_once:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

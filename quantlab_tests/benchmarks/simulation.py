"""Figures of the simulation engine: `python -m quantlab_tests.benchmarks simulation [--quick]`.

Variants that are compared do the same work and take turns in one process; a ratio is the median of
the ratios of the rounds. Markets are random walks of 5,000 one-minute candles, one for each alert:
`active` ones in which most positions are stopped or sold, `quiet` ones in which nothing happens and
every candle has to be looked at. The strategy has a stop, a ladder of three and a trailing stop.
Sweeps have the shape users have instead: two days of candles, as volatile as the sample's.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import numba
import numpy as np
import polars as pl

import quantlab_assets
from quantlab_assets.domain.experiments.strategy import Exit, Strategy, TakeProfit, Trailing
from quantlab_assets.domain.time_us import SECOND_US
from quantlab_assets.simulation import simulate, simulate_many
from quantlab_assets.simulation.compiled.arrays import Floats, frozen
from quantlab_assets.simulation.frames import check_alerts, check_candles
from quantlab_assets.simulation.market.candle_book import CandleBook, lay_out
from quantlab_assets.simulation.market.candles import Candles
from quantlab_assets.simulation.walk import fills
from quantlab_tests.benchmarks._turns import show, take_turns

CANDLES = 5_000
STEP = {"active": 0.01, "quiet": 1e-5}
"""Standard deviation of a candle's move."""

STRATEGY = Strategy(
    exit=Exit(
        stop_loss_pct=0.3,
        take_profits=(
            TakeProfit(gain_pct=1.0, fraction=0.3),
            TakeProfit(gain_pct=2.0, fraction=0.3),
            TakeProfit(gain_pct=4.0, fraction=0.4),
        ),
        trailing=Trailing(activation_pct=0.5, distance_pct=0.25),
    )
)
STOP_AND_TARGET = Strategy(
    exit=Exit(stop_loss_pct=0.3, take_profits=(TakeProfit(gain_pct=1.0, fraction=1.0),))
)
START = datetime(2025, 11, 1, tzinfo=UTC)
SAMPLE_CANDLES = Path(quantlab_assets.__file__).parent / "sample" / "candles"
TWO_DAYS = 2_880
"""Minutes of candles behind each call that users keep."""


def sample_steps() -> Floats:
    """Standard deviation of a minute's move in each of the sample's candle files."""
    steps = []
    for file in sorted(SAMPLE_CANDLES.glob("*.csv")):
        candles = pl.read_csv(file, infer_schema_length=None).rename(str.lower).sort("timestamp")
        between = candles["timestamp"].diff().median()
        assert isinstance(between, float)
        # Some exports count milliseconds.
        minutes = between / 60 / (1000 if candles["timestamp"][0] > 1e11 else 1)
        moves = candles["close"].log().diff().drop_nulls().to_numpy()
        steps.append(float(np.std(moves)) / minutes**0.5)
    return np.array(steps)


def walks(alerts: int, step: float | Floats, candles: int = CANDLES) -> CandleBook:
    """Lay out a random walk for each alert, `candles` long, from price 1.

    Of several steps each alert has one, in turn.
    """
    rng = np.random.default_rng(9)
    rows = alerts * candles
    step_of = np.resize(step, alerts)[:, None]
    columns = {name: np.empty(rows) for name in ("open", "high", "low", "close")}
    for begin in range(0, alerts, 500):
        end = min(begin + 500, alerts)
        part = slice(begin * candles, end * candles)
        moves = rng.normal(0, step_of[begin:end], (end - begin, candles))
        close = np.exp(np.cumsum(moves, axis=1))
        open_ = np.concatenate((np.ones((len(close), 1)), close[:, :-1]), axis=1)
        wicks = 1 + rng.random((2, *close.shape)) * step_of[begin:end] / 2
        columns["open"][part], columns["close"][part] = open_.ravel(), close.ravel()
        columns["high"][part] = (np.maximum(open_, close) * wicks[0]).ravel()
        columns["low"][part] = (np.minimum(open_, close) / wicks[1]).ravel()
    start = int(START.timestamp()) * SECOND_US
    first = np.arange(alerts, dtype=np.int64) * candles
    return CandleBook(
        candles=Candles(
            ts=frozen(start + np.tile(np.arange(candles, dtype=np.int64) * 60 * SECOND_US, alerts)),
            interval_s=frozen(np.full(rows, 60, dtype=np.int64)),
            open=frozen(columns["open"]),
            high=frozen(columns["high"]),
            low=frozen(columns["low"]),
            close=frozen(columns["close"]),
        ),
        first=frozen(first),
        last=frozen(first + candles - 1),
    )


def positions_of(book: CandleBook) -> fills.Positions:
    """Enter at the first candle of every walk."""
    known_ts = frozen(book.candles.ts[book.first])
    return fills.open_positions(book, fills.find_entries(book, known_ts, STRATEGY.entry))


@numba.njit(nogil=True)
def pass_over(high, low):
    """Read two arrays once, at the speed of memory."""
    a, b = np.int64(0), np.int64(0)
    for row in range(len(high)):
        a += high[row]
        b += low[row]
    return a + b


def numpy_exits(book: CandleBook, strategy: Strategy) -> list[int]:
    """Find the exit rows alert by alert with numpy, as a careful user without a compiler would."""
    exits, trailing = strategy.exit, strategy.exit.trailing
    found = []
    for first, last in zip(book.first.tolist(), book.last.tolist(), strict=True):
        high, low = book.candles.high[first : last + 1], book.candles.low[first : last + 1]
        entry = book.candles.open[first]
        peak = np.empty(len(high))
        peak[0] = entry
        np.maximum.accumulate(high[:-1], out=peak[1:])
        np.maximum(peak, entry, out=peak)
        stop = np.full(len(high), entry * (1 - (exits.stop_loss_pct or 1.0)))
        if trailing is not None:
            active = peak >= entry * (1 + trailing.activation_pct)
            stop = np.where(active, np.maximum(stop, peak * (1 - trailing.distance_pct)), stop)
        stopped = low <= stop
        end = int(stopped.argmax()) if stopped.any() else len(high) - 1
        top = high >= entry * (1 + exits.take_profits[-1].gain_pct)
        if top[:end].any() or (top[end] and not stopped[end]):
            end = min(end, int(top.argmax()))
        found.append(first + end)
    return found


def kernel_figures(alerts: int, rounds: int) -> None:
    """Compare the kernel with a pass over its memory and with per-alert numpy, on one thread."""
    for market, step in STEP.items():
        book = walks(alerts, step)
        positions = positions_of(book)
        high, low = book.candles.high.view(np.int64), book.candles.low.view(np.int64)
        assert fills.run_exits(book, positions, STRATEGY).exit.tolist() == numpy_exits(
            book, STRATEGY
        )
        timings = take_turns(
            {
                "pass over highs and lows": lambda: pass_over(high, low),  # noqa: B023
                "kernel": lambda: fills.run_exits(book, positions, STRATEGY, threads=1),  # noqa: B023
                "kernel, 2 threads": lambda: fills.run_exits(book, positions, STRATEGY, threads=2),  # noqa: B023
            },
            rounds,
        )
        show(
            f"Kernel: {alerts:,} alerts x {CANDLES:,} candles, {market}",
            timings,
            {"kernel / pass": ("kernel", "pass over highs and lows", "goal: at most 2")},
        )
        rival = take_turns(
            {
                "numpy, alert by alert": lambda: numpy_exits(book, STRATEGY),  # noqa: B023
                "kernel": lambda: fills.run_exits(book, positions, STRATEGY, threads=1),  # noqa: B023
            },
            3,
        )
        show(
            f"The honest rival, {market}",
            rival,
            {"numpy / kernel": ("numpy, alert by alert", "kernel", "goal: at least 8")},
        )


def vectorbt_figures(alerts: int, rounds: int) -> None:
    """Compare with vectorbt for what both can express: entry at the open, one stop, one target."""
    try:
        import vectorbt
    except ImportError:
        print("\nvectorbt is not installed (extra `bench`): skipped")
        return
    for market, step in STEP.items():
        book = walks(alerts, step)
        positions = positions_of(book)
        wide = {
            name: np.ascontiguousarray(getattr(book.candles, name).reshape(alerts, CANDLES).T)
            for name in ("open", "high", "low", "close")
        }
        entries = np.zeros((CANDLES, alerts), dtype=bool)
        entries[0] = True

        def run() -> object:
            return vectorbt.Portfolio.from_signals(
                wide["close"],  # noqa: B023
                entries,  # noqa: B023
                price=wide["open"],  # noqa: B023
                open=wide["open"],  # noqa: B023
                high=wide["high"],  # noqa: B023
                low=wide["low"],  # noqa: B023
                sl_stop=0.3,
                tp_stop=1.0,
                stop_entry_price="fillprice",
                freq="1min",
            )

        ours = fills.run_exits(book, positions, STOP_AND_TARGET)
        records = run().orders.records  # type: ignore[attr-defined]
        closing = records[records["side"] == 1].set_index("col")["idx"]
        kept_open = CANDLES - 1
        theirs = [int(closing.get(alert, kept_open)) for alert in range(alerts)]
        same = np.mean(np.array(theirs) == ours.exit - positions.entry)
        timings = take_turns(
            {
                "vectorbt": run,
                "kernel": lambda: fills.run_exits(book, positions, STOP_AND_TARGET, threads=1),  # noqa: B023
            },
            rounds,
        )
        show(
            f"vectorbt: {alerts:,} alerts, stop and one target, {market}; "
            f"same exit candle in {same:.2%}",
            timings,
            {"vectorbt / kernel": ("vectorbt", "kernel", "goal: at least 75")},
        )


def random_strategies(number: int, *, grid: bool) -> list[Strategy]:
    """Draw strategies like STRATEGY: from a grid of round numbers, or no two levels alike."""
    rng = np.random.default_rng(4)

    def level(low: float, high: float) -> float:
        return float(round(rng.uniform(low, high), 1 if grid else 6))

    strategies = []
    for _ in range(number):
        first = level(0.2, 1)
        gains = (first, first + level(0.2, 1), first + level(1.2, 3))
        ladder = zip(gains, (0.3, 0.3, 0.4), strict=True)
        trailing = Trailing(activation_pct=level(0.2, 1), distance_pct=level(0.1, 0.5))
        exits = Exit(
            stop_loss_pct=level(0.1, 0.6),
            take_profits=tuple(TakeProfit(gain_pct=g, fraction=f) for g, f in ladder),
            trailing=trailing if rng.random() < 0.7 else None,
        )
        strategies.append(Strategy(exit=exits))
    return strategies


def frames_of(book: CandleBook) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Show a book as the frames `simulate` takes: a token and an alert for each walk."""
    alerts = len(book.first)
    mints = pl.Series([f"{number:044d}" for number in range(alerts)])
    rows = pl.Series(np.repeat(np.arange(alerts), len(book.candles.ts) // alerts))
    moment = pl.Series(np.full(alerts, int(START.timestamp()) * SECOND_US)).cast(
        pl.Datetime("us", "UTC")
    )
    calls = pl.DataFrame(
        {
            "alert_id": mints,
            "alert_ts_utc": moment,
            "known_ts_utc": moment,
            "chain": pl.Series(["solana"] * alerts),
            "mint": mints,
            "caller_name_norm": pl.Series([f"caller{number % 50}" for number in range(alerts)]),
        }
    )
    candles = pl.DataFrame(
        {
            "token_address": mints[rows],
            "chain": pl.repeat("solana", len(rows), eager=True),
            "interval_s": book.candles.interval_s,
            "ts": pl.Series(book.candles.ts).cast(pl.Datetime("us", "UTC")),
            "open": book.candles.open,
            "high": book.candles.high,
            "low": book.candles.low,
            "close": book.candles.close,
            "volume": pl.repeat(1.0, len(rows), eager=True),
        }
    )
    return calls, candles


def sweep_figures(alerts: int, number: int, rounds: int) -> None:
    """Compare a sweep with as many simulations, and check that they agree."""
    calls, candles = frames_of(walks(alerts, sample_steps(), TWO_DAYS))
    for kind, grid in (("levels from a grid", True), ("all levels different", False)):
        many = random_strategies(number, grid=grid)
        few = many[:8]
        for strategy, result in zip(few, simulate_many(calls, candles, few), strict=True):
            alone = simulate(calls, candles, strategy)
            for name in ("trades", "metrics", "curves", "diagnostics"):
                assert getattr(result, name).equals(getattr(alone, name)), name
        variants = {
            f"{number} simulations": lambda: drain(
                simulate(calls, candles, strategy)
                for strategy in many  # noqa: B023
            ),
            "one sweep": lambda: drain(simulate_many(calls, candles, many)),  # noqa: B023
        }
        for what, clock in (("elapsed", time.perf_counter), ("processor", time.process_time)):
            show(
                f"Sweep: {alerts:,} alerts x {TWO_DAYS:,} candles x {number} strategies, "
                f"as volatile as the sample, {kind}, {what} time",
                take_turns(variants, rounds, warm=False, clock=clock),
                {"simulations / sweep": (*variants, "goal: at least 1.5")},
            )


def drain(results: Iterable[object]) -> None:
    """Ask for every result and keep none."""
    for _ in results:
        pass


def frame_figures(alerts: int, rounds: int) -> None:
    """Compare `simulate`, frames in and out, with layout and kernel alone; then from Parquet."""
    for market, step in STEP.items():
        calls, candles = frames_of(walks(alerts, step))
        checked = check_alerts(calls)
        known_ts = checked["known_ts_utc"].to_physical().to_numpy()

        def layout_and_kernel() -> object:
            book = lay_out(check_candles(candles), checked)  # noqa: B023
            entries = fills.find_entries(book, known_ts, STRATEGY.entry)  # noqa: B023
            return fills.run_exits(book, fills.open_positions(book, entries), STRATEGY)

        timings = take_turns(
            {
                "layout and kernel": layout_and_kernel,
                "simulate": lambda: simulate(calls, candles, STRATEGY),  # noqa: B023
            },
            rounds,
        )
        show(
            f"Frames: {alerts:,} alerts x {CANDLES:,} candles, {market}",
            timings,
            {"simulate / layout and kernel": ("simulate", "layout and kernel", "goal: at most 3")},
        )
    with tempfile.TemporaryDirectory() as folder:
        for number, slice_ in enumerate(candles.partition_by("token_address")):
            slice_.write_parquet(Path(folder) / f"{number:06d}.parquet")
        read = pl.scan_parquet(Path(folder) / "*.parquet").select(candles.columns)
        timings = take_turns(
            {
                "read the columns": lambda: read.collect(),
                "read and simulate": lambda: simulate(calls, read.collect(), STRATEGY),
            },
            rounds,
        )
        show(
            f"From Parquet: {alerts:,} slices",
            timings,
            {"read and simulate / read": ("read and simulate", "read the columns", "at most 1.5")},
        )


def main(argv: list[str]) -> None:
    """Print every figure; `--quick` uses a tenth of the alerts and fewer rounds."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--only", choices=["kernel", "vectorbt", "sweep", "frames"])
    options = parser.parse_args(argv)
    rounds = 3 if options.quick else 7
    parts: dict[str, Callable[[], None]] = {
        "kernel": lambda: kernel_figures(1_000 if options.quick else 10_000, rounds),
        "vectorbt": lambda: vectorbt_figures(50 if options.quick else 500, 3),
        "sweep": lambda: sweep_figures(
            450 if options.quick else 4_500, 20 if options.quick else 100, 3
        ),
        "frames": lambda: frame_figures(200 if options.quick else 1_000, rounds),
    }
    for name, part in parts.items():
        if options.only in (None, name):
            part()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nPeak memory of this process: {peak:,.0f} MB")

"""The look-ahead check: engines that see one candle too many are caught, honest ones are not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.experiments.strategy import (
    Entry,
    Exit,
    Sizing,
    Strategy,
    TakeProfit,
    Trailing,
)
from quantlab_assets.handlers.experiments.check_lookahead import LookaheadCheck, check_lookahead
from quantlab_assets.handlers.experiments.create import create_experiment
from quantlab_assets.simulation import SimulationResult, engine_version, simulate
from quantlab_tests.handlers.experiments.lab import (
    DUD,
    MINUTE,
    RUNNER,
    T0,
    Call,
    Lab,
    memory_lab,
    publish_alerts,
    publish_candles,
)

LADDER = Strategy(
    exit=Exit(
        stop_loss_pct=0.05,
        take_profits=(
            TakeProfit(gain_pct=0.05, fraction=0.5),
            TakeProfit(gain_pct=0.1, fraction=0.5),
        ),
        trailing=Trailing(activation_pct=0.03, distance_pct=0.02),
        max_hold_s=3600,
    )
)
DIP = LADDER.model_copy(update={"entry": Entry(mode="limit_dip", dip_pct=0.02, max_wait_s=600)})
TIMED = Strategy(exit=Exit(max_hold_s=900))
STRATEGIES = {
    "ladder": LADDER,
    "dip": DIP,
    "timed": TIMED,
    "delayed, one position at a time": LADDER.model_copy(
        update={"entry": Entry(delay_s=90), "sizing": Sizing(max_open_positions=1)}
    ),
    "targets first": LADDER.model_copy(
        update={"exit": LADDER.exit.model_copy(update={"intrabar": "target_first"})}
    ),
    "breakeven": Strategy(exit=Exit(stop_loss_pct=0.08, breakeven_after_pct=0.02)),
}


def market(calls: int = 12, seed: int = 3) -> Lab:
    lab = memory_lab()
    generator = np.random.default_rng(seed)
    closes = {
        mint: np.exp(np.cumsum(generator.normal(0, 0.01, 400))).tolist() for mint in (RUNNER, DUD)
    }
    for mint, prices in closes.items():
        publish_candles(lab.store, mint, prices)
    late = Call(RUNNER, T0 + 3000 * MINUTE, message=999)
    made = [
        Call((RUNNER, DUD)[n % 2], T0 + timedelta(seconds=1373 * n + 7), message=n + 1)
        for n in range(calls)
    ]
    publish_alerts(lab.store, *made, late)
    return lab


def check(
    strategy: Strategy, engine: Callable[..., SimulationResult] = simulate, **options: Any
) -> LookaheadCheck:
    lab = market()
    record, _ = create_experiment(
        lab.store,
        lab.tracker,
        name="test",
        strategy=strategy,
        alerts="all",
        slices="auto",
        engine_version=engine_version(),
    )
    return check_lookahead(lab.store, lab.tracker, record.experiment_id, simulate=engine, **options)


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_the_engine_sees_no_future(strategy: Strategy) -> None:
    checked = check(strategy)
    assert checked.leaks == ()
    assert checked.clean
    assert checked.trades > 5
    assert checked.decisions["entry"] == checked.trades
    assert checked.decisions["hold"] > checked.trades
    assert checked.decisions["no entry"] >= 1


def of_token(expression: pl.Expr) -> pl.Expr:
    return expression.over("chain", "token_address")


def valid(candles: pl.DataFrame) -> pl.DataFrame:
    return candles.with_columns(
        pl.max_horizontal("open", "high", "low", "close").alias("high"),
        pl.min_horizontal("open", "high", "low", "close").alias("low"),
    )


def shifted(*columns: str, by: int = -1) -> Callable[..., SimulationResult]:
    """An engine that takes these prices from a later candle."""

    def engine(alerts: pl.DataFrame, candles: pl.DataFrame, strategy: Strategy) -> SimulationResult:
        moved = [of_token(pl.col(c).shift(by)).fill_null(pl.col(c)).alias(c) for c in columns]
        return simulate(alerts, valid(candles.with_columns(moved)), strategy)

    return engine


def smoothed(alerts: pl.DataFrame, candles: pl.DataFrame, strategy: Strategy) -> SimulationResult:
    """A centred average: half of its window is the future."""
    mean = of_token(pl.col("close").rolling_mean(3, center=True, min_samples=1))
    return simulate(alerts, valid(candles.with_columns(mean.alias("close"))), strategy)


def normalised(alerts: pl.DataFrame, candles: pl.DataFrame, strategy: Strategy) -> SimulationResult:
    """Prices over the mean of the whole column."""
    scaled = [
        (pl.col(c) / of_token(pl.col("close").mean())).alias(c)
        for c in ("open", "high", "low", "close")
    ]
    return simulate(alerts, candles.with_columns(scaled), strategy)


def picky(alerts: pl.DataFrame, candles: pl.DataFrame, strategy: Strategy) -> SimulationResult:
    """Trades only tokens that do well in the end."""
    good = (
        candles.group_by("chain", pl.col("token_address").alias("mint"))
        .agg(pl.col("high").max() / pl.col("open").first() > 1.02)
        .filter("high")
    )
    return simulate(alerts.join(good, on=["chain", "mint"], how="semi"), candles, strategy)


def entered_better(
    alerts: pl.DataFrame, candles: pl.DataFrame, strategy: Strategy
) -> SimulationResult:
    """Buys at the low of the candle at whose open it decided."""
    low = pl.min_horizontal("open", "low").alias("open")
    return simulate(alerts, valid(candles.with_columns(low)), strategy)


def exited_better(
    alerts: pl.DataFrame, candles: pl.DataFrame, strategy: Strategy
) -> SimulationResult:
    """Sells at the price one candle after the exit, if that is higher."""
    result = simulate(alerts, candles, strategy)
    after = candles.select(
        "chain", pl.col("token_address").alias("mint"), pl.col("ts").alias("exit_ts"), "close"
    )
    trades = result.trades.join(after, on=["chain", "mint", "exit_ts"], how="left").with_columns(
        pl.max_horizontal("exit_price", "close").alias("exit_price")
    )
    return replace(result, trades=trades.drop("close").sort("entry_ts", "alert_id"))


def patient(alerts: pl.DataFrame, candles: pl.DataFrame, strategy: Strategy) -> SimulationResult:
    """Ignores a fall if the next candle closes higher: it knows that the price comes back."""
    recovers = of_token(pl.col("close").shift(-1)) > pl.col("open")
    flat = [pl.when(recovers).then("open").otherwise(c).alias(c) for c in ("high", "low", "close")]
    return simulate(alerts, candles.with_columns(flat), strategy)


def labelled_left(
    alerts: pl.DataFrame, candles: pl.DataFrame, strategy: Strategy
) -> SimulationResult:
    """Knows an alert a minute before it is known."""
    early = pl.col("known_ts_utc") - pl.duration(seconds=120)
    return simulate(alerts.with_columns(early.alias("known_ts_utc")), candles, strategy)


LEAKS = {
    "the next candle's low": (LADDER, shifted("low")),
    "the next candle's high": (LADDER, shifted("high")),
    "the next candle's close": (TIMED, shifted("close")),
    "the next candle's open": (LADDER, shifted("open")),
    "the next candle": (LADDER, shifted("open", "high", "low", "close")),
    "the next candle's low, for a limit": (DIP, shifted("low")),
    "five candles ahead": (LADDER, shifted("high", by=-5)),
    "a centred average": (TIMED, smoothed),
    "the mean of the column": (LADDER, normalised),
    "who wins in the end": (LADDER, picky),
    "the entry candle's low": (LADDER, entered_better),
    "the candle after the exit": (LADDER, exited_better),
    "that the price comes back": (LADDER, patient),
    "an alert before it is known": (LADDER, labelled_left),
}


@pytest.mark.parametrize(("strategy", "engine"), LEAKS.values(), ids=LEAKS)
def test_an_engine_that_sees_the_future_is_caught(
    strategy: Strategy, engine: Callable[..., SimulationResult]
) -> None:
    checked = check(strategy, engine)
    assert not checked.clean
    leak = checked.leaks[0]
    assert leak.alert_id.startswith("-100:")
    assert leak.field in str(leak)


def test_the_sample_is_bounded_and_always_the_same() -> None:
    few = check(LADDER, shifted("low"), samples=3)
    assert few.decisions["entry"] == 3
    assert few == check(LADDER, shifted("low"), samples=3)
    with pytest.raises(ValidationFailed, match="samples must be 1 or more, not 0"):
        check(LADDER, samples=0)


def test_it_says_what_it_covers_and_what_not() -> None:
    checked = check(LADDER)
    assert any("price" in each for each in checked.covered)
    assert any("selected" in each for each in checked.not_covered)

"""Does a decision depend on what came after it? Replace the future by garbage, and look.

Every sampled decision is simulated again on a copy of its token's candles in which all that was
not known yet is something else: prices a thousand times higher, a thousand times lower, noise, or
nothing at all. The decision must not change. What is known when:

- a fill at a candle's open: all earlier candles, and that open;
- any other fill: all candles up to and with its own;
- that a position is kept over a candle: all candles up to and with that one.

The copies differ by token, so one simulation checks thousands of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import polars as pl

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_assets.handlers.experiments.inputs import ResolvedInputs
from quantlab_assets.handlers.experiments.run import Simulate, frozen_inputs, read_inputs
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.experiment_tracker import ExperimentTracker
from quantlab_assets.simulation import simulate
from quantlab_assets.simulation.market.candle_book import one_candle_a_moment

GARBAGE: Final = ("higher", "lower", "noise", "gone")
FACTOR: Final = 1e3
HOLDS: Final = 3
"""Candles of a trade after which it is checked that the position is kept."""

COVERED: Final = (
    "when and at what price a position is opened, and that it is not opened before it may be",
    "when, at what price and for which reason it is closed, all its legs together",
    "that it is kept until then: after the last candle before the exit, and after others",
    "that an alert does not trade when nothing is filled within the longest wait",
)
NOT_COVERED: Final = (
    "which alerts and slices were selected: selection sees the whole date range",
    "which candle counts where slices or intervals overlap: that is decided with all in view",
    "the limit on open positions (max_open_positions), which is lifted for the check",
    "exits at the end of the data: that there is no later candle is no price",
    "what the inputs themselves know: a candle revised later, a message edited later",
)
_ROWS_AT_ONCE: Final = 2_000_000
_PRICES: Final = (1e-45, 1e45)
_EXIT: Final = (
    "entry_ts",
    "entry_price",
    "exit_ts",
    "exit_price",
    "exit_reason",
    "exit_legs",
    "net_return",
)


@dataclass(frozen=True, slots=True)
class Leak:
    """A decision that changed with what came after it: `before` on the candles as they are, `after`
    with garbage in place of the future."""

    alert_id: str
    decision: str
    at: datetime
    garbage: str
    field: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return (
            f"{self.decision} of {self.alert_id} at {self.at:%Y-%m-%d %H:%M:%S}: {self.field} is"
            f" {self.before}, and {self.after} once the future is {self.garbage}"
        )


@dataclass(frozen=True, slots=True)
class LookaheadCheck:
    """How many decisions of each kind were checked, and those that saw the future."""

    experiment_id: str
    trades: int
    decisions: dict[str, int]
    simulations: int
    leaks: tuple[Leak, ...]
    covered: tuple[str, ...] = COVERED
    not_covered: tuple[str, ...] = NOT_COVERED

    @property
    def clean(self) -> bool:
        """Whether no decision changed."""
        return not self.leaks


def check_lookahead(
    store: ArtifactStore,
    tracker: ExperimentTracker,
    experiment_id: str,
    *,
    samples: int = 100,
    simulate: Simulate = simulate,
) -> LookaheadCheck:
    """Check up to `samples` trades and as many alerts without one, chosen by the seed.

    The experiment need not have been executed. Raises `NotFound`, `Conflict`, `IntegrityError` as
    executing does, `ValidationFailed` for no sample.
    """
    if samples < 1:
        raise ValidationFailed(f"samples must be 1 or more, not {samples}")
    definition = tracker.get(experiment_id).definition
    frozen_inputs(store, definition)
    decisions, leaks, simulations, trades = look_ahead(
        read_inputs(store, definition),
        definition.strategy,
        samples=samples,
        seed=definition.seed,
        simulate=simulate,
    )
    return LookaheadCheck(experiment_id, trades, decisions, simulations, tuple(leaks))


def look_ahead(
    inputs: ResolvedInputs, strategy: Strategy, *, samples: int, seed: int, simulate: Simulate
) -> tuple[dict[str, int], list[Leak], int, int]:
    """Check decisions on these inputs: how many of each kind, the leaks, copies, trades."""
    generator = np.random.default_rng(seed)
    sizing = strategy.sizing.model_copy(update={"max_open_positions": None})
    alone = strategy.model_copy(update={"sizing": sizing})
    called = inputs.alerts.select("chain", pl.col("mint").alias("token_address")).unique()
    candles = one_candle_a_moment(
        inputs.candles.join(
            called, on=["chain", "token_address"], how="semi", maintain_order="left"
        )
    )
    base = simulate(inputs.alerts, candles, alone)
    book = candles.select(
        "chain",
        "token_address",
        "interval_s",
        "ts",
        "open",
        "high",
        "low",
        "close",
        "volume",
        pl.int_range(pl.len()).over("chain", "token_address").alias("place"),
        (pl.col("ts") + pl.duration(seconds="interval_s")).alias("end"),
    )
    alerts = inputs.alerts.with_columns(
        (pl.col("known_ts_utc") + pl.duration(seconds=strategy.entry.delay_s)).alias("order_ts")
    )
    trades = _placed(base.trades, alerts, book)
    leaks = _impossible(trades)
    sound = trades.filter(pl.col("entry_place").is_not_null() & pl.col("exit_known").is_not_null())
    chosen = _sampled(sound, samples, generator)
    idle = _sampled(_idle(base.diagnostics, alerts, book, strategy), samples, generator)
    decisions = pl.concat(
        [
            _entries(chosen, strategy),
            _exits(chosen),
            _holds(chosen, generator),
            idle,
        ],
        how="diagonal",
    )
    cases = (
        decisions.join(pl.DataFrame({"garbage": GARBAGE}), how="cross")
        # With nothing after it, a position that is kept ends there: at the end of the data.
        .filter((pl.col("decision") != "hold") | (pl.col("garbage") != "gone"))
        .with_columns(pl.format("case {}", pl.int_range(pl.len())).alias("case"))
    )
    for batch in _batches(cases, book):
        poisoned = _poisoned(batch, book, generator)
        again = simulate(_alerts_of(batch), poisoned, alone).trades
        leaks += _changed(batch, again)
    counted = decisions.group_by("decision").len().sort("decision")
    return dict(counted.iter_rows()), leaks, cases.height, trades.height


def _placed(trades: pl.DataFrame, alerts: pl.DataFrame, book: pl.DataFrame) -> pl.DataFrame:
    """The trades with their alerts and the places of their entry and exit candles.

    `exit_known` is the last candle known in full at the exit; `exit_open` the candle of which only
    the open is, null unless the exit was at an open.
    """
    at = book.select("chain", pl.col("token_address").alias("mint"), "place", "ts", "end")
    return (
        trades.drop("alert_ts_utc", "caller_name_norm", "chain", "mint")
        .join(alerts, on="alert_id", how="left", maintain_order="left")
        .join(
            at.select("chain", "mint", pl.col("ts").alias("entry_ts"), entry_place="place"),
            on=["chain", "mint", "entry_ts"],
            how="left",
            maintain_order="left",
        )
        .with_columns((pl.col("entry_place") + pl.col("candles_held") - 1).alias("place"))
        .join(at, on=["chain", "mint", "place"], how="left", maintain_order="left")
        .with_columns(
            pl.when(pl.col("exit_ts") == pl.col("ts")).then("place").alias("exit_open"),
            pl.when(pl.col("exit_ts") == pl.col("ts"))
            .then(pl.col("place") - 1)
            .when(pl.col("exit_ts") == pl.col("end"))
            .then("place")
            .alias("exit_known"),
        )
    )


def _impossible(trades: pl.DataFrame) -> list[Leak]:
    """Trades at times at which nothing could be filled: before the order, or between candles."""
    early = trades.filter(pl.col("entry_ts") < pl.col("order_ts"))
    leaks = [
        Leak(row["alert_id"], "entry", row["entry_ts"], "as it is", "entry_ts", *_both(row))
        for row in early.iter_rows(named=True)
    ]
    nowhere = trades.filter(pl.col("entry_place").is_null() | pl.col("exit_known").is_null())
    for row in nowhere.iter_rows(named=True):
        field = "entry_ts" if row["entry_place"] is None else "exit_ts"
        kind = field.removesuffix("_ts")
        leaks.append(
            Leak(row["alert_id"], kind, row[field], "as it is", field, row[field], "no candle's")
        )
    return leaks


def _both(row: dict[str, Any]) -> tuple[Any, str]:
    return row["entry_ts"], f"not before {row['order_ts']}"


def _sampled(frame: pl.DataFrame, samples: int, generator: np.random.Generator) -> pl.DataFrame:
    ordered = frame.sort("alert_id")
    if ordered.height <= samples:
        return ordered
    return ordered[np.sort(generator.choice(ordered.height, samples, replace=False))]


def _entries(trades: pl.DataFrame, strategy: Strategy) -> pl.DataFrame:
    inside = strategy.entry.mode == "limit_dip"
    place = pl.col("entry_place")
    return trades.with_columns(
        pl.lit("entry").alias("decision"),
        pl.col("entry_ts").alias("at"),
        (place if inside else place - 1).alias("known"),
        (pl.lit(None, pl.Int64) if inside else place).alias("open_known"),
    )


def _exits(trades: pl.DataFrame) -> pl.DataFrame:
    return trades.filter(pl.col("exit_reason") != "end_of_data").with_columns(
        pl.lit("exit").alias("decision"),
        pl.col("exit_ts").alias("at"),
        pl.col("exit_known").alias("known"),
        pl.col("exit_open").alias("open_known"),
    )


def _holds(trades: pl.DataFrame, generator: np.random.Generator) -> pl.DataFrame:
    """After the candle before the exit candle, and after some earlier ones."""
    trades_over_candles = trades.filter(pl.col("candles_held") > 1)
    last = trades_over_candles.with_columns((pl.col("place") - 1).alias("known"))
    parts = [last]
    for _ in range(HOLDS - 1):
        share = pl.Series("share", generator.random(trades_over_candles.height))
        span = pl.col("candles_held") - 1
        place = pl.col("entry_place") + (share * span).floor().cast(pl.Int64)
        parts.append(trades_over_candles.with_columns(place.alias("known")))
    return (
        pl.concat(parts)
        .unique(["alert_id", "known"], maintain_order=True)
        .with_columns(
            pl.lit("hold").alias("decision"),
            pl.col("entry_ts").alias("at"),
            pl.lit(None, pl.Int64).alias("open_known"),
        )
    )


def _idle(
    diagnostics: pl.DataFrame, alerts: pl.DataFrame, book: pl.DataFrame, strategy: Strategy
) -> pl.DataFrame:
    """Alerts whose wait passed without a fill: known is every candle that opened within it."""
    waited = (
        diagnostics.filter(pl.col("code").is_in(["no_entry_candle", "entry_expired"]))
        .select("alert_id")
        .join(alerts, on="alert_id", how="left", maintain_order="left")
        .with_columns(
            (pl.col("order_ts") + pl.duration(seconds=strategy.entry.max_wait_s)).alias("at")
        )
    )
    opened = (
        waited.join(
            book.select("chain", pl.col("token_address").alias("mint"), "ts", "place"),
            on=["chain", "mint"],
        )
        .filter(pl.col("ts") <= pl.col("at"))
        .group_by("alert_id")
        .agg(pl.col("place").max().alias("known"))
    )
    return waited.join(opened, on="alert_id", how="left", maintain_order="left").with_columns(
        pl.col("known").fill_null(-1),
        pl.lit(None, pl.Int64).alias("open_known"),
        pl.lit("no entry").alias("decision"),
    )


def _batches(cases: pl.DataFrame, book: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The cases in groups whose copies fit into memory."""
    if cases.is_empty():
        return
    rows = book.group_by("chain", pl.col("token_address").alias("mint")).len("rows")
    sized = cases.join(rows, on=["chain", "mint"], how="left", maintain_order="left")
    group = sized["rows"].fill_null(0).cum_sum() // _ROWS_AT_ONCE
    yield from cases.with_columns(group.alias("group")).partition_by("group", maintain_order=True)


def _alerts_of(cases: pl.DataFrame) -> pl.DataFrame:
    return cases.select(
        pl.col("case").alias("alert_id"),
        "alert_ts_utc",
        "known_ts_utc",
        "chain",
        pl.col("case").alias("mint"),
        "caller_name_norm",
    )


def _poisoned(
    cases: pl.DataFrame, book: pl.DataFrame, generator: np.random.Generator
) -> pl.DataFrame:
    """A copy of its token's candles for each case, all that is not known replaced."""
    copies = cases.select("case", "chain", "mint", "known", "open_known", "garbage").join(
        book.rename({"token_address": "mint"}), on=["chain", "mint"], maintain_order="left_right"
    )
    later = pl.col("place") > pl.col("known")
    only_open = (pl.col("place") == pl.col("open_known")).fill_null(False)
    gone = pl.col("garbage") == "gone"
    noise = pl.Series("noise", 10 ** generator.uniform(-3, 3, copies.height))
    factor = (
        pl.when(pl.col("garbage") == "higher")
        .then(pl.lit(FACTOR))
        .when(pl.col("garbage") == "lower")
        .then(pl.lit(1 / FACTOR))
        .otherwise(noise)
    )
    close = pl.when(gone).then("open").otherwise((pl.col("close") * factor).clip(*_PRICES))
    replaced = {
        "open": (pl.col("open") * factor).clip(*_PRICES),
        "high": (pl.col("high") * factor).clip(*_PRICES),
        "low": (pl.col("low") * factor).clip(*_PRICES),
        "close": (pl.col("close") * factor).clip(*_PRICES),
    }
    half = {
        "open": pl.col("open"),
        "high": pl.max_horizontal("open", close),
        "low": pl.min_horizontal("open", close),
        "close": close,
    }
    return (
        copies.with_columns(
            *(
                pl.when(only_open)
                .then(half[name])
                .when(later)
                .then(replaced[name])
                .otherwise(pl.col(name))
                .alias(name)
                for name in replaced
            ),
            pl.when(later).then(1.0).otherwise(pl.col("volume")).alias("volume"),
        )
        .filter(~(gone & later & ~only_open))
        .select(
            pl.col("case").alias("token_address"),
            "chain",
            "interval_s",
            "ts",
            "open",
            "high",
            "low",
            "close",
            "volume",
        )
    )


def _changed(cases: pl.DataFrame, again: pl.DataFrame) -> list[Leak]:
    """The cases whose decision is another one now."""
    fields = [*_EXIT, "candles_held"]
    now = again.select(pl.col("alert_id").alias("case"), pl.col(fields).name.prefix("now_"))
    met = cases.join(now, on="case", how="left", maintain_order="left")
    entered = ("entry_ts", "entry_price")
    leaks: list[Leak] = []
    for kind, compared in (("entry", entered), ("exit", _EXIT), ("hold", entered)):
        some = met.filter(decision=kind)
        for name in compared:
            leaks += _leaks(some.filter(pl.col(name).ne_missing(pl.col(f"now_{name}"))), name)
    kept = pl.col("known") - pl.col("entry_place") + 1
    left = met.filter(pl.col("decision") == "hold").filter(pl.col("now_candles_held") <= kept)
    leaks += _leaks(left, "candles_held")
    traded = met.filter(pl.col("decision") == "no entry").filter(
        pl.col("now_entry_ts").is_not_null()
    )
    if "entry_ts" not in traded.columns:
        traded = traded.with_columns(pl.lit(None).alias("entry_ts"))
    leaks += _leaks(traded, "entry_ts")
    first: dict[tuple[str, str, str], Leak] = {}
    for leak in leaks:
        first.setdefault((leak.alert_id, leak.decision, leak.garbage), leak)
    return list(first.values())


def _leaks(rows: pl.DataFrame, name: str) -> list[Leak]:
    return [
        Leak(
            alert_id=row["alert_id"],
            decision=row["decision"],
            at=row["at"],
            garbage=row["garbage"],
            field=name,
            before=row[name],
            after=row[f"now_{name}"],
        )
        for row in rows.iter_rows(named=True)
    ]

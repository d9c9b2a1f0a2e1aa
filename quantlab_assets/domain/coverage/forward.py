"""Coverage: how much of the time around each call its slices cover, and why not all of it.

Candles become sorted arrays by series (`coverage_index`); what a horizon holds is found in them by
compiled passes (`coverage_kernel`). Both are imported when coverage is measured, not before:
compiled code takes its time to load. docs/candles.md has the rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from quantlab_assets.domain.artifacts.seed_types import (
    ALERT_FORWARD_COVERAGE,
    COVERAGE_GAPS,
    COVERAGE_SUMMARY,
)
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.slices.slices import STANDARD_GRADING, Grading, network_of_token
from quantlab_assets.domain.time_us import SECOND_US, to_us

if TYPE_CHECKING:
    from quantlab_assets.domain.coverage.candle_index import CandleIndex

HORIZONS_H: Final = (-4, 1, 4, 12, 24, 48)
"""Hours after the call; negative ones end at the call."""
MAX_HORIZON_H: Final = 24 * 366

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_SHIFT: Final = 34  # seconds since 1970 of any year up to 2500 fit below


def forward_coverage(
    alerts: pl.DataFrame,
    candles: pl.DataFrame,
    windows: pl.DataFrame,
    newest_ts: datetime | None,
    horizons: Sequence[int] = HORIZONS_H,
    grading: Grading = STANDARD_GRADING,
) -> pl.DataFrame:
    """One row for each alert and horizon; columns of the type `alert_forward_coverage`.

    `alerts` has alert_id, chain, token_chain, mint, caller_name_norm, alert_ts_utc; `candles` the
    columns of `ohlcv_slice_v2`, of any number of slices, in any order; `windows` what those slices
    cover (`slices.WINDOW_SCHEMA`); `newest_ts` the newest candle the source had when they were made
    (null: unknown). An alert that names a network is covered by the slices of that network and of
    an unknown one; one that names none by those of the network, of all its address is known on,
    that covers it best. Raises `ValidationFailed` for horizons of 0, given twice, or over a year.
    """
    _check_horizons(horizons)
    from quantlab_assets.domain.coverage.candle_index import CandleIndex

    index = CandleIndex.of(_with_every_network(candles))
    asked = _asked(alerts, index)
    covered = _cover(asked, np.array(horizons, dtype=np.int64), index, windows, newest_ts, grading)
    best = _best_network(covered) if len(asked.alert) > alerts.height else covered
    frame = best.join(
        alerts.with_row_index("alert").select(
            "alert", "alert_id", "chain", "mint", "caller_name_norm", "alert_ts_utc"
        ),
        on="alert",
        how="left",
    )
    distinct = alerts["alert_id"].n_unique() == alerts.height
    return _as_type(frame, ALERT_FORWARD_COVERAGE, keys_are_unique=distinct)


def coverage_gaps(
    candles: pl.DataFrame, windows: pl.DataFrame, newest_ts: datetime | None
) -> pl.DataFrame:
    """Every stretch of missing candles inside the windows of slices, by token and interval; columns
    of the type `coverage_gaps`. `[gap_start, gap_end)`; what is newer than `newest_ts` is no gap.

    `head` gaps reach the window's start, `tail` gaps its end, `inner` gaps have candles on both
    sides. Windows of one series that touch count as one.
    """
    from quantlab_assets.domain.coverage.candle_index import CandleIndex
    from quantlab_assets.domain.coverage.kernel import find_holes

    index = CandleIndex.of(candles)
    merged = _merged_windows(windows, index)
    step = merged.interval_s
    start = _ceil_to(merged.start, step)
    end = merged.end if newest_ts is None else np.minimum(merged.end, _seconds(newest_ts) + 1)
    end = np.maximum(_ceil_to(end, step), start)
    low, high = index.between(merged.series, start, end)
    empty = low == high
    first = np.where(empty, end, index.at(low))
    after_last = np.where(empty, end, index.at(high - 1) + step)

    row, series = find_holes(index.rows)
    hole_start, hole_end = index.at(row), index.at(row + 1)
    home = merged.holding(series, hole_start)
    inner = (home >= 0) & (hole_end < _pick(end, home))
    series, hole_end = series[inner], hole_end[inner]
    hole_start = hole_start[inner] + index.rows.step_us[series] // SECOND_US
    gaps = pl.DataFrame(
        {
            "series": np.concatenate((merged.series, series, merged.series)),
            "start": np.concatenate((start, hole_start, after_last)),
            "end": np.concatenate((first, hole_end, end)),
            "kind": ["head"] * len(start) + ["inner"] * len(series) + ["tail"] * len(start),
        }
    ).filter(pl.col("end") > pl.col("start"))
    frame = (
        gaps.join(index.names, on="series", how="left")
        .with_columns(
            _utc("start").alias("gap_start"),
            _utc("end").alias("gap_end"),
            ((pl.col("end") - pl.col("start")) // pl.col("interval_s")).alias("missing_candles"),
        )
        .unique(COVERAGE_GAPS.schema.names)
    )
    return _as_type(frame, COVERAGE_GAPS)


def coverage_summary(days: Mapping[date, pl.DataFrame]) -> pl.DataFrame:
    """Coverage counted by day, chain, caller and horizon; columns of the type `coverage_summary`.

    `days` maps a UTC day to its rows of `alert_forward_coverage`; `covered` counts grade `good`.
    """
    keys = ["day", "chain", "caller_name_norm", "horizon_h"]
    rows = [
        frame.select(pl.lit(day, dtype=pl.Date).alias("day"), *keys[1:], "grade", "coverage_ratio")
        for day, frame in sorted(days.items())
    ]
    if not rows:
        return _as_type(pl.DataFrame(COVERAGE_SUMMARY.empty()), COVERAGE_SUMMARY)
    # Sorted by ratio too, and summed in that order: the mean must not depend on row order.
    ordered = pl.concat(rows).sort([*keys, "coverage_ratio"])
    starts = np.flatnonzero(ordered.select(pl.struct(keys).rle_id()).to_series().diff() != 0)
    starts = np.concatenate(([0], starts)) if ordered.height else starts
    counts = ordered.group_by(keys, maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("alerts"),
        *(
            (pl.col("grade") == grade).sum().cast(pl.Int64).alias(column)
            for column, grade in (
                ("covered", "good"),
                ("partial", "partial"),
                ("poor", "poor"),
                ("none", "none"),
            )
        ),
    )
    ratios = ordered["coverage_ratio"].to_numpy()
    sums = np.add.reduceat(ratios, starts) if len(starts) else ratios
    frame = counts.with_columns(pl.Series("sum", sums, dtype=pl.Float64)).with_columns(
        (pl.col("sum") / pl.col("alerts")).alias("mean_ratio")
    )
    return _as_type(frame, COVERAGE_SUMMARY)


def to_table(frame: pl.DataFrame, artifact_type: ArtifactType) -> pa.Table:
    """The frame as a table of exactly the type's schema."""
    return frame.select(artifact_type.schema.names).to_arrow().cast(artifact_type.schema)


@dataclass(frozen=True, slots=True)
class _Windows:
    """What a series' slices cover, in seconds; windows of a series neither touch nor overlap."""

    series: Ints
    start: Ints
    end: Ints
    interval_s: Ints

    def holding(self, series: Ints, ts: Ints) -> Ints:
        """Number of the window of the series that holds a time, -1 if none does."""
        if len(self.series) == 0:
            return np.full(len(series), -1, dtype=np.int64)
        at = np.searchsorted((self.series << _SHIFT) + self.start, (series << _SHIFT) + ts, "right")
        place = np.maximum(at - 1, 0)
        held = (at > 0) & (self.series[place] == series) & (ts < self.end[place])
        return np.where(held, place, -1)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Alerts paired with the tokens that may cover them. `finest` and `intervals` are the number of
    the token's first series and how many it has; -1 and 0 where no slice may."""

    alert: Ints
    network: pl.Series
    alert_us: Ints
    finest: Ints
    intervals: Ints


def _check_horizons(horizons: Sequence[int]) -> None:
    wrong = [h for h in horizons if h == 0 or abs(h) > MAX_HORIZON_H]
    if wrong or len(set(horizons)) != len(horizons):
        raise ValidationFailed(
            f"coverage horizons {list(horizons)}: give different whole hours,"
            f" none 0 and none over {MAX_HORIZON_H}"
        )


def _with_every_network(candles: pl.DataFrame) -> pl.DataFrame:
    """Candles of an unknown network stand for each network the address is known on, too."""
    if candles["token_chain"].null_count() == 0:
        return candles
    unknown = candles.filter(pl.col("token_chain").is_null() & (pl.col("chain") != "solana"))
    if unknown.is_empty():
        return candles
    known = (
        candles.lazy()
        .filter(pl.col("token_chain").is_not_null())
        .select("chain", "token_address", "token_chain")
        .unique()
        .collect()
    )
    copies = unknown.drop("token_chain").join(known, on=["chain", "token_address"])
    return pl.concat([candles, copies.select(candles.columns)])


def _asked(alerts: pl.DataFrame, index: "CandleIndex") -> _Asked:
    """Pair every alert with the tokens whose slices count for it, or once with none."""
    tokens = index.names.group_by("chain", "mint", "network").agg(
        pl.col("series").min().alias("finest"), pl.len().cast(pl.Int64).alias("intervals")
    )
    called = alerts.with_row_index("alert").select(
        "alert",
        "chain",
        "mint",
        network_of_token("token_chain", "chain").alias("wanted"),
        pl.col("alert_ts_utc").cast(pl.Int64).alias("alert_us"),
    )
    pairs = called.join(tokens, on=["chain", "mint"], how="left").with_columns(
        pl.col("network").is_not_null().alias("is_known"),
        (pl.col("network") == pl.col("wanted")).fill_null(False).alias("is_wanted"),
    )
    any_known, any_wanted = (pl.col(c).any().over("alert") for c in ("is_known", "is_wanted"))
    # A named network first, else an unknown one; no name: every known network, else the unknown.
    fits = (
        pl.when(pl.col("wanted").is_not_null())
        .then(pl.col("is_wanted") | (~any_wanted & ~pl.col("is_known")))
        .otherwise(pl.col("is_known") | ~any_known)
    )
    chosen = pairs.filter(fits)
    chosen = pl.concat(
        [
            chosen.select("alert", "network", "alert_us", "finest", "intervals"),
            called.join(chosen, on="alert", how="anti").select(
                "alert",
                pl.lit(None, dtype=pl.String).alias("network"),
                "alert_us",
                pl.lit(None, dtype=pl.Int64).alias("finest"),
                pl.lit(None, dtype=pl.Int64).alias("intervals"),
            ),
        ]
    ).sort("finest", "alert_us", "alert")  # neighbouring searches stay in the processor's cache
    return _Asked(
        alert=chosen["alert"].cast(pl.Int64).to_numpy(),
        network=chosen["network"],
        alert_us=chosen["alert_us"].to_numpy(),
        finest=chosen["finest"].fill_null(-1).to_numpy(),
        intervals=chosen["intervals"].fill_null(0).to_numpy(),
    )


def _cover(
    asked: _Asked,
    horizons: Ints,
    index: "CandleIndex",
    windows: pl.DataFrame,
    newest_ts: datetime | None,
    grading: Grading,
) -> pl.DataFrame:
    """Measure every (alert, network, horizon)."""
    from quantlab_assets.domain.coverage.kernel import measure

    hours = np.tile(horizons, len(asked.alert))
    pair = np.repeat(np.arange(len(asked.alert)), len(horizons))
    alert_us = asked.alert_us[pair]
    edge_us = alert_us + hours * 3600 * SECOND_US
    start = _ceil_to(np.minimum(alert_us, edge_us), SECOND_US) // SECOND_US
    end = _ceil_to(np.maximum(alert_us, edge_us), SECOND_US) // SECOND_US
    rows = index.rows
    held = measure(
        asked.alert_us,
        asked.finest,
        asked.intervals,
        horizons * 3600 * SECOND_US,
        rows,
        index.blocks,
    )
    series, low, high = held.series, held.low, held.high
    has_series = series >= 0
    step = np.where(has_series, _pick(rows.step_us, series) // SECOND_US, 1)
    first_point = _ceil_to(start, step)
    expected = np.where(has_series, (_ceil_to(end, step) - first_point) // step, 0)
    actual = high - low
    present = actual > 0
    last_point = first_point + (expected - 1) * step
    first, last = index.at(low), index.at(high - 1)
    head = np.where(present, (first - first_point) // step, 0)
    tail = np.where(present, (last_point - last) // step, 0)
    inner = expected - actual - head - tail
    longest_inner = np.maximum(held.longest_us // SECOND_US - step, 0)
    longest = np.where(
        present, np.maximum(np.maximum(head, tail) * step, longest_inner), expected * step
    )
    ratio = np.where(expected > 0, actual / np.maximum(expected, 1), 0.0)
    candles_before = has_series & (low > _pick(rows.start, series))
    candles_after = has_series & (high < _pick(rows.stop, series))
    merged = _merged_windows(windows, index)
    home = merged.holding(series, first_point)
    windowed = np.isin(series, merged.series)
    beyond = windowed & ((home < 0) | (last_point >= _pick(merged.end, home)))
    not_elapsed = (
        np.zeros(len(series), dtype=np.bool_)
        if newest_ts is None
        else last_point > _seconds(newest_ts)
    )

    late = np.where(candles_before, 0, np.where(present, head, 1 * candles_after))
    early = np.where(candles_after, 0, np.where(present, tail, 1 * candles_before))
    holes = np.where(present, inner + head + tail - late - early, 0)
    silent = (held.active == 0) & present
    reason = _first_true(
        {
            "no_slice": expected == 0,
            "dead": silent & (ratio >= grading.partial),
            "ok": ratio >= grading.good,
            "beyond_window": beyond,
            "not_elapsed": not_elapsed,
            "starts_late": (late >= early) & (late >= holes) & (late > 0),
            "ends_early": (early >= holes) & (early > 0),
        },
        "gaps",
    )
    grade = _first_true(
        {"none": ~present, "good": ratio >= grading.good, "partial": ratio >= grading.partial},
        "poor",
    )
    return pl.DataFrame(
        {
            "alert": asked.alert[pair],
            "network": asked.network[pair],
            "horizon_h": hours,
            "interval_s": step,
            "expected_candles": expected,
            "actual_candles": actual,
            "traded_candles": held.traded,
            "coverage_ratio": ratio,
            "first_candle_delay_s": first - start,
            "longest_gap_s": longest,
            "grade": grade,
            "reason": reason,
            "present": present,
            "has_series": has_series,
        }
    ).with_columns(
        pl.col("alert").cast(pl.UInt32),
        pl.when("has_series").then("interval_s"),
        pl.when("present").then("first_candle_delay_s"),
        pl.when(pl.col("expected_candles") > 0).then("longest_gap_s"),
    )


def _best_network(covered: pl.DataFrame) -> pl.DataFrame:
    """Where several networks may cover an alert, the one that covers most over all horizons."""
    totals = (
        covered.group_by("alert", "network")
        # Whole numbers, so that the sum does not depend on its order.
        .agg((pl.col("coverage_ratio") * 1e12).round().cast(pl.Int64).sum().alias("total"))
        .sort("alert", "total", "network", descending=[False, True, False])
        .unique("alert", keep="first", maintain_order=True)
    )
    return covered.join(
        totals.select("alert", "network"), on=["alert", "network"], how="semi", nulls_equal=True
    )


def _merged_windows(windows: pl.DataFrame, index: "CandleIndex") -> _Windows:
    """The windows of the series that have candles; those that overlap or touch become one.

    A window of an unknown network holds for every network the address is known on, as its candles.
    """
    fitted = windows.select(
        "chain",
        "mint",
        network_of_token("token_chain", "chain").alias("named"),
        "interval_s",
        (pl.col("window_start").cast(pl.Int64) // SECOND_US).alias("start"),
        (pl.col("window_end").cast(pl.Int64) // SECOND_US).alias("end"),
    )
    joined = (
        index.names.join(fitted, on=["chain", "mint", "interval_s"])
        .filter(pl.col("named").is_null() | pl.col("network").eq_missing(pl.col("named")))
        .sort("series", "start", "end")
    )
    reached = pl.col("end").cum_max().over("series").shift(1).over("series")
    merged = (
        joined.with_columns((pl.col("start") > reached).fill_null(True).cum_sum().alias("block"))
        .group_by("series", "block", maintain_order=True)
        .agg(pl.col("start").min(), pl.col("end").max(), pl.col("interval_s").first())
    )
    return _Windows(
        *(merged[column].to_numpy() for column in ("series", "start", "end", "interval_s"))
    )


def _as_type(
    frame: pl.DataFrame, artifact_type: ArtifactType, *, keys_are_unique: bool = False
) -> pl.DataFrame:
    """The frame with exactly the type's columns, in its order."""
    shape = pl.DataFrame(artifact_type.empty())
    keys = list(artifact_type.sort_keys)
    order = keys if keys_are_unique else [*keys, *shape.columns]
    return frame.select(shape.columns).cast(shape.schema).sort(order)


def _ceil_to(value: Ints, step: Ints | int) -> Ints:
    """The next multiple of the step at or after a value."""
    return -(-value // step) * step


def _first_true(conditions: Mapping[str, Flags], otherwise: str) -> pl.Series:
    """For each place the name of the first condition that holds there."""
    numbers = np.select(list(conditions.values()), list(range(len(conditions))), len(conditions))
    return pl.Series([*conditions, otherwise]).gather(numbers)


def _pick(values: Ints, at: Ints) -> Ints:
    """Values at positions; any number where the position is -1."""
    return values[np.maximum(at, 0)] if len(values) else np.zeros_like(at)


def _seconds(ts: datetime) -> int:
    """Whole seconds since 1970, rounded down."""
    return to_us(ts) // SECOND_US


def _utc(column: str) -> pl.Expr:
    """Seconds since 1970 as a UTC time."""
    return (pl.col(column) * SECOND_US).cast(pl.Datetime("us", "UTC"))

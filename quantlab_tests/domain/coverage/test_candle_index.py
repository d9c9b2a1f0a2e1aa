"""Candles by the hundred, in any order and memory layout, against counting each by hand."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.coverage import kernel as coverage_kernel
from quantlab_assets.domain.coverage.candle_index import CandleIndex
from quantlab_assets.domain.coverage.forward import forward_coverage
from quantlab_assets.domain.coverage.gaps import coverage_gaps
from quantlab_assets.domain.slices.windows import WINDOW_SCHEMA

NOON = datetime(2025, 11, 6, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TOKENS = [f"{letter * 43}{number}" for number in (1, 2, 3) for letter in "AB"]
"""Names that only their last letter, or all of them, tell apart."""
HORIZONS = [-4, 1, 4, 12, 24]
MINUTES = 1500

Found = dict[tuple[str, int], dict[int, tuple[bool, bool]]]
"""Of each token and interval: by second whether the candle traded, and whether it was active."""


def market(seed: int, kept: float) -> pl.DataFrame:
    """Minutes, five minutes and hours of some tokens around noon; some candles are missing."""
    drawn = np.random.default_rng(seed)
    frames = []
    for token in TOKENS:
        for interval_s in (60, 300, 3600):
            if drawn.random() < 0.3:
                continue
            count = int(drawn.integers(1, MINUTES * 60 // interval_s))
            at = np.flatnonzero(drawn.random(count) < kept) - count // 3
            frames.append(series(token, interval_s, at, drawn))
    return pl.concat([pl.DataFrame(OHLCV_SLICE.empty()), *frames])


def series(
    token: str, interval_s: int, at: npt.NDArray[np.int64], drawn: np.random.Generator
) -> pl.DataFrame:
    """Candles of a token, `at` so many intervals from noon."""
    volume = drawn.choice([np.nan, 0.0, 1.0], len(at), p=[0.1, 0.3, 0.6])
    return (
        pl.DataFrame(
            {
                "token_address": pl.repeat(token, len(at), eager=True),
                "chain": pl.repeat("solana", len(at), eager=True),
                "token_chain": pl.repeat("solana", len(at), eager=True),
                "interval_s": np.full(len(at), interval_s),
                "ts": pl.Series((at * interval_s + int(NOON.timestamp())) * 1_000_000).cast(
                    pl.Datetime("us", "UTC")
                ),
                "open": 1.0,
                "high": drawn.choice([1.0, 2.0], len(at)),
                "low": 1.0,
                "close": 1.0,
                "volume": pl.Series(volume).fill_nan(None),
            }
        )
        .select(OHLCV_SLICE.schema.names)
        .cast(pl.DataFrame(OHLCV_SLICE.empty()).schema)
    )


def calls(times: Sequence[datetime]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "alert_id": [f"{i:03d}" for i in range(len(times))],
            "chain": "solana",
            "token_chain": [None] * len(times),
            "mint": [TOKENS[i % len(TOKENS)] for i in range(len(times))],
            "caller_name_norm": "caller_01",
            "alert_ts_utc": times,
        },
        schema_overrides={"token_chain": pl.String, "alert_ts_utc": pl.Datetime("us", "UTC")},
    )


def by_second(candles: pl.DataFrame) -> Found:
    found: Found = {}
    for row in candles.iter_rows(named=True):
        traded = (row["volume"] or 0) > 0
        active = traded or row["high"] > row["low"]
        seconds = found.setdefault((row["token_address"], row["interval_s"]), {})
        before = seconds.get(int(row["ts"].timestamp()), (False, False))
        seconds[int(row["ts"].timestamp())] = (before[0] or traded, before[1] or active)
    return found


def counted(found: Found, mint: str, ts: datetime, horizon_h: int) -> tuple[object, ...]:
    """Interval, expected, actual, traded, delay, longest gap, all dead; by walking the grid."""
    start, end = sorted((int(ts.timestamp()), int(ts.timestamp()) + horizon_h * 3600))
    for interval_s in (60, 300, 3600):
        seconds = found.get((mint, interval_s), {})
        grid = range(-(-start // interval_s) * interval_s, end, interval_s)
        there = [seconds.get(point) for point in grid]
        if not any(there):
            continue
        longest = run = 0
        for candle in there:
            run = run + 1 if candle is None else 0
            longest = max(longest, run)
        held = [candle for candle in there if candle is not None]
        first = next(point for point in grid if point in seconds)
        return (
            interval_s,
            len(grid),
            len(held),
            sum(traded for traded, _ in held),
            first - start,
            longest * interval_s,
            not any(active for _, active in held) and len(held) / len(grid) >= 0.8,
        )
    return ()


COUNTED = [
    "interval_s",
    "expected_candles",
    "actual_candles",
    "traded_candles",
    "first_candle_delay_s",
    "longest_gap_s",
]


@given(
    seed=st.integers(0, 2**32),
    kept=st.sampled_from([0.02, 0.5, 0.97, 1.0]),
    shape=st.sampled_from(["sorted", "shuffled", "twice", "chunks", "copies"]),
    times=st.lists(
        st.datetimes(datetime(2025, 11, 6, 6), datetime(2025, 11, 7, 6), timezones=st.just(UTC)),
        min_size=1,
        max_size=12,
    ),
)
@settings(max_examples=25)
def test_horizons_hold_what_counting_finds_however_the_candles_lie(
    seed: int, kept: float, shape: str, times: list[datetime]
) -> None:
    times = [ts.replace(microsecond=0) for ts in times]
    candles = market(seed, kept)
    given_as = {
        "sorted": candles,
        "shuffled": candles.sample(fraction=1, shuffle=True, seed=1),
        "twice": pl.concat([candles, candles.with_columns(volume=pl.lit(None, pl.Float64))]),
        "chunks": pl.concat([candles[i::7] for i in range(7)], rechunk=False),
        # Text in which every row has its own copy of the letters.
        "copies": pl.DataFrame(
            candles.to_arrow().cast(pa.schema(OHLCV_SLICE.schema)).combine_chunks()
        ),
    }[shape]

    frame = forward_coverage(
        calls(times), given_as, pl.DataFrame(schema=WINDOW_SCHEMA), None, HORIZONS
    )

    found = by_second(candles)
    assert frame.height == len(times) * len(HORIZONS)
    for row in frame.iter_rows(named=True):
        wanted = counted(found, row["mint"], row["alert_ts_utc"], row["horizon_h"])
        if not wanted:
            assert (row["actual_candles"], row["grade"]) == (0, "none")
            continue
        *numbers, dead = wanted
        assert [row[name] for name in COUNTED] == numbers
        assert row["coverage_ratio"] == row["actual_candles"] / row["expected_candles"]
        assert (row["reason"] == "dead") == dead


@given(seed=st.integers(0, 2**32), kept=st.sampled_from([0.05, 0.9, 1.0]))
@settings(max_examples=15)
def test_the_gaps_of_all_series_are_the_candles_that_are_not_there(seed: int, kept: float) -> None:
    candles = market(seed, kept)
    found = by_second(candles)
    start, end = NOON - DAY, NOON + DAY
    windows = pl.DataFrame(
        [("solana", mint, "solana", interval_s, start, end) for mint, interval_s in found],
        schema=WINDOW_SCHEMA,
        orient="row",
    )

    gaps = coverage_gaps(candles.sample(fraction=1, shuffle=True, seed=2), windows, None)

    missing = {
        (mint, interval_s, second)
        for mint, interval_s, first, count in gaps.select(
            "mint", "interval_s", "gap_start", "missing_candles"
        ).iter_rows()
        for second in range(
            int(first.timestamp()), int(first.timestamp()) + count * interval_s, interval_s
        )
    }
    assert missing == {
        (mint, interval_s, second)
        for (mint, interval_s), seconds in found.items()
        for second in range(int(start.timestamp()), int(end.timestamp()), interval_s)
        if second not in seconds
    }
    assert int(gaps["missing_candles"].sum()) == len(missing)


def test_candles_so_many_that_threads_share_them_hold_what_each_token_holds_alone() -> None:
    drawn = np.random.default_rng(9)
    candles = pl.concat(
        series(token, 60, np.flatnonzero(drawn.random(40_000) < 0.7), drawn) for token in TOKENS
    )
    called = calls([NOON + timedelta(minutes=60 * number) for number in range(600)])
    windows = pl.DataFrame(schema=WINDOW_SCHEMA)
    assert candles.height > coverage_kernel.WORTH_A_THREAD

    together = forward_coverage(called, candles, windows, None)

    alone = [
        forward_coverage(
            called.filter(mint=token), candles.filter(token_address=token), windows, None
        )
        for token in TOKENS
    ]
    assert_frame_equal(together, pl.concat(alone).sort("alert_id", "horizon_h"))


def test_candles_off_their_grid_are_none() -> None:
    candles = market(1, 1.0)
    off = candles.with_columns(pl.col("ts") + pl.duration(seconds=7))

    index = CandleIndex.of(pl.concat([candles, off]))

    assert len(index.rows.ts) == candles.height


def test_candles_that_lie_in_order_are_taken_as_they_lie() -> None:
    candles = market(3, 0.9).rechunk()

    index = CandleIndex.of(candles)

    assert np.shares_memory(index.rows.ts, candles["ts"].to_numpy())


@pytest.mark.parametrize("network", [None, "bsc"])
def test_an_unknown_network_between_rows_of_a_known_one_is_another_series(
    network: str | None,
) -> None:
    candles = (
        market(5, 1.0)
        .filter(token_address=TOKENS[0], interval_s=60)[:90]
        .with_columns(
            chain=pl.lit("evm"),
            token_chain=pl.when(pl.int_range(pl.len()) % 3 == 1)
            .then(pl.lit(network))
            .otherwise(pl.lit("base")),
        )
    )

    index = CandleIndex.of(candles)

    assert sorted(index.names["network"].to_list(), key=str) == sorted(["base", network], key=str)
    sizes = candles.group_by("token_chain").len()["len"]
    assert sorted(index.rows.stop - index.rows.start) == sorted(sizes)


def test_compiled_code_is_loaded_when_coverage_is_measured_and_not_before() -> None:
    probe = (
        "import sys, quantlab_assets.handlers.coverage.analyse as handler;"
        "handler.coverage_summary({});"
        "print('numba' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert told.stdout == "False\n"


def test_no_candles_no_series() -> None:
    index = CandleIndex.of(pl.DataFrame(OHLCV_SLICE.empty()))

    assert (len(index.rows.ts), index.names.height) == (0, 0)

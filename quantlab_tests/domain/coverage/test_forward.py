"""Coverage against counting by hand: expected, actual, traded, gaps, and the reason."""

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_assets.domain.artifacts.seed_types import (
    ALERT_FORWARD_COVERAGE,
    COVERAGE_GAPS,
    COVERAGE_SUMMARY,
    OHLCV_SLICE,
)
from quantlab_assets.domain.coverage.forward import forward_coverage
from quantlab_assets.domain.coverage.frames import to_table
from quantlab_assets.domain.coverage.gaps import coverage_gaps
from quantlab_assets.domain.coverage.summary import coverage_summary
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.slices.grades import Grading
from quantlab_assets.domain.slices.windows import WINDOW_SCHEMA

EVM = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"
MINT = "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump"
NOON = datetime(2025, 11, 6, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=30)
H = timedelta(hours=1)
ALERT = NOON + timedelta(seconds=33)

CANDLES = pl.DataFrame(OHLCV_SLICE.empty()).schema


def candles(
    minutes: Sequence[float],
    *,
    interval_s: int = 300,
    volume: float | None = 1.0,
    network: str | None = "bsc",
    high: float = 2.0,
) -> pl.DataFrame:
    """Candles at minutes after noon."""
    return pl.DataFrame(
        [
            (EVM, "evm", network, interval_s, NOON + timedelta(minutes=m), 1, high, 1, 1, volume)
            for m in minutes
        ],
        schema=CANDLES,
        orient="row",
    )


def alert(ts: datetime = ALERT, *, network: str | None = "bsc", mint: str = EVM) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "alert_id": ["1:2:x"],
            "chain": ["evm" if mint == EVM else "solana"],
            "token_chain": [network],
            "mint": [mint],
            "caller_name_norm": ["caller_01"],
            "alert_ts_utc": [ts],
        },
        schema_overrides={"token_chain": pl.String, "alert_ts_utc": pl.Datetime("us", "UTC")},
    )


def window(
    start: datetime = NOON - 5 * H,
    end: datetime = NOON + 50 * H,
    *,
    interval_s: int = 300,
    network: str | None = "bsc",
) -> pl.DataFrame:
    return pl.DataFrame(
        [("evm", EVM, network, interval_s, start, end)], schema=WINDOW_SCHEMA, orient="row"
    )


def row(
    found: pl.DataFrame,
    *,
    horizon: int = 1,
    called: pl.DataFrame | None = None,
    windows: pl.DataFrame | None = None,
    newest: datetime | None = LATER,
) -> dict[str, object]:
    frame = forward_coverage(
        alert() if called is None else called,
        found,
        window() if windows is None else windows,
        newest,
        [horizon],
    )
    to_table(frame, ALERT_FORWARD_COVERAGE)
    return frame.row(0, named=True)


HOUR_AFTER = [
    5 * i for i in range(1, 13)
]  # 12:05 to 13:00: the grid points of [12:00:33, 13:00:33)


class TestForward:
    def test_a_full_hour(self) -> None:
        got = row(candles(HOUR_AFTER))

        assert got == {
            "alert_id": "1:2:x",
            "chain": "evm",
            "mint": EVM,
            "caller_name_norm": "caller_01",
            "alert_ts_utc": ALERT,
            "horizon_h": 1,
            "interval_s": 300,
            "expected_candles": 12,
            "actual_candles": 12,
            "traded_candles": 12,
            "coverage_ratio": 1.0,
            "first_candle_delay_s": 267,
            "longest_gap_s": 0,
            "grade": "good",
            "reason": "ok",
        }

    def test_the_candle_the_call_fell_into_is_not_counted(self) -> None:
        assert row(candles([0]))["actual_candles"] == 0

    def test_a_candle_at_the_very_second_of_the_call_is(self) -> None:
        got = row(candles([0]), called=alert(NOON))

        assert (got["actual_candles"], got["first_candle_delay_s"]) == (1, 0)

    def test_a_negative_horizon_ends_at_the_call(self) -> None:
        got = row(candles([-240, -5, 0, 5]), horizon=-4)

        # [08:00:33, 12:00:33): 08:05 to 12:00.
        assert (got["expected_candles"], got["actual_candles"]) == (48, 2)
        assert got["first_candle_delay_s"] == 14067

    def test_candles_without_volume_are_there_and_not_traded(self) -> None:
        found = pl.concat(
            [
                candles(HOUR_AFTER[:4], volume=None),
                candles(HOUR_AFTER[4:8], volume=0.0),
                candles(HOUR_AFTER[8:]),
            ]
        )

        got = row(found)

        assert (got["actual_candles"], got["traded_candles"], got["reason"]) == (12, 4, "ok")

    def test_the_same_candle_in_two_slices_counts_once_and_traded_if_either_says_so(self) -> None:
        got = row(pl.concat([candles(HOUR_AFTER), candles(HOUR_AFTER, volume=None)]))

        assert (got["actual_candles"], got["traded_candles"]) == (12, 12)
        assert got["coverage_ratio"] == 1.0

    def test_the_same_candle_counts_once_where_candles_lie_in_order_too(self) -> None:
        assert row(candles([5, 5, 10, 10, 10, 15]))["actual_candles"] == 3

    def test_the_finest_interval_that_has_any_candle_counts(self) -> None:
        found = pl.concat([candles([5]), candles([60, 120, 180], interval_s=3600)])

        assert row(found)["interval_s"] == 300
        assert row(found, called=alert(ALERT + H))["interval_s"] == 3600

    def test_the_longest_gap_may_be_at_the_head_inside_or_at_the_tail(self) -> None:
        for missing in ([5, 10, 15], [20, 25, 30], [50, 55, 60]):
            got = row(candles([m for m in HOUR_AFTER if m not in missing]))
            assert (got["longest_gap_s"], got["actual_candles"]) == (900, 9)

    @pytest.mark.parametrize(
        ("present", "grade", "reason"),
        [
            (60, "good", "ok"),
            (57, "good", "ok"),
            (56, "partial", "gaps"),
            (48, "partial", "gaps"),
            (47, "poor", "gaps"),
            (0, "none", "starts_late"),
        ],
    )
    def test_grades(self, present: int, grade: str, reason: str) -> None:
        minutes = [*range(1, present + 1), 61]

        got = row(candles(minutes, interval_s=60), windows=window(interval_s=60))

        assert (got["expected_candles"], got["actual_candles"]) == (60, present)
        assert (got["grade"], got["reason"]) == (grade, reason)

    @pytest.mark.parametrize(
        ("present", "grade", "reason"),
        [
            (60, "good", "ok"),
            (59, "partial", "gaps"),
            (54, "partial", "gaps"),
            (53, "poor", "gaps"),
        ],
    )
    def test_grades_of_ones_own(self, present: int, grade: str, reason: str) -> None:
        held = candles([*range(1, present), 60, 61], interval_s=60)
        own = Grading(good=0.99, partial=0.9)
        [got] = forward_coverage(alert(), held, window(interval_s=60), LATER, [1], own).to_dicts()

        assert got["actual_candles"] == present
        assert (got["grade"], got["reason"]) == (grade, reason)

    def test_an_interval_too_coarse_for_the_horizon_covers_nothing(self) -> None:
        got = row(candles([720], interval_s=86400), windows=window(interval_s=86400))

        assert (got["expected_candles"], got["grade"], got["reason"]) == (0, "none", "no_slice")

    def test_solana_needs_no_network(self) -> None:
        found = candles(HOUR_AFTER).with_columns(
            pl.lit(MINT).alias("token_address"),
            pl.lit("solana").alias("chain"),
            pl.lit("solana").alias("token_chain"),
        )

        got = row(found, called=alert(network=None, mint=MINT), windows=window().clear())

        assert got["coverage_ratio"] == 1.0

    @pytest.mark.parametrize("horizons", [[0], [1, 1], [10**6]])
    def test_impossible_horizons_are_refused(self, horizons: list[int]) -> None:
        with pytest.raises(ValidationFailed, match="horizons"):
            forward_coverage(alert(), candles([]), window(), LATER, horizons)

    def test_a_horizon_may_be_a_year(self) -> None:
        for horizon in (24 * 366, -24 * 366):
            assert row(candles(HOUR_AFTER), horizon=horizon)["horizon_h"] == horizon

    def test_no_alerts_no_rows(self) -> None:
        assert forward_coverage(alert().clear(), candles([5]), window(), LATER).is_empty()


class TestReasons:
    def test_no_slice(self) -> None:
        got = row(candles([]), windows=window().clear())

        assert (got["reason"], got["grade"], got["interval_s"]) == ("no_slice", "none", None)
        assert (got["expected_candles"], got["coverage_ratio"]) == (0, 0.0)
        assert (got["longest_gap_s"], got["first_candle_delay_s"]) == (None, None)

    def test_starts_late(self) -> None:
        assert row(candles([*HOUR_AFTER[6:], 65, 70]))["reason"] == "starts_late"
        nothing = row(candles([65, 70]))
        assert (nothing["reason"], nothing["grade"]) == ("starts_late", "none")
        assert (nothing["expected_candles"], nothing["longest_gap_s"]) == (12, 3600)

    def test_ends_early(self) -> None:
        assert row(candles([-5, 0, *HOUR_AFTER[:6]]))["reason"] == "ends_early"
        assert row(candles([-5, 0]))["reason"] == "ends_early"

    def test_gaps(self) -> None:
        assert row(candles([5, 10, 50, 55, 60]))["reason"] == "gaps"
        # A hole at the edge of the horizon with candles beyond it is a hole, not an end.
        assert row(candles([5, 10, 15, 20, 25, 30, 200]))["reason"] == "gaps"
        assert row(candles([-200, 35, 40, 45, 50, 55, 60]))["reason"] == "gaps"
        assert row(candles([-5, 200]))["reason"] == "gaps"

    def test_dead_is_covered_but_nothing_happens(self) -> None:
        got = row(candles(HOUR_AFTER, volume=None, high=1.0))

        assert (got["reason"], got["grade"], got["traded_candles"]) == ("dead", "good", 0)

    @pytest.mark.parametrize(("present", "reason"), [(48, "dead"), (47, "ends_early")])
    def test_dead_needs_as_many_candles_as_partial(self, present: int, reason: str) -> None:
        silent = candles(range(1, present + 1), interval_s=60, volume=None, high=1.0)

        assert row(silent, windows=window(interval_s=60))["reason"] == reason

    @pytest.mark.parametrize(
        ("minutes", "reason"),
        [
            ([20, 25, 30, 35, 40, 45], "starts_late"),  # 3 missing before, 3 after
            ([15, 20, 35, 40, 45, 50, 55, 60], "starts_late"),  # 2 before, 2 inside
            ([5, 10, 25, 30, 35, 40, 45, 50], "ends_early"),  # 2 inside, 2 after
            ([15, 20, 35, 40, 45, 50], "starts_late"),  # 2 before, 2 inside, 2 after
            ([10, 25, 30, 35, 40, 45, 50, 55, 60], "gaps"),  # 1 before, 2 inside
        ],
    )
    def test_of_reasons_that_miss_as_much_the_earliest_is_told(
        self, minutes: list[int], reason: str
    ) -> None:
        assert row(candles(minutes))["reason"] == reason

    def test_a_file_without_volumes_is_not_dead_while_prices_move(self) -> None:
        assert row(candles(HOUR_AFTER, volume=None, high=2.0))["reason"] == "ok"

    def test_beyond_window(self) -> None:
        short = window(end=NOON + timedelta(minutes=35))

        assert row(candles(HOUR_AFTER[:6]), windows=short)["reason"] == "beyond_window"
        later = window(start=NOON + timedelta(minutes=40))
        assert row(candles(HOUR_AFTER[8:]), windows=later)["reason"] == "beyond_window"

    def test_a_window_holds_its_start_and_not_its_end(self) -> None:
        half = candles(HOUR_AFTER[:6])
        m = timedelta(minutes=1)
        for start, end, reason in (
            (5 * m, 65 * m, "ends_early"),
            (5 * m, 60 * m, "beyond_window"),
            (10 * m, 65 * m, "beyond_window"),
        ):
            assert row(half, windows=window(NOON + start, NOON + end))["reason"] == reason

    def test_candles_without_a_window_are_judged_by_themselves(self) -> None:
        assert row(candles(HOUR_AFTER[:6]), windows=window().clear())["reason"] == "ends_early"

    def test_a_window_inside_another_ends_nothing(self) -> None:
        """The third begins after the second has ended, and still inside the first."""
        whole = window(NOON, NOON + 5 * H)
        inside = [window(NOON + H / 6, NOON + H / 3), window(NOON + H, NOON + 2 * H)]
        called = alert(ALERT + H)

        got = row(candles([65, 70, 75]), called=called, windows=pl.concat([whole, *inside]))

        assert got["reason"] == "ends_early"

    def test_windows_that_touch_are_one(self) -> None:
        halves = pl.concat(
            [window(end=NOON + timedelta(minutes=35)), window(start=NOON + timedelta(minutes=35))]
        )

        assert row(candles(HOUR_AFTER[:6]), windows=halves)["reason"] == "ends_early"

    def test_not_elapsed_is_judged_by_the_source_and_never_by_the_clock(self) -> None:
        newest = NOON + timedelta(minutes=30)

        assert row(candles(HOUR_AFTER[:6]), newest=newest)["reason"] == "not_elapsed"
        assert row(candles(HOUR_AFTER[:6]), newest=NOON + H)["reason"] == "ends_early"
        assert row(candles(HOUR_AFTER[:6]), newest=None)["reason"] == "ends_early"


class TestNetworks:
    def test_a_named_network_is_covered_by_its_own_slices_or_else_unknown_ones(self) -> None:
        found = pl.concat(
            [
                candles(HOUR_AFTER[:3], network="bsc"),
                candles(HOUR_AFTER[3:5], network=None),
                candles(HOUR_AFTER[5:], network="base"),
            ]
        )

        assert row(found, called=alert(network="bsc"))["actual_candles"] == 3
        assert row(found, called=alert(network="base"))["actual_candles"] == 7
        assert row(found, called=alert(network="blast"))["actual_candles"] == 2

    def test_another_network_covers_nothing(self) -> None:
        got = row(candles(HOUR_AFTER, network="base"), called=alert(network="bsc"))

        assert got["reason"] == "no_slice"

    def test_no_network_means_the_only_known_one(self) -> None:
        found = pl.concat(
            [candles(HOUR_AFTER[:7], network="bsc"), candles(HOUR_AFTER, network=None)]
        )

        assert row(found, called=alert(network=None))["actual_candles"] == 7

    def test_a_call_that_could_mean_several_networks_is_covered_by_none(self) -> None:
        found = pl.concat([candles(HOUR_AFTER, network="bsc"), candles([600], network="base")])

        assert row(found, called=alert(network=None)) == row(
            found, called=alert(network="ethereum")
        ) | {"reason": "ambiguous_network"}
        assert row(found, called=alert(network=None))["grade"] == "none"


def counted(
    ts: datetime, found: pl.DataFrame, horizon: int
) -> tuple[int | None, int, int, int, int | None]:
    """Interval, expected, actual, traded, longest gap; by walking the grid."""
    start, end = sorted((ts, ts + horizon * H))
    for interval_s in (60, 300, 3600):
        step = timedelta(seconds=interval_s)
        point = datetime.fromtimestamp(-(-start.timestamp() // interval_s) * interval_s, UTC)
        grid = []
        while point < end:
            grid.append(point)
            point += step
        rows = found.filter(pl.col("interval_s") == interval_s)
        volumes: dict[datetime, bool] = {}
        for at, volume in rows.select("ts", "volume").iter_rows():
            volumes[at] = volumes.get(at, False) or (volume or 0) > 0
        present = [p in volumes for p in grid]
        if not any(present):
            continue
        longest = run = 0
        for is_present in present:
            run = 0 if is_present else run + 1
            longest = max(longest, run)
        traded = sum(volumes.get(p, False) for p in grid)
        return interval_s, len(grid), sum(present), traded, longest * interval_s
    return None, 0, 0, 0, None


@st.composite
def markets(draw: st.DrawFn) -> tuple[pl.DataFrame, list[datetime]]:
    frames = []
    for interval_s, span in ((60, 300), (300, 120), (3600, 30)):
        points = draw(st.lists(st.integers(-span // 3, span), max_size=40))
        volumes = draw(st.sampled_from([None, 0.0, 3.0]))
        frames.append(
            candles([p * interval_s / 60 for p in points], interval_s=interval_s, volume=volumes)
        )
    times = draw(
        st.lists(
            st.datetimes(
                datetime(2025, 11, 6, 10), datetime(2025, 11, 6, 20), timezones=st.just(UTC)
            ),
            min_size=1,
            max_size=5,
        )
    )
    return pl.concat(frames), times


@given(markets(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_agrees_with_counting_grid_points_one_by_one(
    market: tuple[pl.DataFrame, list[datetime]], seed: int
) -> None:
    found, times = market
    horizons = [-4, 1, 4, 12]
    called = pl.concat(
        [alert(ts).with_columns(pl.lit(f"{i}").alias("alert_id")) for i, ts in enumerate(times)]
    )

    shuffled = found.sample(fraction=1.0, shuffle=True, seed=seed)
    frame = forward_coverage(called, shuffled, window(), LATER, horizons)

    assert frame.height == len(times) * len(horizons)
    assert frame.equals(
        forward_coverage(called.reverse(), found, window(), LATER, list(reversed(horizons)))
    )
    for got in frame.iter_rows(named=True):
        interval_s, expected, actual, traded, longest = counted(
            got["alert_ts_utc"], found, got["horizon_h"]
        )
        assert (got["actual_candles"], got["traded_candles"]) == (actual, traded)
        if interval_s is not None:
            assert (got["interval_s"], got["expected_candles"]) == (interval_s, expected)
            assert got["coverage_ratio"] == actual / expected
            assert got["longest_gap_s"] == longest


class TestGaps:
    def test_head_inner_and_tail(self) -> None:
        frame = coverage_gaps(
            candles([10, 15, 30, 35]),
            window(start=NOON, end=NOON + timedelta(minutes=50)),
            LATER,
        )

        to_table(frame, COVERAGE_GAPS)
        m = [NOON + timedelta(minutes=i) for i in range(60)]
        assert frame.rows() == [
            (EVM, "evm", 300, m[0], m[10], 2, "head"),
            (EVM, "evm", 300, m[20], m[30], 2, "inner"),
            (EVM, "evm", 300, m[40], m[50], 2, "tail"),
        ]

    def test_what_the_source_could_not_know_yet_is_no_gap(self) -> None:
        frame = coverage_gaps(
            candles([0, 5]),
            window(start=NOON, end=NOON + timedelta(minutes=50)),
            NOON + timedelta(minutes=20),
        )

        assert frame.select("gap_end", "missing_candles").rows() == [
            (NOON + timedelta(minutes=25), 3)
        ]

    def test_nothing_missing(self) -> None:
        assert coverage_gaps(candles([0, 5]), window(NOON, NOON + H / 6), LATER).is_empty()

    def test_between_windows_there_are_no_gaps(self) -> None:
        windows = pl.concat(
            [window(NOON, NOON + H / 6), window(NOON + 5 * H, NOON + 5 * H + H / 6)]
        )

        assert coverage_gaps(candles([0, 5, 300, 305]), windows, LATER).is_empty()

    def test_a_hole_up_to_a_candle_at_the_windows_end_is_a_tail(self) -> None:
        frame = coverage_gaps(candles([0, 5, 50]), window(NOON, NOON + 50 * H / 60), LATER)

        assert frame.select("gap_start", "missing_candles", "kind").rows() == [
            (NOON + H / 6, 8, "tail")
        ]

    @pytest.mark.parametrize(("sliced", "other"), [("base", "bsc"), ("bsc", "base")])
    def test_holes_of_candles_that_no_window_holds_are_no_gaps(
        self, sliced: str, other: str
    ) -> None:
        whole, torn = candles(range(0, 60, 5), network=sliced), candles([0, 30], network=other)
        sliced_hour = window(NOON, NOON + H, network=sliced)

        assert coverage_gaps(pl.concat([whole, torn]), sliced_hour, LATER).is_empty()

    @given(
        st.sets(st.integers(0, 99), max_size=99),
        st.sampled_from([60, 300, 3600]),
        st.integers(0, 2**32),
    )
    @settings(max_examples=60, deadline=None)
    def test_gaps_found_are_gaps_injected(
        self, missing: set[int], interval_s: int, seed: int
    ) -> None:
        step = timedelta(seconds=interval_s)
        present = [i * interval_s / 60 for i in range(100) if i not in missing]
        random.Random(seed).shuffle(present)

        frame = coverage_gaps(
            candles(present * 2, interval_s=interval_s),
            window(NOON, NOON + 100 * step, interval_s=interval_s),
            LATER,
        )

        found = {
            int((start - NOON) / step) + k
            for start, count in frame.select("gap_start", "missing_candles").iter_rows()
            for k in range(count)
        }
        assert found == missing
        assert all(
            e - s == n * step
            for s, e, n in frame.select("gap_start", "gap_end", "missing_candles").iter_rows()
        )
        assert set(frame.filter(pl.col("kind") == "head")["gap_start"]) <= {NOON}
        assert set(frame.filter(pl.col("kind") == "tail")["gap_end"]) <= {NOON + 100 * step}


def test_the_summary_counts_grades_by_day_chain_caller_and_horizon() -> None:
    first = forward_coverage(alert(), candles(HOUR_AFTER), window(), LATER, [1, 4])
    second = forward_coverage(alert(), candles([]), window().clear(), LATER, [1])

    summary = coverage_summary(
        {date(2025, 11, 7): second, date(2025, 11, 6): pl.concat([first, second])}
    )

    to_table(summary, COVERAGE_SUMMARY)
    assert summary.rows() == [
        (date(2025, 11, 6), "evm", "caller_01", 1, 2, 1, 0, 0, 1, 0.5),
        (date(2025, 11, 6), "evm", "caller_01", 4, 1, 0, 0, 1, 0, 0.25),
        (date(2025, 11, 7), "evm", "caller_01", 1, 1, 0, 0, 0, 1, 0.0),
    ]
    assert coverage_summary({}).is_empty()

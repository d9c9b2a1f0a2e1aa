"""Candle rules: what is kept, what is refused, and which interval a file has."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_assets.domain.candles.intervals import (
    MISALIGNED,
    UNKNOWN,
    UNSUPPORTED,
    assign_intervals,
)
from quantlab_assets.domain.candles.normalise import (
    RAW_COLUMNS,
    REASONS,
    CandleCounts,
    NormalisedCandles,
    normalise,
    one_candle_a_time,
)

MINUTE, HOUR = 60, 3600
NOON = int(datetime(2025, 11, 6, 12, tzinfo=UTC).timestamp())
FLAT = ("1", "1", "1", "1", "0")

Row = tuple[object, ...]


def normalised(rows: Sequence[Row], interval_s: int | None = None) -> NormalisedCandles:
    """Normalise rows of (time, open, high, low, close, volume) of one token."""
    return normalise(raw(rows, interval_s))


def raw(rows: Sequence[Row], interval_s: int | None = None) -> pl.DataFrame:
    columns: dict[str, object] = {
        "row_number": list(range(1, len(rows) + 1)),
        "raw_values": [",".join(map(str, row)) for row in rows],
        "chain": "evm",
        "token_address": "0x" + "a" * 40,
        "token_chain": None,
        "interval_s": interval_s,
    }
    names = ("time", "open", "high", "low", "close", "volume")
    columns |= {name: [row[i] for row in rows] for i, name in enumerate(names)}
    frame = pl.DataFrame(columns, schema_overrides={"token_chain": pl.String, "volume": pl.String})
    return frame.with_columns(pl.col("interval_s").cast(pl.Int64)).select(RAW_COLUMNS)


def flat(times: Sequence[int]) -> list[Row]:
    return [(str(t), *FLAT) for t in times]


def every(step: int, count: int, start: int = NOON) -> list[int]:
    return [start + step * i for i in range(count)]


def by_interval(result: NormalisedCandles) -> dict[int, list[int]]:
    """Candle times in seconds by interval."""
    return {
        interval_s: [int(ts.timestamp()) for ts in times]
        for interval_s, times in result.candles.group_by("interval_s", maintain_order=True)
        .agg("ts")
        .iter_rows()
    }


def codes(result: NormalisedCandles) -> list[tuple[int, str]]:
    return result.rejected.select("row_number", "error_code").rows()


class TestRows:
    @pytest.mark.parametrize(
        ("row", "code"),
        [
            (("nonsense", "1", "1", "1", "1", "0"), "bad_timestamp"),
            (("", "1", "1", "1", "1", "0"), "bad_timestamp"),
            (("12", "1", "1", "1", "1", "0"), "bad_timestamp"),
            (("99999999999999999999", "1", "1", "1", "1", "0"), "bad_timestamp"),
            (("2025-13-40T00:00:00Z", "1", "1", "1", "1", "0"), "bad_timestamp"),
            ((str(NOON + 300), "NaN", "1", "1", "1", "0"), "non_finite_price"),
            ((str(NOON + 300), "1", "inf", "1", "1", "0"), "non_finite_price"),
            ((str(NOON + 300), "1", "1e400", "1", "1", "0"), "non_finite_price"),
            ((str(NOON + 300), "1", "1", "0", "1", "0"), "non_positive_price"),
            ((str(NOON + 300), "1", "1", "-1", "1", "0"), "non_positive_price"),
            ((str(NOON + 300), "1", "1.5", "1", "2", "0"), "high_below_body"),
            ((str(NOON + 300), "2", "2", "1.5", "1", "0"), "low_above_body"),
            ((str(NOON + 300), "1", "1", "1", "1", "-3"), "bad_volume"),
            ((str(NOON + 300), "1", "1", "1", "1", "inf"), "bad_volume"),
            ((str(NOON + 300), "1", "1", "1", "one", "0"), "unparsable_row"),
            ((str(NOON + 300), "1", "1", "1", "", "0"), "unparsable_row"),
            ((str(NOON + 300), "1", "1", "1", "1", "much"), "unparsable_row"),
            ((str(NOON + 307), "1", "1", "1", "1", "0"), "misaligned_time"),
        ],
    )
    def test_a_bad_row_is_refused_with_its_code_and_the_others_stay(
        self, row: Row, code: str
    ) -> None:
        good = flat(every(300, 9))

        result = normalised([*good[:4], row, *good[4:]])

        assert codes(result) == [(5, code)]
        assert result.rejected["raw_values"].to_list() == [",".join(map(str, row))]
        assert result.rejected["error_reason"].to_list() == [REASONS[code]]
        assert by_interval(result) == {300: every(300, 9)}
        assert result.counts == CandleCounts(rows=10, candles=9, rejected=1)

    @pytest.mark.parametrize("text", ["NaN", "nan", "", "null", "None", "-"])
    def test_volume_that_is_not_known_is_null(self, text: str) -> None:
        result = normalised([(str(t), "1", "1", "1", "1", text) for t in every(300, 3)])

        assert result.candles["volume"].to_list() == [None, None, None]

    @pytest.mark.parametrize(
        "text",
        [
            "1.4083846656399586e-8",
            "0.000008588014861910164",
            "4.1178873270059566e-10",
            "0.1",
            "5e-324",
            "1.7976931348623157e308",
            "123456789.123456789123456789",
        ],
    )
    def test_numbers_are_read_exactly(self, text: str) -> None:
        result = normalised([(str(t), text, text, text, text, text) for t in every(300, 2)])

        assert result.candles["close"].to_list() == [float(text)] * 2
        assert result.candles["volume"].to_list() == [float(text)] * 2

    @given(st.lists(st.floats(min_value=5e-324, allow_infinity=False), min_size=2, max_size=50))
    @settings(max_examples=30, deadline=None)
    def test_any_float_survives_its_text(self, prices: list[float]) -> None:
        times = every(300, len(prices))

        result = normalised([(str(t), *[repr(p)] * 5) for t, p in zip(times, prices, strict=True)])

        assert result.candles["open"].to_list() == prices

    @pytest.mark.parametrize(
        "times",
        [
            ["1762434300", "1762434600"],
            ["1762434300000", "1762434600000"],
            ["1762434300000000", "1762434600000000"],
            ["1762434300000000000", "1762434600000000000"],
            ["1762434300.0", "1.7624346e9"],
            ["2025-11-06T13:05:00Z", "2025-11-06T13:10:00.000Z"],
            ["2025-11-06 13:05", "2025-11-06 13:10:00"],
            ["2025-11-07T00:05:00+11:00", "2025-11-06T07:10:00-0600"],
            ["2025-11-06 13:05:00 UTC", "2025/11/06 13:10:00"],
            [1762434300, 1762434600],
            [1762434300.0, 1762434600.0],
            [1762434300000, 1762434600000],
            [datetime(2025, 11, 6, 13, 5), datetime(2025, 11, 6, 13, 10)],
            [datetime(2025, 11, 6, 13, 5, tzinfo=UTC), datetime(2025, 11, 6, 13, 10, tzinfo=UTC)],
        ],
    )
    def test_times_are_seconds_milliseconds_or_dates_all_utc(self, times: list[object]) -> None:
        result = normalised([(t, *FLAT) for t in times])

        assert by_interval(result) == {300: [1762434300, 1762434600]}

    def test_exact_duplicates_collapse(self) -> None:
        rows = flat(every(300, 5))

        result = normalised([*rows, *rows[1:3], rows[1]])

        assert by_interval(result) == {300: every(300, 5)}
        assert result.counts == CandleCounts(rows=8, candles=5, duplicates=3)
        assert result.candles["duplicates"].to_list() == [0, 2, 1, 0, 0]

    def test_of_conflicting_rows_the_largest_volume_wins_then_the_last(self) -> None:
        at = str(NOON + 300)
        rows = [
            (str(NOON), *FLAT),
            (at, "3", "3", "3", "3", "7"),
            (at, "4", "4", "4", "4", "7"),
            (at, "5", "5", "5", "5", "NaN"),
            (at, "6", "6", "6", "6", "2"),
        ]

        result = normalised(rows)

        assert result.candles["close"].to_list() == [1.0, 4.0]
        assert result.counts == CandleCounts(rows=5, candles=2, conflicts=3)

    def test_of_equal_volumes_the_last_row_of_the_file_wins_in_whatever_order_rows_come(
        self,
    ) -> None:
        at = str(NOON + 300)
        rows = raw([(str(NOON), *FLAT), *((at, p, p, p, p, "7") for p in ("3", "5", "4"))])

        for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
            assert normalise(rows[order]).candles["close"].to_list() == [1.0, 4.0]

    def test_rows_that_differ_in_volume_alone_conflict(self) -> None:
        at = str(NOON + 300)

        result = normalised([(str(NOON), *FLAT), *((at, "1", "1", "1", "1", v) for v in "538")])

        assert result.candles["volume"].to_list() == [0.0, 8.0]
        assert result.counts == CandleCounts(rows=4, candles=2, conflicts=2)

    def test_volumes_of_zero_are_one_volume_whatever_their_sign(self) -> None:
        at = str(NOON + 300)

        for volumes in (("-0", "0"), ("0", "-0")):
            rows = [(str(NOON), *FLAT), *((at, *FLAT[:4], volume) for volume in volumes)]
            result = normalised(rows)

            assert result.candles["volume"].to_list() == [0.0, 0.0]
            assert result.counts == CandleCounts(rows=3, candles=2, duplicates=1)

    def test_a_refused_row_never_beats_a_valid_one(self) -> None:
        at = str(NOON + 300)

        result = normalised([(str(NOON), *FLAT), (at, *FLAT), (at, "1", "1", "2", "1", "999999")])

        assert result.candles["low"].to_list() == [1.0, 1.0]
        assert codes(result) == [(3, "low_above_body")]

    def test_an_interval_the_file_states_is_believed(self) -> None:
        result = normalised(flat([NOON, NOON + 3600, NOON + 3660]), interval_s=60)

        assert by_interval(result) == {60: [NOON, NOON + 3600, NOON + 3660]}

    def test_a_candle_off_the_grid_of_the_interval_the_file_states_is_refused(self) -> None:
        result = normalised(flat([NOON, NOON + 301, NOON + 600]), interval_s=300)

        assert codes(result) == [(2, "misaligned_time")]
        assert by_interval(result) == {300: [NOON, NOON + 600]}

    def test_times_are_those_of_2009_to_2099(self) -> None:
        first, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2009, 2100))

        result = normalised(flat([first - 60, first, end - 60, end]), interval_s=60)

        assert codes(result) == [(1, "bad_timestamp"), (4, "bad_timestamp")]
        assert by_interval(result) == {60: [first, end - 60]}

    def test_an_interval_the_file_states_must_be_one_the_lake_keeps(self) -> None:
        result = normalised(flat(every(1800, 3)), interval_s=1800)

        assert codes(result) == [(n, "unsupported_interval") for n in (1, 2, 3)]


class TestSeveralFiles:
    """Candles of one token that several files have."""

    def test_files_that_tie_are_ordered_by_their_hash(self) -> None:
        low, high = (normalised([(str(NOON), p, p, p, p, "7")], 60).candles for p in ("3", "5"))
        # The row that comes last in its own file decides nothing between files.
        of_a = low.with_columns(pl.lit("a").alias("source"), pl.lit(9).alias("row_number"))
        of_b = high.with_columns(pl.lit("b").alias("source"), pl.lit(1).alias("row_number"))

        for files in ([of_a, of_b], [of_b, of_a]):
            settled = one_candle_a_time(pl.concat(files, how="vertical_relaxed"))
            assert settled["close"].to_list() == [5.0]

    def test_what_rows_already_stood_for_is_counted_on(self) -> None:
        at = str(NOON)
        same = normalised([(at, *FLAT), (at, *FLAT)], 60).candles
        other = normalised([(at, "2", "2", "2", "2", "0"), (at, "3", "3", "3", "3", "9")], 60)

        settled = one_candle_a_time(
            pl.concat(
                frame.with_columns(pl.lit(name).alias("source"))
                for name, frame in {"a": same, "b": other.candles}.items()
            )
        )

        # Of four rows one stays, one repeated another, and two lost.
        assert settled.select("close", "duplicates", "conflicts").rows() == [(3.0, 1, 2)]


class TestIntervals:
    @pytest.mark.parametrize("step", [1, 60, 300, 900, 3600, 14400, 86400])
    def test_regular_candles_have_the_interval_of_their_steps(self, step: int) -> None:
        start = NOON // 86400 * 86400

        assert by_interval(normalised(flat(every(step, 4, start)))) == {step: every(step, 4, start)}

    def test_five_minutes_then_a_hole_then_hours(self) -> None:
        fine = every(300, 72, NOON + 1500)
        coarse = every(HOUR, 20, fine[-1] + 2400)

        assert by_interval(normalised(flat([*fine, *coarse]))) == {300: fine, HOUR: coarse}

    def test_the_candle_at_the_switch_is_fine_if_it_ends_a_run_of_fine_steps(self) -> None:
        fine = every(300, 13)
        coarse = every(HOUR, 20, fine[-1] + HOUR)

        assert fine[-1] % HOUR == 0
        assert by_interval(normalised(flat([*fine, *coarse]))) == {300: fine, HOUR: coarse}

    def test_hours_then_five_minutes(self) -> None:
        coarse = every(HOUR, 20)
        fine = every(300, 30, coarse[-1] + HOUR)

        assert by_interval(normalised(flat([*coarse, *fine]))) == {HOUR: coarse, 300: fine}

    def test_three_intervals_in_one_file(self) -> None:
        minutes = every(60, 90)
        fives = every(300, 50, minutes[-1] + 360)
        hours = every(HOUR, 40, NOON + 8 * HOUR)

        assert by_interval(normalised(flat([*minutes, *fives, *hours]))) == {
            60: minutes,
            300: fives,
            HOUR: hours,
        }

    def test_a_few_hours_at_the_end_of_unbroken_five_minutes_are_hours(self) -> None:
        fine, coarse = every(300, 72), every(HOUR, 4, NOON + 8 * HOUR)

        assert by_interval(normalised(flat([*fine, *coarse]))) == {300: fine, HOUR: coarse}

    def test_four_hours_at_the_end_of_five_minutes_full_of_holes_are_hours(self) -> None:
        present = [n for n in range(72) if n % 7 not in (2, 5, 6) and n != 71]
        fine = [NOON + 300 * n for n in present]
        hours = every(3600, 4, NOON + 7 * 3600)

        assert by_interval(normalised(flat([*fine, *hours]))) == {300: fine, 3600: hours}

    def test_holes_in_hours_stay_holes(self) -> None:
        fine = every(300, 72)
        coarse = [t for t in every(HOUR, 30, NOON + 8 * HOUR) if (t // HOUR) % 11 > 1]

        assert by_interval(normalised(flat([*fine, *coarse]))) == {300: fine, HOUR: coarse}

    @pytest.mark.parametrize("hole_s", [HOUR, 4 * HOUR, 86400, 1500])
    def test_a_hole_in_five_minutes_is_no_other_interval(self, hole_s: int) -> None:
        before = every(300, 20)
        after = every(300, 20, before[-1] + hole_s)

        assert by_interval(normalised(flat([*before, *after]))) == {300: [*before, *after]}

    def test_several_holes_of_an_hour_are_no_hours(self) -> None:
        blocks = [every(300, 7, NOON + i * (6 * 300 + HOUR)) for i in range(6)]
        times = [t for block in blocks for t in block]

        assert by_interval(normalised(flat(times))) == {300: times}

    def test_minutes_in_which_a_token_seldom_trades_stay_minutes(self) -> None:
        draw = random.Random(7)
        times = [t for t in every(60, 20_000) if draw.random() < 0.15]

        assert by_interval(normalised(flat(times))) == {60: times}

    def test_a_bot_that_trades_every_fifth_minute_makes_no_five_minute_candles(self) -> None:
        draw = random.Random(3)
        times = [t for t in every(60, 5000) if draw.random() < (0.7 if t % 300 == 0 else 0.1)]

        assert by_interval(normalised(flat(times))) == {60: times}

    def test_one_candle_alone_tells_no_interval(self) -> None:
        assert codes(normalised(flat([NOON]))) == [(1, "unknown_interval")]

    def test_candles_never_one_interval_apart_tell_none(self) -> None:
        assert codes(normalised(flat([NOON, NOON + 420]))) == [
            (1, "unknown_interval"),
            (2, "unknown_interval"),
        ]

    def test_half_hours_are_refused_and_not_taken_for_something_else(self) -> None:
        result = normalised(flat([*every(1800, 20), NOON + 30 * 1800, NOON + 32 * 1800]))

        assert {code for _, code in codes(result)} == {"unsupported_interval"}
        assert result.counts.rejected == 22

    def test_half_hours_after_five_minutes_are_refused_alone(self) -> None:
        fine, half = every(300, 72), every(1800, 40, NOON + 8 * HOUR)

        result = normalised(flat([*fine, *half]))

        assert by_interval(result) == {300: fine}
        assert {code for _, code in codes(result)} == {"unsupported_interval"}

    def test_a_whole_file_off_the_grid_is_misaligned_not_one_second_candles(self) -> None:
        result = normalised(flat(every(300, 20, NOON + 17)))

        assert {code for _, code in codes(result)} == {"misaligned_time"}
        assert result.counts.rejected == 20

    def test_a_row_off_the_grid_of_the_hours_around_it_is_misaligned(self) -> None:
        fine = every(300, 30)
        coarse = every(HOUR, 20, NOON + 4 * HOUR)

        result = normalised(flat([*fine, *coarse, coarse[9] + 1500]))

        assert codes(result) == [(51, "misaligned_time")]

    def test_bad_prices_still_tell_the_grid(self) -> None:
        rows = flat(every(300, 20))
        rows[1::2] = [(row[0], "0", "0", "0", "0", "0") for row in rows[1::2]]

        result = normalised(rows)

        assert by_interval(result) == {300: every(600, 10)}

    def test_codes_for_nothing(self) -> None:
        assert len(assign_intervals(np.array([], dtype=np.int64))) == 0
        assert {UNKNOWN, MISALIGNED, UNSUPPORTED}.isdisjoint({1, 60, 300})


@st.composite
def damaged(draw: st.DrawFn) -> tuple[list[Row], set[int], list[int], int, int]:
    """Rows of 5m candles with known damage: rows, holes, bad row numbers, duplicates, conflicts."""
    count = draw(st.integers(30, 80))
    times = every(300, count)
    holes = draw(st.sets(st.sampled_from(times[1:-1]), max_size=count // 4))
    rows: list[Row] = [
        (str(t), "2", "3", "1", "2", repr(float(10 + i)))
        for i, t in enumerate(times)
        if t not in holes
    ]
    left = [row[0] for row in rows]
    repeated = draw(st.lists(st.sampled_from(rows), max_size=5))
    weaker = draw(st.sets(st.sampled_from(left), max_size=5))
    wrong = draw(st.lists(st.sampled_from(left), max_size=5))
    rows += repeated
    rows += [(t, "2", "2", "2", "2", "1") for t in sorted(weaker)]
    bad = [(t, "2", "1", "1", "2", "5") for t in wrong]
    order = draw(st.permutations(range(len(rows) + len(bad))))
    shuffled = [[*rows, *bad][i] for i in order]
    numbers = [n for n, i in enumerate(order, start=1) if i >= len(rows)]
    return shuffled, holes, numbers, len(repeated), len(weaker)


class TestProperties:
    @given(damaged())
    @settings(max_examples=60, deadline=None)
    def test_injected_damage_is_found_exactly(
        self, case: tuple[list[Row], set[int], list[int], int, int]
    ) -> None:
        rows, holes, bad, duplicates, conflicts = case

        result = normalised(rows)

        (times,) = by_interval(result).values()
        assert list(by_interval(result)) == [300]
        assert set(range(times[0], times[-1] + 1, 300)) - set(times) == holes
        assert codes(result) == [(n, "high_below_body") for n in bad]
        assert (result.counts.duplicates, result.counts.conflicts) == (duplicates, conflicts)
        assert result.candles["volume"].min() >= 10

    @given(
        fine=st.integers(20, 100),
        coarse=st.integers(5, 40),
        gap=st.integers(0, 30),
        seed=st.integers(0, 2**32),
    )
    @settings(max_examples=50, deadline=None)
    def test_a_switch_is_found_wherever_it_is_and_in_any_row_order(
        self, fine: int, coarse: int, gap: int, seed: int
    ) -> None:
        fives = every(300, fine)
        hours = every(HOUR, coarse, -(-(fives[-1] + 301 + gap * 60) // HOUR) * HOUR)
        rows = flat([*fives, *hours])
        random.Random(seed).shuffle(rows)

        found = by_interval(normalised(rows))

        # An hour that opens one fine step after the last fine candle cannot be told from it.
        if hours[0] - fives[-1] == 300:
            fives, hours = [*fives, hours[0]], hours[1:]
        assert found == {300: fives, HOUR: hours}

    @given(st.lists(st.integers(0, 2_000), min_size=1, max_size=60), st.integers(0, 2**32))
    @settings(max_examples=60, deadline=None)
    def test_row_order_changes_nothing_and_every_row_is_accounted_for(
        self, minutes: list[int], seed: int
    ) -> None:
        rows = [(str(NOON + 60 * m), "2", "3", "1", "2", str(i % 3)) for i, m in enumerate(minutes)]
        distinct = list(dict.fromkeys(rows))
        shuffled = list(distinct)
        random.Random(seed).shuffle(shuffled)

        first, second = normalised(distinct), normalised(shuffled)

        columns = ["interval_s", "ts", "volume"]
        assert first.candles.select(columns).equals(second.candles.select(columns))
        counts = first.counts
        assert counts == second.counts
        assert (
            counts.rows
            == len(distinct)
            == sum((counts.candles, counts.duplicates, counts.conflicts, counts.rejected))
        )

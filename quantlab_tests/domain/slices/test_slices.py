"""Windows around calls, the keys of slices, and their grades."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.artifacts.type import INTERVALS
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.slices.grades import Grading
from quantlab_assets.domain.slices.key import SliceKey, iso_utc
from quantlab_assets.domain.slices.plan import SliceWindow, plan_slices
from quantlab_assets.domain.slices.quality import SliceQuality, slice_quality, slice_tags
from quantlab_assets.domain.slices.windows import windows_of
from quantlab_assets.domain.tokens.token import Token

MINT = "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump"
EVM = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2025, 11, 6, hour, minute, second, tzinfo=UTC)


def alerts(*rows: tuple[str, str, str | None, datetime]) -> pl.DataFrame:
    return pl.DataFrame(
        rows,
        schema={
            "chain": pl.String,
            "mint": pl.String,
            "token_chain": pl.String,
            "alert_ts_utc": pl.Datetime("us", "UTC"),
        },
        orient="row",
    )


def candles(minutes: Sequence[int], volumes: Sequence[float | None] | None = None) -> pa.Table:
    """Five-minute candles, at minutes after 13:00."""
    prices = [1.0] * len(minutes)
    columns = {
        "token_address": [EVM] * len(minutes),
        "chain": ["evm"] * len(minutes),
        "token_chain": ["bsc"] * len(minutes),
        "interval_s": [300] * len(minutes),
        "ts": [at(13, minute) for minute in minutes],
        **dict.fromkeys(("open", "high", "low", "close"), prices),
        "volume": volumes or [None] * len(minutes),
    }
    return pa.table(columns, schema=OHLCV_SLICE.schema)


def test_one_window_a_token_from_before_its_first_call_to_after_its_last() -> None:
    (planned,) = plan_slices(
        alerts(("evm", EVM, None, at(17)), ("evm", EVM, None, at(13, 0, 33))), SliceWindow()
    )

    assert (planned.start, planned.end) == (at(8, 40, 33), at(17) + timedelta(hours=48))
    assert planned.alerts == 2


def test_the_window_is_floored_and_ceiled_to_the_interval() -> None:
    (planned,) = plan_slices(alerts(("evm", EVM, "bsc", at(13, 0, 33))), SliceWindow())

    assert planned.window(300) == (at(8, 40), at(13, 5) + timedelta(hours=48))
    assert planned.window(3600) == (at(8), at(14) + timedelta(hours=48))
    assert planned.window(86400) == (at(0), at(0) + timedelta(days=3))


def test_a_window_that_ends_on_the_grid_ends_there() -> None:
    (planned,) = plan_slices(
        alerts(("evm", EVM, "bsc", at(13))), SliceWindow(pre_s=3600, post_s=7200)
    )

    assert planned.window(3600) == (at(12), at(15))


@pytest.mark.parametrize(
    ("named", "network"),
    [(["bsc", "bsc"], "bsc"), (["bsc", None], None), (["bsc", "base"], None), ([None], None)],
)
def test_a_plan_says_the_network_that_all_calls_name(
    named: list[str | None], network: str | None
) -> None:
    (planned,) = plan_slices(alerts(*(("evm", EVM, n, at(13)) for n in named)), SliceWindow())
    assert planned.network == network


def test_a_mint_needs_no_network() -> None:
    (planned,) = plan_slices(alerts(("solana", MINT, None, at(13))), SliceWindow())
    assert planned.network == "solana"


@pytest.mark.parametrize(
    "token", [Token("solana", MINT, "solana"), Token("evm", EVM, "bsc"), Token("evm", EVM)]
)
def test_a_key_is_taken_apart_into_what_it_was_made_of(token: Token) -> None:
    key = SliceKey(token, 300, at(8, 40), at(13, 5) + timedelta(microseconds=7))
    assert SliceKey.parse(key.format()) == key


def test_what_no_key_can_name_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="no slice of 7 s candles"):
        SliceKey(Token("evm", EVM), 7, at(8), at(9)).format()
    with pytest.raises(ValidationFailed):
        SliceKey.parse("day=2025-11-06")


def test_no_calls_no_slices() -> None:
    assert plan_slices(alerts(), SliceWindow()) == []


@pytest.mark.parametrize(("pre_s", "post_s"), [(-1, 10), (0, 0), (0, -5)])
def test_impossible_windows_are_refused(pre_s: int, post_s: int) -> None:
    with pytest.raises(ValidationFailed, match="slice window"):
        SliceWindow(pre_s, post_s)


def test_keys_name_token_interval_and_the_window_as_asked_for() -> None:
    start, end = at(13, 40), at(14)

    assert SliceKey(Token("solana", MINT, "solana"), 300, start, end).format() == (
        f"token={MINT}/res=5m/from=2025-11-06T13:40:00Z/to=2025-11-06T14:00:00Z"
    )
    assert SliceKey(Token("evm", EVM, "bsc"), 3600, start, end).format() == (
        f"token=bsc:{EVM}/res=1h/from=2025-11-06T13:40:00Z/to=2025-11-06T14:00:00Z"
    )
    with pytest.raises(ValidationFailed, match="1800 s"):
        SliceKey(Token("evm", EVM), 1800, start, end).format()


def test_keys_give_the_windows_back() -> None:
    keys = [
        SliceKey(token, 300, at(13, 40), at(14)).format()
        for token in (Token("evm", EVM, "bsc"), Token("evm", EVM), Token("solana", MINT, "solana"))
    ]

    assert windows_of(reversed(keys)).rows() == [
        ("evm", EVM, None, 300, at(13, 40), at(14)),
        ("evm", EVM, "bsc", 300, at(13, 40), at(14)),
        ("solana", MINT, "solana", 300, at(13, 40), at(14)),
    ]
    with pytest.raises(ValidationFailed, match="does not match"):
        windows_of(["day=2025-11-06"])


@pytest.mark.parametrize(("good", "partial"), [(1.0, 1.0), (0.9, 0.9), (0.5, 1e-9)])
def test_grades_may_begin_anywhere_above_nothing(good: float, partial: float) -> None:
    grading = Grading(good, partial)

    whole = SliceQuality(expected=10, actual=10, traded=0, gaps=0, grading=grading)
    empty = SliceQuality(expected=10, actual=0, traded=0, gaps=1, grading=grading)

    assert (whole.grade, empty.grade) == ("good", "poor")


@pytest.mark.parametrize(("good", "partial"), [(0.9, 0.0), (0.8, 0.9), (1.01, 0.5), (0.5, -0.1)])
def test_impossible_grades_are_refused(good: float, partial: float) -> None:
    with pytest.raises(ValidationFailed, match="good is not less than partial"):
        Grading(good, partial)


@pytest.mark.parametrize(
    ("minutes", "gaps"),
    [
        (range(0, 60, 5), 0),
        (range(5, 60, 5), 1),  # the first is missing
        (range(0, 55, 5), 1),  # the last is missing
        ([0, 5, 20, 25, 30, 40, 45, 50, 55], 2),
        ([30], 2),
        ([], 1),
    ],
)
def test_a_slice_counts_the_candles_it_has_and_the_stretches_it_lacks(
    minutes: Sequence[int], gaps: int
) -> None:
    quality = slice_quality(candles(minutes), 300, at(13), at(14))

    assert quality == SliceQuality(expected=12, actual=len(minutes), traded=0, gaps=gaps)


def test_a_candle_is_traded_if_its_volume_is_above_zero() -> None:
    held = candles(range(0, 20, 5), [None, 0.0, 0.5, 3.0])

    assert slice_quality(held, 300, at(13), at(14)).traded == 2


def test_a_window_too_short_for_a_candle_has_none() -> None:
    quality = slice_quality(candles([]), 3600, at(13), at(13))

    assert (quality.expected, quality.coverage, quality.grade) == (0, 0.0, "poor")


def test_a_coverage_is_cut_and_never_rounded_up_to_the_next_grade() -> None:
    quality = SliceQuality(expected=10_000_000, actual=9_499_999, traded=0, gaps=1)

    tags = slice_tags(Token("evm", EVM, "bsc"), 300, quality)

    assert (tags["coverage"], tags["grade"]) == ("0.949999", "partial")


@pytest.mark.parametrize(
    ("actual", "grade", "coverage"),
    [
        (100_000, "good", "1.000000"),
        (95_000, "good", "0.950000"),
        (94_999, "partial", "0.949990"),
        (80_000, "partial", "0.800000"),
        (79_999, "poor", "0.799990"),
        (0, "poor", "0.000000"),
    ],
)
def test_grades(actual: int, grade: str, coverage: str) -> None:
    quality = SliceQuality(expected=100_000, actual=actual, traded=0, gaps=1)

    tags = slice_tags(Token("evm", EVM, "bsc"), 300, quality, "token")

    assert tags == {
        "token": EVM,
        "chain": "evm",
        "network": "bsc",
        "res": "5m",
        "grade": grade,
        "coverage": coverage,
        "expected_candles": "100000",
        "traded_candles": "0",
        "gaps": "1",
        "volume_unit": "token",
    }


def test_iso_text_is_utc_in_any_zone_and_exact() -> None:
    there = datetime.fromisoformat("2025-11-07T00:40:00.000001+11:00")

    assert iso_utc(there) == "2025-11-06T13:40:00.000001Z"


@given(
    times=st.lists(
        st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
        min_size=1,
        max_size=8,
    ),
    pre_s=st.integers(0, 10**6),
    post_s=st.integers(1, 10**6),
    interval_s=st.sampled_from(sorted(INTERVALS.values())),
)
@settings(max_examples=80, deadline=None)
def test_every_alert_has_its_full_time_and_the_window_is_no_wider_than_the_grid_needs(
    times: list[datetime], pre_s: int, post_s: int, interval_s: int
) -> None:
    (planned,) = plan_slices(
        alerts(*(("evm", EVM, None, t) for t in times)), SliceWindow(pre_s, post_s)
    )

    start, end = planned.window(interval_s)

    step = timedelta(seconds=interval_s)
    wanted_start = min(times) - timedelta(seconds=pre_s)
    wanted_end = max(times) + timedelta(seconds=post_s)
    assert start <= wanted_start < start + step
    assert end - step < wanted_end <= end
    assert start.timestamp() % interval_s == end.timestamp() % interval_s == 0
    OHLCV_SLICE.parse_key(SliceKey(Token("evm", EVM), interval_s, start, end).format())

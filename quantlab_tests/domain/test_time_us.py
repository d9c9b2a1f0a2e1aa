"""Moments and microseconds since 1970: exact, and both ways."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlab_assets.domain.time_us import SECOND_US, from_us, to_us

MOMENTS = st.datetimes(timezones=st.just(UTC))


@given(MOMENTS)
def test_every_moment_comes_back(ts: datetime) -> None:
    assert from_us(to_us(ts)) == ts


@given(st.integers(-(10**15), 10**17))
def test_every_number_comes_back(us: int) -> None:
    assert to_us(from_us(us)) == us


@given(st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_a_number_is_that_of_a_column(ts: datetime) -> None:
    assert pl.Series([ts], dtype=pl.Datetime("us", "UTC")).to_physical().item() == to_us(ts)


def test_known_moments() -> None:
    assert to_us(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert to_us(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1
    assert to_us(datetime(2025, 11, 6, 13, 0, 33, 7, tzinfo=UTC)) == 1_762_434_033 * SECOND_US + 7
    assert from_us(-1) == datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert from_us(0).tzinfo is UTC


def test_a_moment_is_the_same_in_every_zone() -> None:
    noon = datetime(2025, 7, 1, 12, tzinfo=UTC)
    sydney = noon.astimezone(ZoneInfo("Australia/Sydney"))
    assert to_us(sydney) == to_us(noon)
    assert to_us(noon.astimezone(timezone(timedelta(hours=-3, minutes=-30)))) == to_us(noon)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        to_us(datetime(2025, 1, 1))

"""Moments as whole microseconds since 1970 UTC, and back: the only two conversions there are.

Neither goes through a float, so that each is exact for every time a `datetime` can hold. Columns of
times are converted by their frames (`pl.Datetime("us", "UTC")` is such a number already); text is
not read or written here.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

SECOND_US: Final = 1_000_000
"""Microseconds in a second."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_us(ts: datetime) -> int:
    """Microseconds since 1970 of a moment in any zone; negative before.

    Raises `ValueError` for a time without a zone: which moment it names cannot be told.
    """
    if ts.utcoffset() is None:
        raise ValueError(f"time {ts} has no time zone; give it one, such as UTC")
    return (ts - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The UTC time of microseconds since 1970. Raises `OverflowError` out of years 1 to 9999."""
    return _EPOCH + us * _MICROSECOND

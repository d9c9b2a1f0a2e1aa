"""UTC days as runs of the graph take them: ranges without holes, and which days hang together.

A bot's reply just after midnight resolves a call just before it, so the alerts of a day are made
from the messages of that day and of the next. Whatever reads a day's messages, or asks which days a
changed day concerns, asks here.
"""

from collections.abc import Iterable
from datetime import date, timedelta

_ONE_DAY = timedelta(days=1)


def with_day_after(days: Iterable[date]) -> set[date]:
    """The days whose messages the alerts of these days are made from: each and the next."""
    days = set(days)
    return days | {day + _ONE_DAY for day in days}


def with_day_before(days: Iterable[date]) -> set[date]:
    """The days whose alerts change with the messages of these days: each and the day before."""
    days = set(days)
    return days | {day - _ONE_DAY for day in days}


def with_days_beside(days: Iterable[date]) -> set[date]:
    """The days in which messages of these days may have been put by another clock: each and those
    beside it."""
    days = set(days)
    return {day + step for day in days for step in (-_ONE_DAY, 0 * _ONE_DAY, _ONE_DAY)}


def contiguous(days: Iterable[date]) -> list[tuple[date, date]]:
    """The days as ranges without holes, both ends included, in order: one run each."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if ranges and day - ranges[-1][1] == _ONE_DAY:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges

"""Reads the messages of a spool by day, a few days ahead: a thin day costs what a query costs."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final

import polars as pl

ROWS_AHEAD: Final = 5_000
"""About how many rows all exports of an inbox hold in memory together."""


class DaysAhead:
    """The rows of a Parquet file with `ts_utc`, by UTC day.

    `days` are those it has rows of, `rows` is how many it has in all. Whoever reads day after day
    has most of them from memory.
    """

    def __init__(self, path: Path, days: Sequence[date], rows: int) -> None:
        self._path = path
        self._days = sorted(days)
        self._rows_a_day = max(rows, 1) / max(len(days), 1)
        self._held: dict[date, pl.DataFrame] = {}

    def rows_of(self, day: date, order: Sequence[str], rows_ahead: int) -> pl.DataFrame:
        """The rows of one of the days, in `order`; about `rows_ahead` rows are read with them."""
        if day not in self._held:
            first = self._days.index(day)
            count = max(1, int(rows_ahead / self._rows_a_day))
            self._held = self._read(self._days[first : first + count], order)
        return self._held[day]

    def _read(self, days: Sequence[date], order: Sequence[str]) -> dict[date, pl.DataFrame]:
        start, last = (datetime.combine(day, time(), UTC) for day in (days[0], days[-1]))
        rows = (
            pl.scan_parquet(self._path)
            .filter(pl.col("ts_utc").is_between(start, last + timedelta(days=1), closed="left"))
            .sort(order)
            .with_columns(pl.col("ts_utc").dt.date().alias("day"))
            .collect()
        )
        found = rows.partition_by("day", as_dict=True, include_key=False)
        return {day: found[(day,)] for day in days}

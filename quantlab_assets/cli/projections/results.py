"""How the result of a query is printed: as a table, a plan, CSV or JSON, and how far.

What is asked, and where the query comes from, is elsewhere (`sql` and `prompt`).
"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from quantlab_assets.cli.shell.frames import write_csv, write_frame, write_json_rows
from quantlab_assets.cli.shell.output import Format, plural, printable, say

if TYPE_CHECKING:
    import polars as pl

    from quantlab_assets.adapters.duckdb.query import QueryResult

TABLE_ROWS: Final = 100
"""Rows of a result that a table shows, unless told otherwise."""

PLAN: Final = ["explain_key", "explain_value"]
"""The columns of what EXPLAIN gives."""


def write_result(result: "QueryResult", output_format: Format, limit: int | None) -> int:
    """Print the rows of a result, and say how many were left out; gives how many were printed."""
    if output_format is Format.TABLE:
        if [column.name for column in result.columns] == PLAN:
            return _write_plan(result)
        return _write_table(result, TABLE_ROWS if limit is None else limit)
    shown = _Counted(limit)
    if output_format is Format.CSV:
        write_csv(shown.frames(result.frames()))
    else:
        write_json_rows(shown.rows(result.json_rows()), lines=output_format is Format.JSONL)
    sys.stdout.flush()
    if shown.cut:
        say(f"the first {plural(shown.count, 'row')}: --limit cut the rest off")
    return shown.count


class _Counted:
    """Lets through as many rows as it may, and stops reading after them."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self.count = 0
        self.cut = False

    def frames(self, frames: "Iterator[pl.DataFrame]") -> "Iterator[pl.DataFrame]":
        for i, frame in enumerate(frames):
            taken = self._take(frame.height)
            if taken or i == 0:
                yield frame.head(taken)
            if self.cut:
                return

    def rows(self, batches: Iterator[list[str]]) -> Iterator[list[str]]:
        for batch in batches:
            yield batch[: self._take(len(batch))]
            if self.cut:
                return

    def _take(self, there: int) -> int:
        left = there if self._limit is None else min(there, self._limit - self.count)
        self.count += left
        self.cut = left < there
        return left


def _write_plan(result: "QueryResult") -> int:
    """Print what EXPLAIN gives as the drawing that it is."""
    count = 0
    for frame in result.frames():
        for drawing in frame["explain_value"]:
            count += 1
            for line in drawing.splitlines():
                click.echo(printable(line))
    return count


def _write_table(result: "QueryResult", most: int) -> int:
    import polars as pl

    kept: list[pl.DataFrame] = []
    room, count = most, 0
    for frame in result.frames():
        count += frame.height
        if room or not kept:
            kept.append(frame.head(min(room, frame.height)))
            room -= kept[-1].height
    shown = pl.concat(kept)
    write_frame(shown, numbers=[column.name for column in result.columns if column.is_number])
    sys.stdout.flush()
    if shown.height < count:
        left_out = count - shown.height
        say(f"{shown.height:,} of {count:,} rows; {left_out:,} more: raise --limit, or use csv")
    return count

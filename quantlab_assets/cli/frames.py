"""How rows of data are printed: columns keep their names, and long results are never held whole.

A frame is ready to be printed if its columns are numbers, booleans and text.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from quantlab_assets.cli.output import FORMULA_STARTS, Column, console, write_fields, write_table

if TYPE_CHECKING:
    import polars as pl

NULL = "NULL"
"""What a table shows where there is no value: empty text is empty."""

_BETWEEN_COLUMNS = 2


def write_frame(frame: "pl.DataFrame", *, numbers: Sequence[str] = (), missing: str = NULL) -> None:
    """Print a frame as a table, or row by row on a terminal that is too narrow for it.

    `numbers` names columns of text that stand to the right, as numbers do.
    """
    target = console()
    columns = [
        Column(
            name,
            show=_shown,
            right=frame[name].dtype.is_numeric() or name in numbers,
            heading=name,
        )
        for name in frame.columns
    ]
    if not target.is_terminal or _width(frame, missing) <= target.width:
        write_table(frame.to_dicts(), columns, target, missing=missing)
        return
    for number, record in enumerate(frame.iter_rows(named=True), start=1):
        sys.stdout.write(f"-- row {number}\n")
        write_fields(record, columns, missing=missing)


def write_csv(frames: Iterable["pl.DataFrame"]) -> None:
    """Print frames as one CSV: null is nothing, empty text is `""`, formulas are defused."""
    import polars as pl

    starts = "".join(re.escape(start) for start in FORMULA_STARTS)
    formula = re.compile(f"[{starts}]")
    for i, frame in enumerate(frames):
        # Wherever a spreadsheet would read a formula: the rule of every CSV that is printed.
        harmless = frame.with_columns(
            pl.when(pl.col(name).str.contains(f"^[{starts}]"))
            .then(pl.lit("'") + pl.col(name))
            .otherwise(pl.col(name))
            .alias(name)
            for name in frame.columns
            if frame.schema[name] == pl.String
        ).rename(lambda name: f"'{name}" if formula.match(name) else name)
        sys.stdout.write(harmless.write_csv(include_header=i == 0, quote_style="non_numeric"))


def write_json_rows(batches: Iterable[Sequence[str]], *, lines: bool) -> None:
    """Print rows that are JSON already, as an array or as JSON lines."""
    before, between = ("", "\n") if lines else ("[\n", ",\n")
    for batch in batches:
        if batch:
            sys.stdout.write(before)
            sys.stdout.write(between.join(batch))
            before = between
    if lines:
        sys.stdout.write("\n" if before else "")
    else:
        sys.stdout.write("[]\n" if before == "[\n" else "\n]\n")


def _width(frame: "pl.DataFrame", missing: str) -> int:
    """Characters of the widest line of the frame as a table."""
    import polars as pl

    if not frame.width:
        return 0
    longest: tuple[int, ...] = frame.select(
        pl.all().cast(pl.String).fill_null(missing).str.len_chars().max().fill_null(0)
    ).row(0)
    widths = map(max, longest, (len(name) for name in frame.columns))
    return sum(widths) + _BETWEEN_COLUMNS * (frame.width - 1)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

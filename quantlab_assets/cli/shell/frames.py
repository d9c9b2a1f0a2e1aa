"""How rows of data are printed: columns keep their names, and long results are never held whole.

A frame is ready to be printed if its columns are numbers, booleans and text.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from quantlab_assets.cli.shell.output import (
    FORMULA_STARTS,
    Column,
    console,
    printable,
    write_fields,
    write_table,
)

if TYPE_CHECKING:
    import polars as pl

NULL = "NULL"
"""What a table shows where there is no value: empty text is empty."""

UNPRINTABLE = r"[\p{Cc}\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2060}-\x{2069}\x{feff}]+"
"""What `printable` takes out of text, as Polars writes it."""

_BETWEEN_COLUMNS = 2


def write_frame(frame: "pl.DataFrame", *, numbers: Sequence[str] = (), missing: str = NULL) -> None:
    """Print a frame as a table, or row by row on a terminal that is too narrow for it.

    `numbers` names columns of text that stand to the right, as numbers do.
    """
    import polars as pl

    target = console()
    kinds, decimals = frame.schema, pl.selectors.decimal()
    # As text: Python's decimals would be rounded, and written with an exponent.
    frame = frame.with_columns(decimals.cast(pl.String))
    columns = [
        Column(
            name,
            show=_shown,
            right=kinds[name].is_numeric() or name in numbers,
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
        if sys.stdout.isatty():
            # A program gets cells as they are; a terminal would obey them.
            texts = pl.selectors.string()
            frame = frame.with_columns(texts.str.replace_all(UNPRINTABLE, " ")).rename(printable)
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

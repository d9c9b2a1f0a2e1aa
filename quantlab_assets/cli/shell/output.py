"""How results are printed: tables for people, JSON, JSON lines and CSV for programs.

Data goes to stdout, everything else to stderr. Text that came from outside is never trusted:
control characters do not reach a terminal, and no CSV cell begins like a formula.
"""

import csv
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from quantlab_assets.domain.printable_text import printable as printable

if TYPE_CHECKING:
    from rich.console import Console

Command = TypeVar("Command", bound=Callable[..., Any])

PIPED_WIDTH = 10_000
"""Columns of a table that goes to a file or a pipe: nothing is cut off there."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Format(Enum):
    """The forms in which a command can print its data."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def format_option(command: Command) -> Command:
    """Add `--format`, given to the command as `output_format: Format`."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice([form.value for form in Format]),
        default=Format.TABLE.value,
        show_default=True,
        callback=lambda _ctx, _param, value: Format(value),
        help="How to print the data, also when it goes into a pipe.",
    )(command)


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A mapping whose keys are data, such as the names of tags: JSON leaves them as they are."""

    value: Mapping[str, Any]

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.value.items())


@dataclass(frozen=True, slots=True)
class Column:
    """One field of the records: its name in them, and how a table shows it.

    `heading` stands above it in a table, if not its name in words.
    """

    name: str
    show: Callable[[Any], str] | None = None
    right: bool = False
    heading: str | None = None

    @property
    def title(self) -> str:
        """The heading people see."""
        return self.name.replace("_", " ") if self.heading is None else printable(self.heading)


def write_records(
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    output_format: Format,
    *,
    title: str | None = None,
) -> None:
    """Print records (snake_case fields) in the order given; programs get every column raw."""
    if output_format is Format.TABLE:
        write_table(records, columns, console(), title=title)
        return
    names = [column.name for column in columns]
    rows = [{camel_case(name): record[name] for name in names} for record in records]
    if output_format is Format.JSON:
        click.echo(to_json(rows, indent=2))
    elif output_format is Format.JSONL:
        for row in rows:
            click.echo(to_json(row))
    else:
        # All text in quotes: by itself the writer leaves a lone carriage return bare.
        writer = csv.writer(sys.stdout, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow([camel_case(name) for name in names])
        writer.writerows([[_csv_cell(value) for value in row.values()] for row in rows])


def write_document(document: Mapping[str, Any], output_format: Format) -> None:
    """Print one JSON object: indented, or on one line."""
    indent = 2 if output_format is Format.JSON else None
    click.echo(to_json(document, indent=indent))


def write_record(
    record: Mapping[str, Any],
    columns: Sequence[Column],
    output_format: Format,
    *,
    whole: Callable[[], Mapping[str, Any]] | None = None,
) -> None:
    """Print one record: a line a column for people, a row of the columns as CSV.

    JSON has all of the record, or of what `whole` makes, which is only then asked.
    """
    if output_format is Format.TABLE:
        write_fields(record, columns)
    elif output_format is Format.CSV:
        write_records([record], columns, output_format)
    else:
        write_document(record if whole is None else whole(), output_format)


def write_table(
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    target: "Console",
    *,
    title: str | None = None,
    missing: str = "-",
) -> None:
    """Print records as a table on a console; `missing` stands where there is no value."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(
            Text(column.title),
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=column.right,
        )
    for record in records:
        table.add_row(
            *(
                Text(printable((column.show or _plain)(record[column.name])))
                if record[column.name] is not None
                else Text(missing, style="dim")
                for column in columns
            )
        )
    with target.capture() as printed:
        target.print(table)
    # Cells are padded to their column's width, the last one too: no line ends in blanks.
    for line in printed.get().splitlines():
        target.file.write(f"{line.rstrip()}\n")


def write_fields(
    record: Mapping[str, Any], columns: Sequence[Column], *, missing: str = "-"
) -> None:
    """Print one record for people, a line for each field."""
    width = max(len(column.title) for column in columns)
    for column in columns:
        value = record[column.name]
        shown = missing if value is None else (column.show or _plain)(value)
        click.echo(f"{column.title:<{width}}  {printable(shown)}".rstrip())


def console(*, stderr: bool = False) -> "Console":
    """A console on stdout, or on stderr for messages and progress."""
    from rich.console import Console

    terminal = Console(stderr=stderr, highlight=False, emoji=False, soft_wrap=False)
    if not terminal.is_terminal:
        terminal.width = PIPED_WIDTH
    return terminal


def say(message: str) -> None:
    """A line for the person at the terminal, on stderr."""
    click.echo(printable(message), err=True)


def camel_case(name: str) -> str:
    """`logical_key` as `logicalKey`."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def to_json(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """JSON with camelCase keys, ISO times in UTC and null for numbers that JSON lacks."""
    return json.dumps(_jsonable(value), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def percent(value: float) -> str:
    """A fraction as a percentage, `0.3` as `30.0 %`."""
    return f"{value:.1%}".replace("%", " %")


def number(value: float) -> str:
    """A number with two decimals and thousands marks."""
    return f"{value:,.2f}"


def size(count: int) -> str:
    """A number of bytes for people: `1.5 MB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def plural(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def discard_stdout() -> None:
    """After the reader of a pipe has gone: let the interpreter flush into nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plain(value: Any) -> str:
    if isinstance(value, datetime | date):
        return str(_jsonable(value))
    return str(value)


def _jsonable(value: Any, name: Callable[[str], str] = camel_case) -> Any:
    if isinstance(value, Verbatim):
        return _jsonable(value.value, str)
    if isinstance(value, Mapping):
        return {name(str(key)): _jsonable(item, name) for key, item in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Iterable):
        return [_jsonable(item, name) for item in value]
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _csv_cell(value: Any) -> str | int | float | None:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers."""
    if value is None or isinstance(value, bool | int | float):
        return value
    plain = _jsonable(value)
    text = plain if isinstance(plain, str) else to_json(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text

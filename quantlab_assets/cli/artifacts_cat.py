"""`quantlab artifacts cat`: the rows of an artifact, from bytes that were checked first."""

import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from quantlab_assets.cli.command import pass_session, quantlab_command
from quantlab_assets.cli.context import Session
from quantlab_assets.cli.output import (
    FORMULA_STARTS,
    Column,
    Format,
    console,
    format_option,
    say,
    write_table,
)
from quantlab_assets.cli.parameters import TEXT

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

AT_A_TIME: Final = 65_536
"""Rows that are turned into text together: a large artifact never stands in memory as text."""

_ISO: Final = "%Y-%m-%dT%H:%M:%S%.6fZ"


@quantlab_command(
    "cat",
    examples="""
    quantlab artifacts cat 4f1c09aa --limit 20
    quantlab artifacts cat 4f1c09aa --format csv > alerts.csv
    """,
)
@click.argument("artifact_id", metavar="ID", type=TEXT)
@click.option("--limit", type=click.IntRange(min=0), help="At most so many rows. Default: all.")
@format_option
@pass_session
def cat(session: Session, artifact_id: str, limit: int | None, output_format: Format) -> None:
    """Print the rows of an artifact, in their canonical order, after checking its bytes.

    Columns keep their names. Times are ISO in UTC, binary is hexadecimal, numbers that JSON lacks
    are null. In CSV, text that a spreadsheet would take for a formula gets a ' in front.
    """
    store = session.open_lake().store
    found = store.get_artifact(store.resolve_id(artifact_id))
    rows = found.row_count if limit is None else min(limit, found.row_count)
    batches = _batches(store.open(found.artifact_id, verify=True), rows)
    if output_format is Format.TABLE:
        _write_table(batches)
    elif output_format is Format.CSV:
        _write_csv(batches)
    else:
        _write_json(batches, lines=output_format is Format.JSONL)
    if rows < found.row_count:
        say(f"{rows} of {found.row_count} rows: --limit cut the rest off")


def _batches(dataset: Any, rows: int) -> "Iterator[pl.DataFrame]":
    """At least one frame, also of no rows, with every column ready to be written."""
    import polars as pl

    first = True
    # Rows in the order of the file: one batch after the other.
    for batch in dataset.to_batches(batch_size=AT_A_TIME, use_threads=False):
        taken = batch.slice(0, rows)
        if taken.num_rows or first:
            first = False
            yield _plain(pl.from_arrow(_table(taken)))
        rows -= taken.num_rows
        if not rows:
            break
    if first:
        yield _plain(pl.from_arrow(dataset.schema.empty_table()))


def _table(batch: "pa.RecordBatch") -> "pa.Table":
    import pyarrow as pa

    return pa.Table.from_batches([batch])


def _plain(frame: Any) -> "pl.DataFrame":
    """Times and bytes as text: what is left are numbers, booleans and text."""
    import polars as pl
    import polars.selectors as cs

    plain: pl.DataFrame = frame.with_columns(
        cs.datetime().dt.strftime(_ISO),
        cs.date().dt.strftime("%Y-%m-%d"),
        cs.binary().bin.encode("hex"),
        cs.categorical().cast(pl.String),
    )
    return plain


def _write_table(batches: "Iterator[pl.DataFrame]") -> None:
    frames = list(batches)
    names = frames[0].columns
    columns = [Column(name, right=frames[0][name].dtype.is_numeric()) for name in names]
    records = [record for frame in frames for record in frame.iter_rows(named=True)]
    write_table(records, columns, console())


def _write_csv(batches: "Iterator[pl.DataFrame]") -> None:
    import polars as pl

    starts = "".join(re.escape(start) for start in FORMULA_STARTS)
    for i, frame in enumerate(batches):
        # Wherever a spreadsheet would read a formula: the rule of every CSV that is printed.
        harmless = frame.with_columns(
            pl.when(pl.col(name).str.contains(f"^[{starts}]"))
            .then(pl.lit("'") + pl.col(name))
            .otherwise(pl.col(name))
            .alias(name)
            for name in frame.columns
            if frame.schema[name] == pl.String
        )
        sys.stdout.write(harmless.write_csv(include_header=i == 0, quote_style="non_numeric"))


def _write_json(batches: "Iterator[pl.DataFrame]", *, lines: bool) -> None:
    import polars.selectors as cs

    before = "" if lines else "[\n"
    between = "\n" if lines else ",\n"
    for frame in batches:
        finite = frame.with_columns(cs.float().replace([float("inf"), float("-inf")], None))
        text = finite.fill_nan(None).write_ndjson().rstrip("\n")
        if text:
            sys.stdout.write(before + (text if lines else text.replace("\n", between)))
            before = between
    if lines:
        sys.stdout.write("\n" if before else "")
    else:
        sys.stdout.write("[]\n" if before == "[\n" else "\n]\n")

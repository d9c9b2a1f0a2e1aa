"""`quantlab artifacts cat`: the rows of an artifact, from bytes that were checked first."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.frames import write_csv, write_frame, write_json_rows
from quantlab_assets.cli.shell.options import id_argument
from quantlab_assets.cli.shell.output import Format, format_option, say

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
    quantlab artifacts cat 4f1c09aa --as-stored --format jsonl
    """,
)
@id_argument("artifact_id")
@click.option("--limit", type=click.IntRange(min=0), help="At most so many rows. Default: all.")
@click.option(
    "--as-stored",
    is_flag=True,
    help="Rows of an earlier schema version as they are stored, not as the newest's.",
)
@format_option
@pass_session
def cat(
    session: Session,
    artifact_id: str,
    limit: int | None,
    as_stored: bool,
    output_format: Format,
) -> None:
    """Print the rows of an artifact, in their canonical order, after checking its bytes.

    What is stored in an earlier schema version of its type is shown as everything reads it: as rows
    of the newest.

    Columns keep their names. Times are ISO in UTC, binary is hexadecimal, numbers that JSON lacks
    are null. In CSV, text that a spreadsheet would take for a formula gets a ' in front.
    """
    store = session.open_lake().store
    artifact = store.get_artifact(store.resolve_id(artifact_id))
    rows = artifact.row_count if limit is None else min(limit, artifact.row_count)
    batches = _batches(store.open(artifact.artifact_id, verify=True, as_stored=as_stored), rows)
    if output_format is Format.TABLE:
        _write_table(batches)
    elif output_format is Format.CSV:
        write_csv(batches)
    else:
        write_json_rows(_json_rows(batches), lines=output_format is Format.JSONL)
    if rows < artifact.row_count:
        say(f"{rows} of {artifact.row_count} rows: --limit cut the rest off")


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
    import polars as pl

    write_frame(pl.concat(batches), missing="-")


def _json_rows(batches: "Iterator[pl.DataFrame]") -> "Iterator[list[str]]":
    import polars.selectors as cs

    for frame in batches:
        finite = frame.with_columns(cs.float().replace([float("inf"), float("-inf")], None))
        text = finite.fill_nan(None).write_ndjson().rstrip("\n")
        yield text.split("\n") if text else []

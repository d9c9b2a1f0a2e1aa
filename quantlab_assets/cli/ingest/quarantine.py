"""`quantlab quarantine`: what was refused, its original bytes, and trying it again."""

import sys
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import click

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import id_argument, limit_option
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    console,
    format_option,
    plural,
    printable,
    say,
    write_document,
    write_records,
)
from quantlab_assets.domain.assets import MESSAGES
from quantlab_assets.domain.days import with_day_before
from quantlab_assets.domain.errors import ValidationFailed

if TYPE_CHECKING:
    import polars as pl

    from quantlab_assets.lake import Lake

_COUNTS: Final = (
    Column("day"),
    Column("source"),
    Column("error_code"),
    Column("rows", right=True),
)
_ROWS: Final = tuple(
    Column(name) for name in ("id", "day", "source", "ts_utc", "sender_name", "error_code")
)
_OUTCOMES: Final = tuple(Column(n) for n in ("id", "error_code", "outcome", "detail"))


def _filters(command: Any) -> Any:
    for option in (
        click.option("--source", metavar="HEX", help="Only of this export, by its hash's start."),
        click.option(
            "--day", type=click.DateTime(["%Y-%m-%d"]), metavar="D", help="Only of this UTC day."
        ),
        click.option("--code", metavar="CODE", help="Only with this code, e.g. bad_checksum."),
    ):
        command = option(command)
    return command


@quantlab_command(
    "list",
    examples="""
    quantlab quarantine list
    quantlab quarantine list --rows --code invalid_mint_address --format csv
    """,
)
@_filters
@click.option("--rows", "by_row", is_flag=True, help="List every row, not counts.")
@limit_option
@format_option
@pass_session
def list_quarantined(
    session: Session,
    code: str | None,
    day: Any,
    source: str | None,
    by_row: bool,
    limit: int | None,
    output_format: Format,
) -> None:
    """Count what is in quarantine by day or export and code, or list its rows."""
    import polars as pl

    quarantined_rows = _selected(session.open_lake(), code, day, source)
    if quarantined_rows.is_empty():
        say("nothing in quarantine matches")
    if by_row:
        columns = [*_ROWS, Column("error_reason"), Column("text")]
        shown = quarantined_rows
        if output_format is Format.TABLE:
            columns = [*_ROWS, Column("error_reason")]
    else:
        shown = (
            quarantined_rows.group_by("day", "source", "error_code")
            .agg(pl.len().cast(pl.Int64).alias("rows"))
            .sort("day", "source", "error_code", nulls_last=True)
        )
        columns = list(_COUNTS)
    if limit is not None and shown.height > limit:
        say(f"{limit:,} of {plural(shown.height, 'row')}; raise --limit to see more")
        shown = shown.head(limit)
    write_records(shown.to_dicts(), columns, output_format)


@quantlab_command(
    "show",
    examples="""
    quantlab quarantine show 1234567890:120011
    quantlab quarantine show 0123456789abcdef#1 --raw
    """,
)
@id_argument("row_id")
@click.option("--raw", is_flag=True, help="Write the original bytes and nothing else.")
@format_option
@pass_session
def show_quarantined(session: Session, row_id: str, raw: bool, output_format: Format) -> None:
    """Show one message or record: why it is in quarantine, and what it is.

    Of a record that is no message, `--raw` writes the bytes as they stood in the export. Of a
    message, every version that the lake holds is shown.
    """
    from quantlab_assets.handlers.ingest.quarantine import versions_of, with_ids

    lake = session.open_lake()
    rows = with_ids(_selected(lake, None, None, None), [row_id])
    first = rows.row(0, named=True)
    if raw:
        content = lake.ingestion.original_bytes(first) if first["source"] is not None else None
        if content is None:
            raise ValidationFailed(
                f"{row_id}: no original bytes are kept; a message is kept as its versions, which "
                "show prints without --raw"
            )
        sys.stdout.buffer.write(content)
        return
    document = {
        **{name: first[name] for name in ("id", "day", "source", "ts_utc", "sender_name")},
        "faults": rows.select("error_code", "error_reason").to_dicts(),
        "text": first["text"],
        "versions": [] if first["day"] is None else versions_of(lake.store, row_id).to_dicts(),
    }
    if output_format in (Format.JSON, Format.JSONL):
        write_document(document, output_format)
    elif output_format is Format.CSV:
        write_records(rows.to_dicts(), [Column(name) for name in rows.columns], output_format)
    else:
        _print(document)


@quantlab_command(
    "retry",
    examples="""
    quantlab quarantine retry
    quantlab quarantine retry 1234567890:120011
    quantlab quarantine retry --code pair_address_unresolved --day 2025-11-07
    """,
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_filters
@format_option
@pass_session
def retry_quarantined(
    session: Session,
    ids: Sequence[str],
    code: str | None,
    day: Any,
    source: str | None,
    output_format: Format,
) -> None:
    """Try what is in quarantine again by today's rules, and say what became of each row.

    The days concerned are extracted again, whole. Records that can be read now go into the inbox
    as an export of their own, with their original bytes, and are ingested.
    """
    from quantlab_assets.handlers.ingest.quarantine import with_ids

    lake = session.open_lake()
    rows = with_ids(_selected(lake, code, day, source), ids)
    if rows.is_empty():
        say("nothing in quarantine matches")
    records = _retry(lake, rows) if rows.height else []
    write_records(records, list(_OUTCOMES), output_format)


def _retry(lake: "Lake", rows: "pl.DataFrame") -> list[dict[str, Any]]:
    """Retry the rows; one outcome each, in their order."""
    import polars as pl

    from quantlab_assets.cli.graph.runs import open_graph
    from quantlab_assets.cli.ingest.telegram import materialise_days
    from quantlab_assets.cli.shell.progress import show_progress
    from quantlab_assets.handlers.ingest.quarantine import became, leave_quarantine
    from quantlab_assets.lake.provenance import provenance_of

    messages = rows.filter(pl.col("day").is_not_null())
    days = {date.fromisoformat(day) for day in messages["day"].to_list()}
    retried = lake.ingestion.read_again(rows.filter(pl.col("source").is_not_null()))
    outcomes: dict[str, tuple[str, str]] = {}
    readable: dict[str, list[str]] = {}
    for record in retried:
        if record.message is None:
            outcomes[record.row_id] = ("unreadable", f"{record.code}: {record.reason}")
            continue
        posted = record.message["ts_utc"].date()
        days |= with_day_before([posted])
        outcomes[record.row_id] = (
            "message",
            f"{record.message['chat_id']}:{record.message['message_id']}",
        )
        readable.setdefault(record.row_id.partition("#")[0], []).append(record.row_id)
    lake.ingestion.take_in_again(retried)
    with show_progress() as progress, open_graph(lake.settings) as graph:
        first, last = graph.days(MESSAGES)
        inside = [each for each in sorted(days) if first <= each <= last]
        materialise_days(graph, inside, progress)
    for source, row_ids in sorted(readable.items()):
        leave_quarantine(lake.store, source, row_ids, provenance_of("quarantine_retry"))
    outcomes_of_messages = became(lake.store, messages)
    for row_id, outcome, detail in outcomes_of_messages.select(
        "id", "outcome", "detail"
    ).iter_rows():
        outcomes[row_id] = (outcome, detail)
    return [
        {
            "id": row["id"],
            "error_code": row["error_code"],
            "outcome": outcomes[row["id"]][0],
            "detail": outcomes[row["id"]][1],
        }
        for row in rows.iter_rows(named=True)
    ]


def _selected(lake: "Lake", code: str | None, day: Any, source: str | None) -> "pl.DataFrame":
    from quantlab_assets.handlers.ingest.quarantine import quarantined

    return quarantined(
        lake.store, code=code, day=None if day is None else day.date(), source=source
    )


def _print(document: dict[str, Any]) -> None:
    target = console()
    lines = [f"{document['id']}  ({document['day'] or 'export ' + document['source']})"]
    lines += [f"{fault['error_code']}: {fault['error_reason']}" for fault in document["faults"]]
    lines += [f"posted {document['ts_utc'] or '-'} by {document['sender_name'] or '-'}"]
    if document["versions"]:
        for number, version in enumerate(document["versions"], start=1):
            edited = f", edited {version['edited_ts_utc']}" if version["edited_ts_utc"] else ""
            lines += [f"version {number}{edited}", *_indented(version["text"])]
            if version["entities_json"] != "[]":
                lines += _indented(version["entities_json"])
    else:
        lines += ["text", *_indented(document["text"] or "(not kept)")]
    for line in lines:
        target.print(printable(line), markup=False, soft_wrap=True)


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]

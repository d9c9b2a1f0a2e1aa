"""`quantlab projections sql`: ask a projection, in one line, a script or a conversation."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import click

from quantlab_assets.cli.projections.prompt import talk
from quantlab_assets.cli.projections.results import TABLE_ROWS, write_result
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import TEXT
from quantlab_assets.cli.shell.output import Format, format_option, plural, say
from quantlab_assets.cli.shell.progress import progress_bar
from quantlab_assets.domain.errors import NotFound, ValidationFailed
from quantlab_assets.lake import Lake

if TYPE_CHECKING:
    from quantlab_assets.ports.projection_builder import Projection

MAX_SCRIPT: Final = 1_000_000
"""Bytes of a script: more is a file that was given by mistake."""


@quantlab_command(
    "sql",
    examples="""
    quantlab projections sql
    quantlab projections sql "SELECT chain, count(*) AS calls FROM alerts GROUP BY ALL"
    quantlab projections sql --file query.sql --format csv > answer.csv
    quantlab projections sql --projection one_day "DESCRIBE calls"
    echo "SHOW TABLES" | quantlab projections sql -
    """,
)
@click.argument("query", required=False, type=TEXT)
@click.option(
    "--file",
    "script",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Run the queries of a file.",
)
@click.option(
    "--projection",
    "projection_id",
    type=TEXT,
    metavar="ID",
    help="Ask this one. Default: research, built first if the lake has changed.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Print at most so many rows. Default: {TABLE_ROWS} in a table, else all.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give a query up after so long. Default: never.",
)
@format_option
@pass_session
def sql(
    session: Session,
    query: str | None,
    script: Path | None,
    projection_id: str | None,
    limit: int | None,
    timeout_s: float | None,
    output_format: Format,
) -> None:
    """Ask a projection in SQL: one query, several with a ; between, or none for a prompt.

    Only reading: nothing that a query says can change a projection, or reach a file, another
    database or the network. A - in the place of the query reads it from stdin, as does no query
    where stdin is not a terminal.

    Times are in UTC. In a table NULL is a value that is not there. JSON and CSV hold the result of
    one query.
    """
    if query is not None and script is not None:
        raise click.UsageError("give a query or --file, not both")
    talking = query is None and script is None and _is_terminal(sys.stdin, sys.stdout)
    text = None if talking else _script(query, script)
    lake = session.open_lake()
    named = _built(lake, projection_id)
    with lake.queries.session(named, timeout_s=timeout_s) as asked:
        if text is None:
            talk(asked, named, output_format, limit)
            return
        statements = asked.statements(text)
        if not statements:
            raise click.UsageError("there is no query; try: quantlab projections sql 'SHOW TABLES'")
        if len(statements) > 1 and output_format is not Format.TABLE:
            raise click.UsageError(
                f"--format {output_format.value} holds the result of one query, and there are"
                f" {len(statements)}"
            )
        for statement in statements:
            write_result(asked.ask(statement), output_format, limit)


def _is_terminal(*streams: TextIO | None) -> bool:
    return all(stream is not None and stream.isatty() for stream in streams)


def _script(query: str | None, script: Path | None) -> str:
    """The text of the queries, wherever it comes from."""
    if query is not None and query != "-":
        return query
    if script is not None and str(script) != "-":
        where = str(script)
        with script.open("rb") as file:
            content = file.read(MAX_SCRIPT + 1)
    else:
        where = "stdin"
        # A program can be started without any.
        content = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_SCRIPT + 1)
    if len(content) > MAX_SCRIPT:
        raise ValidationFailed(f"{where} has more than {MAX_SCRIPT:,} bytes: it is no query")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValidationFailed(f"{where} is not UTF-8 text (byte {error.start})") from error
    if "\0" in text:
        raise ValidationFailed(f"{where} has a NUL in it: it is no query")
    return text


def _when_stale(projection: "Projection") -> str:
    request = projection.request
    chooses = any(table.selector is not None for table in request.tables)
    if chooses and not request.is_named_by_content:
        return (
            "something in it was superseded; build it anew with:"
            f" quantlab projections rebuild {projection.projection_id}"
        )
    return (
        "something in it was superseded; it keeps what it was made of, so build one of what is"
        " active with: quantlab projections build"
    )


def _built(lake: Lake, projection_id: str | None) -> str:
    """The projection to ask, built if it must be: messages about it go to stderr."""
    from quantlab_assets.handlers.projections import RESEARCH_PROJECTION

    began, started = time.monotonic(), datetime.now(UTC)
    if projection_id in (None, RESEARCH_PROJECTION):
        with progress_bar("building research"):
            projection = lake.queries.research()
    elif lake.projections.exists(projection_id):
        built = {projection.projection_id: projection for projection in lake.projections.list()}
        if projection_id in built and built[projection_id].stale:
            say(f"{projection_id} is stale: {_when_stale(built[projection_id])}")
        return projection_id
    else:
        try:
            with progress_bar(f"building {projection_id}"):
                projection = lake.projections.rebuild(projection_id)
        except NotFound as error:
            known = [projection.projection_id for projection in lake.projections.list()]
            raise NotFound(f"{error}; built are: {', '.join(known) or 'none'}") from error
    if projection.built_at >= started:
        rows = sum(projection.rows.values())
        say(
            f"built {projection.projection_id}: {plural(len(projection.rows), 'table')},"
            f" {rows:,} rows, {time.monotonic() - began:.1f} s"
        )
    return projection.projection_id

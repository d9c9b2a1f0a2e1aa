"""`quantlab projections build`: choose artifacts, and have them as tables of one DuckDB file."""

import re
import time
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, Final

import click

from quantlab_assets.cli.projections.records import (
    SECONDS,
    SHOWN,
    TABLES,
    projection_record,
    table_records,
)
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import (
    TEXT,
    TextType,
    check_range,
    day_range_options,
    shortened,
    tag_option,
)
from quantlab_assets.cli.shell.output import (
    Format,
    format_option,
    say,
    write_document,
    write_fields,
    write_records,
)
from quantlab_assets.cli.shell.progress import progress_bar
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.lake import Lake
from quantlab_assets.ports.projection_builder import (
    ArtifactSelector,
    Projection,
    ProjectionRequest,
    ProjectionTable,
)

_INDEX: Final = re.compile(r"\s*([^()\s]+)\s*\(([^()]*)\)\s*", re.ASCII)


class NamedTableType(TextType):
    """`NAME=TYPE`: a table and the type of the artifacts it holds."""

    name = "name=type"

    def convert(  # type: ignore[override]
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """The table's name and the type's."""
        if isinstance(value, tuple):
            return value
        name, divided, artifact_type = super().convert(value, param, ctx).partition("=")
        if not (divided and name and artifact_type):
            self.fail(f"{shortened(value)} is no table: write NAME=TYPE", param, ctx)
        return name, artifact_type


class IndexType(TextType):
    """`TABLE(COLUMN,...)`: an index of a table."""

    name = "table(column,...)"

    def convert(  # type: ignore[override]
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[str, ...]]:
        """The table's name and the columns."""
        if isinstance(value, tuple):
            return value
        index = _INDEX.fullmatch(super().convert(value, param, ctx))
        columns = tuple(part.strip() for part in index[2].split(",")) if index else ()
        if not index or not all(columns):
            self.fail(f"{shortened(value)} is no index: write 'table(column,...)'", param, ctx)
        return index[1], columns


@quantlab_command(
    "build",
    examples="""
    quantlab projections build
    quantlab projections build --from 2025-11-07 --to 2025-11-07 --name one_day
    quantlab projections build --table calls=alerts_v1 --table candles=ohlcv_slice_v2 --name mine
    quantlab projections build --type ohlcv_slice_v2 --tag chain=solana --index "ohlcv_slices(ts)"
    quantlab projections build --id 4f1c09aa --id 9be00210
    """,
)
@click.option(
    "--table",
    "named",
    type=NamedTableType(),
    multiple=True,
    metavar="NAME=TYPE",
    help="A table and the type of artifact it holds. Repeat it for several.",
)
@click.option(
    "--type",
    "types",
    type=TEXT,
    multiple=True,
    metavar="TYPE",
    help="A type to hold, in a table of its usual name. Repeat it for several.",
)
@click.option(
    "--id",
    "ids",
    type=TEXT,
    multiple=True,
    metavar="ID",
    help="An artifact to hold, instead of all that match. Repeat it for several.",
)
@day_range_options("of artifacts to hold")
@tag_option("Only artifacts with this tag.")
@click.option("--key-prefix", type=TEXT, metavar="TEXT", help="Only keys that begin so.")
@click.option(
    "--index",
    "indexes",
    type=IndexType(),
    multiple=True,
    metavar="TABLE(COLUMN,...)",
    help="Index a table; rows in order make it unnecessary for most questions.",
)
@click.option(
    "--name", type=TEXT, help="What to call it. Default: a name that follows from what it holds."
)
@click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Check the hash of every artifact before DuckDB reads it.",
)
@format_option
@pass_session
def build(
    session: Session,
    named: tuple[tuple[str, str], ...],
    types: tuple[str, ...],
    ids: tuple[str, ...],
    first: date | None,
    last: date | None,
    tags: dict[str, str],
    key_prefix: str | None,
    indexes: tuple[tuple[str, tuple[str, ...]], ...],
    name: str | None,
    verify: bool,
    output_format: Format,
) -> None:
    """Build a projection, unless there is one of exactly these artifacts.

    Without options it is the research projection: everything active, with views and macros. Say
    which types to hold, and the days, tags or keys of the artifacts; without a type it holds all
    that the research projection holds. Or name artifacts by their ids.

    A projection with a name follows the newest request of that name, and chooses again when it is
    rebuilt.
    """
    check_range(first, last)
    lake = session.open_lake()
    chosen = bool(tags or key_prefix or first or last)
    if ids and chosen:
        raise click.UsageError("--id names artifacts: leave out --from, --to, --tag, --key-prefix")
    if not (named or types or ids or chosen):
        if indexes or name:
            raise click.UsageError(
                "without --table, --type, --id or a choice of artifacts it is the research"
                " projection, which has its own name and no index"
            )
        request = _research(lake, verify=verify)
    elif name == _research(lake, verify=verify).projection_id:
        raise ValidationFailed(f"{name} is the projection of everything; choose another name")
    else:
        selector = ArtifactSelector(
            tags=tuple(sorted(tags.items())),
            key_prefix=key_prefix,
            first_day=first,
            last_day=last,
        )
        tables = _tables(lake, named, types, ids, selector)
        request = ProjectionRequest(
            tables=_indexed(tables, indexes), projection_id=name, verify=verify
        )
    began, started = time.monotonic(), datetime.now(UTC)
    with progress_bar("building"):
        projection = lake.projections.build(request)
    if projection.built_at < started:
        say(f"{projection.projection_id} holds exactly this already; nothing was built")
    show_built(projection, time.monotonic() - began, output_format)


def show_built(projection: Projection, seconds: float, output_format: Format) -> None:
    """Print a projection and its tables."""
    record = {**projection_record(projection), "seconds": seconds}
    tables = table_records(projection)
    if output_format is Format.TABLE:
        write_fields(record, (*SHOWN, SECONDS))
        write_records(tables, TABLES, output_format)
    elif output_format is Format.CSV:
        write_records(tables, TABLES, output_format)
    else:
        write_document({**record, "tables": tables}, output_format)
    if not any(projection.rows.values()):
        say("no artifact matches: its tables are empty")
    if projection.stale:
        say("stale: an artifact that was named is no longer active")


def _research(lake: Lake, *, verify: bool) -> ProjectionRequest:
    from quantlab_assets.handlers.projections import research_request

    return research_request(lake.assets, verify=verify)


def _tables(
    lake: Lake,
    named: tuple[tuple[str, str], ...],
    types: tuple[str, ...],
    ids: tuple[str, ...],
    selector: ArtifactSelector,
) -> list[ProjectionTable]:
    by_type: dict[str, list[str]] = defaultdict(list)
    if ids:
        store = lake.store
        for artifact in store.get_artifacts([store.resolve_id(prefix) for prefix in ids]):
            by_type[artifact.artifact_type].append(artifact.artifact_id)
    usual = _usual_tables(lake)
    if not named and not types:
        dated = selector.first_day is not None or selector.last_day is not None
        types = tuple(by_type) or tuple(t for t in usual if not dated or _has_days(lake, t))
    wanted = [*named, *((usual[t].name if t in usual else t, t) for t in types)]
    left_out = sorted(set(by_type) - {artifact_type for _, artifact_type in wanted})
    if left_out:
        raise ValidationFailed(
            f"artifact {by_type[left_out[0]][0]} is of type {left_out[0]}, and no table is; add"
            f" --type {left_out[0]}"
        )
    return [
        ProjectionTable(
            name,
            artifact_type,
            artifact_ids=tuple(by_type[artifact_type]),
            key_columns=usual[artifact_type].key_columns if artifact_type in usual else (),
            selector=None if ids else selector,
        )
        for name, artifact_type in wanted
    ]


def _usual_tables(lake: Lake) -> dict[str, Any]:
    """The tables of the research projection, by the type that they hold."""
    from quantlab_assets.handlers.projections import research_tables

    return {table.artifact_type: table for table in research_tables(lake.assets)}


def _has_days(lake: Lake, artifact_type: str) -> bool:
    declared = lake.types.get(artifact_type)
    return declared.time_column is not None or any(
        "day" in key.fields for key in declared.templates
    )


def _indexed(
    tables: list[ProjectionTable], indexes: tuple[tuple[str, tuple[str, ...]], ...]
) -> tuple[ProjectionTable, ...]:
    names = [table.name for table in tables]
    for name, _ in indexes:
        if name not in names:
            raise ValidationFailed(
                f"there is no table {shortened(name)} to index; there are {', '.join(names)}"
            )
    return tuple(
        replace(table, indexes=tuple(columns for name, columns in indexes if name == table.name))
        for table in tables
    )

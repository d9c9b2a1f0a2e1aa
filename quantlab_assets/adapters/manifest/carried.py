"""The rows of the manifest that travel with artifacts into another lake, as plain JSON objects.

Which tables travel and in which order is said here, and what a row from somebody else must look
like. How a bundle is packed, and what it is believed, is said in `bundle`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Boolean, Connection, Integer, Table, select

from quantlab_assets.adapters.manifest.changes.insert import Event
from quantlab_assets.adapters.manifest.engine import in_lists
from quantlab_assets.adapters.manifest.tables import (
    artifact_tags,
    artifacts,
    input_set_members,
    lineage,
    publication_sources,
    publications,
    sources,
    supersedes,
    tombstones,
)
from quantlab_assets.domain.errors import IntegrityError
from quantlab_assets.domain.time_us import from_us

Row = dict[str, Any]

_TABLES: Final[Mapping[str, Table]] = {
    table.name: table
    for table in (
        artifacts,
        artifact_tags,
        publications,
        input_set_members,
        lineage,
        sources,
        publication_sources,
        supersedes,
        tombstones,
    )
}
CARRIED: Final = tuple(_TABLES)
"""The names of the tables whose rows travel."""

_MOST_TEXT: Final = 1 << 24


def with_inputs(connection: Connection, asked: set[str]) -> set[str]:
    """The artifacts and all that any publication of any of them was made from."""
    reached: set[str] = set()
    ahead = asked
    while ahead:
        reached |= ahead
        named: set[str] = set()
        for some in in_lists(sorted(ahead)):
            of_these = (
                select(lineage)
                .join(publications, publications.c.publication_id == lineage.c.publication_id)
                .where(publications.c.artifact_id.in_(some))
                .subquery()
            )
            direct = of_these.c.input_artifact_id
            named.update(connection.scalars(select(direct).where(direct.is_not(None))))
            named.update(
                connection.scalars(
                    select(input_set_members.c.artifact_id).join(
                        of_these, of_these.c.input_set_id == input_set_members.c.input_set_id
                    )
                )
            )
        ahead = named - reached
    return reached


def carried_rows(connection: Connection, members: set[str]) -> Iterator[tuple[str, Row]]:
    """All rows about the artifacts, with the names of their tables; the same ones make the same."""

    def about(table: Table, column: str, ids: Iterable[Any]) -> list[Row]:
        rows: list[Row] = []
        for some in in_lists(sorted(ids)):
            query = select(table).where(table.c[column].in_(some))
            rows += [dict(row._mapping) for row in connection.execute(query)]
        return rows

    def in_order(table: Table, rows: list[Row], *by: str) -> Iterator[tuple[str, Row]]:
        for row in sorted(rows, key=lambda row: tuple(row[name] for name in by)):
            yield table.name, row

    yield from in_order(artifacts, about(artifacts, "artifact_id", members), "sequence")
    tags = about(artifact_tags, "artifact_id", members)
    yield from in_order(artifact_tags, tags, "artifact_id", "k")
    events = about(publications, "artifact_id", members)
    yield from in_order(publications, events, "publication_id")
    ids = [row["publication_id"] for row in events]
    made_from = about(lineage, "publication_id", ids)
    sets = {row["input_set_id"] for row in made_from if row["input_set_id"] is not None}
    in_sets = about(input_set_members, "input_set_id", sets)
    yield from in_order(input_set_members, in_sets, "input_set_id", "artifact_id")
    yield from in_order(lineage, made_from, "lineage_id")
    named = about(publication_sources, "publication_id", ids)
    raw = about(sources, "sha256", {row["sha256"] for row in named})
    yield from in_order(sources, raw, "sha256")
    yield from in_order(publication_sources, named, "publication_id", "sha256")
    yield from in_order(supersedes, about(supersedes, "old_id", members), "supersede_id")
    yield from in_order(tombstones, about(tombstones, "artifact_id", members), "artifact_id")


def checked_row(table: str, row: Any) -> Row:
    """The row, if it has exactly the columns of the carried table and their types.

    Raises `IntegrityError`.
    """
    columns = {column.name: column for column in _TABLES[table].columns}
    if not isinstance(row, dict) or set(row) != set(columns):
        raise IntegrityError(f"the bundle has a row that is none of {table}")
    for name, column in columns.items():
        value = row[name]
        if value is None:
            fits = bool(column.nullable)
        elif isinstance(column.type, Boolean):
            fits = isinstance(value, bool)
        elif isinstance(column.type, Integer):
            fits = type(value) is int and -(2**53) <= value <= 2**53
        else:
            fits = isinstance(value, str) and len(value) <= _MOST_TEXT and _encodes(value)
        if not fits:
            raise IntegrityError(f"the bundle has an impossible {table}.{name}")
    return row


def unknown_publications(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    """Those of the carried publications that are not on record here: events are the same if all
    but their number and `deduped` is, and one that happened twice is known once it is here twice.
    """
    known: Counter[tuple[Any, ...]] = Counter()
    for some in in_lists(row["artifact_id"] for row in rows):
        for here in connection.execute(
            select(publications).where(publications.c.artifact_id.in_(some))
        ):
            known[_identity(here._mapping)] += 1
    unknown: list[Row] = []
    for row in rows:
        identity = _identity(row)
        if known[identity] > 0:
            known[identity] -= 1
        else:
            unknown.append(row)
    return unknown


def event_of(row: Row, **changes: Any) -> Event:
    """The event that a carried publication is, with some of its fields changed."""
    fields = {name: value for name, value in row.items() if name != "publication_id"}
    return Event(**{**fields, "created_at": from_us(row["created_at"]), **changes})


def _identity(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    return tuple(
        row[column.name]
        for column in publications.columns
        if column.name not in ("publication_id", "deduped")
    )


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

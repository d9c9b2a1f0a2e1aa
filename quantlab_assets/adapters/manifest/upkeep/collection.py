"""Whose bytes nobody needs any more, and that they are gone.

Files are matched and moved in `adapters.upkeep.gc`, which holds the write lock meanwhile.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select, update

from quantlab_assets.adapters.manifest.changes.transitions import PIN_TAG
from quantlab_assets.adapters.manifest.engine import in_lists
from quantlab_assets.adapters.manifest.tables import (
    artifact_tags,
    artifacts,
    experiments,
    input_set_members,
    lineage,
    partition_heads,
    publications,
    supersedes,
    tombstones,
)
from quantlab_assets.domain.artifacts.records import ARTIFACT_ID
from quantlab_assets.domain.time_us import to_us


def places_of(connection: Connection, ids: Iterable[str]) -> dict[str, tuple[str, bool]]:
    """For those of the ids that are artifacts: the path of the file, and whether it was purged."""
    places: dict[str, tuple[str, bool]] = {}
    for some in in_lists(ids):
        for row in connection.execute(
            select(artifacts.c.artifact_id, artifacts.c.path, artifacts.c.purged_at).where(
                artifacts.c.artifact_id.in_(some)
            )
        ):
            places[row.artifact_id] = (row.path, row.purged_at is not None)
    return places


def purgeable(connection: Connection, gone_by: Mapping[str, datetime | None]) -> list[str]:
    """The artifacts that came to a status (`tombstoned`, `superseded`) by the time given for it,
    and that nobody needs, sorted; with None for a status none of that status.

    Needed are: what has the tag `pin`, is in a frozen set, a head or an experiment's outputs, and
    what something active was last made from.
    """
    last = select(supersedes.c.old_id, func.max(supersedes.c.at)).group_by(supersedes.c.old_id)
    dead = select(tombstones.c.artifact_id, tombstones.c.at)
    changed: dict[str, int] = {
        row[0]: row[1] for query in (last, dead) for row in connection.execute(query)
    }
    old: list[str] = []
    for row in connection.execute(
        select(artifacts.c.artifact_id, artifacts.c.status).where(
            artifacts.c.status != "active", artifacts.c.purged_at.is_(None)
        )
    ):
        by, at = gone_by[row.status], changed.get(row.artifact_id)
        if by is not None and at is not None and at <= to_us(by):
            old.append(row.artifact_id)
    return sorted(set(old) - _needed(connection)) if old else []


def mark_purged(connection: Connection, ids: Iterable[str], *, at: datetime) -> None:
    """The bytes of the artifacts are given up; rows and hashes stay."""
    rows = [{"id": artifact_id} for artifact_id in ids]
    if rows:
        connection.execute(
            update(artifacts)
            .where(artifacts.c.artifact_id == bindparam("id"))
            .values(purged_at=to_us(at)),
            rows,
        )


def _needed(connection: Connection) -> set[str]:
    """What must keep its bytes whatever its status."""
    latest = (
        select(func.max(publications.c.publication_id))
        .join(artifacts, artifacts.c.artifact_id == publications.c.artifact_id)
        .where(artifacts.c.status == "active")
        .group_by(publications.c.artifact_id)
    )
    queries = (
        select(artifact_tags.c.artifact_id).where(artifact_tags.c.k == PIN_TAG),
        select(input_set_members.c.artifact_id),
        select(partition_heads.c.artifact_id).where(partition_heads.c.artifact_id.is_not(None)),
        select(lineage.c.input_artifact_id).where(
            lineage.c.input_artifact_id.is_not(None), lineage.c.publication_id.in_(latest)
        ),
    )
    needed: set[str] = set()
    for query in queries:
        needed.update(connection.scalars(query))
    for outputs in connection.scalars(
        select(experiments.c.outputs_json).where(experiments.c.outputs_json.is_not(None))
    ):
        needed.update(_ids_in(json.loads(outputs)))
    return needed


def _ids_in(value: object) -> Iterator[str]:
    if isinstance(value, str) and ARTIFACT_ID.fullmatch(value):
        yield value
    elif isinstance(value, dict):
        for inside in value.values():
            yield from _ids_in(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _ids_in(inside)

"""What is wrong inside a manifest: pages, references, and rows that contradict one another.

Whether files are as the rows say is looked at in `adapters.upkeep.audit`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from quantlab_assets.adapters.manifest.tables import (
    artifacts,
    experiments,
    input_set_members,
    input_sets,
    lineage,
    partition_heads,
    publications,
    sources,
    tombstones,
)
from quantlab_assets.domain.artifacts.identity import input_set_id_of
from quantlab_assets.domain.artifacts.records import SHA256


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong. `subject` is an artifact id, a path or what a row is about."""

    code: str
    subject: str
    detail: str


def database_problems(connection: Connection) -> Iterator[Problem]:
    """Damaged pages, and rows that refer to rows that are not there."""
    for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
        if line != "ok":
            yield Problem("damaged_manifest", "integrity_check", str(line))
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield Problem("broken_reference", f"{table} row {row}", f"names no row of {parent}")


def relation_problems(connection: Connection) -> Iterator[Problem]:
    """Rows that contradict one another, or are no JSON where they have to be."""
    yield from _status_problems(connection)
    yield from _publication_problems(connection)
    yield from _provenance_problems(connection)
    yield from _set_problems(connection)
    yield from _head_problems(connection)
    for row in connection.execute(
        select(experiments.c.experiment_id, experiments.c.definition_json)
    ):
        if not _is_json(row.definition_json):
            yield Problem("damaged_experiment", row.experiment_id, "its definition is no JSON")


def _head_problems(connection: Connection) -> Iterator[Problem]:
    for row in connection.execute(
        select(partition_heads, artifacts.c.status).join(
            artifacts, artifacts.c.artifact_id == partition_heads.c.artifact_id
        )
    ):
        if row.status == "tombstoned":
            yield Problem(
                "head_tombstoned", f"{row.asset} {row.partition!r}", f"holds {row.artifact_id}"
            )
    empty = select(partition_heads.c.asset, partition_heads.c.partition).where(
        partition_heads.c.artifact_id.is_(None)
    )
    for row in connection.execute(
        empty.intersect(
            select(partition_heads.c.asset, partition_heads.c.partition).where(
                partition_heads.c.artifact_id.is_not(None)
            )
        )
    ):
        yield Problem(
            "head_contradicts", f"{row.asset} {row.partition!r}", "is empty and holds artifacts"
        )


def _status_problems(connection: Connection) -> Iterator[Problem]:
    explained = select(tombstones.c.artifact_id)
    for row in connection.execute(
        select(artifacts.c.artifact_id, artifacts.c.status).where(
            (artifacts.c.status == "tombstoned") != artifacts.c.artifact_id.in_(explained)
        )
    ):
        yield Problem(
            "tombstone_differs", row.artifact_id, f"is {row.status}, its tombstone says otherwise"
        )


def _publication_problems(connection: Connection) -> Iterator[Problem]:
    """Each artifact was created by its first publication, from what had been published before."""
    created = (
        select(
            publications.c.artifact_id.label("artifact_id"),
            func.min(publications.c.publication_id).label("first"),
        )
        .group_by(publications.c.artifact_id)
        .cte("created")
    )
    for row in connection.execute(
        select(artifacts.c.artifact_id)
        .outerjoin(created, created.c.artifact_id == artifacts.c.artifact_id)
        .where(created.c.first.is_(None))
    ):
        yield Problem("no_publication", row.artifact_id, "no publication created it")
    for row in connection.execute(
        select(publications.c.publication_id, publications.c.artifact_id)
        .join(created, created.c.artifact_id == publications.c.artifact_id)
        .where(publications.c.deduped == (publications.c.publication_id == created.c.first))
    ):
        yield Problem(
            "publication_order",
            row.artifact_id,
            f"publication {row.publication_id} is marked wrongly as its first, or not its first",
        )
    made_from = lineage.c.input_artifact_id == created.c.artifact_id
    for row in connection.execute(
        select(lineage.c.publication_id, lineage.c.input_artifact_id)
        .join(created, made_from)
        .where(created.c.first >= lineage.c.publication_id)
    ):
        yield Problem(
            "lineage_order",
            row.input_artifact_id,
            f"is an input of publication {row.publication_id}, which came before it",
        )


def _provenance_problems(connection: Connection) -> Iterator[Problem]:
    for row in connection.execute(
        select(
            publications.c.publication_id,
            publications.c.params_json,
            publications.c.environment_json,
        )
    ):
        if not _is_json(row.params_json) or not _is_json(row.environment_json):
            yield Problem(
                "damaged_publication",
                f"publication {row.publication_id}",
                "its params or environment are no JSON",
            )
    for (sha256,) in connection.execute(select(sources.c.sha256)):
        if not SHA256.fullmatch(sha256):
            yield Problem("damaged_source", sha256[:80], "is no sha256:<hex>")


def _set_problems(connection: Connection) -> Iterator[Problem]:
    members: dict[str, list[str]] = {
        name: [] for name in connection.scalars(select(input_sets.c.input_set_id))
    }
    for row in connection.execute(select(input_set_members)):
        members.setdefault(row.input_set_id, []).append(row.artifact_id)
    for name, ids in members.items():
        if input_set_id_of(ids) != name:
            yield Problem("input_set_differs", name, "its members are not those it is named by")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True

"""Rows of the manifest as records, and the look-ups that several questions share.

What is asked about artifacts is in `find` and `lineage`; rows are written in `changes`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Row, select

from quantlab_assets.adapters.manifest.engine import in_lists
from quantlab_assets.adapters.manifest.tables import (
    artifact_aliases,
    artifact_tags,
    artifacts,
    input_set_members,
    input_sets,
    lineage,
    publication_sources,
    publications,
    sources,
)
from quantlab_assets.domain.artifacts.records import (
    Artifact,
    LineageInput,
    Provenance,
    Publication,
    SourceFile,
)
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.domain.time_us import from_us


def artifacts_by_id(connection: Connection, ids: Iterable[str]) -> dict[str, Artifact]:
    """The artifacts that exist, by their own ids; aliases are not followed."""
    rows: list[Row[Any]] = []
    for some in in_lists(ids):
        rows += connection.execute(select(artifacts).where(artifacts.c.artifact_id.in_(some))).all()
    return {artifact.artifact_id: artifact for artifact in to_artifacts(connection, rows)}


def artifacts_after(
    connection: Connection, sequence: int, limit: int
) -> tuple[list[Artifact], int]:
    """The next artifacts in the order in which they came, and the sequence of the last of them."""
    rows = connection.execute(
        select(artifacts)
        .where(artifacts.c.sequence > sequence)
        .order_by(artifacts.c.sequence)
        .limit(limit)
    ).all()
    return to_artifacts(connection, rows), rows[-1].sequence if rows else sequence


def artifact_by_file(
    connection: Connection, artifact_type: str, logical_key: str, file_hash: str
) -> Artifact | None:
    """The artifact under the key whose file has exactly these bytes, if there is one."""
    rows = connection.execute(
        select(artifacts)
        .where(
            artifacts.c.file_hash == file_hash,
            artifacts.c.artifact_type == artifact_type,
            artifacts.c.logical_key == logical_key,
        )
        .order_by(artifacts.c.sequence)
        .limit(1)
    ).all()
    return next(iter(to_artifacts(connection, rows)), None)


def known_ids(connection: Connection) -> set[str]:
    """The ids of all artifacts."""
    return set(connection.scalars(select(artifacts.c.artifact_id)))


def existing_ids(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Which of the ids are artifacts."""
    return _present(connection, artifacts.c.artifact_id, ids)


def existing_input_sets(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Which of the ids are frozen sets."""
    return _present(connection, input_sets.c.input_set_id, ids)


def _present(connection: Connection, column: Column[str], ids: Iterable[str]) -> set[str]:
    present: set[str] = set()
    for some in in_lists(ids):
        present.update(connection.scalars(select(column).where(column.in_(some))))
    return present


def input_set_artifacts(connection: Connection, input_set_id: str) -> tuple[str, ...]:
    """The sorted members of a frozen set."""
    members = select(input_set_members.c.artifact_id).where(
        input_set_members.c.input_set_id == input_set_id
    )
    return tuple(connection.scalars(members.order_by(input_set_members.c.artifact_id)))


def first_publication(
    connection: Connection, artifact_id: str
) -> tuple[Publication, tuple[LineageInput, ...], tuple[SourceFile, ...]] | None:
    """The publication that created an artifact, its inputs in the order in which they were said,
    and its raw files by hash; None for an artifact without one, which is damage."""
    row = connection.execute(
        select(publications)
        .where(publications.c.artifact_id == artifact_id)
        .order_by(publications.c.publication_id)
        .limit(1)
    ).first()
    if row is None:
        return None
    inputs = connection.execute(
        select(lineage)
        .where(lineage.c.publication_id == row.publication_id)
        .order_by(lineage.c.lineage_id)
    )
    raw = connection.execute(
        select(sources)
        .join(publication_sources, publication_sources.c.sha256 == sources.c.sha256)
        .where(publication_sources.c.publication_id == row.publication_id)
        .order_by(sources.c.sha256)
    )
    return (
        to_publication(row),
        tuple(
            LineageInput(each.input_artifact_id, each.input_set_id, each.role) for each in inputs
        ),
        tuple(SourceFile(each.sha256, each.name, each.size, each.kind) for each in raw),
    )


def resolve(connection: Connection, ids: Sequence[str]) -> dict[str, Artifact]:
    """The artifacts by the id asked for, older ids too. Raises `NotFound` naming the missing."""
    by_id = artifacts_by_id(connection, ids)
    rest = [asked for asked in ids if asked not in by_id]
    if rest:
        aliases: dict[str, str] = {}
        for some in in_lists(rest):
            aliases.update(
                (row.alias, row.artifact_id)
                for row in connection.execute(
                    select(artifact_aliases).where(artifact_aliases.c.alias.in_(some))
                )
            )
        renamed = artifacts_by_id(connection, aliases.values())
        by_id |= {alias: renamed[artifact_id] for alias, artifact_id in aliases.items()}
    require(by_id, ids)
    return by_id


def require(existing: Iterable[str], asked: Iterable[str], what: str = "artifact") -> None:
    """Raise `NotFound` naming the ids that were asked for and not found."""
    have = set(existing)
    missing = [asked_id for asked_id in dict.fromkeys(asked) if asked_id not in have]
    if missing:
        shown = ", ".join(repr(asked_id[:64]) for asked_id in missing[:10])
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise NotFound(f"no {what} {shown}{more}")


def to_artifacts(connection: Connection, rows: Sequence[Row[Any]]) -> list[Artifact]:
    """Records of the rows, in their order, with their tags."""
    tags: dict[str, dict[str, str]] = {}
    for some in in_lists(row.artifact_id for row in rows):
        for tag in connection.execute(
            select(artifact_tags)
            .where(artifact_tags.c.artifact_id.in_(some))
            .order_by(artifact_tags.c.artifact_id, artifact_tags.c.k)
        ):
            tags.setdefault(tag.artifact_id, {})[tag.k] = tag.v
    return [
        Artifact(
            artifact_id=row.artifact_id,
            artifact_type=row.artifact_type,
            schema_version=row.schema_version,
            logical_key=row.logical_key,
            status=row.status,
            path=row.path,
            file_hash=row.file_hash,
            file_size=row.file_size,
            content_hash=row.content_hash,
            row_count=row.row_count,
            min_ts=_time(row.min_ts),
            max_ts=_time(row.max_ts),
            created_at=from_us(row.created_at),
            keeps_many=row.keeps_many,
            purged_at=_time(row.purged_at),
            tags=tags.get(row.artifact_id, {}),
        )
        for row in rows
    ]


def to_publication(row: Row[Any]) -> Publication:
    """The record of a row of `publications`."""
    return Publication(
        publication_id=row.publication_id,
        artifact_id=row.artifact_id,
        deduped=row.deduped,
        provenance=Provenance(
            writer_name=row.writer_name,
            writer_version=row.writer_version,
            run_id=row.run_id,
            step=row.step,
            git_commit=row.git_commit,
            git_dirty=row.git_dirty,
            git_diff_hash=row.git_diff_hash,
            params=json.loads(row.params_json),
            environment=json.loads(row.environment_json),
        ),
        created_at=from_us(row.created_at),
    )


def sources_of(
    connection: Connection, ids: Iterable[str], *, first_only: bool = False
) -> Mapping[str, tuple[SourceFile, ...]]:
    """The raw files that publications of the artifacts name, by hash; the first publications' only
    if asked."""
    raws_of: dict[str, dict[str, SourceFile]] = {}
    for some in in_lists(ids):
        named = (
            select(publications.c.artifact_id, sources)
            .join(
                publication_sources,
                publication_sources.c.publication_id == publications.c.publication_id,
            )
            .join(sources, sources.c.sha256 == publication_sources.c.sha256)
            .where(publications.c.artifact_id.in_(some))
            .order_by(publications.c.artifact_id, sources.c.sha256)
            .distinct()
        )
        if first_only:
            named = named.where(publications.c.deduped.is_(False))
        for row in connection.execute(named):
            raw = SourceFile(sha256=row.sha256, name=row.name, size=row.size, kind=row.kind)
            raws_of.setdefault(row.artifact_id, {})[row.sha256] = raw
    return {artifact_id: tuple(raws.values()) for artifact_id, raws in raws_of.items()}


def _time(micros: int | None) -> datetime | None:
    return None if micros is None else from_us(micros)

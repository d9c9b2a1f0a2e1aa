"""What is asked about artifacts: by id or its beginning, filter, key, head, or publication.

Each question is a function of a transaction, so that several can be asked of one state. What
follows inputs is in `lineage`; nothing here changes a row.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from quantlab_assets.adapters.manifest.engine import MOST_ROWS, in_lists
from quantlab_assets.adapters.manifest.rows import (
    resolve,
    sources_of,
    to_artifacts,
    to_publication,
)
from quantlab_assets.adapters.manifest.tables import (
    artifact_aliases,
    artifact_tags,
    artifacts,
    partition_heads,
    publications,
)
from quantlab_assets.domain.artifacts.records import (
    Artifact,
    ArtifactFilter,
    ArtifactPage,
    Publication,
    SourceFile,
)
from quantlab_assets.domain.errors import Conflict, NotFound, ValidationFailed
from quantlab_assets.domain.time_us import from_us, to_us


def id_beginning(connection: Connection, prefix: str) -> str:
    """The one artifact id that begins so, given 8 or more digits, or an older id in full.

    Raises `NotFound`, `Conflict` if several begin so, `ValidationFailed` if it is no prefix.
    """
    alias = connection.execute(
        select(artifact_aliases.c.artifact_id).where(artifact_aliases.c.alias == prefix)
    ).scalar_one_or_none()
    if alias is not None:
        return str(alias)
    digits = prefix.lower()
    if not 8 <= len(digits) <= 32 or set(digits) - set("0123456789abcdef"):
        raise ValidationFailed(f"{prefix[:64]!r} is no artifact id: give 8 to 32 hex digits of it")
    ids = list(
        connection.scalars(
            select(artifacts.c.artifact_id)
            .where(artifacts.c.artifact_id >= digits, artifacts.c.artifact_id < f"{digits}g")
            .order_by(artifacts.c.artifact_id)
            .limit(6)
        )
    )
    if not ids:
        raise NotFound(f"no artifact {prefix!r}")
    if len(ids) > 1:
        raise Conflict(f"{prefix!r} is ambiguous: {', '.join(ids)}")
    return str(ids[0])


def page(
    connection: Connection, where: ArtifactFilter, limit: int | None, cursor: str | None
) -> ArtifactPage:
    """A page of the artifacts that match, the last that came first; see `ArtifactStore`.

    Pages follow the order in which artifacts came, not the clock. Raises `ValidationFailed`.
    """
    if limit is not None and limit < 1:
        raise ValidationFailed(f"limit must be 1 or more, not {limit}")
    query = _filtered(select(artifacts), where).order_by(artifacts.c.sequence.desc())
    if cursor is not None:
        query = query.where(artifacts.c.sequence < _sequence(cursor))
    if limit is not None:
        query = query.limit(min(limit, MOST_ROWS) + 1)
    rows = connection.execute(query).all()
    more = limit is not None and len(rows) > limit
    rows = rows[:limit]
    matching = to_artifacts(connection, rows)
    return ArtifactPage(tuple(matching), str(rows[-1].sequence) if more else None)


def under_key(connection: Connection, artifact_type: str, logical_key: str) -> list[Artifact]:
    """All artifacts of the key: the active first, then by schema version, the newest first."""
    active_first = case((artifacts.c.status == "active", 0), else_=1)
    rows = connection.execute(
        select(artifacts)
        .where(
            artifacts.c.artifact_type == artifact_type,
            artifacts.c.logical_key == logical_key,
        )
        .order_by(active_first, artifacts.c.schema_version.desc(), artifacts.c.sequence.desc())
    ).all()
    return to_artifacts(connection, rows)


def heads(
    connection: Connection, asset: str, partitions: Sequence[str]
) -> Mapping[str, tuple[Artifact, ...] | None]:
    """The members of the partitions' heads, by logical key; None where a partition never ran."""
    members_of: dict[str, tuple[Artifact, ...] | None] = dict.fromkeys(partitions)
    for some in in_lists(partitions):
        rows = connection.execute(
            select(partition_heads.c.partition, artifacts)
            .outerjoin(artifacts, artifacts.c.artifact_id == partition_heads.c.artifact_id)
            .where(partition_heads.c.asset == asset, partition_heads.c.partition.in_(some))
            .order_by(artifacts.c.artifact_type, artifacts.c.logical_key)
        ).all()
        members = [row for row in rows if row.artifact_id is not None]
        for row in rows:
            members_of[row.partition] = ()
        for row, artifact in zip(members, to_artifacts(connection, members), strict=True):
            members_of[row.partition] = (*(members_of[row.partition] or ()), artifact)
    return members_of


def partitions_with_head(connection: Connection, asset: str) -> list[str]:
    """The partitions of the asset that have a head (also an empty one), sorted."""
    return list(
        connection.scalars(
            select(partition_heads.c.partition)
            .where(partition_heads.c.asset == asset)
            .distinct()
            .order_by(partition_heads.c.partition)
        )
    )


def raw_files(connection: Connection, ids: Sequence[str]) -> Mapping[str, tuple[SourceFile, ...]]:
    """The raw files that publications of the artifacts name. Raises `NotFound`."""
    by_id = resolve(connection, ids)
    sources = sources_of(connection, (artifact.artifact_id for artifact in by_id.values()))
    return {asked: sources.get(by_id[asked].artifact_id, ()) for asked in ids}


def publications_of(connection: Connection, artifact_id: str) -> list[Publication]:
    """The artifact's publications, oldest first. Raises `NotFound`."""
    artifact = resolve(connection, [artifact_id])[artifact_id]
    rows = connection.execute(
        select(publications)
        .where(publications.c.artifact_id == artifact.artifact_id)
        .order_by(publications.c.publication_id)
    )
    return [to_publication(row) for row in rows]


def latest_publications(connection: Connection, ids: Sequence[str]) -> Mapping[str, Publication]:
    """The last publication of each of the artifacts. Raises `NotFound`."""
    latest: dict[str, Publication] = {}
    by_id = resolve(connection, ids)
    for some in in_lists(artifact.artifact_id for artifact in by_id.values()):
        newest = (
            select(func.max(publications.c.publication_id))
            .where(publications.c.artifact_id.in_(some))
            .group_by(publications.c.artifact_id)
        )
        for row in connection.execute(
            select(publications).where(publications.c.publication_id.in_(newest))
        ):
            latest[row.artifact_id] = to_publication(row)
    return {asked: latest[by_id[asked].artifact_id] for asked in ids}


def newest_publication_at(connection: Connection) -> datetime | None:
    """When the last publication was, by the clock of whoever made it; None if there is none."""
    newest = connection.execute(select(func.max(publications.c.created_at))).scalar_one()
    return None if newest is None else from_us(newest)


def _filtered(query: Select[Any], where: ArtifactFilter) -> Select[Any]:
    if where.artifact_type is not None:
        query = query.where(artifacts.c.artifact_type == where.artifact_type)
    if where.status is not None:
        query = query.where(artifacts.c.status == where.status)
    else:
        query = query.where(artifacts.c.status != "tombstoned")
    for name, value in sorted(where.tags.items()):
        tagged = select(artifact_tags.c.artifact_id).where(
            artifact_tags.c.k == name, artifact_tags.c.v == value
        )
        query = query.where(artifacts.c.artifact_id.in_(tagged))
    if where.created_from is not None:
        query = query.where(artifacts.c.created_at >= to_us(where.created_from))
    if where.created_to is not None:
        query = query.where(artifacts.c.created_at <= to_us(where.created_to))
    if where.key_prefix is not None:
        query = query.where(
            artifacts.c.logical_key >= where.key_prefix,
            artifacts.c.logical_key < f"{where.key_prefix}\U0010ffff",
        )
    return query


def _sequence(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise ValidationFailed(f"{cursor[:40]!r} is no cursor of a page")
    return int(cursor)

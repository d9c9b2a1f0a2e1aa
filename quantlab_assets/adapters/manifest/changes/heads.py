"""What an asset partition consists of now: its head, and how artifacts come into it and leave it.

A head is a set of artifacts, and may be empty: then one row without an artifact says that the
partition ran. What a head loses, and no other head has, is no longer produced: it is superseded.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, select

from quantlab_assets.adapters.manifest.changes.succession import (
    Key,
    Supersession,
    active_by_key,
    record_supersessions,
)
from quantlab_assets.adapters.manifest.engine import in_lists, insert_missing
from quantlab_assets.adapters.manifest.rows import artifacts_by_id
from quantlab_assets.adapters.manifest.tables import artifacts, partition_heads
from quantlab_assets.domain.artifacts.records import Artifact, PartitionRef
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.errors import NotFound, ValidationFailed


def head_of(connection: Connection, ref: PartitionRef) -> frozenset[str] | None:
    """The members of a partition's head; None if it never ran."""
    members = list(connection.scalars(select(partition_heads.c.artifact_id).where(*_is(ref))))
    return frozenset(member for member in members if member is not None) if members else None


def replace_heads(
    connection: Connection,
    heads: Mapping[PartitionRef, Iterable[str]],
    *,
    published: Iterable[str],
    types: TypeRegistry,
    at: datetime,
) -> None:
    """Each partition consists of just these artifacts from now on.

    What was in one of the heads, is in none now and is not among the `published` of this
    transaction is superseded: by nothing, or by what stands under the key that its type's newest
    version has for the same data.
    """
    before: set[str] = set()
    for ref, members in heads.items():
        before |= head_of(connection, ref) or frozenset()
        connection.execute(delete(partition_heads).where(*_is(ref)))
        _enter(connection, ref, sorted(members))
    gone = _active_in_no_head(connection, before.difference(published))
    successors = _successors(connection, gone, types) if gone else {}
    record_supersessions(
        connection,
        [
            Supersession(
                old.artifact_id,
                successor := successors.get(old.artifact_id),
                at,
                "not_produced" if successor is None else "republished",
            )
            for old in gone
        ],
    )


def join_heads(
    connection: Connection, joining: Iterable[tuple[PartitionRef, str]], *, types: TypeRegistry
) -> None:
    """The active ones of the artifacts are in these heads; superseded ones have left them.

    What is in a head beside the artifact that has its data under the key of a newer schema version
    is superseded by that one: both together would have the data twice.
    """
    stale = select(artifacts.c.artifact_id).where(artifacts.c.status != "active")
    active = set(
        connection.scalars(select(artifacts.c.artifact_id).where(artifacts.c.status == "active"))
    )
    rows = []
    for ref, artifact_id in joining:
        if artifact_id not in active:
            continue
        member = partition_heads.c.artifact_id
        connection.execute(
            delete(partition_heads).where(*_is(ref), member.is_(None) | member.in_(stale))
        )
        rows.append({"asset": ref.asset, "partition": ref.partition, "artifact_id": artifact_id})
    if rows:
        connection.execute(insert_missing(partition_heads), rows)
    for ref in dict.fromkeys(PartitionRef(row["asset"], row["partition"]) for row in rows):
        _leave_for_newer_versions(connection, ref, types)


def _leave_for_newer_versions(
    connection: Connection, ref: PartitionRef, types: TypeRegistry
) -> None:
    members = artifacts_by_id(connection, head_of(connection, ref) or ())
    successors = {
        old: new
        for old, new in _successors(connection, list(members.values()), types).items()
        if new in members
    }
    record_supersessions(
        connection,
        [
            Supersession(old, new, members[new].created_at, "rebuilt")
            for old, new in sorted(successors.items())
        ],
    )
    for old in successors:
        leave_heads(connection, old)


def leave_heads(connection: Connection, artifact_id: str) -> None:
    """The artifact is in no head any more; a head that loses its last member is empty."""
    refs = [
        PartitionRef(row.asset, row.partition)
        for row in connection.execute(
            select(partition_heads.c.asset, partition_heads.c.partition).where(
                partition_heads.c.artifact_id == artifact_id
            )
        )
    ]
    connection.execute(delete(partition_heads).where(partition_heads.c.artifact_id == artifact_id))
    for ref in refs:
        if head_of(connection, ref) is None:
            _enter(connection, ref, [])


def _enter(connection: Connection, ref: PartitionRef, members: Sequence[str]) -> None:
    entries: Sequence[str | None] = members or (None,)
    connection.execute(
        partition_heads.insert(),
        [
            {"asset": ref.asset, "partition": ref.partition, "artifact_id": member}
            for member in entries
        ],
    )


def _is(ref: PartitionRef) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (partition_heads.c.asset == ref.asset, partition_heads.c.partition == ref.partition)


def _active_in_no_head(connection: Connection, ids: Iterable[str]) -> list[Artifact]:
    candidates = sorted(ids)
    in_heads: set[str] = set()
    for some in in_lists(candidates):
        in_heads.update(
            connection.scalars(
                select(partition_heads.c.artifact_id).where(partition_heads.c.artifact_id.in_(some))
            )
        )
    left = artifacts_by_id(
        connection, (artifact_id for artifact_id in candidates if artifact_id not in in_heads)
    )
    return [
        left[artifact_id]
        for artifact_id in candidates
        if artifact_id in left and left[artifact_id].status == "active"
    ]


def _successors(
    connection: Connection, gone: Sequence[Artifact], types: TypeRegistry
) -> dict[str, str]:
    """For what left its head: what is active under the key that its type's newer version has for
    its data. That a key's grammar changed must not look as if nothing was produced."""
    new_keys: dict[str, Key] = {}
    for old in gone:
        try:
            newest = types.get(old.artifact_type)
            key = newest.key_from(old.schema_version, old.logical_key)
        except (NotFound, ValidationFailed):
            continue  # Of a type or version that this program does not know.
        if newest.schema_version != old.schema_version and key is not None:
            new_keys[old.artifact_id] = (old.artifact_type, key)
    active = active_by_key(connection, new_keys.values())
    return {
        old: active[key][-1].artifact_id
        for old, key in new_keys.items()
        if any(holder.artifact_id != old for holder in active.get(key, ()))
    }

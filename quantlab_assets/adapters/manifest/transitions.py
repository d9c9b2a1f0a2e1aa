"""Changes to artifacts that are there: superseding, tombstoning, freezing sets of them.

Each is one transaction on the manifest; no file changes.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from quantlab_assets.adapters.manifest.engine import insert_missing
from quantlab_assets.adapters.manifest.rows import resolve
from quantlab_assets.adapters.manifest.tables import (
    artifacts,
    experiments,
    input_set_members,
    input_sets,
    partition_heads,
    supersedes,
    tombstones,
)
from quantlab_assets.domain.artifacts.identity import input_set_id_of
from quantlab_assets.domain.errors import Conflict
from quantlab_assets.domain.time_us import to_us

PIN_TAG = "pin"
"""An artifact with this tag is kept: it cannot be tombstoned, nor its bytes collected."""


def supersede(
    connection: Connection, new_id: str, old_id: str, *, reason: str, at: datetime
) -> None:
    """See the port."""
    found = resolve(connection, [new_id, old_id])
    new, old = found[new_id], found[old_id]
    if new.artifact_id == old.artifact_id:
        raise Conflict(f"artifact {old.artifact_id} cannot supersede itself")
    if new.artifact_type != old.artifact_type:
        raise Conflict(
            f"{new.artifact_id} is {new.artifact_type}, {old.artifact_id} is {old.artifact_type}:"
            " an artifact supersedes one of its own type"
        )
    for one in (old, new):
        if one.status != "active":
            raise Conflict(f"artifact {one.artifact_id} is {one.status}, not active")
    connection.execute(
        update(artifacts)
        .where(artifacts.c.artifact_id == old.artifact_id)
        .values(status="superseded")
    )
    connection.execute(
        supersedes.insert().values(
            new_id=new.artifact_id, old_id=old.artifact_id, at=to_us(at), reason=reason
        )
    )


def tombstone(connection: Connection, artifact_id: str, reason: str, *, at: datetime) -> None:
    """See the port. The artifact leaves its heads; tombstoning twice changes nothing."""
    artifact = resolve(connection, [artifact_id])[artifact_id]
    if artifact.status == "tombstoned":
        return
    if PIN_TAG in artifact.tags:
        raise Conflict(f"artifact {artifact.artifact_id} has the tag {PIN_TAG!r}: it is kept")
    pins = list(
        connection.scalars(
            select(experiments.c.experiment_id)
            .join(input_set_members, input_set_members.c.input_set_id == experiments.c.input_set_id)
            .where(input_set_members.c.artifact_id == artifact.artifact_id)
            .order_by(experiments.c.experiment_id)
            .limit(4)
        )
    )
    if pins:
        more = ", ..." if len(pins) > 3 else ""
        raise Conflict(
            f"artifact {artifact.artifact_id} is an input of {', '.join(pins[:3])}{more}:"
            " what an experiment used is kept"
        )
    connection.execute(
        update(artifacts)
        .where(artifacts.c.artifact_id == artifact.artifact_id)
        .values(status="tombstoned")
    )
    connection.execute(
        tombstones.insert().values(artifact_id=artifact.artifact_id, at=to_us(at), reason=reason)
    )
    _leave_heads(connection, artifact.artifact_id)


def freeze_inputs(connection: Connection, ids: Iterable[str], *, at: datetime) -> str:
    """See the port."""
    asked = list(dict.fromkeys(ids))
    found = resolve(connection, asked)
    members = sorted({artifact.artifact_id for artifact in found.values()})
    name = input_set_id_of(members)
    known = connection.execute(
        insert_missing(input_sets).values(input_set_id=name, created_at=to_us(at))
    )
    if known.rowcount and members:
        connection.execute(
            input_set_members.insert(),
            [{"input_set_id": name, "artifact_id": member} for member in members],
        )
    return name


def _leave_heads(connection: Connection, artifact_id: str) -> None:
    held = connection.execute(
        select(partition_heads.c.asset, partition_heads.c.partition).where(
            partition_heads.c.artifact_id == artifact_id
        )
    ).all()
    connection.execute(delete(partition_heads).where(partition_heads.c.artifact_id == artifact_id))
    for head in held:
        this = (
            partition_heads.c.asset == head.asset,
            partition_heads.c.partition == head.partition,
        )
        if connection.execute(select(partition_heads).where(*this).limit(1)).first() is None:
            connection.execute(
                partition_heads.insert().values(
                    asset=head.asset, partition=head.partition, artifact_id=None
                )
            )

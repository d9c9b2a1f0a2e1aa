"""Changes to artifacts that are there: superseding, tombstoning, freezing sets of them.

Each is one transaction on the manifest; no file changes. How artifacts arrive is said in
`publish_batch`.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, select, update

from quantlab_assets.adapters.manifest.changes.heads import leave_heads
from quantlab_assets.adapters.manifest.changes.insert import insert_input_sets, insert_tombstones
from quantlab_assets.adapters.manifest.changes.succession import Supersession, record_supersessions
from quantlab_assets.adapters.manifest.rows import resolve
from quantlab_assets.adapters.manifest.tables import artifacts, experiments, input_set_members
from quantlab_assets.domain.artifacts.identity import input_set_id_of
from quantlab_assets.domain.errors import Conflict

PIN_TAG = "pin"
"""An artifact with this tag is kept: it cannot be tombstoned, nor its bytes collected."""


def supersede(
    connection: Connection, new_id: str, old_id: str, *, reason: str, at: datetime
) -> None:
    """See the port."""
    by_id = resolve(connection, [new_id, old_id])
    new, old = by_id[new_id], by_id[old_id]
    if new.artifact_id == old.artifact_id:
        raise Conflict(f"artifact {old.artifact_id} cannot supersede itself")
    if new.artifact_type != old.artifact_type:
        raise Conflict(
            f"{new.artifact_id} is {new.artifact_type}, {old.artifact_id} is {old.artifact_type}:"
            " an artifact supersedes one of its own type"
        )
    for artifact in (old, new):
        if artifact.status != "active":
            raise Conflict(f"artifact {artifact.artifact_id} is {artifact.status}, not active")
    record_supersessions(connection, [Supersession(old.artifact_id, new.artifact_id, at, reason)])


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
    insert_tombstones(connection, [(artifact.artifact_id, at, reason)])
    leave_heads(connection, artifact.artifact_id)


def freeze_inputs(connection: Connection, ids: Iterable[str], *, at: datetime) -> str:
    """See the port."""
    asked = list(dict.fromkeys(ids))
    by_id = resolve(connection, asked)
    members = sorted({artifact.artifact_id for artifact in by_id.values()})
    name = input_set_id_of(members)
    insert_input_sets(connection, {name: (members, at)})
    return name

"""Who is active under a key, and who takes whose place: the one rule, and how it is written down.

Of the artifacts under one key, of all schema versions together, one is active, unless their type
keeps many. An artifact that arrives takes the place of what is active, but for two cases, in which
it yields and arrives as superseded: what is active has a newer schema version (readers would lose
what that added), or what arrives may displace nothing (a bundle from another lake). Either way a
row of `supersedes` says so.

    active under chat=7/day=2025-05-01: A.  B is published: B active, A superseded by B.
    The same B from a bundle:               A active, B superseded by A.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, update

from quantlab_assets.adapters.manifest.engine import in_lists
from quantlab_assets.adapters.manifest.tables import artifacts, supersedes
from quantlab_assets.domain.artifacts.records import Artifact, Status
from quantlab_assets.domain.time_us import to_us

Key = tuple[str, str]
"""Type and logical key: what one artifact at a time is active under."""


@dataclass(frozen=True, slots=True)
class Active:
    """Who is active under a key, and in which schema version."""

    artifact_id: str
    schema_version: int


@dataclass(frozen=True, slots=True)
class Supersession:
    """An artifact left its place to another; `new_id` None: nothing took it."""

    old_id: str
    new_id: str | None
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Succession:
    """What arrivals come to: the status of each; whose places each newcomer took; and to whom each
    yielded that did not become active."""

    statuses: Mapping[str, Status]
    displaced: Mapping[str, tuple[str, ...]]
    yielded: Mapping[str, str]


def key_of(artifact: Artifact) -> Key:
    """What the artifact competes for."""
    return artifact.artifact_type, artifact.logical_key


def active_by_key(connection: Connection, keys: Iterable[Key]) -> dict[Key, list[Active]]:
    """What is active under the keys, of whichever schema version, in the order it came."""
    by_type: dict[str, list[str]] = {}
    for artifact_type, logical_key in keys:
        by_type.setdefault(artifact_type, []).append(logical_key)
    active: dict[Key, list[Active]] = {}
    for artifact_type, logical_keys in by_type.items():
        for some in in_lists(logical_keys):
            query = select(
                artifacts.c.logical_key, artifacts.c.artifact_id, artifacts.c.schema_version
            ).where(
                artifacts.c.artifact_type == artifact_type,
                artifacts.c.logical_key.in_(some),
                artifacts.c.status == "active",
            )
            for row in connection.execute(query.order_by(artifacts.c.sequence)):
                active.setdefault((artifact_type, row.logical_key), []).append(
                    Active(row.artifact_id, row.schema_version)
                )
    return active


def decide(
    arrivals: Iterable[Artifact], active: Mapping[Key, Sequence[Active]], *, displaces: bool
) -> Succession:
    """What becomes of artifacts that arrive one after the other, and of what is active.

    An arrival whose status is not `active` keeps it and takes no place. Without `displaces` an
    arrival takes the place of another arrival only.
    """
    holders = {key: list(several) for key, several in active.items()}
    statuses: dict[str, Status] = {}
    displaced: dict[str, tuple[str, ...]] = {}
    yielded: dict[str, str] = {}
    for artifact in arrivals:
        own, key = artifact.artifact_id, key_of(artifact)
        arrived = artifact.status == "active" and own not in statuses
        statuses.setdefault(own, artifact.status)
        if not arrived or artifact.keeps_many:
            continue
        others = [holder for holder in holders.get(key, ()) if holder.artifact_id != own]
        newest = max(others, key=_by_version, default=None)
        if newest is not None and (
            newest.schema_version > artifact.schema_version
            or not (displaces or all(holder.artifact_id in statuses for holder in others))
        ):
            statuses[own] = "superseded"
            yielded[own] = newest.artifact_id
            continue
        if others:
            displaced[own] = tuple(holder.artifact_id for holder in others)
            statuses |= dict.fromkeys(displaced[own], "superseded")
        holders[key] = [Active(own, artifact.schema_version)]
    return Succession(statuses, displaced, yielded)


def _by_version(holder: Active) -> int:
    return holder.schema_version


def record_supersessions(connection: Connection, supersessions: Sequence[Supersession]) -> None:
    """Take artifacts that are there out of their places, and say why."""
    mark_superseded(connection, [supersession.old_id for supersession in supersessions])
    write_supersessions(connection, supersessions)


def mark_superseded(connection: Connection, ids: Iterable[str]) -> None:
    """The active ones among the artifacts are superseded."""
    _set_status(connection, ids, "superseded", only_if="active")


def mark_active(connection: Connection, ids: Iterable[str]) -> None:
    """The superseded ones among the artifacts are active again; their places must be free."""
    _set_status(connection, ids, "active", only_if="superseded")


def write_supersessions(connection: Connection, supersessions: Sequence[Supersession]) -> None:
    """Who left its place to whom; all of them must be in the manifest."""
    rows = [
        {
            "new_id": supersession.new_id,
            "old_id": supersession.old_id,
            "at": to_us(supersession.at),
            "reason": supersession.reason,
        }
        for supersession in supersessions
    ]
    if rows:
        connection.execute(supersedes.insert(), rows)


def _set_status(
    connection: Connection, ids: Iterable[str], status: Status, *, only_if: Status
) -> None:
    rows = [{"id": artifact_id} for artifact_id in ids]
    if rows:
        connection.execute(
            update(artifacts)
            .where(artifacts.c.artifact_id == bindparam("id"), artifacts.c.status == only_if)
            .values(status=status),
            rows,
        )

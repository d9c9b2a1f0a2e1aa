"""The frozen inputs of experiments: which have been superseded, by what, and who used which.

The rows of the experiments themselves are in `rows`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from sqlalchemy import Connection, func, select

from quantlab_assets.adapters.manifest.changes.succession import active_by_key
from quantlab_assets.adapters.manifest.engine import in_lists
from quantlab_assets.adapters.manifest.tables import (
    artifacts,
    experiments,
    input_set_members,
    supersedes,
)


def superseded_members(connection: Connection, input_set_id: str) -> Mapping[str, str | None]:
    """The members of a frozen set that have been superseded, each with what took its place."""
    of_this = select(input_set_members.c.artifact_id).where(
        input_set_members.c.input_set_id == input_set_id,
        input_set_members.c.artifact_id == artifacts.c.artifact_id,
    )
    gone = connection.execute(
        select(artifacts.c.artifact_id, artifacts.c.artifact_type, artifacts.c.logical_key)
        .where(artifacts.c.status == "superseded", of_this.exists())
        .order_by(artifacts.c.artifact_id)
    ).all()
    followed = _followed(connection, [row.artifact_id for row in gone])
    # Put back under its key after it had left its partition: no row tells of that.
    keys = {
        row.artifact_id: (row.artifact_type, row.logical_key)
        for row in gone
        if followed[row.artifact_id] is None
    }
    active = active_by_key(connection, keys.values())
    again = {old: active[key][-1].artifact_id for old, key in keys.items() if key in active}
    return {**followed, **again}


def sets_that_hold(
    connection: Connection, artifact_ids: Iterable[str], match: Literal["any", "all"]
) -> list[str]:
    """The frozen inputs of experiments that have any (or all) of the artifacts, sorted."""
    wanted = sorted(set(artifact_ids))
    member = input_set_members.c
    matches: dict[str, int] = {}
    for ids in in_lists(wanted):
        counts = (
            select(member.input_set_id, func.count())
            .where(member.artifact_id.in_(ids))
            .where(member.input_set_id.in_(select(experiments.c.input_set_id)))
            .group_by(member.input_set_id)
        )
        for set_id, count in connection.execute(counts).all():
            matches[set_id] = matches.get(set_id, 0) + count
    return sorted(s for s, count in matches.items() if match == "any" or count == len(wanted))


def _followed(connection: Connection, ids: Sequence[str]) -> dict[str, str | None]:
    """What stands at the end of the chain of replacements of each superseded artifact."""
    ends: dict[str, str | None] = dict.fromkeys(ids)
    at = {old_id: old_id for old_id in ids}
    seen: set[str] = set()
    while at:
        after = _replaced_by(connection, set(at.values()))
        seen |= set(at.values())
        at = {
            old_id: new
            for old_id, place in at.items()
            if (new := after.get(place)) and new not in seen
        }
        active: set[str] = set()
        for some in in_lists(at.values()):
            active.update(
                connection.scalars(
                    select(artifacts.c.artifact_id).where(
                        artifacts.c.artifact_id.in_(some), artifacts.c.status == "active"
                    )
                )
            )
        ends |= {old_id: place for old_id, place in at.items() if place in active}
        at = {old_id: place for old_id, place in at.items() if place not in active}
    return ends


def _replaced_by(connection: Connection, ids: set[str]) -> dict[str, str | None]:
    """The newest replacement of each; None where it was only no longer produced."""
    replacements: dict[str, str | None] = {}
    for some in in_lists(sorted(ids)):
        newest = (
            select(func.max(supersedes.c.supersede_id))
            .where(supersedes.c.old_id.in_(some))
            .group_by(supersedes.c.old_id)
        )
        for row in connection.execute(
            select(supersedes.c.old_id, supersedes.c.new_id).where(
                supersedes.c.supersede_id.in_(newest)
            )
        ):
            replacements[row.old_id] = row.new_id
    return replacements

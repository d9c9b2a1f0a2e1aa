"""How artifacts, publications and what they name are written down: one function for each.

Whoever adds to the manifest (a publish batch, a rebuild, a bundle) calls these in the order of this
file, in one transaction; rows refer to rows that were written before them. All statements are
set-based: a thousand artifacts cost a handful of them. What is checked before is not said here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, bindparam, func, select, update

from quantlab_assets.adapters.manifest.changes.succession import (
    Succession,
    Supersession,
    mark_active,
    mark_superseded,
    write_supersessions,
)
from quantlab_assets.adapters.manifest.engine import insert_missing, insert_or_set
from quantlab_assets.adapters.manifest.rows import existing_input_sets
from quantlab_assets.adapters.manifest.tables import (
    artifact_tags,
    artifacts,
    input_set_members,
    input_sets,
    lineage,
    publication_sources,
    publications,
    sources,
    tombstones,
)
from quantlab_assets.domain.artifacts.identity import canonical_json
from quantlab_assets.domain.artifacts.records import (
    Artifact,
    LineageInput,
    Provenance,
    SourceFile,
    Status,
)
from quantlab_assets.domain.time_us import to_us


@dataclass(frozen=True, slots=True)
class Event:
    """A publication, as it is written down: of which artifact, by whom, when, made from what.

    `deduped`: the artifact was there already. `params_json` and `environment_json` are the
    provenance's params and environment as canonical JSON.
    """

    artifact_id: str
    deduped: bool
    writer_name: str
    writer_version: str
    run_id: str | None
    step: str | None
    git_commit: str | None
    git_dirty: bool | None
    git_diff_hash: str | None
    params_json: str
    environment_json: str
    created_at: datetime
    inputs: Sequence[LineageInput] = ()
    sources: Sequence[SourceFile] = ()

    @classmethod
    def of(
        cls,
        artifact_id: str,
        provenance: Provenance,
        *,
        at: datetime,
        deduped: bool,
        inputs: Sequence[LineageInput] = (),
        sources: Sequence[SourceFile] = (),
    ) -> "Event":
        """The event that a provenance describes.

        Raises ValueError, TypeError, OverflowError or RecursionError for params or an environment
        that is no plain JSON.
        """
        return cls(
            artifact_id=artifact_id,
            deduped=deduped,
            writer_name=provenance.writer_name,
            writer_version=provenance.writer_version,
            run_id=provenance.run_id,
            step=provenance.step,
            git_commit=provenance.git_commit,
            git_dirty=provenance.git_dirty,
            git_diff_hash=provenance.git_diff_hash,
            params_json=canonical_json(dict(provenance.params)).decode(),
            environment_json=canonical_json(dict(provenance.environment)).decode(),
            created_at=at,
            inputs=inputs,
            sources=sources,
        )


def insert_artifacts(
    connection: Connection,
    arrivals: Sequence[Artifact],
    there: Mapping[str, Artifact],
    succession: Succession,
    *,
    reason: str,
    yield_reason: str = "earlier_version",
    at: datetime | None = None,
) -> None:
    """Insert the arrivals that are not `there`, bring those back to life that are, and put both
    into the places that the succession gives them.

    `reason` says why a newcomer took a place, `yield_reason` why one took none. `at` is when, by
    default when the artifact that arrives was made.
    """
    new = {
        artifact.artifact_id: artifact for artifact in arrivals if artifact.artifact_id not in there
    }
    left = [(old, newcomer) for newcomer, olds in succession.displaced.items() for old in olds]
    gone = [old for old, _ in left] + list(succession.yielded)
    mark_superseded(connection, [old for old in gone if old not in new])
    last = connection.execute(select(func.max(artifacts.c.sequence))).scalar_one() or 0
    _insert(
        connection,
        artifacts,
        (
            _artifact_row(artifact, last + i, succession.statuses[artifact.artifact_id])
            for i, artifact in enumerate(new.values(), 1)
        ),
    )
    mark_active(
        connection,
        {
            artifact.artifact_id
            for artifact in arrivals
            if artifact.artifact_id in there
            and there[artifact.artifact_id].status == "superseded"
            and succession.statuses[artifact.artifact_id] == "active"
        },
    )
    made_at = {artifact.artifact_id: artifact.created_at for artifact in arrivals}
    write_supersessions(
        connection,
        [
            *(Supersession(old, by, at or made_at[by], reason) for old, by in left),
            *(
                Supersession(old, to, at or made_at[old], yield_reason)
                for old, to in succession.yielded.items()
                # What was superseded before has its reason already.
                if old in new or there[old].status == "active"
            ),
        ],
    )


def set_files(connection: Connection, stored: Iterable[Artifact]) -> None:
    """The artifacts have files again, with these hashes and sizes."""
    rows = [
        {"id": artifact.artifact_id, "hash": artifact.file_hash, "bytes": artifact.file_size}
        for artifact in stored
    ]
    if rows:
        connection.execute(
            update(artifacts)
            .where(artifacts.c.artifact_id == bindparam("id"))
            .values(file_hash=bindparam("hash"), file_size=bindparam("bytes"), purged_at=None),
            rows,
        )


def insert_input_sets(
    connection: Connection, sets: Mapping[str, tuple[Sequence[str], datetime]]
) -> None:
    """Frozen sets by name, with their members and when they were frozen; known ones stay."""
    known = existing_input_sets(connection, sets)
    new = {name: frozen for name, frozen in sets.items() if name not in known}
    _insert(
        connection,
        input_sets,
        (
            {"input_set_id": name, "created_at": to_us(frozen_at)}
            for name, (_, frozen_at) in new.items()
        ),
    )
    _insert(
        connection,
        input_set_members,
        (
            {"input_set_id": name, "artifact_id": member}
            for name, (members, _) in new.items()
            for member in members
        ),
    )


def insert_publications(connection: Connection, events: Sequence[Event]) -> list[int]:
    """Publications with their lineage and sources; returns their numbers, in order.

    A raw file that is known keeps the name it came with first.
    """
    last = connection.execute(select(func.max(publications.c.publication_id))).scalar_one() or 0
    numbers = list(range(last + 1, last + 1 + len(events)))
    numbered = list(zip(numbers, events, strict=True))
    _insert(connection, publications, (_publication_row(n, event) for n, event in numbered))
    _insert(connection, lineage, (row for n, event in numbered for row in _lineage_rows(n, event)))
    named = {raw.sha256: raw for event in events for raw in event.sources}
    _insert(
        connection,
        sources,
        (
            {"sha256": raw.sha256, "name": raw.name, "size": raw.size, "kind": raw.kind}
            for raw in named.values()
        ),
        leave_known=True,
    )
    _insert(
        connection,
        publication_sources,
        (
            {"publication_id": number, "sha256": raw.sha256}
            for number, event in numbered
            for raw in event.sources
        ),
        leave_known=True,
    )
    return numbers


def insert_tags(
    connection: Connection, tags: Iterable[tuple[str, Mapping[str, str]]], *, replace: bool
) -> None:
    """Tags of artifacts; where an artifact has a tag of that name, the new value takes its place
    or (`replace` False) the value that is there stays."""
    rows = [
        {"artifact_id": artifact_id, "k": name, "v": value}
        for artifact_id, named in tags
        for name, value in named.items()
    ]
    if rows and replace:
        connection.execute(insert_or_set(artifact_tags, ("artifact_id", "k"), ("v",)), rows)
    else:
        _insert(connection, artifact_tags, rows, leave_known=True)


def insert_tombstones(connection: Connection, graves: Iterable[tuple[str, datetime, str]]) -> None:
    """Why artifacts that have the status `tombstoned` were hidden, and when."""
    _insert(
        connection,
        tombstones,
        (
            {"artifact_id": artifact_id, "at": to_us(at), "reason": reason}
            for artifact_id, at, reason in graves
        ),
    )


def _artifact_row(artifact: Artifact, sequence: int, status: Status) -> dict[str, Any]:
    return {
        "artifact_id": artifact.artifact_id,
        "sequence": sequence,
        "artifact_type": artifact.artifact_type,
        "schema_version": artifact.schema_version,
        "logical_key": artifact.logical_key,
        "status": status,
        "keeps_many": artifact.keeps_many,
        "path": artifact.path,
        "file_hash": artifact.file_hash,
        "file_size": artifact.file_size,
        "content_hash": artifact.content_hash,
        "row_count": artifact.row_count,
        "min_ts": None if artifact.min_ts is None else to_us(artifact.min_ts),
        "max_ts": None if artifact.max_ts is None else to_us(artifact.max_ts),
        "created_at": to_us(artifact.created_at),
        "purged_at": None if artifact.purged_at is None else to_us(artifact.purged_at),
    }


def _publication_row(number: int, event: Event) -> dict[str, Any]:
    return {
        "publication_id": number,
        "artifact_id": event.artifact_id,
        "deduped": event.deduped,
        "run_id": event.run_id,
        "step": event.step,
        "writer_name": event.writer_name,
        "writer_version": event.writer_version,
        "git_commit": event.git_commit,
        "git_dirty": event.git_dirty,
        "git_diff_hash": event.git_diff_hash,
        "params_json": event.params_json,
        "environment_json": event.environment_json,
        "created_at": to_us(event.created_at),
    }


def _lineage_rows(number: int, event: Event) -> list[dict[str, Any]]:
    roles: dict[tuple[str | None, str | None], str] = {}
    for made_from in event.inputs:
        place = (made_from.artifact_id, made_from.input_set_id)
        # What was loaded and declared was loaded.
        if roles.get(place) != "loaded":
            roles[place] = made_from.role
    return [
        {
            "publication_id": number,
            "input_artifact_id": artifact_id,
            "input_set_id": set_id,
            "role": role,
        }
        for (artifact_id, set_id), role in roles.items()
    ]


def _insert(
    connection: Connection,
    table: Table,
    rows: Iterable[dict[str, Any]],
    *,
    leave_known: bool = False,
) -> None:
    several = list(rows)
    if several:
        connection.execute(insert_missing(table) if leave_known else table.insert(), several)

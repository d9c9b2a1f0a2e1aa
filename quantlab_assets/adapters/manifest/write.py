"""The transaction of a publish batch: everything the manifest has to say about it, or nothing.

All statements are set-based; a batch of a thousand artifacts costs a handful of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, update

from quantlab_assets.adapters.manifest.engine import (
    in_lists,
    insert_missing,
    insert_or_set,
)
from quantlab_assets.adapters.manifest.rows import (
    artifacts_by_id,
    existing_ids,
    existing_input_sets,
    require,
)
from quantlab_assets.adapters.manifest.tables import (
    artifact_tags,
    artifacts,
    input_set_members,
    lineage,
    partition_heads,
    publication_sources,
    publications,
    sources,
    supersedes,
)
from quantlab_assets.domain.artifacts.identity import canonical_json
from quantlab_assets.domain.artifacts.records import (
    SHA256,
    Artifact,
    HeadReplacement,
    PartitionRef,
    PublishRequest,
    PublishResult,
    Unset,
)
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.errors import Conflict, NotFound, ValidationFailed
from quantlab_assets.domain.time_us import to_us

_Key = tuple[str, str]
"""Type and logical key: of all schema versions together one artifact is active."""


@dataclass(frozen=True, slots=True)
class _Active:
    artifact_id: str
    schema_version: int


@dataclass(frozen=True, slots=True)
class Draft:
    """What a request comes to. With `has_new_file`, its file was written or adopted just now."""

    artifact: Artifact
    has_new_file: bool


class FileNeeded(Exception):  # noqa: N818
    """A file that was there at the look has been purged since: the batch must be prepared again."""


class Recording:
    """One batch: its requests, the heads it replaces, the time it bears.

    `look` is asked before the files are written, so that what must fail fails early; `record` asks
    everything again inside the write transaction, where nothing can change any more.
    """

    def __init__(
        self,
        requests: Sequence[PublishRequest],
        heads: Sequence[HeadReplacement],
        types: TypeRegistry,
        now: datetime,
    ) -> None:
        self.now = now
        self._types = types
        self._requests = requests
        self._heads = heads
        self._looked: list[Artifact] = []
        _check_heads(requests, heads)
        for request in requests:
            _check_request(request)
        self._params = [_json(request.provenance.params, request) for request in requests]
        self._environments = [
            _json(request.provenance.environment, request) for request in requests
        ]

    def look(self, connection: Connection, artifacts: Sequence[Artifact]) -> dict[str, Artifact]:
        """Which of the next artifacts of the batch exist. Raises as `record` would now, but for
        heads."""
        there = artifacts_by_id(connection, (one.artifact_id for one in artifacts))
        start = len(self._looked)
        self._looked += artifacts
        self._check(connection, self._looked, start, there)
        return there

    def record(self, connection: Connection, drafts: Sequence[Draft]) -> list[PublishResult]:
        """Write the batch. Raises `Conflict`, `NotFound`, `ValidationFailed`."""
        made = [draft.artifact for draft in drafts]
        there = artifacts_by_id(connection, (one.artifact_id for one in made))
        active = self._check(connection, made, 0, there)
        self._check_head_expectations(connection, made)
        newer = _newer_versions(made, active)
        self._refuse_heads_of_earlier_versions(made, newer)

        replaced = _replaced(made, active, newer)
        _set_superseded(connection, [old for several in replaced.values() for old in several])
        _set_superseded(connection, list(newer))
        deduped = self._write_artifacts(connection, drafts, there, newer)
        self._write_supersedes(connection, replaced, newer, there)
        ids = self._write_publications(connection, made, deduped)
        self._write_lineage(connection, ids)
        self._write_sources(connection, ids)
        self._write_tags(connection, made)
        self._write_heads(connection, made)

        stored = artifacts_by_id(connection, (one.artifact_id for one in made))
        return [
            PublishResult(
                artifact=stored[one.artifact_id],
                publication_id=ids[i],
                deduped=deduped[i],
                superseded=replaced.get(one.artifact_id, ()),
                superseded_by=newer.get(one.artifact_id),
            )
            for i, one in enumerate(made)
        ]

    def _check(
        self,
        connection: Connection,
        made: Sequence[Artifact],
        start: int,
        there: Mapping[str, Artifact],
    ) -> dict[_Key, list[_Active]]:
        """Check the batch from position `start` on; returns what is active under its keys."""
        active = _active_by_key(connection, map(_key, made[start:]))
        _refuse_tombstoned(there)
        _refuse_rivals(made)
        for request, one in zip(self._requests[start:], made[start:], strict=False):
            ids = [held.artifact_id for held in active.get(_key(one), ())]
            _check_expected_active(request, one, ids)
        _check_inputs(connection, self._requests, made, start)
        return active

    def _check_head_expectations(self, connection: Connection, made: Sequence[Artifact]) -> None:
        for head in self._heads:
            if isinstance(head.expected, Unset):
                continue
            current = _head(connection, head.ref)
            if current not in (head.expected, self._members(head.ref, made)):
                raise Conflict(
                    f"{head.ref.asset} {head.ref.partition!r} has another head by now:"
                    " read it again, then publish again"
                )

    def _refuse_heads_of_earlier_versions(
        self, made: Sequence[Artifact], newer: Mapping[str, str]
    ) -> None:
        for request, one in zip(self._requests, made, strict=True):
            if request.head is not None and one.artifact_id in newer:
                raise Conflict(
                    f"{one.artifact_type} {one.logical_key}: {newer[one.artifact_id]} of a newer"
                    f" schema version is active, so one of version {one.schema_version} cannot be"
                    f" in the head of {request.head.asset} {request.head.partition!r}"
                )

    def _members(self, ref: PartitionRef, made: Sequence[Artifact]) -> frozenset[str]:
        return frozenset(
            one.artifact_id
            for request, one in zip(self._requests, made, strict=True)
            if request.head == ref
        )

    def _write_artifacts(
        self,
        connection: Connection,
        drafts: Sequence[Draft],
        there: Mapping[str, Artifact],
        newer: Mapping[str, str],
    ) -> list[bool]:
        """Insert what is new, bring back what is known, but for what has a newer version; says for
        each draft if it was known."""
        sequence = connection.execute(select(func.max(artifacts.c.sequence))).scalar_one() or 0
        new: dict[str, dict[str, Any]] = {}
        known: list[dict[str, Any]] = []
        files: list[dict[str, Any]] = []
        deduped: list[bool] = []
        for draft in drafts:
            one = draft.artifact
            before = there.get(one.artifact_id)
            deduped.append(before is not None or one.artifact_id in new)
            if before is None and not draft.has_new_file:
                raise FileNeeded
            if before is None:
                status = "superseded" if one.artifact_id in newer else "active"
                row = {**_artifact_row(one, sequence + len(new) + 1), "status": status}
                new.setdefault(one.artifact_id, row)
                continue
            if before.status == "superseded" and one.artifact_id not in newer:
                known.append({"id": one.artifact_id})
            if draft.has_new_file:
                files.append({"id": one.artifact_id, "hash": one.file_hash, "bytes": one.file_size})
            elif before.purged_at is not None:
                raise FileNeeded
        if new:
            connection.execute(artifacts.insert(), list(new.values()))
        this = artifacts.c.artifact_id == bindparam("id")
        if known:
            connection.execute(update(artifacts).where(this).values(status="active"), known)
        if files:
            connection.execute(
                update(artifacts)
                .where(this)
                .values(file_hash=bindparam("hash"), file_size=bindparam("bytes"), purged_at=None),
                files,
            )
        return deduped

    def _write_supersedes(
        self,
        connection: Connection,
        replaced: Mapping[str, Sequence[str]],
        newer: Mapping[str, str],
        there: Mapping[str, Artifact],
    ) -> None:
        pairs = [(new, old, "republished") for new, several in replaced.items() for old in several]
        pairs += [
            (new, old, "earlier_version")
            for old, new in newer.items()
            if old not in there or there[old].status == "active"
        ]
        rows = [
            {"new_id": new, "old_id": old, "at": to_us(self.now), "reason": reason}
            for new, old, reason in pairs
        ]
        if rows:
            connection.execute(supersedes.insert(), rows)

    def _write_publications(
        self, connection: Connection, made: Sequence[Artifact], deduped: Sequence[bool]
    ) -> list[int]:
        last = connection.execute(select(func.max(publications.c.publication_id))).scalar_one() or 0
        rows = []
        for i, (request, one) in enumerate(zip(self._requests, made, strict=True)):
            provenance = request.provenance
            rows.append(
                {
                    "publication_id": last + 1 + i,
                    "artifact_id": one.artifact_id,
                    "deduped": deduped[i],
                    "run_id": provenance.run_id,
                    "step": provenance.step,
                    "writer_name": provenance.writer_name,
                    "writer_version": provenance.writer_version,
                    "git_commit": provenance.git_commit,
                    "git_dirty": provenance.git_dirty,
                    "git_diff_hash": provenance.git_diff_hash,
                    "params_json": self._params[i],
                    "environment_json": self._environments[i],
                    "created_at": to_us(self.now),
                }
            )
        if rows:
            connection.execute(publications.insert(), rows)
        return list(range(last + 1, last + 1 + len(rows)))

    def _write_lineage(self, connection: Connection, ids: Sequence[int]) -> None:
        rows = []
        for publication_id, request in zip(ids, self._requests, strict=True):
            roles: dict[tuple[str | None, str | None], str] = {}
            for one in request.inputs:
                place = (one.artifact_id, one.input_set_id)
                # What was loaded and declared was loaded.
                if roles.get(place) != "loaded":
                    roles[place] = one.role
            rows += [
                {
                    "publication_id": publication_id,
                    "input_artifact_id": artifact_id,
                    "input_set_id": set_id,
                    "role": role,
                }
                for (artifact_id, set_id), role in roles.items()
            ]
        if rows:
            connection.execute(lineage.insert(), rows)

    def _write_sources(self, connection: Connection, ids: Sequence[int]) -> None:
        named = {raw.sha256: raw for request in self._requests for raw in request.sources}
        if not named:
            return
        connection.execute(
            insert_missing(sources),
            [
                {"sha256": raw.sha256, "name": raw.name, "size": raw.size, "kind": raw.kind}
                for raw in named.values()
            ],
        )
        connection.execute(
            insert_missing(publication_sources),
            [
                {"publication_id": publication_id, "sha256": raw.sha256}
                for publication_id, request in zip(ids, self._requests, strict=True)
                for raw in request.sources
            ],
        )

    def _write_tags(self, connection: Connection, made: Sequence[Artifact]) -> None:
        rows = [
            {"artifact_id": one.artifact_id, "k": name, "v": value}
            for request, one in zip(self._requests, made, strict=True)
            for name, value in request.tags.items()
        ]
        if rows:
            connection.execute(insert_or_set(artifact_tags, ("artifact_id", "k"), ("v",)), rows)

    def _write_heads(self, connection: Connection, made: Sequence[Artifact]) -> None:
        before: set[str] = set()
        for head in self._heads:
            before |= _head(connection, head.ref) or frozenset()
            connection.execute(
                delete(partition_heads).where(
                    partition_heads.c.asset == head.ref.asset,
                    partition_heads.c.partition == head.ref.partition,
                )
            )
            members: list[str | None] = [*sorted(self._members(head.ref, made))]
            connection.execute(
                partition_heads.insert(),
                [
                    {
                        "asset": head.ref.asset,
                        "partition": head.ref.partition,
                        "artifact_id": member,
                    }
                    for member in members or [None]
                ],
            )
        gone = _active_without_head(connection, before - {one.artifact_id for one in made})
        if gone:
            successors = self._successors(connection, gone)
            _set_superseded(connection, [old.artifact_id for old in gone])
            connection.execute(
                supersedes.insert(),
                [
                    {
                        "new_id": (new := successors.get(old.artifact_id)),
                        "old_id": old.artifact_id,
                        "at": to_us(self.now),
                        "reason": "not_produced" if new is None else "republished",
                    }
                    for old in gone
                ],
            )

    def _successors(self, connection: Connection, gone: Sequence[Artifact]) -> dict[str, str]:
        """For what left its head: what is active under the key that its type's newer version has
        for its data. That a key's grammar changed must not look as if nothing was produced."""
        new_keys: dict[str, _Key] = {}
        for old in gone:
            try:
                newest = self._types.get(old.artifact_type)
                key = newest.key_from(old.schema_version, old.logical_key)
            except (NotFound, ValidationFailed):
                continue  # Of a type or version that this program does not know.
            if newest.schema_version != old.schema_version and key is not None:
                new_keys[old.artifact_id] = (old.artifact_type, key)
        active = _active_by_key(connection, new_keys.values())
        return {
            old: active[key][-1].artifact_id
            for old, key in new_keys.items()
            if any(held.artifact_id != old for held in active.get(key, ()))
        }


def _check_heads(requests: Sequence[PublishRequest], heads: Sequence[HeadReplacement]) -> None:
    replaced = [head.ref for head in heads]
    if len(set(replaced)) != len(replaced):
        raise ValidationFailed("a batch replaces the head of a partition once")
    for request in requests:
        if request.head is not None and request.head not in replaced:
            raise ValidationFailed(
                f"{request.head.asset} {request.head.partition!r}: a request names this head,"
                " so its batch must replace it"
            )


def _check_request(request: PublishRequest) -> None:
    where = f"{request.artifact_type} {request.logical_key[:120]}"
    for name, value in request.tags.items():
        if not name or not isinstance(name, str) or not isinstance(value, str):
            raise ValidationFailed(f"{where}: a tag is a name and a text, not {name!r}={value!r}")
    for raw in request.sources:
        if not SHA256.fullmatch(raw.sha256):
            raise ValidationFailed(f"{where}: source {raw.name!r} needs its sha256:<hex>")
    provenance = request.provenance
    texts = [
        *request.tags,
        *request.tags.values(),
        *(text for raw in request.sources for text in (raw.name, raw.kind)),
        provenance.writer_name,
        provenance.writer_version,
        *(
            text
            for text in (
                provenance.run_id,
                provenance.step,
                provenance.git_commit,
                provenance.git_diff_hash,
            )
            if text is not None
        ),
        *((request.head.asset, request.head.partition) if request.head else ()),
    ]
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValidationFailed(f"{where}: {text!r} is not UTF-8 text") from error


def _key(artifact: Artifact) -> _Key:
    return artifact.artifact_type, artifact.logical_key


def _active_by_key(connection: Connection, keys: Iterable[_Key]) -> dict[_Key, list[_Active]]:
    """What is active under the keys, of whichever schema version, in the order it came."""
    by_type: dict[str, list[str]] = {}
    for artifact_type, logical_key in keys:
        by_type.setdefault(artifact_type, []).append(logical_key)
    active: dict[_Key, list[_Active]] = {}
    for artifact_type, several in by_type.items():
        for some in in_lists(several):
            found = select(
                artifacts.c.logical_key, artifacts.c.artifact_id, artifacts.c.schema_version
            ).where(
                artifacts.c.artifact_type == artifact_type,
                artifacts.c.logical_key.in_(some),
                artifacts.c.status == "active",
            )
            for row in connection.execute(found.order_by(artifacts.c.sequence)):
                active.setdefault((artifact_type, row.logical_key), []).append(
                    _Active(row.artifact_id, row.schema_version)
                )
    return active


def _refuse_tombstoned(there: Mapping[str, Artifact]) -> None:
    for artifact in there.values():
        if artifact.status == "tombstoned":
            raise Conflict(
                f"artifact {artifact.artifact_id} ({artifact.artifact_type}"
                f" {artifact.logical_key}) was tombstoned: its content cannot be published again"
            )


def _refuse_rivals(made: Sequence[Artifact]) -> None:
    """Two contents under one key in one batch: neither is meant to replace the other."""
    chosen: dict[_Key, str] = {}
    for one in made:
        if not one.keeps_many and chosen.setdefault(_key(one), one.artifact_id) != one.artifact_id:
            raise ValidationFailed(
                f"{one.artifact_type} {one.logical_key}: the batch has two contents for this key"
            )


def _check_expected_active(request: PublishRequest, made: Artifact, active: list[str]) -> None:
    """The content itself being active already is no conflict: somebody published the same."""
    if isinstance(request.expected_active, Unset) or made.artifact_id in active:
        return
    if active != ([] if request.expected_active is None else [request.expected_active]):
        raise Conflict(
            f"{request.artifact_type} {request.logical_key}:"
            f" {', '.join(active) or 'no artifact'} is active by now,"
            f" not {request.expected_active or 'none'}; read it again, then publish again"
        )


def _check_inputs(
    connection: Connection,
    requests: Sequence[PublishRequest],
    made: Sequence[Artifact],
    start: int,
) -> None:
    """Every input was there before the publication that names it, so publications have no cycle."""
    named = {
        one.artifact_id: None
        for request in requests[start : len(made)]
        for one in request.inputs
        if one.artifact_id is not None
    }
    sets = {
        one.input_set_id: None
        for request in requests[start : len(made)]
        for one in request.inputs
        if one.input_set_id is not None
    }
    if not named and not sets:
        return
    require(existing_input_sets(connection, sets), sets, "input set")
    known = existing_ids(connection, named) | {one.artifact_id for one in made[:start]}
    members: dict[str, set[str]] = {name: set() for name in sets}
    for some in in_lists(sets):
        own = [one.artifact_id for one in made[start:]]
        for ids in in_lists(own):
            for row in connection.execute(
                select(input_set_members).where(
                    input_set_members.c.input_set_id.in_(some),
                    input_set_members.c.artifact_id.in_(ids),
                )
            ):
                members[row.input_set_id].add(row.artifact_id)
    for request, one in zip(requests[start : len(made)], made[start:], strict=True):
        inputs = [item.artifact_id for item in request.inputs if item.artifact_id is not None]
        through = [item.input_set_id for item in request.inputs if item.input_set_id is not None]
        if one.artifact_id in inputs or any(one.artifact_id in members[name] for name in through):
            raise ValidationFailed(
                f"{one.artifact_type} {one.logical_key}: an artifact cannot be made from itself"
            )
        require(known, inputs)
        known.add(one.artifact_id)


def _head(connection: Connection, ref: PartitionRef) -> frozenset[str] | None:
    members = list(
        connection.scalars(
            select(partition_heads.c.artifact_id).where(
                partition_heads.c.asset == ref.asset, partition_heads.c.partition == ref.partition
            )
        )
    )
    return frozenset(one for one in members if one is not None) if members else None


def _newer_versions(
    made: Sequence[Artifact], active: Mapping[_Key, Sequence[_Active]]
) -> dict[str, str]:
    """For artifacts of a schema version older than what is active under their key: what is.

    An earlier version never displaces a newer one: readers would silently lose what it added.
    """
    newer: dict[str, str] = {}
    for one in made:
        if not one.keeps_many:
            newest = max(active.get(_key(one), ()), key=_by_version, default=None)
            if newest is not None and newest.schema_version > one.schema_version:
                newer[one.artifact_id] = newest.artifact_id
    return newer


def _by_version(held: _Active) -> int:
    return held.schema_version


def _replaced(
    made: Sequence[Artifact],
    active: Mapping[_Key, Sequence[_Active]],
    newer: Mapping[str, str],
) -> dict[str, tuple[str, ...]]:
    """What each artifact takes the place of."""
    return {
        one.artifact_id: others
        for one in made
        if not one.keeps_many and one.artifact_id not in newer
        if (
            others := tuple(
                held.artifact_id
                for held in active.get(_key(one), ())
                if held.artifact_id != one.artifact_id
            )
        )
    }


def _set_superseded(connection: Connection, ids: Sequence[str]) -> None:
    if ids:
        connection.execute(
            update(artifacts)
            .where(artifacts.c.artifact_id == bindparam("id"), artifacts.c.status == "active")
            .values(status="superseded"),
            [{"id": one} for one in ids],
        )


def _active_without_head(connection: Connection, ids: Iterable[str]) -> list[Artifact]:
    candidates = sorted(ids)
    held: set[str] = set()
    for some in in_lists(candidates):
        held.update(
            connection.scalars(
                select(partition_heads.c.artifact_id).where(partition_heads.c.artifact_id.in_(some))
            )
        )
    left = artifacts_by_id(connection, (one for one in candidates if one not in held))
    return [left[one] for one in candidates if one in left and left[one].status == "active"]


def _artifact_row(one: Artifact, sequence: int) -> dict[str, Any]:
    return {
        "artifact_id": one.artifact_id,
        "sequence": sequence,
        "artifact_type": one.artifact_type,
        "schema_version": one.schema_version,
        "logical_key": one.logical_key,
        "status": "active",
        "keeps_many": one.keeps_many,
        "path": one.path,
        "file_hash": one.file_hash,
        "file_size": one.file_size,
        "content_hash": one.content_hash,
        "row_count": one.row_count,
        "min_ts": None if one.min_ts is None else to_us(one.min_ts),
        "max_ts": None if one.max_ts is None else to_us(one.max_ts),
        "created_at": to_us(one.created_at),
        "purged_at": None,
    }


def _json(value: Mapping[str, Any], request: PublishRequest) -> str:
    try:
        return canonical_json(dict(value)).decode()
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValidationFailed(
            f"{request.artifact_type} {request.logical_key[:120]}: params and environment must be"
            f" plain JSON: {error}"
        ) from error

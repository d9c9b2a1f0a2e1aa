"""An `ArtifactStore` in dictionaries: what the real one must behave like, without files or SQL."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from quantlab_assets.domain.artifacts.canonical_order import canonical_table
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.identity import (
    artifact_id_of,
    canonical_json,
    input_set_id_of,
)
from quantlab_assets.domain.artifacts.records import (
    SHA256,
    Artifact,
    ArtifactFilter,
    ArtifactPage,
    HeadReplacement,
    Lineage,
    LineageEdge,
    PartitionRef,
    Publication,
    PublishRequest,
    PublishResult,
    SourceEdge,
    SourceFile,
    Unset,
)
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.upgrade import upgraded_table
from quantlab_assets.domain.artifacts.value_rules import check_values
from quantlab_assets.domain.errors import Conflict, IntegrityError, NotFound, ValidationFailed


@dataclass
class _State:
    """All that the store knows. A batch works on a copy, which takes its place if all went well."""

    artifacts: dict[str, Artifact] = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)
    publications: list[tuple[Publication, PublishRequest]] = field(default_factory=list)
    heads: dict[PartitionRef, frozenset[str]] = field(default_factory=dict)
    input_sets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sources: dict[str, SourceFile] = field(default_factory=dict)
    supersedes: list[tuple[str | None, str, str]] = field(default_factory=list)

    def copy(self) -> "_State":
        return _State(
            dict(self.artifacts),
            dict(self.tables),
            list(self.publications),
            dict(self.heads),
            dict(self.input_sets),
            dict(self.sources),
            list(self.supersedes),
        )


class InMemoryArtifactStore:
    """Implements the port `ArtifactStore`.

    Tests put ids into `pinned` (used by an experiment) and `damaged` (bytes that do not match).
    """

    def __init__(
        self,
        types: TypeRegistry | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.types = types or TypeRegistry()
        self.pinned: set[str] = set()
        self.damaged: set[str] = set()
        self._clock = clock
        self._state = _State()

    def is_available(self) -> bool:
        return True

    def replacements(self) -> dict[str, tuple[str | None, str]]:
        """What took the place of each superseded artifact last, and why."""
        return {old: (new, reason) for new, old, reason in self._state.supersedes}

    def get_artifact(self, artifact_id: str) -> Artifact:
        return self.get_artifacts([artifact_id])[0]

    def get_artifacts(self, artifact_ids: Sequence[str]) -> list[Artifact]:
        missing = [one for one in artifact_ids if one not in self._state.artifacts]
        if missing:
            raise NotFound(f"no artifact {', '.join(map(repr, missing))}")
        return [self._state.artifacts[one] for one in artifact_ids]

    def list_artifacts(
        self,
        where: ArtifactFilter | None = None,
        *,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> ArtifactPage:
        if limit is not None and limit < 1:
            raise ValidationFailed("limit must be 1 or more")
        if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
            raise ValidationFailed("no cursor of a page")
        where = where or ArtifactFilter()
        numbered = list(enumerate(self._state.artifacts.values(), 1))[::-1]
        found = [
            (number, one)
            for number, one in numbered
            if (cursor is None or number < int(cursor)) and _matches(one, where)
        ]
        more = limit is not None and len(found) > limit
        found = found[:limit]
        return ArtifactPage(tuple(one for _, one in found), str(found[-1][0]) if more else None)

    def find_by_logical_key(self, artifact_type: str, logical_key: str) -> list[Artifact]:
        found = [
            one
            for one in reversed(self._state.artifacts.values())
            if (one.artifact_type, one.logical_key) == (artifact_type, logical_key)
        ]
        return sorted(found, key=lambda one: (one.status != "active", -one.schema_version))

    def publish_artifact(self, request: PublishRequest) -> PublishResult:
        return self.publish_many([request])[0]

    def publish_many(
        self, requests: Sequence[PublishRequest], *, heads: Sequence[HeadReplacement] = ()
    ) -> list[PublishResult]:
        now = self._clock()
        _check_heads(requests, heads)
        drafts = [self._draft(request, now) for request in requests]
        _refuse_rivals([artifact for artifact, _ in drafts])
        before, state = self._state, self._state.copy()
        for request, (draft, _) in zip(requests, drafts, strict=True):
            _check_expected_active(before, request, draft)
        new_heads = {
            head.ref: frozenset(
                draft.artifact_id
                for request, (draft, _) in zip(requests, drafts, strict=True)
                if request.head == head.ref
            )
            for head in heads
        }
        for head in heads:
            current = before.heads.get(head.ref)
            if not isinstance(head.expected, Unset) and current not in (
                head.expected,
                new_heads[head.ref],
            ):
                raise Conflict(f"{head.ref} has another head by now")
        results = [
            self._publish(state, before, request, draft, table, now)
            for request, (draft, table) in zip(requests, drafts, strict=True)
        ]
        state.heads |= new_heads
        held = {one for members in state.heads.values() for one in members}
        published = {draft.artifact_id for draft, _ in drafts}
        for head in heads:
            for old in sorted(before.heads.get(head.ref, frozenset()) - held - published):
                if state.artifacts[old].status == "active":
                    successor = self._successor(state, state.artifacts[old])
                    reason = "not_produced" if successor is None else "republished"
                    _set_status(state, old, "superseded")
                    state.supersedes.append((successor, old, reason))
        self._state = state
        return [
            replace(result, artifact=state.artifacts[result.artifact.artifact_id])
            for result in results
        ]

    def get_heads(
        self, asset: str, partitions: Sequence[str]
    ) -> Mapping[str, tuple[Artifact, ...] | None]:
        heads: dict[str, tuple[Artifact, ...] | None] = {}
        for partition in partitions:
            members = self._state.heads.get(PartitionRef(asset, partition))
            heads[partition] = (
                None
                if members is None
                else tuple(
                    sorted(
                        (self._state.artifacts[one] for one in members),
                        key=lambda one: (one.artifact_type, one.logical_key),
                    )
                )
            )
        return heads

    def list_head_partitions(self, asset: str) -> list[str]:
        return sorted(ref.partition for ref in self._state.heads if ref.asset == asset)

    def freeze_inputs(self, artifact_ids: Iterable[str]) -> str:
        members = tuple(sorted(set(artifact_ids)))
        self.get_artifacts(members)
        name = input_set_id_of(members)
        self._state.input_sets[name] = members
        return name

    def get_lineage(
        self, artifact_id: str, *, depth: int | None = None, all_publications: bool = False
    ) -> Lineage:
        self.get_artifact(artifact_id)
        edges = self._edges(first_only=not all_publications)
        walked, found = _walk(artifact_id, depth, lambda one: [e for e in edges if e[0] == one], 1)
        first = {
            p.artifact_id: p.publication_id for p, _ in self._state.publications if not p.deduped
        }
        raw = {
            (publication.artifact_id, source.sha256)
            for publication, request in self._state.publications
            for source in request.sources
            if publication.artifact_id in walked
            and (all_publications or first[publication.artifact_id] == publication.publication_id)
        }
        return self._lineage(artifact_id, found, sorted(raw))

    def get_downstream(self, artifact_id: str, *, depth: int | None = None) -> Lineage:
        self.get_artifact(artifact_id)
        edges = self._edges(first_only=False)
        _, found = _walk(artifact_id, depth, lambda one: [e for e in edges if e[1] == one], 0)
        return self._lineage(artifact_id, found, [])

    def get_sources(self, artifact_ids: Sequence[str]) -> Mapping[str, tuple[SourceFile, ...]]:
        self.get_artifacts(artifact_ids)
        return {
            one: tuple(
                self._state.sources[raw]
                for raw in sorted(
                    {
                        source.sha256
                        for publication, request in self._state.publications
                        for source in request.sources
                        if publication.artifact_id == one
                    }
                )
            )
            for one in artifact_ids
        }

    def get_publications(self, artifact_id: str) -> list[Publication]:
        self.get_artifact(artifact_id)
        return [one for one, _ in self._state.publications if one.artifact_id == artifact_id]

    def latest_publications(self, artifact_ids: Sequence[str]) -> Mapping[str, Publication]:
        return {one: self.get_publications(one)[-1] for one in artifact_ids}

    def supersede(self, new_id: str, old_id: str, *, reason: str = "superseded") -> None:
        new, old = self.get_artifacts([new_id, old_id])
        if new_id == old_id:
            raise Conflict(f"artifact {old_id} cannot supersede itself")
        if new.artifact_type != old.artifact_type:
            raise Conflict("an artifact supersedes one of its own type")
        for artifact in (old, new):
            if artifact.status != "active":
                raise Conflict(f"artifact {artifact.artifact_id} is {artifact.status}, not active")
        _set_status(self._state, old_id, "superseded")
        self._state.supersedes.append((new_id, old_id, reason))

    def tombstone(self, artifact_id: str, reason: str) -> None:
        artifact = self.get_artifact(artifact_id)
        if artifact.status == "tombstoned":
            return
        if artifact_id in self.pinned or "pin" in artifact.tags:
            raise Conflict(f"artifact {artifact_id} is pinned")
        _set_status(self._state, artifact_id, "tombstoned")
        for ref, members in self._state.heads.items():
            self._state.heads[ref] = members - {artifact_id}

    def open(
        self, artifact_id: str, *, verify: bool = False, as_stored: bool = False
    ) -> ds.Dataset:
        if not as_stored:
            return self.open_many([artifact_id], verify=verify)
        if verify:
            self.verify_artifacts([artifact_id])
        self.get_artifact(artifact_id)
        return ds.dataset(self._state.tables[artifact_id])

    def open_many(self, artifact_ids: Sequence[str], *, verify: bool = False) -> ds.Dataset:
        found = self.get_artifacts(artifact_ids)
        if len({one.artifact_type for one in found}) != 1:
            raise ValidationFailed("artifacts opened together must be of one type")
        if verify:
            self.verify_artifacts(artifact_ids)
        return ds.dataset(pa.concat_tables(map(self._as_newest, found)))

    def _as_newest(self, artifact: Artifact) -> pa.Table:
        newest = self.types.get(artifact.artifact_type)
        table = self._state.tables[artifact.artifact_id]
        if artifact.schema_version == newest.schema_version:
            return table
        return canonical_table(upgraded_table(table, newest, artifact.schema_version), newest)

    def read_verified(
        self, artifact_ids: Sequence[str], columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        table = self.open_many(artifact_ids, verify=True).to_table()
        unknown = sorted(set(columns or ()) - set(table.column_names))
        if unknown:
            raise ValidationFailed(f"no such column: {unknown[0]}")
        return pl.DataFrame(pl.from_arrow(table.select(columns or table.column_names)))

    def verify_artifacts(self, artifact_ids: Sequence[str]) -> None:
        self.get_artifacts(artifact_ids)
        damaged = [one for one in artifact_ids if one in self.damaged]
        if damaged:
            raise IntegrityError(f"artifact {', '.join(damaged)} is damaged")

    def _draft(self, request: PublishRequest, now: datetime) -> tuple[Artifact, pa.Table]:
        kind = self.types.get(request.artifact_type, request.schema_version)
        kind.parse_key(request.logical_key)
        _check_texts(request)
        given = request.table
        if isinstance(given, Path):
            if not given.exists():
                raise NotFound(f"no file {given}")
            try:
                given = pq.read_table(given)
            except (pa.ArrowException, OSError) as error:
                raise ValidationFailed(f"{request.table} is no Parquet file") from error
        table = canonical_table(given, kind)
        check_values(table, kind)
        hashed = content_hash(table)
        name = artifact_id_of(kind.name, kind.schema_version, request.logical_key, hashed)
        times = pc.min_max(table.column(kind.time_column)) if kind.time_column else None
        return (
            Artifact(
                artifact_id=name,
                artifact_type=kind.name,
                schema_version=kind.schema_version,
                logical_key=request.logical_key,
                status="active",
                path=f"memory/{name}",
                file_hash=hashed,
                file_size=table.nbytes,
                content_hash=hashed,
                row_count=table.num_rows,
                min_ts=times["min"].as_py() if times else None,
                max_ts=times["max"].as_py() if times else None,
                created_at=now,
                keeps_many=kind.keeps_many,
            ),
            table,
        )

    def _publish(
        self,
        state: _State,
        before: _State,
        request: PublishRequest,
        draft: Artifact,
        table: pa.Table,
        now: datetime,
    ) -> PublishResult:
        known = state.artifacts.get(draft.artifact_id)
        if known is not None and known.status == "tombstoned":
            raise Conflict(f"artifact {draft.artifact_id} was tombstoned")
        self._check_inputs(state, request, draft)
        newer = _newer_version(before, draft)
        if newer is not None and request.head is not None:
            raise Conflict(f"{newer} of a newer schema version is active")
        replaced = tuple(
            one
            for one in _active(before, draft)
            if one != draft.artifact_id and not draft.keeps_many and newer is None
        )
        for old in replaced:
            if state.artifacts[old].status == "active":
                _set_status(state, old, "superseded")
                state.supersedes.append((draft.artifact_id, old, "republished"))
        artifact = replace(
            known or draft,
            status="active" if newer is None else "superseded",
            tags=dict(sorted({**(known.tags if known else {}), **request.tags}.items())),
        )
        state.artifacts[draft.artifact_id] = artifact
        state.tables.setdefault(draft.artifact_id, table)
        if newer is not None and known is None:
            state.supersedes.append((newer, draft.artifact_id, "earlier_version"))
        for raw in request.sources:
            state.sources.setdefault(raw.sha256, raw)
        publication = Publication(
            publication_id=len(state.publications) + 1,
            artifact_id=draft.artifact_id,
            deduped=known is not None,
            provenance=request.provenance,
            created_at=now,
        )
        state.publications.append((publication, request))
        return PublishResult(
            artifact, publication.publication_id, known is not None, replaced, newer
        )

    def _successor(self, state: _State, old: Artifact) -> str | None:
        newest = self.types.get(old.artifact_type)
        key = newest.key_from(old.schema_version, old.logical_key)
        if newest.schema_version == old.schema_version or key is None:
            return None
        active = _active(state, replace(old, logical_key=key))
        return next((one for one in active if one != old.artifact_id), None)

    def _check_inputs(self, state: _State, request: PublishRequest, draft: Artifact) -> None:
        for one in request.inputs:
            if one.input_set_id is not None and one.input_set_id not in state.input_sets:
                raise NotFound(f"no input set {one.input_set_id}")
            members = (
                (one.artifact_id,)
                if one.artifact_id is not None
                else state.input_sets[one.input_set_id or ""]
            )
            if draft.artifact_id in members:
                raise ValidationFailed("an artifact cannot be made from itself")
            missing = [member for member in members if member not in state.artifacts]
            if missing:
                raise NotFound(f"no artifact {', '.join(map(repr, missing))}")

    def _edges(self, *, first_only: bool) -> list[tuple[str, str, str, int]]:
        edges: dict[tuple[str, str, int], str] = {}
        for publication, request in self._state.publications:
            if first_only and publication.deduped:
                continue
            for one in request.inputs:
                members = (
                    [one.artifact_id]
                    if one.artifact_id is not None
                    else self._state.input_sets[one.input_set_id or ""]
                )
                for member in members:
                    place = (publication.artifact_id, member, publication.publication_id)
                    if edges.get(place) != "loaded":
                        edges[place] = one.role
        return [(made, used, role, number) for (made, used, number), role in edges.items()]

    def _lineage(self, root: str, edges: list[LineageEdge], raw: list[tuple[str, str]]) -> Lineage:
        named = {root, *(e.artifact_id for e in edges), *(e.input_id for e in edges)}
        edges.sort(key=lambda e: (e.depth, e.artifact_id, e.input_id, e.publication_id))
        return Lineage(
            root=root,
            edges=tuple(edges),
            artifacts={one: self._state.artifacts[one] for one in sorted(named)},
            sources=tuple(SourceEdge(one, self._state.sources[sha]) for one, sha in raw),
        )


def _walk(
    root: str,
    depth: int | None,
    edges_of: Callable[[str], list[tuple[str, str, str, int]]],
    towards: int,
) -> tuple[set[str], list[LineageEdge]]:
    """Breadth first from the root: the artifacts left from, and the edges met."""
    walked: set[str] = set()
    found: list[LineageEdge] = []
    frontier, level = {root}, 0
    while frontier and (depth is None or level < depth):
        level += 1
        following: set[str] = set()
        for one in frontier:
            walked.add(one)
            for edge in edges_of(one):
                role: Any = edge[2]
                found.append(LineageEdge(edge[0], edge[1], role, edge[3], level))
                following.add(str(edge[towards]))
        frontier = following - walked
    return walked, found


def _matches(one: Artifact, where: ArtifactFilter) -> bool:
    return (
        where.artifact_type in (None, one.artifact_type)
        and (one.status == where.status if where.status else one.status != "tombstoned")
        and all(one.tags.get(name) == value for name, value in where.tags.items())
        and (where.created_from is None or one.created_at >= where.created_from)
        and (where.created_to is None or one.created_at <= where.created_to)
        and one.logical_key.startswith(where.key_prefix or "")
    )


def _active(state: _State, draft: Artifact) -> list[str]:
    return [
        one.artifact_id
        for one in state.artifacts.values()
        if one.status == "active"
        and (one.artifact_type, one.logical_key) == (draft.artifact_type, draft.logical_key)
    ]


def _newer_version(state: _State, draft: Artifact) -> str | None:
    """What is active under the key in a newer schema version than the draft's."""
    if draft.keeps_many:
        return None
    newer = [
        one
        for one in _active(state, draft)
        if state.artifacts[one].schema_version > draft.schema_version
    ]
    return newer[0] if newer else None


def _set_status(state: _State, artifact_id: str, status: Any) -> None:
    state.artifacts[artifact_id] = replace(state.artifacts[artifact_id], status=status)


def _check_expected_active(state: _State, request: PublishRequest, draft: Artifact) -> None:
    active = _active(state, draft)
    if isinstance(request.expected_active, Unset) or draft.artifact_id in active:
        return
    if active != ([] if request.expected_active is None else [request.expected_active]):
        raise Conflict(f"{active or 'no artifact'} is active by now")


def _check_heads(requests: Sequence[PublishRequest], heads: Sequence[HeadReplacement]) -> None:
    refs = [head.ref for head in heads]
    if len(set(refs)) != len(refs):
        raise ValidationFailed("a batch replaces the head of a partition once")
    if any(request.head is not None and request.head not in refs for request in requests):
        raise ValidationFailed("a request names a head that its batch does not replace")


def _check_texts(request: PublishRequest) -> None:
    for name, value in request.tags.items():
        if not name or not isinstance(name, str) or not isinstance(value, str):
            raise ValidationFailed("a tag is a name and a text")
    for raw in request.sources:
        if not SHA256.fullmatch(raw.sha256):
            raise ValidationFailed("a source needs its sha256:<hex>")
    try:
        canonical_json([dict(request.provenance.params), dict(request.provenance.environment)])
        "".join(
            [*request.tags, *request.tags.values(), *(s.name for s in request.sources)]
        ).encode()
    except (ValueError, TypeError) as error:
        raise ValidationFailed(f"plain JSON and UTF-8 only: {error}") from error


def _refuse_rivals(drafts: Sequence[Artifact]) -> None:
    chosen: dict[tuple[str, str], str] = {}
    for one in drafts:
        key = (one.artifact_type, one.logical_key)
        if not one.keeps_many and chosen.setdefault(key, one.artifact_id) != one.artifact_id:
            raise ValidationFailed(f"the batch has two contents for {one.logical_key}")

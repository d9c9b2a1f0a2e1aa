"""Publishing, in the write order that makes every crash harmless.

Canonicalise and hash; look up; validate, encode and put the files that are missing (staged,
synced, linked without overwriting); sync the folders; then one transaction for the whole batch. A
crash before the commit leaves unreferenced files at most; what was acknowledged has been synced
before.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from quantlab_assets.adapters.manifest.changes.publish_batch import Draft, FileNeeded, Recording
from quantlab_assets.adapters.manifest.engine import ManifestDatabase
from quantlab_assets.adapters.manifest.rows import artifact_by_file, input_set_artifacts
from quantlab_assets.adapters.objects import parquet as parquet_format
from quantlab_assets.adapters.objects import sidecar
from quantlab_assets.adapters.objects.layout import parquet_path, sidecar_path
from quantlab_assets.adapters.objects.local_disk import LocalFiles, read_file, sha256_of
from quantlab_assets.adapters.objects.writers import Writers
from quantlab_assets.domain.artifacts.canonical_order import canonical_table
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.identity import artifact_id_of
from quantlab_assets.domain.artifacts.records import (
    Artifact,
    HeadReplacement,
    PublishRequest,
    PublishResult,
)
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import IntegrityError, NotFound
from quantlab_assets.domain.moving_inputs import FILES_COLLECTED

_PART_REQUESTS: Final = 256
_PART_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class _Canonical:
    """A request with its table as it will be stored, and what it would be in the manifest.

    Without a table: the very bytes are in their place and were not decoded.
    """

    request: PublishRequest
    artifact_type: ArtifactType
    table: pa.Table | None
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class _Put:
    """Files on their way to the disk."""

    canonical: _Canonical
    carried_sets: dict[str, tuple[str, ...]]
    artifact: Artifact
    placed: "Future[list[bool]]"


class Publisher:
    """Publishes batches. Safe to run in many threads and processes at once."""

    def __init__(
        self,
        files: LocalFiles,
        database: ManifestDatabase,
        types: TypeRegistry,
        clock: Callable[[], datetime],
    ) -> None:
        self._files = files
        self._database = database
        self._types = types
        self._clock = clock

    def publish_many(
        self, requests: Sequence[PublishRequest], heads: Sequence[HeadReplacement]
    ) -> list[PublishResult]:
        """See the port `ArtifactStore`."""
        types = [self._type_of(request) for request in requests]

        def publish() -> list[PublishResult]:
            recording = Recording(requests, heads, self._types, self._clock())
            drafts = self._prepare(recording, requests, types)
            with self._database.writing() as connection:
                self._check_still_there(drafts)
                return recording.record(connection, drafts)

        return FILES_COLLECTED.run(publish, f"publishing {len(requests)} artifacts")

    def _prepare(
        self,
        recording: Recording,
        requests: Sequence[PublishRequest],
        types: Sequence[ArtifactType],
    ) -> list[Draft]:
        """Put every file that is missing, safely on disk, and say what each request comes to."""
        made: list[Artifact] = []
        puts: list[_Put] = []
        carried: set[str] = set()
        with Writers(len(requests)) as writers:
            for part in _parts(requests):
                canonical = [self._canonicalise(requests[i], types[i], recording.now) for i in part]
                with self._database.reading() as connection:
                    there = recording.look(connection, [content.artifact for content in canonical])
                    sets = {
                        name: input_set_artifacts(connection, name)
                        for content in canonical
                        for name in _input_sets(content.request)
                        if name not in carried
                    }
                missing = self._missing(canonical, there)
                _check_values(missing)
                for content in missing:
                    # The first new sidecar of a batch that names a frozen set carries its members.
                    names = [name for name in _input_sets(content.request) if name not in carried]
                    carried.update(names)
                    puts.append(self._put(content, {name: sets[name] for name in names}, writers))
                made += [content.artifact for content in canonical]
            try:
                stored = {put.artifact.artifact_id: self._settle(put) for put in puts}
            except NotFound as error:
                raise FileNeeded from error  # collected just before it was to be adopted
        self._files.sync_folders(
            path
            for artifact in stored.values()
            for path in (artifact.path, sidecar_path(artifact.path))
        )
        return [
            Draft(
                stored.get(artifact.artifact_id, artifact),
                has_new_file=artifact.artifact_id in stored,
            )
            for artifact in made
        ]

    def _check_still_there(self, drafts: Sequence[Draft]) -> None:
        """Garbage collection takes files under the write lock only: what is there now stays."""
        for draft in drafts:
            artifact = draft.artifact
            if draft.has_new_file and not self._files.whole(artifact.path, artifact.file_size):
                raise FileNeeded

    def _type_of(self, request: PublishRequest) -> ArtifactType:
        artifact_type = self._types.get(request.artifact_type, request.schema_version)
        artifact_type.parse_key(request.logical_key)
        return artifact_type

    def _canonicalise(
        self, request: PublishRequest, artifact_type: ArtifactType, now: datetime
    ) -> _Canonical:
        if isinstance(request.table, Path):
            data = read_file(request.table)
            known = self._find_by_bytes(request, artifact_type, sha256_of(data))
            if known is not None:
                return _Canonical(request, artifact_type, None, known)
            given = parquet_format.decode(data, str(request.table))
        else:
            given = request.table
        table = canonical_table(given, artifact_type)
        hashed = content_hash(table)
        name, version = artifact_type.name, artifact_type.schema_version
        artifact_id = artifact_id_of(name, version, request.logical_key, hashed)
        first, last = _time_range(table, artifact_type)
        artifact = Artifact(
            artifact_id=artifact_id,
            artifact_type=name,
            schema_version=version,
            logical_key=request.logical_key,
            status="active",
            path=parquet_path(name, version, artifact_id),
            file_hash="",
            file_size=0,
            content_hash=hashed,
            row_count=table.num_rows,
            min_ts=first,
            max_ts=last,
            created_at=now,
            keeps_many=artifact_type.keeps_many,
            tags=dict(request.tags),
        )
        return _Canonical(request, artifact_type, table, artifact)

    def _find_by_bytes(
        self, request: PublishRequest, artifact_type: ArtifactType, file_hash: str
    ) -> Artifact | None:
        """The artifact under the key that has these very bytes, if they are in their place."""
        with self._database.reading() as connection:
            known = artifact_by_file(
                connection, request.artifact_type, request.logical_key, file_hash
            )
        if known is None or known.purged_at is not None:
            return None
        if known.schema_version != artifact_type.schema_version:
            return None
        return known if self._files.size(known.path) == known.file_size else None

    def _missing(
        self, canonical: Sequence[_Canonical], there: dict[str, Artifact]
    ) -> list[_Canonical]:
        """What has no file yet: new content, or content whose bytes were purged or are lost."""
        missing: dict[str, _Canonical] = {}
        for content in canonical:
            known = there.get(content.artifact.artifact_id)
            if known is not None and known.purged_at is None:
                size = self._files.size(known.path)
                if size == known.file_size:
                    continue
                if size is not None:
                    raise IntegrityError(
                        f"artifact {known.artifact_id} has {size} bytes on disk, {known.file_size}"
                        f" in the manifest: move {known.path} away and publish again"
                    )
                content = replace(
                    content, artifact=replace(content.artifact, created_at=known.created_at)
                )
            if content.table is None:
                raise FileNeeded  # gone between the two looks
            missing.setdefault(content.artifact.artifact_id, content)
        return list(missing.values())

    def _put(
        self, content: _Canonical, carried_sets: dict[str, tuple[str, ...]], writers: Writers
    ) -> _Put:
        data = parquet_format.encode(
            content.table, content.artifact_type, content.artifact.content_hash
        )
        artifact = replace(content.artifact, file_hash=sha256_of(data), file_size=len(data))
        beside = sidecar.encode(artifact, content.artifact_type, content.request, carried_sets)
        path = artifact.path
        placed = writers.submit(self._files.put, [(path, data), (sidecar_path(path), beside)])
        return _Put(replace(content, table=None), carried_sets, artifact, placed)

    def _settle(self, put: _Put) -> Artifact:
        """The artifact as its file is: ours, or the one found under its name and adopted."""
        parquet_is_ours, sidecar_is_ours = put.placed.result()
        artifact = put.artifact
        if sidecar_is_ours:
            return artifact
        if not parquet_is_ours:
            artifact = self._adopt(artifact)
        path = sidecar_path(artifact.path)
        beside = sidecar.encode(
            artifact, put.canonical.artifact_type, put.canonical.request, put.carried_sets
        )
        if parquet_is_ours or not self._files.put([(path, beside)])[0]:
            on_disk = self._files.read(path)
            if not sidecar.describes(on_disk, artifact):
                self._files.replace(path, beside)
        return artifact

    def _adopt(self, artifact: Artifact) -> Artifact:
        """Take over the file that a publisher left behind or is just publishing as well."""
        data = self._files.read(artifact.path)
        file_hash = sha256_of(data)
        if file_hash != artifact.file_hash:
            parquet_format.check_content(data, artifact.content_hash, artifact.path)
        return replace(artifact, file_hash=file_hash, file_size=len(data))


def _check_values(canonical: Sequence[_Canonical]) -> None:
    """Check the value rules once for each type. Raises `ValidationFailed`."""
    by_type: dict[tuple[str, int], list[_Canonical]] = {}
    for content in canonical:
        kind = (content.artifact_type.name, content.artifact_type.schema_version)
        by_type.setdefault(kind, []).append(content)
    if not by_type:
        return
    from quantlab_assets.domain.artifacts.value_rules import check_values

    for several in by_type.values():
        tables = [content.table for content in several]
        check_values(pa.concat_tables(tables), several[0].artifact_type)


def _parts(requests: Sequence[PublishRequest]) -> Iterator[list[int]]:
    """Positions of requests to prepare together, so that copies of tables stay bounded."""
    part: list[int] = []
    size = 0
    for i, request in enumerate(requests):
        if part and (len(part) == _PART_REQUESTS or size > _PART_BYTES):
            yield part
            part, size = [], 0
        part.append(i)
        size += _bytes_of(request)
    if part:
        yield part


def _bytes_of(request: PublishRequest) -> int:
    if not isinstance(request.table, Path):
        return int(request.table.nbytes)
    try:
        return request.table.stat().st_size
    except OSError:
        return 0  # the reading of it says what is wrong


def _input_sets(request: PublishRequest) -> list[str]:
    return [
        made_from.input_set_id for made_from in request.inputs if made_from.input_set_id is not None
    ]


def _time_range(
    table: pa.Table, artifact_type: ArtifactType
) -> tuple[datetime | None, datetime | None]:
    if artifact_type.time_column is None:
        return None, None
    extremes = pc.min_max(table.column(artifact_type.time_column))
    return extremes["min"].as_py(), extremes["max"].as_py()

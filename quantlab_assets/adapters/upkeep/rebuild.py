"""A manifest made again from sidecars, and from a backup for what came later.

Sidecars tell what was known when their files were made: identity, provenance, lineage, sources,
tags, the head. Statuses, later tags and events, and experiments are in a backup only. Of several
artifacts under one key the last one made is taken for the active one.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, func, select

from quantlab_assets.adapters.manifest.engine import (
    ManifestDatabase,
    insert_missing,
)
from quantlab_assets.adapters.manifest.rows import existing_ids
from quantlab_assets.adapters.manifest.tables import (
    artifact_tags,
    artifacts,
    input_set_members,
    input_sets,
    lineage,
    partition_heads,
    publication_sources,
    publications,
    sources,
    supersedes,
)
from quantlab_assets.adapters.objects import sidecar
from quantlab_assets.adapters.objects.layout import parquet_path, sidecar_path
from quantlab_assets.adapters.objects.local_disk import FileFound, LocalFiles
from quantlab_assets.adapters.upkeep.backup import check_manifest, copy_database
from quantlab_assets.adapters.whole_files import sync
from quantlab_assets.domain.artifacts.identity import (
    artifact_id_of,
    canonical_json,
    input_set_id_of,
)
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.errors import Conflict, IntegrityError, QuantlabError, StoreUnavailable
from quantlab_assets.domain.time_us import to_us

_TOGETHER: Final = 500

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """How many artifacts came from the backup and from sidecars, and what could not be taken."""

    from_backup: int
    from_sidecars: int
    problems: tuple[str, ...]


def rebuild_manifest(
    artifacts_root: Path,
    manifest_out: Path,
    types: TypeRegistry,
    *,
    backup: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> RebuildReport:
    """Write a new manifest at `manifest_out`, which appears once it is whole and must not exist.

    All that the backup knows is kept; sidecars of artifacts that it does not know are added, oldest
    first. A sidecar without its file gives an artifact whose bytes are purged. Verify the lake
    afterwards, which hashes the files. `on_progress(sidecars done, sidecars in all)`.

    Raises `Conflict` if `manifest_out` is there, `IntegrityError` if the backup is damaged,
    `StoreUnavailable`.
    """
    manifest_out = manifest_out.absolute()
    if manifest_out.exists():
        raise Conflict(f"{manifest_out} is there already: move it away first")
    files = LocalFiles(artifacts_root, artifacts_root)
    files.check_folders()
    found = {one.path: one for one in files.scan()}
    problems: list[str] = []
    with _unfinished(manifest_out) as unfinished:
        if backup is not None:
            check_manifest(backup)
            copy_database(backup, unfinished)
        database = ManifestDatabase.open(unfinished, create=True)
        with database.reading() as connection:
            before = int(
                connection.execute(select(func.count()).select_from(artifacts)).scalar_one()
            )
            known = set(connection.scalars(select(artifacts.c.artifact_id)))
        documents = _documents(files, found, known, types, problems, on_progress)
        with database.writing() as connection:
            _Rebuilding(connection, found, problems).add(_oldest_first(documents, problems))
        check_manifest(unfinished)
        _take_name(unfinished, manifest_out)
    return RebuildReport(before, len(documents), tuple(problems))


def _documents(
    files: LocalFiles,
    found: Mapping[str, FileFound],
    known: set[str],
    types: TypeRegistry,
    problems: list[str],
    on_progress: Callable[[int, int], None] | None,
) -> dict[str, Document]:
    """The sidecars of artifacts that are not known, by id; what is wrong with one is noted."""
    paths = sorted(path for path in found if path.endswith(".json"))
    names = {each.name for each in types}
    documents: dict[str, Document] = {}
    for done, path in enumerate(paths, 1):
        if on_progress is not None and (done % _TOGETHER == 0 or done == len(paths)):
            on_progress(done, len(paths))
        if Path(path).stem in known:
            continue
        try:
            document = sidecar.unseal(files.read(path), path)
            _check_document(document, path)
        except QuantlabError as error:
            problems.append(str(error))
            continue
        if document["artifactType"] not in names:
            problems.append(
                f"{path}: its type {document['artifactType']!r} is not registered; it is taken as"
                " its sidecar describes it"
            )
        held = found.get(document["path"])
        if held is not None and held.size != document["fileSize"]:
            problems.append(f"{document['path']} has {held.size} bytes: verify the lake")
        documents[document["artifactId"]] = document
    for path in sorted(found):
        if path.endswith(".parquet") and sidecar_path(path) not in found:
            problems.append(f"{path} has no sidecar: it is left out")
    return documents


def _check_document(document: Document, path: str) -> None:
    try:
        kind = (document["artifactType"], document["schemaVersion"])
        expected = artifact_id_of(*kind, document["logicalKey"], document["contentHash"])
        sound = (
            document["format"] == sidecar.FORMAT
            and document["artifactId"] == expected
            and document["path"] == parquet_path(*kind, expected)
            and path == sidecar_path(document["path"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"sidecar {path} lacks what a sidecar has") from error
    if not sound:
        raise IntegrityError(f"sidecar {path} describes another artifact than its name says")


def _oldest_first(documents: Mapping[str, Document], problems: list[str]) -> list[Document]:
    """What was made from something comes after it; else by time of creation, then by id."""
    carried: dict[str, Sequence[str]] = {}
    for document in documents.values():
        carried |= document["inputSets"]
    order = sorted(documents, key=lambda one: (documents[one]["createdAt"], one))
    place = {one: i for i, one in enumerate(order)}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for one in order:
        inputs: set[str] = set()
        for named in documents[one]["inputs"]:
            inputs.update(carried.get(named.get("inputSetId"), ()))
            inputs.add(named.get("artifactId") or "")
        sorter.add(one, *sorted(inputs & documents.keys()))
    try:
        sorter.prepare()
    except CycleError as error:
        problems.append(f"artifacts were made from one another in turn: {error.args[1][:4]}")
        return [documents[one] for one in order]
    ordered: list[Document] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        ordered += [documents[one] for one in ready]
        sorter.done(*ready)
    return ordered


class _Rebuilding:
    """Adds what sidecars say to a manifest, in one transaction."""

    def __init__(
        self, connection: Connection, found: Mapping[str, FileFound], problems: list[str]
    ) -> None:
        self._connection = connection
        self._found = found
        self._problems = problems

    def add(self, documents: Sequence[Document]) -> None:
        """Add the documents, inputs before what was made from them."""
        if not documents:
            return
        connection = self._connection
        last = connection.execute(select(func.max(artifacts.c.sequence))).scalar_one() or 0
        event = connection.execute(select(func.max(publications.c.publication_id))).scalar_one()
        first = (event or 0) + 1
        # Only the newest of a key becomes active; it is so once the others are not.
        rows = [self._row(one, last + 1 + i) for i, one in enumerate(documents)]
        connection.execute(artifacts.insert(), rows)
        self._supersede(rows)
        connection.execute(
            publications.insert(), [_event(one, first + i) for i, one in enumerate(documents)]
        )
        self._add_sets(documents)
        self._add_lineage(documents, first)
        tags = [
            {"artifact_id": one["artifactId"], "k": name, "v": value}
            for one in documents
            for name, value in one["tags"].items()
        ]
        raw = [(first + i, named) for i, one in enumerate(documents) for named in one["sources"]]
        if tags:
            connection.execute(insert_missing(artifact_tags), tags)
        if raw:
            connection.execute(insert_missing(sources), [named for _, named in raw])
            connection.execute(
                insert_missing(publication_sources),
                [{"publication_id": number, "sha256": named["sha256"]} for number, named in raw],
            )
        self._add_heads(documents)

    def _row(self, one: Document, sequence: int) -> dict[str, Any]:
        return {
            "artifact_id": one["artifactId"],
            "sequence": sequence,
            "artifact_type": one["artifactType"],
            "schema_version": one["schemaVersion"],
            "logical_key": one["logicalKey"],
            "status": "superseded",
            "keeps_many": one["keepsMany"],
            "path": one["path"],
            "file_hash": one["fileHash"],
            "file_size": one["fileSize"],
            "content_hash": one["contentHash"],
            "row_count": one["rowCount"],
            "min_ts": _micros(one["minTs"]),
            "max_ts": _micros(one["maxTs"]),
            "created_at": _micros(one["createdAt"]),
            "purged_at": None if one["path"] in self._found else _micros(one["createdAt"]),
        }

    def _supersede(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Of the artifacts of a key the last one is active; what the backup has active is not."""
        last: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        replaced: list[dict[str, Any]] = []
        active: list[str] = []
        for row in rows:
            if row["purged_at"] is not None:
                self._problems.append(
                    f"{row['path']} is not there: its artifact is taken as purged and superseded"
                )
                continue
            if row["keeps_many"]:
                active.append(row["artifact_id"])
            else:
                key = (row["artifact_type"], row["schema_version"], row["logical_key"])
                before = last.get(key)
                if before is not None:
                    replaced.append(_replaced(row, before["artifact_id"]))
                last[key] = row
        for key, row in last.items():
            held = self._connection.execute(
                select(artifacts.c.artifact_id).where(
                    artifacts.c.artifact_type == key[0],
                    artifacts.c.schema_version == key[1],
                    artifacts.c.logical_key == key[2],
                    artifacts.c.status == "active",
                )
            ).scalar_one_or_none()
            if held is not None:
                replaced.append(_replaced(row, held))
            active.append(row["artifact_id"])
        status = artifacts.update().where
        for one in replaced:
            self._connection.execute(
                status(artifacts.c.artifact_id == one["old_id"]).values(status="superseded")
            )
        for artifact_id in active:
            self._connection.execute(
                status(artifacts.c.artifact_id == artifact_id).values(status="active")
            )
        if replaced:
            self._connection.execute(supersedes.insert(), replaced)

    def _add_sets(self, documents: Sequence[Document]) -> None:
        for one in documents:
            for name, members in one["inputSets"].items():
                absent = set(members) - existing_ids(self._connection, members)
                if input_set_id_of(members) != name or absent:
                    self._problems.append(f"input set {name} cannot be restored: members are gone")
                    continue
                added = self._connection.execute(
                    insert_missing(input_sets).values(
                        input_set_id=name, created_at=_micros(one["createdAt"])
                    )
                )
                if added.rowcount and members:
                    self._connection.execute(
                        input_set_members.insert(),
                        [{"input_set_id": name, "artifact_id": each} for each in members],
                    )

    def _add_lineage(self, documents: Sequence[Document], first: int) -> None:
        earliest = select(
            publications.c.artifact_id, func.min(publications.c.publication_id)
        ).group_by(publications.c.artifact_id)
        born = {row[0]: row[1] for row in self._connection.execute(earliest)}
        frozen = set(self._connection.scalars(select(input_sets.c.input_set_id)))
        rows: list[dict[str, Any]] = []
        for number, one in enumerate(documents, first):
            roles: dict[tuple[str | None, str | None], str] = {}
            for named in one["inputs"]:
                place = (named.get("artifactId"), named.get("inputSetId"))
                known = (
                    place[1] in frozen if place[0] is None else born.get(place[0], number) < number
                )
                if not known:
                    self._problems.append(
                        f"{one['path']} was made from {place[0] or place[1]}, of which nothing is"
                        " left: this edge is left out"
                    )
                elif roles.get(place) != "loaded":
                    roles[place] = named["role"]
            rows += [
                {
                    "publication_id": number,
                    "input_artifact_id": artifact_id,
                    "input_set_id": set_id,
                    "role": role,
                }
                for (artifact_id, set_id), role in roles.items()
            ]
        if rows:
            self._connection.execute(lineage.insert(), rows)

    def _add_heads(self, documents: Sequence[Document]) -> None:
        """What was put into a head and is active is in it; others of its keys have left it."""
        active = set(
            self._connection.scalars(
                select(artifacts.c.artifact_id).where(artifacts.c.status == "active")
            )
        )
        rows = [
            {**one["head"], "artifact_id": one["artifactId"]}
            for one in documents
            if one["head"] is not None and one["artifactId"] in active
        ]
        if not rows:
            return
        for row in rows:
            this = (
                partition_heads.c.asset == row["asset"],
                partition_heads.c.partition == row["partition"],
            )
            stale = select(artifacts.c.artifact_id).where(artifacts.c.status != "active")
            self._connection.execute(
                partition_heads.delete().where(
                    *this,
                    partition_heads.c.artifact_id.is_(None)
                    | partition_heads.c.artifact_id.in_(stale),
                )
            )
        self._connection.execute(insert_missing(partition_heads), rows)


def _replaced(row: Mapping[str, Any], old_id: str) -> dict[str, Any]:
    return {
        "new_id": row["artifact_id"],
        "old_id": old_id,
        "at": row["created_at"],
        "reason": "rebuilt",
    }


def _event(one: Document, number: int) -> dict[str, Any]:
    provenance = one["provenance"]
    return {
        "publication_id": number,
        "artifact_id": one["artifactId"],
        "deduped": False,
        "run_id": provenance["runId"],
        "step": provenance["step"],
        "writer_name": provenance["writerName"],
        "writer_version": provenance["writerVersion"],
        "git_commit": provenance["gitCommit"],
        "git_dirty": provenance["gitDirty"],
        "git_diff_hash": provenance["gitDiffHash"],
        "params_json": canonical_json(provenance["params"]).decode(),
        "environment_json": canonical_json(provenance["environment"]).decode(),
        "created_at": _micros(one["createdAt"]),
    }


def _micros(text: str | None) -> int | None:
    if text is None:
        return None
    return to_us(datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC))


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    path = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield path
    finally:
        for ending in ("", "-journal", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)


def _take_name(unfinished: Path, target: Path) -> None:
    try:
        os.link(unfinished, target)
        sync(target.parent)
    except FileExistsError as error:
        raise Conflict(f"{target} was made by somebody else meanwhile") from error
    except OSError as error:
        raise StoreUnavailable(f"cannot write {target}: {error.strerror}") from error

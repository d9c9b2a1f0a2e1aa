"""A manifest made again from sidecars, and from a backup for what came later.

Sidecars tell what was known when their files were made: identity, provenance, lineage, sources,
tags, the head. Statuses, later tags and events, and experiments are in a backup only. Of several
artifacts under one key the last one made is taken for the active one. Backups are made in `backup`.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

from quantlab_assets.adapters.manifest.changes.heads import join_heads
from quantlab_assets.adapters.manifest.changes.insert import (
    Event,
    insert_artifacts,
    insert_input_sets,
    insert_publications,
    insert_tags,
)
from quantlab_assets.adapters.manifest.changes.succession import active_by_key, decide, key_of
from quantlab_assets.adapters.manifest.engine import ManifestDatabase, Transaction
from quantlab_assets.adapters.manifest.rows import existing_ids, existing_input_sets, known_ids
from quantlab_assets.adapters.manifest.upkeep.copies import check_manifest, copy_database
from quantlab_assets.adapters.objects import sidecar
from quantlab_assets.adapters.objects.layout import artifact_id_in, sidecar_path
from quantlab_assets.adapters.objects.local_disk import FileFound, LocalFiles
from quantlab_assets.adapters.objects.sidecar import Described
from quantlab_assets.adapters.whole_files import sync
from quantlab_assets.domain.artifacts.identity import input_set_id_of
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.errors import Conflict, QuantlabError, StoreUnavailable

_TOGETHER: Final = 500


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
    on_disk = {file.path: file for file in files.scan()}
    problems: list[str] = []
    with _unfinished(manifest_out) as unfinished:
        if backup is not None:
            check_manifest(backup)
            copy_database(backup, unfinished)
        database = ManifestDatabase.open(unfinished, create=True)
        with database.reading() as transaction:
            known = known_ids(transaction)
        records = _records(files, on_disk, known, types, problems, on_progress)
        with database.writing() as transaction:
            _add(transaction, _oldest_first(records, problems), known, types, problems)
        check_manifest(unfinished)
        _take_name(unfinished, manifest_out)
    return RebuildReport(len(known), len(records), tuple(problems))


def _records(
    files: LocalFiles,
    on_disk: Mapping[str, FileFound],
    known: set[str],
    types: TypeRegistry,
    problems: list[str],
    on_progress: Callable[[int, int], None] | None,
) -> dict[str, Described]:
    """What the sidecars of artifacts that are not known tell, by id; what is wrong is noted."""
    paths = sorted(path for path in on_disk if path.endswith(".json"))
    names = {each.name for each in types}
    records: dict[str, Described] = {}
    for done, path in enumerate(paths, 1):
        if on_progress is not None and (done % _TOGETHER == 0 or done == len(paths)):
            on_progress(done, len(paths))
        if artifact_id_in(path) in known:
            continue
        try:
            record = sidecar.described(files.read(path), path)
        except QuantlabError as error:
            problems.append(str(error))
            continue
        artifact = record.artifact
        if artifact.artifact_type not in names:
            problems.append(
                f"{path}: its type {artifact.artifact_type!r} is not registered; it is taken as"
                " its sidecar describes it"
            )
        file = on_disk.get(artifact.path)
        if file is None:
            problems.append(
                f"{artifact.path} is not there: its artifact is taken as purged and superseded"
            )
            gone = replace(artifact, status="superseded", purged_at=artifact.created_at)
            record = replace(record, artifact=gone)
        elif file.size != artifact.file_size:
            problems.append(f"{artifact.path} has {file.size} bytes: verify the lake")
        records[artifact.artifact_id] = record
    for path in sorted(on_disk):
        if path.endswith(".parquet") and sidecar_path(path) not in on_disk:
            problems.append(f"{path} has no sidecar: it is left out")
    return records


def _oldest_first(records: Mapping[str, Described], problems: list[str]) -> list[Described]:
    """What was made from something comes after it; else by time of creation, then by id."""
    carried: dict[str, Sequence[str]] = {}
    for record in records.values():
        carried |= record.input_sets
    order = sorted(records, key=lambda name: (records[name].artifact.created_at, name))
    place = {artifact_id: i for i, artifact_id in enumerate(order)}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for artifact_id in order:
        inputs: set[str] = set()
        for made_from in records[artifact_id].inputs:
            inputs.update(carried.get(made_from.input_set_id or "", ()))
            inputs.add(made_from.artifact_id or "")
        sorter.add(artifact_id, *sorted(inputs & records.keys()))
    try:
        sorter.prepare()
    except CycleError as error:
        problems.append(f"artifacts were made from one another in turn: {error.args[1][:4]}")
        return [records[artifact_id] for artifact_id in order]
    ordered: list[Described] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        ordered += [records[artifact_id] for artifact_id in ready]
        sorter.done(*ready)
    return ordered


def _add(
    transaction: Transaction,
    records: Sequence[Described],
    known: set[str],
    types: TypeRegistry,
    problems: list[str],
) -> None:
    """Add what sidecars tell to a manifest that knows `known`, each as if it were published now."""
    made = [record.artifact for record in records]
    active = active_by_key(transaction, map(key_of, made))
    succession = decide(made, active, displaces=True)
    insert_artifacts(transaction, made, {}, succession, reason="rebuilt")
    insert_input_sets(transaction, _restorable_sets(transaction, records, problems))
    insert_publications(transaction, _events(transaction, records, known, problems))
    insert_tags(
        transaction, ((artifact.artifact_id, artifact.tags) for artifact in made), replace=False
    )
    join_heads(
        transaction,
        [
            (record.head, record.artifact.artifact_id)
            for record in records
            if record.head is not None
        ],
        types=types,
    )


def _restorable_sets(
    transaction: Transaction, records: Sequence[Described], problems: list[str]
) -> dict[str, tuple[Sequence[str], datetime]]:
    """The frozen sets that sidecars carry, as far as all their members are there."""
    sets: dict[str, tuple[Sequence[str], datetime]] = {}
    for record in records:
        for name, members in record.input_sets.items():
            absent = set(members) - existing_ids(transaction, members)
            if input_set_id_of(members) != name or absent:
                problems.append(f"input set {name} cannot be restored: members are gone")
            else:
                sets.setdefault(name, (members, record.artifact.created_at))
    return sets


def _events(
    transaction: Transaction, records: Sequence[Described], known: set[str], problems: list[str]
) -> list[Event]:
    """The publications of the records, each made only from what was there before it."""
    named = {each.input_set_id or "" for record in records for each in record.inputs}
    there = known | existing_input_sets(transaction, named)
    events: list[Event] = []
    for record in records:
        inputs = [
            each for each in record.inputs if (each.artifact_id or each.input_set_id or "") in there
        ]
        problems += [
            f"{record.artifact.path} was made from {each.artifact_id or each.input_set_id}, of"
            " which nothing is left: this edge is left out"
            for each in record.inputs
            if each not in inputs
        ]
        events.append(
            Event.of(
                record.artifact.artifact_id,
                record.provenance,
                at=record.artifact.created_at,
                deduped=False,
                inputs=inputs,
                sources=record.sources,
            )
        )
        there.add(record.artifact.artifact_id)
    return events


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

"""Taking in a bundle: everything in it is verified first, then all of it becomes visible at once.

What this lake says of an artifact that it has already (its status, its tags) stays as it is. What
is verified, and how, is said in `checks`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from quantlab_assets.adapters.artifact_store.store import ParquetStore
from quantlab_assets.adapters.bundle.archive import Archive
from quantlab_assets.adapters.bundle.checks import (
    bytes_of,
    check_files,
    check_relations,
    checked_artifact,
    frozen_sets,
)
from quantlab_assets.adapters.bundle.contents import FILES, Contents, read_contents
from quantlab_assets.adapters.manifest.carried import (
    event_of,
    unknown_publications,
)
from quantlab_assets.adapters.manifest.changes.insert import (
    Event,
    insert_artifacts,
    insert_input_sets,
    insert_publications,
    insert_tags,
    insert_tombstones,
    set_files,
)
from quantlab_assets.adapters.manifest.changes.succession import (
    Supersession,
    active_by_key,
    decide,
    key_of,
    write_supersessions,
)
from quantlab_assets.adapters.manifest.engine import Transaction
from quantlab_assets.adapters.manifest.rows import (
    artifacts_by_id,
    existing_ids,
)
from quantlab_assets.adapters.objects import parquet as parquet_format
from quantlab_assets.adapters.objects import sidecar
from quantlab_assets.adapters.objects.layout import sidecar_path
from quantlab_assets.adapters.objects.local_disk import sha256_of
from quantlab_assets.domain.artifacts.records import Artifact, LineageInput, SourceFile
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.domain.moving_inputs import FILES_COLLECTED, InputsMoved
from quantlab_assets.domain.time_us import from_us


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import came to: the artifacts that are new here, those that were here, how many
    publications were added, and the bundle's further documents by name, as they were exported."""

    added: tuple[str, ...]
    present: tuple[str, ...]
    publications: int
    extra: Mapping[str, Any]


def import_bundle(
    store: ParquetStore, source: Path, *, max_file_bytes: int = 2 << 30
) -> ImportReport:
    """Take in a bundle, as a whole or not at all; importing it again changes nothing.

    An artifact that is new here keeps its status, except that it does not displace what is active
    here under its key: then it comes as superseded. Events, lineage, sources and tags that are not
    known here are added.

    Raises `NotFound` (no such file, or an input that neither the bundle nor the lake has),
    `IntegrityError` if anything in the bundle is damaged or contradicts itself, `ValidationFailed`
    for artifacts of unknown types or broken rules, `Conflict`, `StoreUnavailable`.
    """
    with Archive(source) as archive:
        bundle = read_contents(archive, max_file_bytes)
        made = [checked_artifact(store, row, source) for row in bundle.of("artifacts")]
        check_relations(store, bundle, made)
        check_files(store, archive, bundle, made)

        def take_in() -> ImportReport:
            try:
                placed = _place(store, archive, bundle, made)
            except NotFound as error:
                raise InputsMoved from error  # collected just before it was to be adopted
            with store.database.writing() as transaction:
                there = artifacts_by_id(transaction, (artifact.artifact_id for artifact in made))
                if all(
                    _has_bytes(store, there.get(artifact.artifact_id), placed, artifact)
                    for artifact in made
                ):
                    return _record(transaction, bundle, made, placed, there)
            raise InputsMoved

        return FILES_COLLECTED.run(take_in, f"importing {source}")


def _place(
    store: ParquetStore, archive: Archive, bundle: Contents, made: Sequence[Artifact]
) -> dict[str, Artifact]:
    """Put the files that are not here, safely on disk; the artifacts as their files are."""
    files = store.files_on_disk
    with store.database.reading() as transaction:
        there = artifacts_by_id(transaction, (artifact.artifact_id for artifact in made))
    placed: dict[str, Artifact] = {}
    for artifact in made:
        known = there.get(artifact.artifact_id)
        if known is not None and known.purged_at is None and files.size(known.path) is not None:
            continue
        if known is not None and artifact.purged_at is not None:
            continue
        beside = archive.read(bundle.files[f"{FILES}{sidecar_path(artifact.path)}"])
        if artifact.purged_at is not None:
            files.put([(sidecar_path(artifact.path), beside)])
            placed[artifact.artifact_id] = artifact
            continue
        data = bytes_of(archive, bundle, artifact)
        if not files.put([(artifact.path, data)])[0]:
            data = files.read(artifact.path)
            if sha256_of(data) != artifact.file_hash:
                parquet_format.check_content(data, artifact.content_hash, artifact.path)
        stored = replace(artifact, file_hash=sha256_of(data), file_size=len(data))
        path = sidecar_path(artifact.path)
        if stored != artifact:
            document = {**sidecar.unseal(beside, path), **sidecar.identity(stored)}
            beside = sidecar.seal(document)
        if not files.put([(path, beside)])[0] and not sidecar.describes(files.read(path), stored):
            files.replace(path, beside)
        placed[artifact.artifact_id] = stored
    files.sync_folders(
        path
        for artifact in placed.values()
        for path in (artifact.path, sidecar_path(artifact.path))
    )
    return placed


def _has_bytes(
    store: ParquetStore, known: Artifact | None, placed: Mapping[str, Artifact], artifact: Artifact
) -> bool:
    """Whether nothing was collected or purged since: asked under the write lock."""
    stored = placed.get(artifact.artifact_id)
    if stored is not None:
        if stored.purged_at is not None:
            return store.files_on_disk.size(sidecar_path(stored.path)) is not None
        return store.files_on_disk.whole(stored.path, stored.file_size)
    return known is not None and (known.purged_at is None or artifact.purged_at is not None)


def _record(
    transaction: Transaction,
    bundle: Contents,
    made: Sequence[Artifact],
    placed: Mapping[str, Artifact],
    there: Mapping[str, Artifact],
) -> ImportReport:
    new = [placed[artifact.artifact_id] for artifact in made if artifact.artifact_id not in there]
    active = active_by_key(transaction, map(key_of, new))
    succession = decide(new, active, displaces=False)
    insert_artifacts(transaction, new, {}, succession, reason="imported", yield_reason="imported")
    refilled = [
        artifact
        for name, artifact in placed.items()
        if name in there and artifact.purged_at is None
    ]
    set_files(transaction, refilled)
    insert_input_sets(transaction, _frozen(bundle))
    events = _events(transaction, bundle, there)
    insert_publications(transaction, events)
    insert_tags(
        transaction,
        ((row["artifact_id"], {row["k"]: row["v"]}) for row in bundle.of("artifact_tags")),
        replace=False,
    )
    fresh = {artifact.artifact_id for artifact in new}
    insert_tombstones(
        transaction,
        (
            (row["artifact_id"], from_us(row["at"]), row["reason"])
            for row in bundle.of("tombstones")
            if row["artifact_id"] in fresh
        ),
    )
    write_supersessions(transaction, _supersessions(transaction, bundle, fresh))
    return ImportReport(
        added=tuple(artifact.artifact_id for artifact in new),
        present=tuple(artifact.artifact_id for artifact in made if artifact.artifact_id in there),
        publications=len(events),
        extra=dict(bundle.extra),
    )


def _frozen(bundle: Contents) -> dict[str, tuple[Sequence[str], datetime]]:
    """The bundle's frozen sets, as old as the first publication in it that was made from them."""
    made_at = {row["publication_id"]: row["created_at"] for row in bundle.of("publications")}
    first: dict[str, int] = {}
    for row in bundle.of("lineage"):
        if row["input_set_id"] is not None:
            first.setdefault(row["input_set_id"], made_at[row["publication_id"]])
    return {
        name: (members, from_us(first.get(name, 0)))
        for name, members in frozen_sets(bundle).items()
    }


def _events(
    transaction: Transaction, bundle: Contents, there: Mapping[str, Artifact]
) -> list[Event]:
    """The publications that are not known here, with what they were made from."""
    inputs: dict[int, list[LineageInput]] = {}
    for row in bundle.of("lineage"):
        inputs.setdefault(row["publication_id"], []).append(
            LineageInput(row["input_artifact_id"], row["input_set_id"], row["role"])
        )
    raw = {
        row["sha256"]: SourceFile(row["sha256"], row["name"], row["size"], row["kind"])
        for row in bundle.of("sources")
    }
    named: dict[int, list[SourceFile]] = {}
    for row in bundle.of("publication_sources"):
        named.setdefault(row["publication_id"], []).append(raw[row["sha256"]])
    return [
        event_of(
            row,
            deduped=row["deduped"] or row["artifact_id"] in there,
            inputs=inputs.get(row["publication_id"], ()),
            sources=named.get(row["publication_id"], ()),
        )
        for row in unknown_publications(transaction, bundle.of("publications"))
    ]


def _supersessions(
    transaction: Transaction, bundle: Contents, fresh: set[str]
) -> list[Supersession]:
    """Why what is new here was superseded; what took its place only if it is known here."""
    rows = [row for row in bundle.of("supersedes") if row["old_id"] in fresh]
    known = existing_ids(transaction, [row["new_id"] for row in rows if row["new_id"] is not None])
    return [
        Supersession(
            row["old_id"],
            row["new_id"] if row["new_id"] in known else None,
            from_us(row["at"]),
            row["reason"],
        )
        for row in rows
    ]

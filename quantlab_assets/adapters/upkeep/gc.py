"""Garbage collection: unreferenced files to the trash, old trash away, bytes by policy only.

A file is taken while the write lock of the manifest is held and after a look that nothing refers to
it. A publisher looks under the same lock whether its files are still there before it names them, so
neither can miss the other, however long either takes. The grace period only spares publishers the
work of writing twice.

The bytes of an artifact go in two steps: its row says so first (`purged_at`), then its file is as
unreferenced as any other. A crash between them leaves work for the next collection.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, bindparam, func, select, update

from quantlab_assets.adapters.artifact_store.store import ParquetStore
from quantlab_assets.adapters.manifest.changes.transitions import PIN_TAG
from quantlab_assets.adapters.manifest.engine import in_lists
from quantlab_assets.adapters.manifest.tables import (
    artifact_tags,
    artifacts,
    experiments,
    input_set_members,
    lineage,
    partition_heads,
    publications,
    supersedes,
    tombstones,
)
from quantlab_assets.adapters.objects.layout import artifact_id_in, sidecar_path
from quantlab_assets.adapters.objects.local_disk import FileFound, LocalFiles, scan_folder
from quantlab_assets.domain.artifacts.records import ARTIFACT_ID
from quantlab_assets.domain.errors import Conflict
from quantlab_assets.domain.time_us import to_us

_TOGETHER: Final = 256
"""How many files are moved under one hold of the write lock."""

_FEW: Final = 100
"""So many unreferenced files are never taken for a sign that the manifest is the wrong one."""

_STAMP: Final = "%Y%m%dT%H%M%S.%fZ"
_TRASHED: Final = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)")


@dataclass(frozen=True, slots=True)
class PurgePolicy:
    """Whose bytes may go: artifacts tombstoned or superseded for that long; None: never."""

    tombstoned_after: timedelta | None = None
    superseded_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """A file taken: its path (in the artifacts root, the staging folder or the trash), bytes, why
    (`unreferenced`, `staging`, `purged`, `trash`)."""

    path: str
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What was taken, or with `dry_run` would be.

    `purged` are the ids whose bytes go; `too_young` counts files that only the grace period spares.
    """

    dry_run: bool
    files: tuple[Collected, ...]
    purged: tuple[str, ...]
    too_young: int

    @property
    def bytes(self) -> int:
        """The bytes of all files taken."""
        return sum(one.bytes for one in self.files)


def collect(
    store: ParquetStore,
    *,
    trash: Path,
    dry_run: bool = True,
    grace: timedelta = timedelta(hours=24),
    purge: PurgePolicy | None = None,
    empty_trash_after: timedelta = timedelta(days=7),
    now: datetime,
    force: bool = False,
) -> CollectReport:
    """Move files that nothing refers to for `grace` into `trash`, and empty old trash.

    `purge` also gives up the bytes of artifacts that nobody needs: not active, without the tag
    `pin`, in no frozen set, no head and no experiment's outputs, and nothing active was last made
    from them. Their rows, hashes and sidecars stay; publishing the content again brings it back.

    Raises `Conflict` if most files of the lake are unreferenced, which means that the manifest is
    not theirs (an old backup, another lake), unless `force`; `StoreUnavailable`.
    """
    files, database = store.files_on_disk, store.database
    folder = trash / now.astimezone(UTC).strftime(_STAMP)
    oldest = (now - grace).timestamp()
    purged: list[str] = []
    if purge is not None:
        with database.reading() if dry_run else database.writing() as connection:
            purged = _purgeable(connection, purge, now)
            if purged and not dry_run:
                connection.execute(
                    update(artifacts)
                    .where(artifacts.c.artifact_id == bindparam("id"))
                    .values(purged_at=to_us(now)),
                    [{"id": one} for one in purged],
                )

    found = sorted(files.scan(), key=lambda one: one.path)
    # Looked at after the files, so that whatever was published meanwhile is known.
    with database.reading() as connection:
        loose = _unreferenced(connection, found, assume_purged=frozenset(purged))
    if len(loose) > max(_FEW, len(found) // 2) and not force:
        raise Conflict(
            f"{len(loose)} of {len(found)} files are in no row of {database.path}: is it the"
            " manifest of these files? rebuild it, or force the collection"
        )
    old = [(one, why) for one, why in loose if one.changed <= oldest or why == "purged"]
    staged = [one for one in files.scan_staging() if one.changed <= oldest]
    staged.sort(key=lambda one: one.path)
    if dry_run:
        taken = [Collected(one.path, one.size, why) for one, why in old]
    else:
        taken = list(_take(store, old, folder, oldest))
        staged = [one for one in staged if files.move_staged_away(one.path, folder)]
    taken += [Collected(one.path, one.size, "staging") for one in staged]
    taken += _empty(files, trash, now - empty_trash_after, dry_run=dry_run)
    return CollectReport(dry_run, tuple(taken), tuple(purged), len(loose) - len(old))


def _take(
    store: ParquetStore, old: Sequence[tuple[FileFound, str]], folder: Path, oldest: float
) -> Iterator[Collected]:
    files = store.files_on_disk
    for start in range(0, len(old), _TOGETHER):
        some = old[start : start + _TOGETHER]
        with store.database.writing() as connection:
            still = {one.path: why for one, why in _unreferenced(connection, [f for f, _ in some])}
            for one, _ in some:
                changed = files.changed(one.path)
                why = still.get(one.path)
                # Adopted or taken by somebody else since the look.
                if why is None or changed is None or (changed > oldest and why != "purged"):
                    continue
                files.move_away(one.path, folder)
                yield Collected(one.path, one.size, why)


def _unreferenced(
    connection: Connection,
    found: Sequence[FileFound],
    *,
    assume_purged: frozenset[str] = frozenset(),
) -> list[tuple[FileFound, str]]:
    """The files that no row needs, and why: `unreferenced`, or `purged`."""
    ids = [artifact_id_in(file.path) or "" for file in found]
    rows: dict[str, tuple[str, bool]] = {}
    for some in in_lists(ids):
        for row in connection.execute(
            select(artifacts.c.artifact_id, artifacts.c.path, artifacts.c.purged_at).where(
                artifacts.c.artifact_id.in_(some)
            )
        ):
            gone = row.purged_at is not None or row.artifact_id in assume_purged
            rows[row.artifact_id] = (row.path, gone)
    loose: list[tuple[FileFound, str]] = []
    for one, artifact_id in zip(found, ids, strict=True):
        path, gone = rows.get(artifact_id, ("", False))
        if path == one.path:
            if gone:
                loose.append((one, "purged"))
        elif not path or one.path != sidecar_path(path):
            loose.append((one, "unreferenced"))
    return loose


def _purgeable(connection: Connection, policy: PurgePolicy, now: datetime) -> list[str]:
    """The artifacts whose bytes the policy gives up and nobody needs, sorted."""
    since: dict[str, timedelta | None] = {
        "tombstoned": policy.tombstoned_after,
        "superseded": policy.superseded_after,
    }
    last = select(supersedes.c.old_id, func.max(supersedes.c.at)).group_by(supersedes.c.old_id)
    dead = select(tombstones.c.artifact_id, tombstones.c.at)
    changed: dict[str, int] = {
        row[0]: row[1] for query in (last, dead) for row in connection.execute(query)
    }
    old: list[str] = []
    for row in connection.execute(
        select(artifacts.c.artifact_id, artifacts.c.status).where(
            artifacts.c.status != "active", artifacts.c.purged_at.is_(None)
        )
    ):
        wait = since[row.status]
        at = changed.get(row.artifact_id)
        if wait is not None and at is not None and at <= to_us(now - wait):
            old.append(row.artifact_id)
    return sorted(set(old) - _needed(connection)) if old else []


def _needed(connection: Connection) -> set[str]:
    """What must keep its bytes whatever its status."""
    latest = (
        select(func.max(publications.c.publication_id))
        .join(artifacts, artifacts.c.artifact_id == publications.c.artifact_id)
        .where(artifacts.c.status == "active")
        .group_by(publications.c.artifact_id)
    )
    queries = (
        select(artifact_tags.c.artifact_id).where(artifact_tags.c.k == PIN_TAG),
        select(input_set_members.c.artifact_id),
        select(partition_heads.c.artifact_id).where(partition_heads.c.artifact_id.is_not(None)),
        select(lineage.c.input_artifact_id).where(
            lineage.c.input_artifact_id.is_not(None), lineage.c.publication_id.in_(latest)
        ),
    )
    needed: set[str] = set()
    for query in queries:
        needed.update(connection.scalars(query))
    for outputs in connection.scalars(
        select(experiments.c.outputs_json).where(experiments.c.outputs_json.is_not(None))
    ):
        needed.update(_ids_in(json.loads(outputs)))
    return needed


def _ids_in(value: object) -> Iterator[str]:
    if isinstance(value, str) and ARTIFACT_ID.fullmatch(value):
        yield value
    elif isinstance(value, dict):
        for inside in value.values():
            yield from _ids_in(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _ids_in(inside)


def _empty(
    files: LocalFiles, trash: Path, before: datetime, *, dry_run: bool
) -> Iterator[Collected]:
    """Delete what a collection put into the trash before that time; other things there stay."""
    if not trash.is_dir():
        return
    for folder in sorted(trash.iterdir()):
        if not _TRASHED.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            continue
        at = datetime.strptime(folder.name, _STAMP).replace(tzinfo=UTC)
        if at > before:
            continue
        inside = sorted(scan_folder(folder), key=lambda one: one.path)
        if not dry_run:
            files.empty_folder(folder)
        for one in inside:
            yield Collected(f"{folder.name}/{one.path}", one.size, "trash")

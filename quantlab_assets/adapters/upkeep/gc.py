"""Garbage collection: unreferenced files to the trash, old trash away, bytes by policy only.

A file is taken while the write lock of the manifest is held and after a look that nothing refers to
it. A publisher looks under the same lock whether its files are still there before it names them, so
neither can miss the other, however long either takes. The grace period only spares publishers the
work of writing twice.

The bytes of an artifact go in two steps: its row says so first (`purged_at`), then its file is as
unreferenced as any other. A crash between them leaves work for the next collection.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from quantlab_assets.adapters.artifact_store.store import ParquetStore
from quantlab_assets.adapters.manifest.engine import Transaction
from quantlab_assets.adapters.manifest.upkeep.collection import mark_purged, places_of, purgeable
from quantlab_assets.adapters.objects.layout import artifact_id_in, sidecar_path
from quantlab_assets.adapters.objects.local_disk import FileFound, LocalFiles, scan_folder
from quantlab_assets.domain.errors import Conflict

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
        return sum(file.bytes for file in self.files)


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
        with database.reading() if dry_run else database.writing() as transaction:
            purged = purgeable(
                transaction,
                {
                    "tombstoned": _before(now, purge.tombstoned_after),
                    "superseded": _before(now, purge.superseded_after),
                },
            )
            if not dry_run:
                mark_purged(transaction, purged, at=now)

    on_disk = sorted(files.scan(), key=lambda file: file.path)
    # Looked at after the files, so that whatever was published meanwhile is known.
    with database.reading() as transaction:
        loose = _unreferenced(transaction, on_disk, assume_purged=frozenset(purged))
    if len(loose) > max(_FEW, len(on_disk) // 2) and not force:
        raise Conflict(
            f"{len(loose)} of {len(on_disk)} files are in no row of {database.path}: is it the"
            " manifest of these files? rebuild it, or force the collection"
        )
    old = [(file, why) for file, why in loose if file.changed <= oldest or why == "purged"]
    staged = [file for file in files.scan_staging() if file.changed <= oldest]
    staged.sort(key=lambda file: file.path)
    if dry_run:
        taken = [Collected(file.path, file.size, why) for file, why in old]
    else:
        taken = list(_take(store, old, folder, oldest))
        staged = [file for file in staged if files.move_staged_away(file.path, folder)]
    taken += [Collected(file.path, file.size, "staging") for file in staged]
    taken += _empty(files, trash, now - empty_trash_after, dry_run=dry_run)
    return CollectReport(dry_run, tuple(taken), tuple(purged), len(loose) - len(old))


def _take(
    store: ParquetStore, old: Sequence[tuple[FileFound, str]], folder: Path, oldest: float
) -> Iterator[Collected]:
    files = store.files_on_disk
    for start in range(0, len(old), _TOGETHER):
        some = old[start : start + _TOGETHER]
        with store.database.writing() as transaction:
            still = {
                file.path: why
                for file, why in _unreferenced(transaction, [file for file, _ in some])
            }
            for file, _ in some:
                changed = files.changed(file.path)
                why = still.get(file.path)
                # Adopted or taken by somebody else since the look.
                if why is None or changed is None or (changed > oldest and why != "purged"):
                    continue
                files.move_away(file.path, folder)
                yield Collected(file.path, file.size, why)


def _unreferenced(
    transaction: Transaction,
    on_disk: Sequence[FileFound],
    *,
    assume_purged: frozenset[str] = frozenset(),
) -> list[tuple[FileFound, str]]:
    """The files that no row needs, and why: `unreferenced`, or `purged`."""
    ids = [artifact_id_in(file.path) or "" for file in on_disk]
    places = places_of(transaction, ids)
    loose: list[tuple[FileFound, str]] = []
    for file, artifact_id in zip(on_disk, ids, strict=True):
        path, gone = places.get(artifact_id, ("", False))
        if path == file.path:
            if gone or artifact_id in assume_purged:
                loose.append((file, "purged"))
        elif not path or file.path != sidecar_path(path):
            loose.append((file, "unreferenced"))
    return loose


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
        inside = sorted(scan_folder(folder), key=lambda file: file.path)
        if not dry_run:
            files.empty_folder(folder)
        for file in inside:
            yield Collected(f"{folder.name}/{file.path}", file.size, "trash")


def _before(now: datetime, wait: timedelta | None) -> datetime | None:
    return None if wait is None else now - wait

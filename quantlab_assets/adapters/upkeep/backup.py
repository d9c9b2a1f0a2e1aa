"""Copies of the manifest that are whole: made while it is used, checked, and put back.

How the database itself is copied and checked is in `manifest.upkeep.copies`. The uncommitted code
changes that experiments ran with, kept beside the manifest, are copied into a folder beside the
copy, `<copy>.code`.
"""

import contextlib
import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quantlab_assets.adapters.code_provenance import CodeState, keep_diff
from quantlab_assets.adapters.manifest.engine import ManifestDatabase
from quantlab_assets.adapters.manifest.upkeep.copies import check_manifest, copy_database
from quantlab_assets.adapters.whole_files import sync
from quantlab_assets.domain.errors import Conflict, IntegrityError, NotFound, StoreUnavailable

_JOURNALS: Final = ("-journal", "-wal", "-shm")
_CODE: Final = "code"
_PATCH: Final = re.compile(r"([0-9a-f]{64})\.patch")


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A copy: where, its bytes, how many artifacts it knows, and how many files of code changes are
    with it. After a restore, `replaced` is where the manifest is that was there before."""

    path: Path
    bytes: int
    artifacts: int
    patches: int = 0
    replaced: Path | None = None


def backup(database: ManifestDatabase, out: Path) -> BackupReport:
    """Copy the manifest to the file `out`, which appears only once it is whole and synced.

    Raises `Conflict` if `out` is there, `IntegrityError` if the manifest is damaged,
    `StoreUnavailable`.
    """
    out = out.absolute()
    if out.exists():
        raise Conflict(f"{out} is there already: name another file, backups are not overwritten")
    with _unavailable(f"cannot write a backup to {out}"), _unfinished(out) as unfinished:
        copy_database(database.path, unfinished)
        artifacts = check_manifest(unfinished)
        sync(unfinished)
        # After the manifest: a change is kept before the run that names it is recorded.
        patches = _copy_patches(database.path.parent / _CODE, _code_of(out))
        try:
            os.link(unfinished, out)
        except FileExistsError as error:
            raise Conflict(f"{out} was made by somebody else meanwhile") from error
        sync(out.parent)
        return BackupReport(out, out.stat().st_size, artifacts, patches)


def restore(source: Path, manifest: Path) -> BackupReport:
    """Put a backup in the place of the manifest. What was there is kept beside it, and named.

    Stop other programs on the lake first: what they publish while this runs may be lost from the
    manifest (their files stay). Raises `NotFound`, `IntegrityError` if the backup is damaged or is
    no manifest, `StoreUnavailable`.
    """
    source, manifest = source.absolute(), manifest.absolute()
    if not source.is_file():
        raise NotFound(f"no backup at {source}")
    if manifest.exists() and source.samefile(manifest):
        raise Conflict(f"{source} is the manifest itself, not a backup of it")
    with (
        _unavailable(f"cannot restore {manifest}"),
        _unfinished(manifest) as unfinished,
    ):
        copy_database(source, unfinished)
        artifacts = check_manifest(unfinished)
        sync(unfinished)
        patches = _copy_patches(_code_of(source), manifest.parent / _CODE)
        replaced = _set_aside(manifest)
        unfinished.rename(manifest)
        sync(manifest.parent)
        return BackupReport(manifest, manifest.stat().st_size, artifacts, patches, replaced)


def _code_of(copy: Path) -> Path:
    return copy.with_name(f"{copy.name}.{_CODE}")


def _copy_patches(source: Path, target: Path) -> int:
    """Copy the code changes in a folder, each under its hash; how many there are.

    Raises `IntegrityError` if one of them is not what its name says.
    """
    count = 0
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        named = _PATCH.fullmatch(path.name)
        if named is None or not path.is_file():
            continue
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != named[1]:
            raise IntegrityError(f"{path} is damaged: move it away, and its copies with it")
        keep_diff(target, CodeState(None, True, f"sha256:{named[1]}", data))
        count += 1
    if count:
        sync(target)
        sync(target.parent)
    return count


def _set_aside(manifest: Path) -> Path | None:
    """Rename the manifest and its journals, which must not be applied to what comes."""
    aside = manifest.with_name(f"{manifest.name}.replaced-{uuid.uuid4().hex[:8]}")
    for journal in _JOURNALS:
        beside = manifest.with_name(manifest.name + journal)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + journal))
    if not manifest.exists():
        return None
    manifest.rename(aside)
    return aside


@contextlib.contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield path
    finally:
        for name in (path.name, *(path.name + journal for journal in _JOURNALS)):
            path.with_name(name).unlink(missing_ok=True)


@contextlib.contextmanager
def _unavailable(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"{doing}: {error.strerror or error}") from error

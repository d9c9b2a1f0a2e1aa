"""What a lake takes on the disk, and what is wrong with its surroundings or will soon be.

Whether files are as their rows say is not looked at here but in `audit`.
"""

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from quantlab_assets.adapters.artifact_store.store import ParquetStore
from quantlab_assets.adapters.manifest.engine import (
    WAL_IS_SAFE,
    ManifestDatabase,
)
from quantlab_assets.adapters.manifest.find import newest_publication_at
from quantlab_assets.adapters.manifest.migrations import MANIFEST
from quantlab_assets.adapters.manifest.upkeep.census import take_census
from quantlab_assets.adapters.objects.local_disk import scan_folder
from quantlab_assets.domain.errors import QuantlabError

_LITTLE_SPACE: Final = 1 << 30
_LEFT_FOR: Final = timedelta(hours=24)
_CLOCK_MAY_DIFFER: Final = timedelta(minutes=5)
_OLDEST_SQLITE: Final = (3, 35, 0)
_FEW_DESCRIPTORS: Final = 256


@dataclass(frozen=True, slots=True)
class Use:
    """What one part of the lake takes: files and bytes."""

    part: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how bad, what it is, and what to do (empty if it is ok)."""

    level: Literal["ok", "warning", "error"]
    what: str
    do: str = ""


def disk_use(store: ParquetStore, paths: Mapping[str, Path]) -> tuple[Use, ...]:
    """Parquet bytes by type and status as the manifest has them, then each named file or folder.

    Raises `StoreUnavailable`.
    """
    uses = [
        Use(f"{count.artifact_type} ({count.status})", count.artifacts, count.bytes)
        for count in take_census(store.database).artifacts
    ]
    for part, path in paths.items():
        sizes = [path.stat().st_size] if path.is_file() else [f.size for f in scan_folder(path)]
        uses.append(Use(part, len(sizes), sum(sizes)))
    return tuple(uses)


def diagnose(manifest: Path, folders: Mapping[str, Path], *, now: datetime) -> tuple[Finding, ...]:
    """Look at SQLite, the manifest, the folders by name, space and clock; nothing is changed.

    The folders named `artifacts` and `staging` must be on one file system. Never raises for what is
    wrong: that is a finding of level `error`.
    """
    findings = [*_sqlite()]
    findings += _folders(folders)
    findings += _manifest(manifest, now)
    staging = folders.get("staging")
    if staging is not None and staging.is_dir():
        findings += _leftovers(staging, now)
    return tuple(findings)


def _sqlite() -> Iterator[Finding]:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        yield Finding("error", f"SQLite {version} is too old", "use a newer Python build")
    elif WAL_IS_SAFE:
        yield Finding("ok", f"SQLite {version}: the manifest has a write-ahead log")
    else:
        yield Finding(
            "ok",
            f"SQLite {version} can corrupt databases with a write-ahead log (fixed in 3.51.3), so"
            " the manifest has a rollback journal: one writer or many readers at a time",
        )
    if sys.platform != "win32":
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit < _FEW_DESCRIPTORS:
            yield Finding(
                "warning", f"a process may open {limit} files only", "raise it: ulimit -n 1024"
            )


def _folders(folders: Mapping[str, Path]) -> Iterator[Finding]:
    devices: dict[str, int] = {}
    for name, folder in folders.items():
        if not folder.is_dir():
            yield Finding("error", f"no {name} folder {folder}", "run `quantlab init`")
            continue
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            yield Finding(
                "error",
                f"the {name} folder {folder} cannot be written",
                "give yourself the permission, or mount it for writing",
            )
        status = folder.stat()
        devices[name] = status.st_dev
        if name == "artifacts":
            free = shutil.disk_usage(folder).free
            level: Literal["ok", "warning"] = "warning" if free < _LITTLE_SPACE else "ok"
            do = "free some, or collect garbage" if level == "warning" else ""
            yield Finding(level, f"{free / 1e9:.1f} GB are free at {folder}", do)
    if len({devices[name] for name in ("artifacts", "staging") if name in devices}) > 1:
        yield Finding(
            "error",
            "the staging folder is on another file system than the artifacts",
            "put both on one: nothing can be published like this",
        )


def _manifest(path: Path, now: datetime) -> Iterator[Finding]:
    try:
        database = ManifestDatabase.open(path)
        with database.writing() as transaction:
            newest = newest_publication_at(transaction)
        version = database.version()
    except QuantlabError as error:
        yield Finding("error", str(error), "see docs/store.md, Recovery")
        return
    yield Finding("ok", f"manifest {path} has schema version {version} of {MANIFEST.newest}")
    if newest is not None and newest > now + _CLOCK_MAY_DIFFER:
        yield Finding(
            "warning",
            f"the newest publication is of {newest:%Y-%m-%d %H:%M} UTC, which is to"
            f" come ({now:%Y-%m-%d %H:%M} now)",
            "set the clock: times of new artifacts would be wrong",
        )


def _leftovers(staging: Path, now: datetime) -> Iterator[Finding]:
    old = [f for f in scan_folder(staging) if f.changed < (now - _LEFT_FOR).timestamp()]
    if old:
        yield Finding(
            "warning",
            f"{len(old)} files of {sum(f.size for f in old)} bytes were left in {staging}",
            "collect garbage: quantlab artifacts gc",
        )

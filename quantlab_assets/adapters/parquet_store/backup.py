"""Copies of the manifest that are whole: made while it is used, checked, and put back."""

from dataclasses import dataclass
from pathlib import Path

from quantlab_assets.adapters.parquet_store.database import ManifestDatabase


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A copy: where, its bytes, how many artifacts it knows; `replaced`: what it took the place
    of and where that is now (restore only)."""

    path: Path
    bytes: int
    artifacts: int
    replaced: Path | None = None


def backup(database: ManifestDatabase, out: Path) -> BackupReport:
    """Copy the manifest to `out`, atomically. Raises `Conflict` if `out` is there."""
    raise NotImplementedError


def restore(source: Path, manifest: Path) -> BackupReport:
    """Put a backup in the place of the manifest, which is kept beside it."""
    raise NotImplementedError

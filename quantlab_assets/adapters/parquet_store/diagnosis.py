"""What a lake takes on the disk, and what is wrong or will soon be."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from quantlab_assets.adapters.parquet_store.store import ParquetStore


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
    do: str


def disk_use(store: ParquetStore, paths: Mapping[str, Path]) -> tuple[Use, ...]:
    """Artifacts by type and status (from the manifest), then each named file or folder."""
    raise NotImplementedError


def diagnose(manifest: Path, folders: Mapping[str, Path], *, now: datetime) -> tuple[Finding, ...]:
    """Look at SQLite, folders (`artifacts`, `staging`, ...), space, schema version, clock."""
    raise NotImplementedError

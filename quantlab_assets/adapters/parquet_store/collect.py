"""Garbage collection: unreferenced files to the trash, old trash away, bytes by policy only."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from quantlab_assets.adapters.parquet_store.store import ParquetStore


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
    """What was taken, or with `dry_run` would be. `purged` are the ids whose bytes went."""

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
    """Take what nothing refers to and is older than `grace`. `force`: even most of the lake."""
    raise NotImplementedError

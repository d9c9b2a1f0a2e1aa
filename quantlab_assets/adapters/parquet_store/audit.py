"""Is the lake what the manifest says? Reads everything again and reports; `repair` moves aside."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quantlab_assets.adapters.parquet_store.store import ParquetStore


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong. `subject` is an artifact id, a path or a manifest row."""

    code: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was looked at and what is wrong. `unreferenced` files are no problem: gc takes them."""

    artifacts: int
    purged: int
    files_hashed: int
    bytes_hashed: int
    unreferenced: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Repair:
    """One file that was moved to quarantine, or (`moved_to` None) a sidecar written again."""

    path: str
    moved_to: str | None
    artifact_id: str | None
    reason: str


def audit(
    store: ParquetStore,
    *,
    fraction: float = 1.0,
    threads: int = 2,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> AuditReport:
    """Check files, sidecars, rows and their relations. `on_progress(bytes done, bytes in all)`."""
    raise NotImplementedError


def repair(store: ParquetStore, report: AuditReport, *, quarantine: Path) -> tuple[Repair, ...]:
    """Move damaged files to the folder `quarantine` and write damaged sidecars again."""
    raise NotImplementedError

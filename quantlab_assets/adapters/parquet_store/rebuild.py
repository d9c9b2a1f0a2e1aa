"""A manifest made again from sidecars, and from a backup for what came later."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quantlab_assets.domain.artifact_types import TypeRegistry


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
    """Write a new manifest at `manifest_out`, which must not exist. `on_progress(done, all)`."""
    raise NotImplementedError

"""Artifacts in one tar file, with all that the manifest of another lake needs to know of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from quantlab_assets.adapters.parquet_store.store import ParquetStore


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What a bundle holds: all artifacts in it (those asked for first), and its size in bytes."""

    artifacts: tuple[str, ...]
    bytes: int
    extra: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import came to. `extra`: the bundle's further documents, by name, as they were."""

    added: tuple[str, ...]
    present: tuple[str, ...]
    publications: int
    extra: Mapping[str, Any]


def export_bundle(
    store: ParquetStore,
    artifact_ids: Sequence[str],
    out: Path | BinaryIO,
    *,
    with_lineage: bool = True,
    extra: Mapping[str, Any] | None = None,
) -> BundleReport:
    """Write the artifacts, and with lineage all that they were made from.

    `extra` are JSON documents by name (`namespace/name`, lower-case letters, digits, `.`, `_`,
    `-`) that travel along and are handed back by `import_bundle`.
    """
    raise NotImplementedError


def import_bundle(
    store: ParquetStore, source: Path, *, max_file_bytes: int = 2 << 30
) -> ImportReport:
    """Take in a bundle, as a whole or not at all, after everything in it was verified."""
    raise NotImplementedError

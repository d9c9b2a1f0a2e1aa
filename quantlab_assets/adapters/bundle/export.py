"""Artifacts in one tar file, with all that the manifest of another lake needs to know of them.

`bundle.json` and `manifest.jsonl` come first, then further documents under `extra/`, then each
artifact's sidecar and Parquet file under the paths they have in a lake. docs/store.md has the
format. What another lake believes of it is said in `checks`.
"""

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from quantlab_assets.adapters.artifact_store.store import ParquetStore
from quantlab_assets.adapters.bundle.archive import ArchiveWriter
from quantlab_assets.adapters.bundle.contents import EXTRA, FILES, FORMAT, HEADER, MANIFEST
from quantlab_assets.adapters.bundle.take_in import ImportReport, import_bundle
from quantlab_assets.adapters.manifest.carried import carried_rows, with_inputs
from quantlab_assets.adapters.manifest.rows import resolve
from quantlab_assets.adapters.objects.layout import sidecar_path
from quantlab_assets.adapters.objects.local_disk import sha256_of
from quantlab_assets.domain.artifacts.identity import canonical_json
from quantlab_assets.domain.errors import (
    Conflict,
    IntegrityError,
    StoreUnavailable,
    ValidationFailed,
)

__all__ = ["BundleReport", "ImportReport", "export_bundle", "import_bundle"]

_EXTRA_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}/[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What a bundle holds: all its artifacts in the order in which they came, the bytes of its
    files, the names of its further documents."""

    artifacts: tuple[str, ...]
    bytes: int
    extra: tuple[str, ...]


def export_bundle(
    store: ParquetStore,
    artifact_ids: Sequence[str],
    out: Path | BinaryIO,
    *,
    with_lineage: bool = True,
    extra: Mapping[str, Any] | None = None,
) -> BundleReport:
    """Write the artifacts, and with lineage all that any publication of them was made from.

    Without lineage, a lake that imports the bundle must have the inputs already. `extra` are JSON
    documents by name (`namespace/name`, lower-case letters, digits, `.`, `_`, `-`) that travel
    along and are handed back by `import_bundle`. The same artifacts make the same bytes.

    Raises `NotFound`, `IntegrityError` if a file is lost or damaged, `Conflict` if `out` is there,
    `ValidationFailed` for the name of a document, `StoreUnavailable`.
    """
    documents = {name: _document(name, value) for name, value in (extra or {}).items()}
    with store.database.reading() as transaction:
        asked = {artifact.artifact_id for artifact in resolve(transaction, artifact_ids).values()}
        members = with_inputs(transaction, asked) if with_lineage else asked
        rows = list(carried_rows(transaction, members))
    carried = [row for table, row in rows if table == "artifacts"]
    with _opened(out) as file:
        writer = ArchiveWriter(file)
        writer.add(HEADER, canonical_json({"artifacts": len(carried), "format": FORMAT}) + b"\n")
        lines = (canonical_json({"row": row, "table": table}) + b"\n" for table, row in rows)
        writer.add(MANIFEST, b"".join(lines))
        for name, document in sorted(documents.items()):
            writer.add(f"{EXTRA}{name}.json", document)
        for row in carried:
            beside = sidecar_path(row["path"])
            writer.add(f"{FILES}{beside}", store.files_on_disk.read(beside))
            if row["purged_at"] is None:
                data = store.files_on_disk.read(row["path"])
                if sha256_of(data) != row["file_hash"]:
                    raise IntegrityError(
                        f"artifact {row['artifact_id']} is damaged: verify the lake first"
                    )
                writer.add(f"{FILES}{row['path']}", data)
        writer.close()
    return BundleReport(
        tuple(row["artifact_id"] for row in carried), writer.bytes, tuple(sorted(documents))
    )


def _document(name: str, value: Any) -> bytes:
    if not _EXTRA_NAME.fullmatch(name):
        raise ValidationFailed(
            f"{name[:80]!r} cannot name a document of a bundle: use namespace/name in lower-case"
            " letters, digits, '.', '_' and '-'"
        )
    try:
        # Not canonical JSON, which has no integers beyond 53 bits: a document comes back as it was.
        return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise ValidationFailed(f"document {name} is no plain JSON: {error}") from error


@contextmanager
def _opened(out: Path | BinaryIO) -> Iterator[BinaryIO]:
    """The stream itself, or a file that gets its name once it is whole."""
    if not isinstance(out, Path):
        yield out
        return
    if out.exists():
        raise Conflict(f"{out} is there already: name another file")
    unfinished = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
    try:
        with unfinished.open("xb") as file:
            yield file
        unfinished.rename(out)
    except OSError as error:
        raise StoreUnavailable(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)

"""The record stored beside a projection's file, and the name that follows from a request."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from quantlab_assets.domain.artifacts import canonical_json
from quantlab_assets.ports.projection_builder import ProjectionRequest, ProjectionTable

FORMAT_VERSION: Final = 1
"""Raised when the same request makes other tables: every content-derived name changes with it."""


@dataclass(frozen=True, slots=True)
class ProjectionRecord:
    """What was built, and which file it describes.

    `file_size` and `file_mtime_ns` tie the record to one file: of a build that died between putting
    its two files in place, the record does not pass for a description of the older database.
    """

    request: ProjectionRequest
    rows: Mapping[str, int]
    built_at: datetime
    file_size: int
    file_mtime_ns: int

    def describes(self, path: Path) -> bool:
        """Whether the database at `path` is the one this record was written for."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.file_size, self.file_mtime_ns)


def normalised(request: ProjectionRequest) -> ProjectionRequest:
    """The request with everything sorted that has no order, named by its content unless it has a
    name."""
    tables = tuple(
        replace(
            table,
            artifact_ids=tuple(sorted(set(table.artifact_ids))),
            indexes=tuple(sorted(set(table.indexes))),
        )
        for table in sorted(request.tables, key=lambda table: table.name)
    )
    identity = canonical_json([FORMAT_VERSION, [_table_json(table) for table in tables]])
    name = request.projection_id
    if name is None:
        name = f"p_{hashlib.sha256(identity).hexdigest()[:32]}"
    return replace(request, tables=tables, projection_id=name)


def write_record(record: ProjectionRecord, path: Path) -> None:
    """Write the record durably; not atomically, so to a temporary name."""
    text = json.dumps(
        {
            "format": FORMAT_VERSION,
            "projection_id": record.request.projection_id,
            "verify": record.request.verify,
            "tables": [_table_json(table) for table in record.request.tables],
            "rows": dict(record.rows),
            "built_at": record.built_at.isoformat(),
            "file_size": record.file_size,
            "file_mtime_ns": record.file_mtime_ns,
        },
        indent=1,
    )
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_record(path: Path) -> ProjectionRecord | None:
    """The record, or None if there is none that this version can read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT_VERSION:
            return None
        return ProjectionRecord(
            request=ProjectionRequest(
                tables=tuple(_table(table) for table in found["tables"]),
                projection_id=found["projection_id"],
                verify=found["verify"],
            ),
            rows={str(name): int(count) for name, count in found["rows"].items()},
            built_at=datetime.fromisoformat(found["built_at"]),
            file_size=int(found["file_size"]),
            file_mtime_ns=int(found["file_mtime_ns"]),
        )
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _table_json(table: ProjectionTable) -> dict[str, Any]:
    return {
        "name": table.name,
        "artifact_type": table.artifact_type,
        "artifact_ids": list(table.artifact_ids),
        "indexes": [list(index) for index in table.indexes],
        "key_columns": [list(column) for column in table.key_columns],
    }


def _table(found: Mapping[str, Any]) -> ProjectionTable:
    return ProjectionTable(
        name=found["name"],
        artifact_type=found["artifact_type"],
        artifact_ids=tuple(found["artifact_ids"]),
        indexes=tuple(tuple(index) for index in found["indexes"]),
        key_columns=tuple((column, field) for column, field in found["key_columns"]),
    )

"""The record stored beside a projection's file, and the name that follows from a request."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from quantlab_assets.domain.artifacts.identity import canonical_json
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.ports.projection_builder import (
    ArtifactSelector,
    ProjectionRequest,
    ProjectionTable,
)

FORMAT_VERSION: Final = 2
"""Raised when the same request makes other tables: every content-derived name changes with it."""

CONTENT_NAME: Final = re.compile(r"p_[0-9a-f]{32}", re.ASCII)
"""What names that follow from the content look like."""

Segments = tuple[tuple[str, int], ...]
"""Artifact ids with their numbers of rows, in the order in which the rows stand in a table."""


@dataclass(frozen=True, slots=True)
class ProjectionRecord:
    """What was built, and which file it describes.

    `file_size` and `file_mtime_ns` tie the record to one file: of a build that died between putting
    its two files in place, the record does not pass for a description of the older database.
    `segments` says how each table is laid out, `versions` in which schema version of its type,
    `state` of which records of the lake. `fresh_size` and `fresh_rows` are of the last build from
    nothing, before anything was added to it.
    """

    request: ProjectionRequest
    rows: Mapping[str, int]
    segments: Mapping[str, Segments]
    versions: Mapping[str, int]
    state: Mapping[str, str]
    stale: bool
    built_at: datetime
    file_size: int
    file_mtime_ns: int
    fresh_size: int
    fresh_rows: int

    def describes(self, path: Path) -> bool:
        """Whether the database at `path` is the one this record was written for."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.file_size, self.file_mtime_ns)


def as_asked(request: ProjectionRequest) -> ProjectionRequest:
    """The request as it was asked: without the artifacts that selectors chose."""
    tables = tuple(
        table if table.selector is None else replace(table, artifact_ids=())
        for table in request.tables
    )
    return replace(request, tables=tables)


def normalised(request: ProjectionRequest) -> ProjectionRequest:
    """The request with everything sorted that has no order, named by its content unless it has a
    name.

    What selectors chose must be filled in: the content is what was chosen, not how.
    """
    tables = tuple(
        replace(
            table,
            artifact_ids=tuple(sorted(set(table.artifact_ids))),
            indexes=tuple(sorted(set(table.indexes))),
        )
        for table in sorted(request.tables, key=lambda table: table.name)
    )
    identity = canonical_json(
        [FORMAT_VERSION, request.layout, [_content_json(table) for table in tables]]
    )
    name = request.projection_id
    if name is None:
        name = f"p_{hashlib.sha256(identity).hexdigest()[:32]}"
    return replace(request, tables=tables, projection_id=name)


def request_json(request: ProjectionRequest) -> str:
    """The request as text, from which `request_from` makes it again."""
    return json.dumps(_request_json(request), sort_keys=True)


def request_from(text: str) -> ProjectionRequest:
    """The request of a text. Raises `ValidationFailed` for one that this version cannot read."""
    try:
        return _request(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValidationFailed(
            "the stored request is of another version; build the projection anew"
        ) from error


def write_record(record: ProjectionRecord, path: Path) -> None:
    """Write the record durably; not atomically, so to a temporary name."""
    text = json.dumps(
        {
            "format": FORMAT_VERSION,
            "request": _request_json(as_asked(record.request)),
            "rows": dict(record.rows),
            "segments": record.segments,
            "versions": dict(record.versions),
            "state": dict(record.state),
            "stale": record.stale,
            "built_at": record.built_at.isoformat(),
            "file_size": record.file_size,
            "file_mtime_ns": record.file_mtime_ns,
            "fresh_size": record.fresh_size,
            "fresh_rows": record.fresh_rows,
        }
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
        segments = {
            name: tuple((artifact_id, rows) for artifact_id, rows in placed)
            for name, placed in found["segments"].items()
        }
        asked = _request(found["request"])
        chosen = tuple(
            replace(table, artifact_ids=tuple(sorted(i for i, _ in segments[table.name])))
            for table in asked.tables
        )
        return ProjectionRecord(
            request=replace(asked, tables=chosen),
            rows={str(name): int(count) for name, count in found["rows"].items()},
            segments=segments,
            versions={str(name): int(number) for name, number in found["versions"].items()},
            state={str(name): str(text) for name, text in found["state"].items()},
            stale=bool(found["stale"]),
            built_at=datetime.fromisoformat(found["built_at"]),
            file_size=int(found["file_size"]),
            file_mtime_ns=int(found["file_mtime_ns"]),
            fresh_size=int(found["fresh_size"]),
            fresh_rows=int(found["fresh_rows"]),
        )
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _request_json(request: ProjectionRequest) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "projection_id": request.projection_id,
        "verify": request.verify,
        "layout": request.layout,
        "tables": [
            {**_content_json(table), "selector": _selector_json(table.selector)}
            for table in request.tables
        ],
    }


def _content_json(table: ProjectionTable) -> dict[str, Any]:
    return {
        "name": table.name,
        "artifact_type": table.artifact_type,
        "artifact_ids": list(table.artifact_ids),
        "indexes": [list(index) for index in table.indexes],
        "key_columns": [list(column) for column in table.key_columns],
    }


def _selector_json(selector: ArtifactSelector | None) -> dict[str, Any] | None:
    if selector is None:
        return None
    return {
        "status": selector.status,
        "tags": [list(tag) for tag in selector.tags],
        "key_prefix": selector.key_prefix,
        "first_day": selector.first_day.isoformat() if selector.first_day else None,
        "last_day": selector.last_day.isoformat() if selector.last_day else None,
    }


def _request(found: Mapping[str, Any]) -> ProjectionRequest:
    if found["format"] != FORMAT_VERSION:
        raise ValueError("another version")
    return ProjectionRequest(
        tables=tuple(_table(table) for table in found["tables"]),
        projection_id=found["projection_id"],
        verify=found["verify"],
        layout=found["layout"],
    )


def _table(found: Mapping[str, Any]) -> ProjectionTable:
    return ProjectionTable(
        name=found["name"],
        artifact_type=found["artifact_type"],
        artifact_ids=tuple(found["artifact_ids"]),
        indexes=tuple(tuple(index) for index in found["indexes"]),
        key_columns=tuple((column, field) for column, field in found["key_columns"]),
        selector=_selector(found["selector"]),
    )


def _selector(found: Mapping[str, Any] | None) -> ArtifactSelector | None:
    if found is None:
        return None

    def day(text: str | None) -> date | None:
        return None if text is None else date.fromisoformat(text)

    return ArtifactSelector(
        status=found["status"],
        tags=tuple((name, value) for name, value in found["tags"]),
        key_prefix=found["key_prefix"],
        first_day=day(found["first_day"]),
        last_day=day(found["last_day"]),
    )

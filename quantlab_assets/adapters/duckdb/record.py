"""The record stored beside a projection's file, and the name that follows from a request."""

import hashlib
import json
import os
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

FORMAT_VERSION: Final = 3
"""Raised when the same request makes other tables: every content-derived name changes with it."""

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

    @property
    def projection_id(self) -> str:
        """The name of the projection."""
        return str(self.request.projection_id)

    def describes(self, path: Path) -> bool:
        """Whether the database at `path` is the one this record was written for."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        return (status.st_size, status.st_mtime_ns) == (self.file_size, self.file_mtime_ns)


def as_asked(request: ProjectionRequest) -> ProjectionRequest:
    """The request as it was asked: without the artifacts that selectors chose."""
    tables = tuple(
        table if table.selector is None else replace(table, artifact_ids=())
        for table in request.tables
    )
    return replace(request, tables=tables)


def to_rebuild(request: ProjectionRequest) -> ProjectionRequest:
    """The request for what a rebuild has: just what was chosen if the name promises that, else
    what the selectors choose now."""
    if not request.is_named_by_content:
        return as_asked(request)
    tables = tuple(replace(table, selector=None) for table in request.tables)
    return replace(request, tables=tables)


def has_same_tables(old: ProjectionRequest, new: ProjectionRequest) -> bool:
    """Whether the two differ in nothing but the artifacts."""

    def shape(request: ProjectionRequest) -> object:
        tables = [replace(table, artifact_ids=(), selector=None) for table in request.tables]
        return (request.layout, tables)

    return shape(old) == shape(new)


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
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["format"] != FORMAT_VERSION:
            return None
        segments = {
            name: tuple((artifact_id, rows) for artifact_id, rows in placed)
            for name, placed in stored["segments"].items()
        }
        asked = _request(stored["request"])
        chosen = tuple(
            replace(table, artifact_ids=tuple(sorted(i for i, _ in segments[table.name])))
            for table in asked.tables
        )
        return ProjectionRecord(
            request=replace(asked, tables=chosen),
            rows={str(name): int(count) for name, count in stored["rows"].items()},
            segments=segments,
            versions={str(name): int(number) for name, number in stored["versions"].items()},
            state={str(name): str(text) for name, text in stored["state"].items()},
            stale=bool(stored["stale"]),
            built_at=datetime.fromisoformat(stored["built_at"]),
            file_size=int(stored["file_size"]),
            file_mtime_ns=int(stored["file_mtime_ns"]),
            fresh_size=int(stored["fresh_size"]),
            fresh_rows=int(stored["fresh_rows"]),
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


def _request(stored: Mapping[str, Any]) -> ProjectionRequest:
    if stored["format"] != FORMAT_VERSION:
        raise ValueError("another version")
    return ProjectionRequest(
        tables=tuple(_table(table) for table in stored["tables"]),
        projection_id=stored["projection_id"],
        verify=stored["verify"],
        layout=stored["layout"],
    )


def _table(stored: Mapping[str, Any]) -> ProjectionTable:
    return ProjectionTable(
        name=stored["name"],
        artifact_type=stored["artifact_type"],
        artifact_ids=tuple(stored["artifact_ids"]),
        indexes=tuple(tuple(index) for index in stored["indexes"]),
        key_columns=tuple((column, field) for column, field in stored["key_columns"]),
        selector=_selector(stored["selector"]),
    )


def _selector(stored: Mapping[str, Any] | None) -> ArtifactSelector | None:
    if stored is None:
        return None

    def day(text: str | None) -> date | None:
        return None if text is None else date.fromisoformat(text)

    return ArtifactSelector(
        status=stored["status"],
        tags=tuple((name, value) for name, value in stored["tags"]),
        key_prefix=stored["key_prefix"],
        first_day=day(stored["first_day"]),
        last_day=day(stored["last_day"]),
    )

"""The manifest and the ledger as tables, for projections of the whole lake.

Times are UTC. Rows stand in the order of their keys, so that the same records make the same tables.
The ledger's own tables are made in `ledger.as_tables`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
from sqlalchemy import Column, Connection, Select, func, select

from quantlab_assets.adapters.manifest.engine import ManifestDatabase, in_lists
from quantlab_assets.adapters.manifest.ledger.as_tables import ledger_state, ledger_tables
from quantlab_assets.adapters.manifest.tables import (
    artifact_tags,
    artifacts,
    input_set_members,
    input_sets,
    lineage,
    publication_sources,
    publications,
    sources,
    supersedes,
    tombstones,
)
from quantlab_assets.domain.artifacts.identity import canonical_json

_TS: Final = pa.timestamp("us", tz="UTC")

_ARTIFACT_COLUMNS: Final = (
    "artifact_id",
    "artifact_type",
    "schema_version",
    "logical_key",
    "status",
    "row_count",
    "min_ts",
    "max_ts",
    "created_at",
    "purged_at",
    "file_size",
    "path",
    "file_hash",
    "content_hash",
)

_QUERIES: Final[Mapping[str, tuple[Select[Any], pa.Schema]]] = {
    "artifacts": (
        select(*(artifacts.c[name] for name in _ARTIFACT_COLUMNS)).order_by(
            artifacts.c.artifact_id
        ),
        pa.schema(
            [
                (
                    name,
                    _TS
                    if name.endswith(("_ts", "_at"))
                    else pa.int64()
                    if name in {"schema_version", "row_count", "file_size"}
                    else pa.string(),
                )
                for name in _ARTIFACT_COLUMNS
            ]
        ),
    ),
    "artifact_tags": (
        select(artifact_tags.c.artifact_id, artifact_tags.c.k, artifact_tags.c.v).order_by(
            artifact_tags.c.artifact_id, artifact_tags.c.k
        ),
        pa.schema([("artifact_id", pa.string()), ("name", pa.string()), ("value", pa.string())]),
    ),
    "artifact_sources": (
        select(
            publications.c.artifact_id,
            sources.c.sha256,
            sources.c.name,
            sources.c.kind,
            sources.c.size,
        )
        .join(
            publication_sources,
            publication_sources.c.publication_id == publications.c.publication_id,
        )
        .join(sources, sources.c.sha256 == publication_sources.c.sha256)
        .distinct()
        .order_by(publications.c.artifact_id, sources.c.sha256),
        pa.schema(
            [
                ("artifact_id", pa.string()),
                ("sha256", pa.string()),
                ("name", pa.string()),
                ("kind", pa.string()),
                ("size", pa.int64()),
            ]
        ),
    ),
    "lineage_inputs": (
        select(
            publications.c.artifact_id,
            lineage.c.input_artifact_id,
            lineage.c.role,
            lineage.c.publication_id,
        )
        .join(publications, publications.c.publication_id == lineage.c.publication_id)
        .where(lineage.c.input_artifact_id.is_not(None))
        .order_by(publications.c.artifact_id, lineage.c.lineage_id),
        pa.schema(
            [
                ("artifact_id", pa.string()),
                ("input_id", pa.string()),
                ("role", pa.string()),
                ("publication_id", pa.int64()),
            ]
        ),
    ),
    "lineage_input_sets": (
        select(
            publications.c.artifact_id,
            lineage.c.input_set_id,
            lineage.c.role,
            lineage.c.publication_id,
        )
        .join(publications, publications.c.publication_id == lineage.c.publication_id)
        .where(lineage.c.input_set_id.is_not(None))
        .order_by(publications.c.artifact_id, lineage.c.lineage_id),
        pa.schema(
            [
                ("artifact_id", pa.string()),
                ("input_set_id", pa.string()),
                ("role", pa.string()),
                ("publication_id", pa.int64()),
            ]
        ),
    ),
    "input_sets": (
        select(input_set_members.c.input_set_id, input_set_members.c.artifact_id).order_by(
            input_set_members.c.input_set_id, input_set_members.c.artifact_id
        ),
        pa.schema([("input_set_id", pa.string()), ("artifact_id", pa.string())]),
    ),
}

_LEDGER: Final = ("experiments", "experiment_outputs", "experiment_events")


class ManifestRecords:
    """Implements `LakeRecords` over the manifest database."""

    def __init__(self, database: ManifestDatabase) -> None:
        self._database = database

    def state(self) -> Mapping[str, str]:
        """See `LakeRecords`: newest numbers and counts, all from indexes."""
        with self._database.reading() as connection:
            newest = {
                name: connection.scalar(select(func.max(column)))
                for name, column in _NUMBERED.items()
            }
            statuses = connection.execute(
                select(artifacts.c.status, func.count())
                .group_by(artifacts.c.status)
                .order_by(artifacts.c.status)
            ).all()
            counts = {
                "statuses": [[row[0], row[1]] for row in statuses],
                "purged": _count(connection, artifacts.c.purged_at),
                "tombstones": _count(connection, tombstones.c.artifact_id),
                "tags": _count(connection, artifact_tags.c.artifact_id),
                "sets": _count(connection, input_sets.c.input_set_id),
            }
            ledger = ledger_state(connection)
        parts = {
            "artifacts": [newest, counts],
            "artifact_tags": [newest["publication"], counts["tags"]],
            "artifact_sources": newest["publication"],
            "lineage_inputs": newest["publication"],
            "lineage_input_sets": newest["publication"],
            "input_sets": counts["sets"],
        } | dict.fromkeys(_LEDGER, ledger)
        return {name: canonical_json(part).decode() for name, part in parts.items()}

    def tables(self, names: Collection[str]) -> Mapping[str, pa.Table]:
        """See `LakeRecords`."""
        with self._database.reading() as connection:
            by_name = {
                name: _table(connection, *_QUERIES[name]) for name in _QUERIES if name in names
            }
            if not set(_LEDGER).isdisjoint(names):
                ledger = ledger_tables(connection)
                by_name |= {name: ledger[name] for name in _LEDGER if name in names}
        return by_name

    def arrivals(self, artifact_ids: Sequence[str]) -> Mapping[str, int]:
        """See `LakeRecords`."""
        came: dict[str, int] = {}
        with self._database.reading() as connection:
            for some in in_lists(artifact_ids):
                query = select(artifacts.c.artifact_id, artifacts.c.sequence)
                rows = connection.execute(query.where(artifacts.c.artifact_id.in_(some)))
                came.update((row[0], row[1]) for row in rows)
        return came


_NUMBERED: Final[Mapping[str, Column[Any]]] = {
    "artifact": artifacts.c.sequence,
    "publication": publications.c.publication_id,
    "supersession": supersedes.c.supersede_id,
}


def _count(connection: Connection, column: Column[Any]) -> int:
    return int(connection.scalar(select(func.count(column))) or 0)


def _table(connection: Connection, query: Select[Any], schema: pa.Schema) -> pa.Table:
    rows = connection.execute(query).all()
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)],
        schema=schema,
    )

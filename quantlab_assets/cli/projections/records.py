"""Projections as the records that the commands print."""

from typing import Any, Final

from quantlab_assets.cli.experiments.records import moment, yes_no
from quantlab_assets.cli.shell.output import Column, size
from quantlab_assets.ports.projection_builder import Projection

LISTED: Final = (
    Column("projection_id"),
    Column("tables", right=True),
    Column("artifacts", right=True),
    Column("rows", show=lambda count: f"{count:,}", right=True),
    Column("size", show=size, right=True),
    Column("built_at", show=moment),
    Column("last_used_at", show=moment),
    Column("stale", show=yes_no),
)
SHOWN: Final = (*LISTED, Column("path"))
SECONDS: Final = Column("seconds", show=lambda seconds: f"{seconds:.1f}", right=True)
TABLES: Final = (
    Column("table"),
    Column("artifact_type"),
    Column("artifacts", right=True),
    Column("rows", show=lambda count: f"{count:,}", right=True),
)


def projection_record(projection: Projection) -> dict[str, Any]:
    """A projection in a list: what it is called, how large it is, and how it stands."""
    tables = projection.request.tables
    return {
        "projection_id": projection.projection_id,
        "tables": len(tables),
        "artifacts": len({name for table in tables for name in table.artifact_ids}),
        "rows": sum(projection.rows[table.name] for table in tables),
        "size": projection.size,
        "built_at": projection.built_at,
        "last_used_at": projection.last_used_at,
        "stale": projection.stale,
        "path": projection.path,
    }


def table_records(projection: Projection) -> list[dict[str, Any]]:
    """What is in a projection, table by table; what is made of other tables has no type."""
    asked = {table.name: table for table in projection.request.tables}
    return [
        {
            "table": name,
            "artifact_type": asked[name].artifact_type if name in asked else None,
            "artifacts": len(asked[name].artifact_ids) if name in asked else None,
            "rows": rows,
        }
        for name, rows in sorted(projection.rows.items())
    ]

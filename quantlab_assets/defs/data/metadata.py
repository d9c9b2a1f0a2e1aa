"""What the UI shows of a materialised partition.

Text that came from messages is shown as plain table cells, never as markup.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa

from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.handlers.publish_partition import PublishedPartition

PREVIEW_ROWS = 5
PREVIEW_TEXT = 80

_NAMES = {
    "string": "text",
    "int64": "int",
    "double": "float",
    "bool": "bool",
    "date32[day]": "date",
}


def column_schema(artifact_type: ArtifactType) -> dg.TableSchema:
    """The columns of an artifact type, as the UI lists them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=field.name,
                type=_NAMES.get(str(field.type), "timestamp UTC"),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in artifact_type.schema
        ]
    )


def preview(tables: Sequence[pa.Table]) -> dg.TableMetadataValue | None:
    """The first rows, long text cut; None without rows."""
    filled = [table for table in tables if table.num_rows]
    if not filled:
        return None
    head = pa.concat_tables([table.slice(0, PREVIEW_ROWS) for table in filled[:PREVIEW_ROWS]])
    return table_value(head.slice(0, PREVIEW_ROWS))


def table_value(rows: pa.Table | pl.DataFrame) -> dg.TableMetadataValue:
    """A small table as the UI shows it: plain cells, never markup."""
    table = rows.to_arrow() if isinstance(rows, pl.DataFrame) else rows
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({name: _cell(value) for name, value in row.items()})
            for row in table.to_pylist()
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in table.column_names]),
    )


def partition_metadata(
    published: PublishedPartition,
    artifact_type: ArtifactType,
    tables: Sequence[pa.Table],
    root: str,
) -> Mapping[str, Any]:
    """Metadata of one partition: counts, artifacts, hashes, times, a preview.

    `root` is the artifacts root; the partition's URI is its only file, or the type's folder.
    """
    artifacts = published.artifacts
    new = [result.artifact_id for result in published.results if not result.deduped]
    times = [t for a in artifacts for t in (a.min_ts, a.max_ts) if t is not None]
    shown = preview(tables)
    path = (
        artifacts[0].path
        if len(artifacts) == 1
        else f"{artifact_type.name}/v{artifact_type.schema_version}"
    )
    return {
        "dagster/partition_row_count": sum(artifact.row_count for artifact in artifacts),
        "dagster/uri": f"{root}/{path}",
        "artifacts": len(artifacts),
        "artifact_ids": dg.MetadataValue.json([a.artifact_id for a in artifacts]),
        "content_hashes": dg.MetadataValue.json([a.content_hash for a in artifacts]),
        "new_artifacts": len(new),
        "deduped_artifacts": len(artifacts) - len(new),
        **({"min_ts": min(times).isoformat(), "max_ts": max(times).isoformat()} if times else {}),
        **({"preview": shown} if shown is not None else {}),
        **dict(sorted(published.counts.items())),
    }


def _cell(value: object) -> str | int | float | bool:
    if isinstance(value, bool | int | float):
        return value
    text = "" if value is None else str(value)
    return text if len(text) <= PREVIEW_TEXT else f"{text[: PREVIEW_TEXT - 1]}…"

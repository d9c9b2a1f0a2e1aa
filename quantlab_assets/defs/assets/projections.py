"""The standing research projection: a disposable DuckDB file over all active artifacts."""

import dagster as dg

from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.handlers.projections import build_research


@dg.asset(
    deps=[
        "alerts",
        "alert_events",
        "ohlcv_slices",
        "alert_forward_coverage",
        "coverage_gaps",
        "coverage_summary",
    ],
    group_name="projections",
    kinds={"duckdb"},
    owners=["team:quantlab"],
    code_version="2",
    pool="duckdb_projection",
)
def research_projection(lake: LakeResource) -> dg.MaterializeResult[None]:
    """Every active artifact as tables of one DuckDB file, to query and to throw away.

    Rebuilt from Parquet at any time; nothing else ever writes to it.
    """
    projection = build_research(lake.lake.projections)
    return dg.MaterializeResult(
        metadata={
            "projection_id": projection.projection_id,
            "size": projection.size,
            "path": dg.MetadataValue.path(projection.path),
            "rows": dg.MetadataValue.json(dict(projection.rows)),
            "dagster/row_count": sum(projection.rows.values()),
        }
    )

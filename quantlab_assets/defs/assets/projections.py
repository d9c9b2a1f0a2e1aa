"""The standing research projection: a disposable DuckDB file over all active artifacts.

Projections that somebody asks for are no assets (`cli.projections`); what the standing projection
holds is in `handlers.projections`.
"""

import dagster as dg

from quantlab_assets.defs.asset_rows import lab_asset
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.assets import ASSETS, RESEARCH_PROJECTION
from quantlab_assets.handlers.projections import build_research

_TABLES_OF_DAYS = [
    asset.name for asset in ASSETS if asset.table is not None and asset.group != "experiments"
]


@lab_asset(
    RESEARCH_PROJECTION,
    kinds=frozenset({"duckdb"}),
    code_version="2",
    deps=_TABLES_OF_DAYS,
    pool="duckdb_projection",
)
def research_projection(lake: LakeResource) -> dg.MaterializeResult[None]:
    """Every active artifact as tables of one DuckDB file, to query and to throw away.

    Rebuilt from Parquet at any time; nothing else ever writes to it.
    """
    projection = build_research(lake.lake.projections, lake.lake.assets)
    return dg.MaterializeResult(
        metadata={
            "projection_id": projection.projection_id,
            "size": projection.size,
            "path": dg.MetadataValue.path(projection.path),
            "rows": dg.MetadataValue.json(dict(projection.rows)),
            "dagster/row_count": sum(projection.rows.values()),
        }
    )

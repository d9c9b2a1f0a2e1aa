"""What the standing projection of the research holds, and what is asked of it again and again.

Choosing asks the manifest only; nothing is read until the projection is built.
"""

from typing import Final

from quantlab_assets.domain.assets import ASSETS, Assets
from quantlab_assets.ports.projection_builder import (
    ArtifactSelector,
    Projection,
    ProjectionBuilder,
    ProjectionRequest,
    ProjectionTable,
)

RESEARCH_PROJECTION: Final = "research"


def research_tables(assets: Assets = ASSETS) -> tuple[ProjectionTable, ...]:
    """The tables of the research projection: those that rows of `domain.assets` name."""
    return tuple(
        ProjectionTable(
            asset.table,
            asset.artifact_type,
            key_columns=asset.key_columns,
            selector=ArtifactSelector(),
        )
        for asset in assets
        if asset.table is not None and asset.artifact_type is not None
    )


def research_request(
    assets: Assets = ASSETS, *, projection_id: str | None = RESEARCH_PROJECTION, verify: bool = True
) -> ProjectionRequest:
    """The standing projection of everything active: alerts, candles, coverage, results; with the
    records of the manifest and the ledger, merged candles, views and macros."""
    return ProjectionRequest(research_tables(assets), projection_id, verify, layout="research")


def build_research(projections: ProjectionBuilder, assets: Assets = ASSETS) -> Projection:
    """The research projection of the lake as it is now; what has not changed is not built again.

    Raises what `ProjectionBuilder.build` raises.
    """
    return projections.build(research_request(assets))

"""What the standing projection of the research holds, and what is asked of it again and again.

Choosing asks the manifest only; nothing is read until the projection is built.
"""

from typing import Final

from quantlab_assets.ports.projection_builder import (
    ArtifactSelector,
    Projection,
    ProjectionBuilder,
    ProjectionRequest,
    ProjectionTable,
)

RESEARCH_PROJECTION: Final = "research"

EXPERIMENT_KEY: Final = (("experiment_id", "experiment"),)
"""Puts the experiment of a result's logical key into a column: its rows do not say it."""


def _active(
    name: str, artifact_type: str, key_columns: tuple[tuple[str, str], ...] = ()
) -> ProjectionTable:
    return ProjectionTable(
        name, artifact_type, key_columns=key_columns, selector=ArtifactSelector()
    )


RESEARCH_TABLES: Final = (
    _active("alerts", "alerts_v1"),
    _active("alert_events", "alerts_event_v1"),
    _active("ohlcv_slices", "ohlcv_slice_v2"),
    _active("alert_forward_coverage", "alert_forward_coverage"),
    _active("coverage_gaps", "coverage_gaps"),
    _active("coverage_summary", "coverage_summary"),
    _active("experiment_trades", "experiment_trades", EXPERIMENT_KEY),
    _active("experiment_metrics", "experiment_metrics", EXPERIMENT_KEY),
    _active("experiment_curves", "experiment_curves", EXPERIMENT_KEY),
    _active("experiment_diagnostics", "experiment_diagnostics", EXPERIMENT_KEY),
)


def research_request(
    *, projection_id: str | None = RESEARCH_PROJECTION, verify: bool = True
) -> ProjectionRequest:
    """The standing projection of everything active: alerts, candles, coverage, results; with the
    records of the manifest and the ledger, merged candles, views and macros."""
    return ProjectionRequest(RESEARCH_TABLES, projection_id, verify, layout="research")


def build_research(projections: ProjectionBuilder) -> Projection:
    """The research projection of the lake as it is now; what has not changed is not built again.

    Raises what `ProjectionBuilder.build` raises.
    """
    return projections.build(research_request())

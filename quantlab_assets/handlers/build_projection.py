"""Choose what a projection holds: artifacts by type, status and tags, or the whole of the research.

Choosing asks the manifest only; nothing is read until the projection is built.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from quantlab_assets.domain.artifacts import ArtifactFilter, Status
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.projection_builder import (
    Projection,
    ProjectionBuilder,
    ProjectionRequest,
    ProjectionTable,
)

RESEARCH_PROJECTION: Final = "research"

EXPERIMENT_KEY: Final = (("experiment_id", "experiment"),)
"""Puts the experiment of a result's logical key into a column: its rows do not say it."""


@dataclass(frozen=True, slots=True)
class TableSelection:
    """A table and what it takes: `artifact_ids` if given, else all that match the other fields.

    `status` None takes artifacts of any status. A selection that matches nothing makes an empty
    table.
    """

    name: str
    artifact_type: str
    artifact_ids: tuple[str, ...] | None = None
    status: Status | None = "active"
    tags: Mapping[str, str] = field(default_factory=dict)
    key_prefix: str | None = None
    indexes: tuple[tuple[str, ...], ...] = ()
    key_columns: tuple[tuple[str, str], ...] = ()


RESEARCH_TABLES: Final = (
    TableSelection("alerts", "alerts_v1"),
    TableSelection("alert_events", "alerts_event_v1"),
    TableSelection("ohlcv_slices", "ohlcv_slice_v2"),
    TableSelection("alert_forward_coverage", "alert_forward_coverage"),
    TableSelection("coverage_gaps", "coverage_gaps"),
    TableSelection("coverage_summary", "coverage_summary"),
    TableSelection("experiment_trades", "experiment_trades", key_columns=EXPERIMENT_KEY),
    TableSelection("experiment_metrics", "experiment_metrics", key_columns=EXPERIMENT_KEY),
    TableSelection("experiment_curves", "experiment_curves", key_columns=EXPERIMENT_KEY),
)


def projection_request(
    store: ArtifactStore,
    selections: Sequence[TableSelection],
    *,
    projection_id: str | None = None,
    verify: bool = True,
) -> ProjectionRequest:
    """The request that holds what the selections match now, without a cap.

    Raises `ValidationFailed` for no selection at all, or for artifacts of another type than their
    table's, `NotFound` for ids that do not exist.
    """
    if not selections:
        raise ValidationFailed("a projection needs a table; name one with the type it holds")
    return ProjectionRequest(
        tables=tuple(_table(store, selection) for selection in selections),
        projection_id=projection_id,
        verify=verify,
    )


def research_request(
    store: ArtifactStore, *, projection_id: str | None = RESEARCH_PROJECTION, verify: bool = True
) -> ProjectionRequest:
    """The standing projection of everything active: alerts, candles, coverage, results."""
    return projection_request(store, RESEARCH_TABLES, projection_id=projection_id, verify=verify)


def build_projection(
    store: ArtifactStore,
    projections: ProjectionBuilder,
    selections: Sequence[TableSelection],
    *,
    projection_id: str | None = None,
    verify: bool = True,
) -> Projection:
    """Build what the selections match now. Raises what `projection_request` and `build` raise."""
    request = projection_request(store, selections, projection_id=projection_id, verify=verify)
    return projections.build(request)


def _table(store: ArtifactStore, selection: TableSelection) -> ProjectionTable:
    if selection.artifact_ids is None:
        artifacts = store.list_artifacts(
            ArtifactFilter(
                artifact_type=selection.artifact_type,
                status=selection.status,
                tags=selection.tags,
                key_prefix=selection.key_prefix,
            )
        ).artifacts
    else:
        artifacts = tuple(store.get_artifacts(selection.artifact_ids))
    for artifact in artifacts:
        if artifact.artifact_type != selection.artifact_type:
            raise ValidationFailed(
                f"table {selection.name}: artifact {artifact.artifact_id} is of type"
                f" {artifact.artifact_type}, not {selection.artifact_type}"
            )
    return ProjectionTable(
        name=selection.name,
        artifact_type=selection.artifact_type,
        artifact_ids=tuple(sorted({artifact.artifact_id for artifact in artifacts})),
        indexes=selection.indexes,
        key_columns=selection.key_columns,
    )

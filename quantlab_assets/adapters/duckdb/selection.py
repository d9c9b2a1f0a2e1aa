"""Chooses what tables hold. Asks the manifest only; no artifact is read."""

from dataclasses import replace
from datetime import UTC, date, datetime

from quantlab_assets.domain.artifacts.records import Artifact, ArtifactFilter
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.projection_builder import (
    ArtifactSelector,
    ProjectionRequest,
    ProjectionTable,
)


def choose(
    request: ProjectionRequest, store: ArtifactStore, types: TypeRegistry
) -> tuple[ProjectionRequest, dict[str, Artifact]]:
    """The request with the artifacts that its selectors match now, and all its artifacts by id.

    Raises `ValidationFailed` for no table at all, a table with both ids and a selector, artifacts
    of another type than their table's, or days of a type that has none; `NotFound` for ids and
    types that do not exist.
    """
    if not request.tables:
        raise ValidationFailed("a projection needs a table; name one with the type it holds")
    asked = sorted(
        {i for table in request.tables if table.selector is None for i in table.artifact_ids}
    )
    named = dict(zip(asked, store.get_artifacts(asked), strict=True))
    artifacts = {found.artifact_id: found for found in named.values()}
    tables = []
    for table in request.tables:
        artifact_type = types.get(table.artifact_type)
        if table.selector is None:
            found = [named[i] for i in table.artifact_ids]
        else:
            found = _matching(table, table.selector, artifact_type, store)
        for artifact in found:
            _check_type(table, artifact)
            artifacts[artifact.artifact_id] = artifact
        ids = tuple(sorted({artifact.artifact_id for artifact in found}))
        tables.append(replace(table, artifact_ids=ids))
    return replace(request, tables=tuple(tables)), artifacts


def _matching(
    table: ProjectionTable,
    selector: ArtifactSelector,
    artifact_type: ArtifactType,
    store: ArtifactStore,
) -> list[Artifact]:
    if table.artifact_ids:
        raise ValidationFailed(f"table {table.name}: give artifact ids or a selector, not both")
    found = store.list_artifacts(
        ArtifactFilter(
            artifact_type=artifact_type.name,
            status=selector.status,
            tags=dict(selector.tags),
            key_prefix=selector.key_prefix,
        )
    ).artifacts
    if selector.first_day is None and selector.last_day is None:
        return list(found)
    first, last = selector.first_day or date.min, selector.last_day or date.max
    has_day_key = any("day" in template.fields for template in artifact_type.templates)
    if artifact_type.time_column is None and not has_day_key:
        raise ValidationFailed(
            f"table {table.name}: artifacts of {artifact_type.name} have no day; leave the days out"
        )
    return [artifact for artifact in found if _is_of(artifact, artifact_type, first, last)]


def _is_of(artifact: Artifact, artifact_type: ArtifactType, first: date, last: date) -> bool:
    day = artifact_type.fields_from(artifact.schema_version, artifact.logical_key).get("day")
    if day is not None:
        return first <= date.fromisoformat(day) <= last
    if artifact.min_ts is None or artifact.max_ts is None:
        return False
    return _day_of(artifact.min_ts) <= last and first <= _day_of(artifact.max_ts)


def _day_of(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _check_type(table: ProjectionTable, artifact: Artifact) -> None:
    if artifact.artifact_type != table.artifact_type:
        raise ValidationFailed(
            f"table {table.name}: artifact {artifact.artifact_id} is of type"
            f" {artifact.artifact_type}, not {table.artifact_type}"
        )

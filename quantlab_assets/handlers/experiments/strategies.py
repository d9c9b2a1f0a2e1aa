"""Named strategies: kept as artifacts, so that a name's history is never lost."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlab_assets.domain.artifacts.records import (
    Artifact,
    ArtifactFilter,
    Provenance,
    PublishRequest,
    PublishResult,
)
from quantlab_assets.domain.artifacts.seed_types import STRATEGY
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_assets.ports.artifact_store import ArtifactStore

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class NamedStrategy:
    """A strategy under its name, and the artifact that holds it."""

    name: str
    strategy: Strategy
    artifact: Artifact


def add_strategy(
    store: ArtifactStore, name: str, strategy: Strategy, *, provenance: Provenance
) -> PublishResult:
    """Keep the strategy under the name. Another one of that name is superseded; experiments that
    used it are not touched, they hold a copy.

    Raises `ValidationFailed` for a name that cannot be one.
    """
    return store.publish_artifact(
        PublishRequest(
            artifact_type=STRATEGY.name,
            logical_key=STRATEGY.key(strategy=name),
            table=_table(name, strategy),
            provenance=provenance,
        )
    )


def get_strategy(store: ArtifactStore, name: str) -> NamedStrategy:
    """The strategy that has the name now. Raises `NotFound`."""
    versions = store.find_by_logical_key(STRATEGY.name, f"strategy={name}")
    active = [artifact for artifact in versions if artifact.status == "active"]
    if not active:
        raise NotFound(
            f"no strategy {name[:80]!r}; see: quantlab strategies list, or name a JSON file"
        )
    return _read(store, active[0])


def list_strategies(store: ArtifactStore) -> list[NamedStrategy]:
    """All strategies, by name."""
    artifacts = store.list_artifacts(ArtifactFilter(STRATEGY.name, "active")).artifacts
    return sorted(
        (_read(store, artifact) for artifact in artifacts), key=lambda strategy: strategy.name
    )


def _read(store: ArtifactStore, artifact: Artifact) -> NamedStrategy:
    (row,) = store.open(artifact.artifact_id, verify=True).to_table().to_pylist()
    return NamedStrategy(row["name"], Strategy.from_json(row["strategy_json"]), artifact)


def _table(name: str, strategy: Strategy) -> "pa.Table":
    import pyarrow as pa

    row = {"name": name, "strategy_json": strategy.canonical_json()}
    return pa.Table.from_pylist([row], schema=STRATEGY.schema)

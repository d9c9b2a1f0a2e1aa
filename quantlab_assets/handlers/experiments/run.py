"""What an execution computes, from the frozen artifacts to the tables of its result.

Executing an experiment and reproducing it share every step of this, so that they can only differ if
the inputs or the engine do. Nothing here is recorded or published.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import polars as pl

from quantlab_assets.domain.artifacts.identity import content_digest, input_set_id_of
from quantlab_assets.domain.artifacts.records import Artifact
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.seed_types import (
    ALERTS,
    OHLCV_SLICE,
)
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.assets import RESULT_PARTS
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.domain.experiments.records import ExperimentDefinition
from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_assets.domain.tokens.networks import AMBIGUOUS
from quantlab_assets.handlers.experiments.inputs import (
    ALERT_COLUMNS,
    CANDLE_COLUMNS,
    ResolvedInputs,
    check_coverage,
    check_inputs,
    resolve_networks,
    select_alerts,
    slice_windows,
)
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.simulation import SimulationResult

if TYPE_CHECKING:
    import pyarrow as pa

_TYPES: Final = TypeRegistry()
RESULT_TYPES: Final[Mapping[str, ArtifactType]] = {
    part: _TYPES.get(name) for part, name in RESULT_PARTS.items()
}
"""The parts of a result and their artifact types."""


class Simulate(Protocol):
    """An engine: alerts, candles and a strategy in, a result out (docs/simulation.md)."""

    def __call__(
        self, alerts: pl.DataFrame, candles: pl.DataFrame, strategy: Strategy
    ) -> SimulationResult:
        """Trade the strategy on the alerts over the candles."""


@dataclass(frozen=True, slots=True)
class FrozenInputs:
    """The artifacts that an experiment froze, as the manifest has them now."""

    alerts: tuple[Artifact, ...]
    slices: tuple[Artifact, ...]

    @property
    def all(self) -> tuple[Artifact, ...]:
        """Alerts, then slices."""
        return (*self.alerts, *self.slices)

    def identity(self) -> dict[str, Any]:
        """Which bytes they are, for the record: the set's name, and digests over all hashes."""
        return {
            "input_set_id": input_set_id_of([artifact.artifact_id for artifact in self.all]),
            "artifacts": len(self.all),
            "content_digest": content_digest(artifact.content_hash for artifact in self.all),
            "file_digest": content_digest(artifact.file_hash for artifact in self.all),
        }


def frozen_inputs(store: ArtifactStore, definition: ExperimentDefinition) -> FrozenInputs:
    """The inputs, looked up and judged by what the manifest says; no byte is read.

    Raises `NotFound` (a missing one), `ValidationFailed` (a wrong type, too few candles),
    `Conflict` (a tombstoned one), naming them and saying what to do.
    """
    try:
        alerts = store.get_artifacts(definition.alert_artifact_ids)
        slices = store.get_artifacts(definition.slice_artifact_ids)
    except NotFound as error:
        raise NotFound(
            f"{error}: an input is not in this lake; import a bundle that has it, or restore a"
            " backup"
        ) from None
    check_inputs(alerts, slices)
    check_coverage(slices, definition.min_coverage)
    return FrozenInputs(tuple(alerts), tuple(slices))


def read_inputs(store: ArtifactStore, definition: ExperimentDefinition) -> ResolvedInputs:
    """The rows that take part, from files whose hashes were checked before they were decoded.

    Raises `NotFound`, `IntegrityError`.
    """
    alerts = _rows(store, definition.alert_artifact_ids, ALERTS, ALERT_COLUMNS)
    candles = _rows(store, definition.slice_artifact_ids, OHLCV_SLICE, CANDLE_COLUMNS)
    slices = store.get_artifacts(definition.slice_artifact_ids)
    return resolve_networks(
        select_alerts(alerts, definition.filters),
        candles,
        slice_windows(slices),
        definition.strategy.entry,
    )


def _rows(
    store: ArtifactStore, ids: Sequence[str], kind: ArtifactType, columns: Sequence[str]
) -> pl.DataFrame:
    """Rows artifact by artifact in the order of the sorted ids, each in its own total order."""
    if not ids:
        return pl.DataFrame(pl.from_arrow(kind.schema.empty_table().select(list(columns))))
    return store.read_verified(sorted(ids), columns)


def compute(
    inputs: ResolvedInputs, definition: ExperimentDefinition, simulate: Simulate
) -> SimulationResult:
    """Simulate, and give each trade the address as it was called."""
    result = simulate(inputs.alerts, inputs.candles, definition.strategy)
    unresolved = pl.col("alert_id").is_in(sorted(inputs.unresolved))
    return replace(
        result,
        trades=result.trades.drop("mint")
        .join(inputs.mints, on="alert_id", how="left", maintain_order="left")
        .select(result.trades.columns),
        diagnostics=result.diagnostics.with_columns(
            pl.when(unresolved).then(pl.lit(AMBIGUOUS)).otherwise(pl.col("code")).alias("code"),
            pl.when(unresolved)
            .then(pl.lit("the address has candles on several networks and the call names none"))
            .otherwise(pl.col("message"))
            .alias("message"),
        ),
    )


def result_tables(result: SimulationResult) -> dict[str, "pa.Table"]:
    """The result by part, each with the schema of its artifact type."""
    frames: dict[str, pl.DataFrame] = {part: getattr(result, part) for part in RESULT_TYPES}
    return {
        part: frames[part].select(kind.schema.names).to_arrow().cast(kind.schema)
        for part, kind in RESULT_TYPES.items()
    }

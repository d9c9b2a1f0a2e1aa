"""Run a frozen experiment: check its inputs, project exactly those, simulate, publish the results.

The order of the steps is the crash safety: results are published in one transaction and are the
same bytes every time, so a run that is killed at any point is simply run again.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import polars as pl

from quantlab_assets.domain.artifact_types import (
    ALERTS,
    EXPERIMENT_CURVES,
    EXPERIMENT_DIAGNOSTICS,
    EXPERIMENT_METRICS,
    EXPERIMENT_TRADES,
    OHLCV_SLICE,
    ArtifactType,
)
from quantlab_assets.domain.artifacts import (
    Artifact,
    ArtifactFilter,
    HeadReplacement,
    LineageInput,
    PartitionRef,
    Provenance,
    PublishRequest,
    PublishResult,
)
from quantlab_assets.domain.errors import Conflict, QuantlabError
from quantlab_assets.domain.experiments import (
    ExperimentDefinition,
    ExperimentRecord,
    ExperimentStatus,
)
from quantlab_assets.handlers.experiment_inputs import (
    ALERT_COLUMNS,
    CANDLE_COLUMNS,
    ResolvedInputs,
    check_coverage,
    check_inputs,
    resolve_networks,
    select_alerts,
)
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.experiment_tracker import ExperimentTracker
from quantlab_assets.ports.projection_builder import (
    ProjectionBuilder,
    ProjectionRequest,
    ProjectionTable,
)
from quantlab_assets.simulation import SimulationResult, engine_version, simulate

Stage = Literal["check inputs", "build projection", "simulate", "publish results", "done"]
Progress = Callable[[Stage], None]
"""Told the name of each stage as it begins, `done` at the end."""

RESULT_TYPES: Final[Mapping[str, ArtifactType]] = {
    "trades": EXPERIMENT_TRADES,
    "metrics": EXPERIMENT_METRICS,
    "curves": EXPERIMENT_CURVES,
    "diagnostics": EXPERIMENT_DIAGNOSTICS,
}
"""The parts of a result and their artifact types."""


@dataclass(frozen=True, slots=True)
class ExecutedExperiment:
    """What an execution came to. `results` by part: trades, metrics, curves, diagnostics.

    `already_completed`: nothing was done, these are the results of the earlier run.
    `superseded` maps each input that was superseded since to what replaced it (None: nothing did);
    the frozen bytes were used all the same. `projection_id` names the projection if it was kept.
    """

    record: ExperimentRecord
    results: Mapping[str, PublishResult]
    already_completed: bool = False
    superseded: Mapping[str, str | None] = field(default_factory=dict)
    projection_id: str | None = None

    @property
    def stale(self) -> bool:
        """Whether an input has been superseded since it was frozen."""
        return bool(self.superseded)


def execute_experiment(
    store: ArtifactStore,
    projections: ProjectionBuilder,
    tracker: ExperimentTracker,
    experiment_id: str,
    *,
    provenance: Provenance,
    keep_projection: bool = False,
    take_over: bool = False,
    on_progress: Progress | None = None,
) -> ExecutedExperiment:
    """Run a pending, failed or cancelled experiment and complete it.

    `take_over` runs one that is `running` in the ledger although its run has died: that run is
    recorded as failed first. An interruption leaves it `cancelled`, any error `failed` with the
    traceback; either can be executed again. A completed experiment is left as it is.

    Raises `NotFound` (the experiment, an input), `Conflict` (running elsewhere, another engine, a
    tombstoned input), `ValidationFailed` (an under-covered input), `IntegrityError` (a damaged
    one).
    """
    record = tracker.get(experiment_id)
    if record.status == "completed":
        return _already_completed(store, record)
    if record.definition.engine_version != engine_version():
        raise Conflict(
            f"experiment {experiment_id} was created for engine {record.definition.engine_version},"
            f" this is {engine_version()}; create it again"
        )
    _start(tracker, record, take_over=take_over)
    progress = on_progress or _silent
    try:
        return _run(store, projections, tracker, record, provenance, keep_projection, progress)
    except BaseException as error:
        # What is no Exception is somebody stopping the run: Ctrl-C, a scheduler's interruption.
        stopped = not isinstance(error, Exception)
        _end(tracker, experiment_id, "cancelled" if stopped else "failed", error)
        raise


def _already_completed(store: ArtifactStore, record: ExperimentRecord) -> ExecutedExperiment:
    parts = [part for part in RESULT_TYPES if part in record.outputs]
    ids = [record.outputs[part] for part in parts]
    publications = store.latest_publications(ids)
    results = {
        part: PublishResult(artifact, publications[artifact.artifact_id].publication_id, True)
        for part, artifact in zip(parts, store.get_artifacts(ids), strict=True)
    }
    inputs = store.get_artifacts(record.definition.input_ids)
    return ExecutedExperiment(
        record, results, already_completed=True, superseded=_superseded(store, inputs)
    )


def _start(tracker: ExperimentTracker, record: ExperimentRecord, *, take_over: bool) -> None:
    experiment_id = record.experiment_id
    if record.status == "running":
        if not take_over:
            raise Conflict(
                f"experiment {experiment_id} is running since {record.started_at}; wait for it, or"
                " take it over if that run has died"
            )
        tracker.update_status(experiment_id, "failed", error="the run died and was taken over")
    tracker.update_status(experiment_id, "running")


def _end(
    tracker: ExperimentTracker,
    experiment_id: str,
    status: ExperimentStatus,
    error: BaseException,
) -> None:
    """Record how a run ended early; the error itself goes on to the caller in any case."""
    text = "".join(traceback.format_exception(error))
    summary = f"{type(error).__name__}: {error}"
    try:
        tracker.update_status(experiment_id, status, error=f"{summary}\n\n{text}")
    except QuantlabError as unrecorded:
        error.add_note(f"experiment {experiment_id} could not be marked {status}: {unrecorded}")


def _run(
    store: ArtifactStore,
    projections: ProjectionBuilder,
    tracker: ExperimentTracker,
    record: ExperimentRecord,
    provenance: Provenance,
    keep_projection: bool,
    progress: Progress,
) -> ExecutedExperiment:
    definition = record.definition
    progress("check inputs")
    alerts = store.get_artifacts(definition.alert_artifact_ids)
    slices = store.get_artifacts(definition.slice_artifact_ids)
    check_inputs(alerts, slices)
    check_coverage(slices, definition.min_coverage)
    superseded = _superseded(store, [*alerts, *slices])

    progress("build projection")
    projection_id = projection_of(record.experiment_id)
    try:
        inputs = _project(projections, definition, projection_id)
        progress("simulate")
        result = _simulate(inputs, definition)
    finally:
        if not keep_projection:
            projections.dispose(projection_id)

    progress("publish results")
    requests = _requests(store, record, result, provenance)
    heads = [HeadReplacement(one.head) for one in requests if one.head is not None]
    published = store.publish_many(requests, heads=heads)
    results = dict(zip(RESULT_TYPES, published, strict=True))
    completed = tracker.store_results(
        record.experiment_id, {part: result.artifact_id for part, result in results.items()}
    )
    progress("done")
    return ExecutedExperiment(
        completed,
        results,
        superseded=superseded,
        projection_id=projection_id if keep_projection else None,
    )


def projection_of(experiment_id: str) -> str:
    """The name of an experiment's own projection, which nothing else builds or disposes of."""
    return experiment_id.replace("-", "_")


def _project(
    projections: ProjectionBuilder, definition: ExperimentDefinition, projection_id: str
) -> ResolvedInputs:
    """Build the projection from the frozen artifacts, verified, and read what takes part."""
    # One that was kept may not answer for the inputs' bytes: they are verified while building.
    projections.dispose(projection_id)
    projections.build(
        ProjectionRequest(
            tables=(
                ProjectionTable("alerts", ALERTS.name, definition.alert_artifact_ids),
                ProjectionTable("ohlcv_slices", OHLCV_SLICE.name, definition.slice_artifact_ids),
            ),
            projection_id=projection_id,
            verify=True,
        )
    )
    with projections.connect(projection_id) as connection:
        alerts = _read(connection, "alerts", ALERT_COLUMNS)
        candles = _read(connection, "ohlcv_slices", CANDLE_COLUMNS)
    return resolve_networks(select_alerts(alerts, definition.filters), candles)


def _read(connection: Any, table: str, columns: Sequence[str]) -> pl.DataFrame:
    """Rows in the order in which they stand in the projection, which is a total one."""
    relation = connection.sql(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608
    return pl.DataFrame(pl.from_arrow(relation.to_arrow_table()))


def _simulate(inputs: ResolvedInputs, definition: ExperimentDefinition) -> SimulationResult:
    result = simulate(inputs.alerts, inputs.candles, definition.strategy)
    unresolved = pl.col("alert_id").is_in(sorted(inputs.unresolved))
    return replace(
        result,
        trades=result.trades.drop("mint")
        .join(inputs.mints, on="alert_id", how="left", maintain_order="left")
        .select(result.trades.columns),
        diagnostics=result.diagnostics.with_columns(
            pl.when(unresolved)
            .then(pl.lit("ambiguous_network"))
            .otherwise(pl.col("code"))
            .alias("code"),
            pl.when(unresolved)
            .then(pl.lit("the address has candles on several networks and the call names none"))
            .otherwise(pl.col("message"))
            .alias("message"),
        ),
    )


def _requests(
    store: ArtifactStore,
    record: ExperimentRecord,
    result: SimulationResult,
    provenance: Provenance,
) -> list[PublishRequest]:
    definition = record.definition
    made_from = LineageInput(input_set_id=store.freeze_inputs(definition.input_ids), role="loaded")
    made_by = replace(
        provenance,
        params={
            **provenance.params,
            "experiment_id": record.experiment_id,
            "engine_version": definition.engine_version,
            "seed": definition.seed,
        },
    )
    frames = {
        "trades": result.trades,
        "metrics": result.metrics,
        "curves": result.curves,
        "diagnostics": result.diagnostics,
    }
    return [
        PublishRequest(
            artifact_type=artifact_type.name,
            logical_key=f"experiment={record.experiment_id}/{part}",
            table=frames[part]
            .select(artifact_type.schema.names)
            .to_arrow()
            .cast(artifact_type.schema),
            provenance=made_by,
            inputs=(made_from,),
            head=PartitionRef(artifact_type.name, record.experiment_id),
        )
        for part, artifact_type in RESULT_TYPES.items()
    ]


def _superseded(store: ArtifactStore, inputs: Sequence[Artifact]) -> dict[str, str | None]:
    """The inputs that were superseded, and the artifact now active under the key of each."""
    old = [artifact for artifact in inputs if artifact.status == "superseded"]
    active = {
        (artifact.artifact_type, artifact.logical_key): artifact.artifact_id
        for artifact_type in sorted({artifact.artifact_type for artifact in old})
        for artifact in store.list_artifacts(ArtifactFilter(artifact_type, "active")).artifacts
    }
    return {a.artifact_id: active.get((a.artifact_type, a.logical_key)) for a in old}


def _silent(_stage: Stage) -> None:
    return None

"""Run a frozen experiment: check its inputs, read exactly those, simulate, publish the results.

The order of the steps is the crash safety: results are published in one transaction and are the
same bytes every time, so a run that is killed at any point is simply run again.
"""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from quantlab_assets.domain import assets
from quantlab_assets.domain.artifacts.records import (
    HeadReplacement,
    LineageInput,
    PartitionRef,
    Provenance,
    PublishRequest,
    PublishResult,
)
from quantlab_assets.domain.artifacts.seed_types import ALERTS, OHLCV_SLICE
from quantlab_assets.domain.errors import Conflict, QuantlabError
from quantlab_assets.domain.experiments.records import (
    ExperimentDefinition,
    ExperimentRecord,
    ExperimentStatus,
)
from quantlab_assets.handlers.experiments.dead_runs import running_elsewhere, settle
from quantlab_assets.handlers.experiments.run import (
    RESULT_TYPES,
    Simulate,
    compute,
    frozen_inputs,
    read_inputs,
    result_tables,
)
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.experiment_tracker import ExperimentTracker
from quantlab_assets.ports.projection_builder import (
    ProjectionBuilder,
    ProjectionRequest,
    ProjectionTable,
)
from quantlab_assets.simulation import SimulationResult, engine_version, simulate

__all__ = ["RESULT_TYPES", "ExecutedExperiment", "execute_experiment", "projection_of"]

Stage = Literal["check inputs", "read inputs", "simulate", "publish results", "done"]
Progress = Callable[[Stage], None]
"""Told the name of each stage as it begins, `done` at the end."""


@dataclass(frozen=True, slots=True)
class ExecutedExperiment:
    """What an execution came to. `results` by part: trades, metrics, curves, diagnostics.

    `already_completed`: nothing was done, these are the results of the earlier run.
    `superseded` maps each input that was superseded since to what replaced it (None: nothing did);
    the frozen bytes were used all the same. `projection_id` names the projection if one was kept.
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
    simulate: Simulate = simulate,
) -> ExecutedExperiment:
    """Run a pending, failed or cancelled experiment, or one whose run has died, and complete it.

    An interruption leaves it `cancelled`, any error `failed` with the traceback; either can be
    executed again. A completed experiment is left as it is. `take_over` runs one that runs on
    another machine, of which this one cannot know whether it lives. `keep_projection` leaves a
    DuckDB projection of exactly the frozen artifacts, to look at.

    Raises `NotFound` (the experiment, an input), `Conflict` (running elsewhere, another engine, a
    tombstoned input, cancelled meanwhile), `ValidationFailed` (an under-covered input),
    `IntegrityError` (a damaged one).
    """
    record = tracker.get(experiment_id)
    if record.status == "completed":
        return _already_completed(store, tracker, record)
    with tracker.hold_run(experiment_id, take_over=take_over) as ours:
        if not ours:
            raise Conflict(running_elsewhere(tracker, record))
        record = tracker.get(experiment_id)
        if record.status == "completed":
            return _already_completed(store, tracker, record)
        if record.definition.engine_version != engine_version():
            raise Conflict(
                f"experiment {experiment_id} was created for engine"
                f" {record.definition.engine_version[:24]}, this is {engine_version()[:24]}; make"
                f" its child for this engine with: quantlab experiments rerun {experiment_id}"
            )
        settle(tracker, experiment_id)
        tracker.update_status(experiment_id, "running", details=_run_details(record, provenance))
        try:
            executed = _run(store, tracker, record, provenance, on_progress or _silent, simulate)
        except BaseException as error:
            # What is no Exception is somebody stopping the run: Ctrl-C, a scheduler's interruption.
            stopped = not isinstance(error, Exception)
            _end(tracker, experiment_id, "cancelled" if stopped else "failed", error)
            raise
    if keep_projection:
        _build_projection(projections, record.definition, projection_of(experiment_id))
        return replace(executed, projection_id=projection_of(experiment_id))
    return executed


def _already_completed(
    store: ArtifactStore, tracker: ExperimentTracker, record: ExperimentRecord
) -> ExecutedExperiment:
    parts = [part for part in RESULT_TYPES if part in record.outputs]
    ids = [record.outputs[part] for part in parts]
    publications = store.latest_publications(ids)
    results = {
        part: PublishResult(artifact, publications[artifact.artifact_id].publication_id, True)
        for part, artifact in zip(parts, store.get_artifacts(ids), strict=True)
    }
    superseded = tracker.superseded_inputs(record.experiment_id)
    return ExecutedExperiment(record, results, already_completed=True, superseded=superseded)


def _run_details(record: ExperimentRecord, provenance: Provenance) -> dict[str, Any]:
    """What a run begins with: by whom, with which code, where, from which seed."""
    return {
        "writer": provenance.writer_name,
        "writer_version": provenance.writer_version,
        "run_id": provenance.run_id,
        "git_commit": provenance.git_commit,
        "git_dirty": provenance.git_dirty,
        "git_diff_hash": provenance.git_diff_hash,
        "environment": dict(provenance.environment),
        "engine_version": record.definition.engine_version,
        "seed": record.definition.seed,
    }


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
    tracker: ExperimentTracker,
    record: ExperimentRecord,
    provenance: Provenance,
    progress: Progress,
    simulate: Simulate,
) -> ExecutedExperiment:
    definition = record.definition
    progress("check inputs")
    frozen = frozen_inputs(store, definition)
    superseded = tracker.superseded_inputs(record.experiment_id)
    progress("read inputs")
    inputs = read_inputs(store, definition)
    progress("simulate")
    result = compute(inputs, definition, simulate)
    progress("publish results")
    _refuse_cancelled(tracker, record.experiment_id)
    identity = frozen.identity()
    requests = _requests(store, record, result, provenance, identity)
    heads = [HeadReplacement(request.head) for request in requests if request.head is not None]
    published = store.publish_many(requests, heads=heads)
    results = dict(zip(RESULT_TYPES, published, strict=True))
    completed = tracker.store_results(
        record.experiment_id,
        {part: result.artifact_id for part, result in results.items()},
        details={"inputs": identity, **({"superseded": dict(superseded)} if superseded else {})},
    )
    progress("done")
    return ExecutedExperiment(completed, results, superseded=superseded)


def _refuse_cancelled(tracker: ExperimentTracker, experiment_id: str) -> None:
    """A run that was cancelled from outside publishes nothing."""
    status = tracker.get(experiment_id).status
    if status != "running":
        raise Conflict(f"experiment {experiment_id} was {status} while it ran; execute it again")


def projection_of(experiment_id: str) -> str:
    """The name of an experiment's own projection, which nothing else builds or disposes of."""
    return experiment_id.replace("-", "_")


def _build_projection(
    projections: ProjectionBuilder, definition: ExperimentDefinition, projection_id: str
) -> None:
    projections.build(
        ProjectionRequest(
            tables=(
                ProjectionTable(assets.ALERTS, ALERTS.name, definition.alert_artifact_ids),
                ProjectionTable(assets.SLICES, OHLCV_SLICE.name, definition.slice_artifact_ids),
            ),
            projection_id=projection_id,
            verify=True,
        )
    )


def _requests(
    store: ArtifactStore,
    record: ExperimentRecord,
    result: SimulationResult,
    provenance: Provenance,
    inputs: Mapping[str, Any],
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
            "params": dict(definition.params),
            "inputs": dict(inputs),
        },
    )
    return [
        PublishRequest(
            artifact_type=RESULT_TYPES[part].name,
            logical_key=f"experiment={record.experiment_id}/{part}",
            table=table,
            provenance=made_by,
            inputs=(made_from,),
            head=PartitionRef(RESULT_TYPES[part].name, record.experiment_id),
        )
        for part, table in result_tables(result).items()
    ]


def _silent(_stage: Stage) -> None:
    return None

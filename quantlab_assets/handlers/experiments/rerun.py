"""Make the child of an experiment: the same question on what its inputs have become since.

The parent stays as it is. The child names it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from quantlab_assets.domain.artifacts.records import Provenance
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.experiments.records import ExperimentRecord
from quantlab_assets.handlers.experiments.create import create_experiment
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.experiment_tracker import ExperimentTracker


@dataclass(frozen=True, slots=True)
class RerunExperiment:
    """The child, or the parent itself if nothing has changed.

    `replaced` maps each superseded input to what the child uses instead; None: nothing took its
    place, so the child goes without it.
    """

    record: ExperimentRecord
    created: bool
    replaced: Mapping[str, str | None]
    engine_changed: bool

    @property
    def unchanged(self) -> bool:
        """Whether there was nothing to make a child of."""
        return not self.replaced and not self.engine_changed and not self.created


def rerun_experiment(
    store: ArtifactStore,
    tracker: ExperimentTracker,
    experiment_id: str,
    *,
    engine_version: str,
    reselect: bool = False,
    provenance: Provenance | None = None,
) -> RerunExperiment:
    """Create the child on the inputs' replacements, for this engine; nothing is executed.

    `reselect` chooses the inputs anew among all that is active, by the filters of the experiment.
    Raises `NotFound`, and what `create_experiment` raises.
    """
    parent = tracker.get(experiment_id)
    definition = parent.definition
    replaced = tracker.superseded_inputs(experiment_id)
    alerts: Literal["all"] | list[str] = "all"
    slices: Literal["auto"] | list[str] = "auto"
    if not reselect:
        alerts = _newest(definition.alert_artifact_ids, replaced, "alerts")
        slices = _newest(definition.slice_artifact_ids, replaced, "slices")
    record, created = create_experiment(
        store,
        tracker,
        name=definition.name,
        strategy=definition.strategy,
        alerts=alerts,
        slices=slices,
        engine_version=engine_version,
        filters=definition.filters,
        params=definition.params,
        min_coverage=definition.min_coverage,
        provenance=provenance,
        parent_id=parent.experiment_id,
    )
    return RerunExperiment(
        record=record,
        created=created,
        replaced=replaced,
        engine_changed=definition.engine_version != engine_version,
    )


def _newest(ids: tuple[str, ...], replaced: Mapping[str, str | None], what: str) -> list[str]:
    kept = {replaced.get(artifact_id, artifact_id) for artifact_id in ids}
    newest = sorted(artifact_id for artifact_id in kept if artifact_id is not None)
    if not newest:
        raise ValidationFailed(
            f"nothing took the place of the superseded {what}; choose anew with --reselect"
        )
    return newest

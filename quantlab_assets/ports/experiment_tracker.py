"""The ledger of experiments: what was asked, what became of it."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from quantlab_assets.domain.experiments import (
    ExperimentDefinition,
    ExperimentFilter,
    ExperimentRecord,
    ExperimentStatus,
)


class ExperimentTracker(Protocol):
    """Keeps experiments and their events. It is truth, unlike any projection of it."""

    def create(self, definition: ExperimentDefinition) -> tuple[ExperimentRecord, bool]:
        """Record an experiment; True if it is new, False if the same one was there already."""

    def get(self, experiment_id: str) -> ExperimentRecord:
        """The experiment. Raises `NotFound`."""

    def list(self, where: ExperimentFilter | None = None) -> Sequence[ExperimentRecord]:
        """Experiments that match, newest first; all of them."""

    def update_status(
        self, experiment_id: str, status: ExperimentStatus, *, error: str | None = None
    ) -> ExperimentRecord:
        """Move to another status. Raises `NotFound`, and `Conflict` if it may not follow."""

    def store_results(self, experiment_id: str, outputs: Mapping[str, str]) -> ExperimentRecord:
        """Record the output artifacts by part and complete the running experiment, in one
        transaction. Raises `NotFound`, `Conflict`."""

    def find_by_input_artifacts(
        self, artifact_ids: Sequence[str], *, match: Literal["any", "all"] = "any"
    ) -> Sequence[ExperimentRecord]:
        """Experiments that froze any (or all) of the artifacts, newest first."""

"""The ledger of experiments: what was asked, what became of it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

from quantlab_assets.domain.experiments.records import (
    ExperimentDefinition,
    ExperimentEvent,
    ExperimentFilter,
    ExperimentRecord,
    ExperimentStatus,
)


class ExperimentTracker(Protocol):
    """Keeps experiments and their events. It is truth, unlike any projection of it."""

    def create(
        self, definition: ExperimentDefinition, *, parent_id: str | None = None
    ) -> tuple[ExperimentRecord, bool]:
        """Record an experiment; True if it is new, False if the same one was there already.

        Raises `NotFound` naming inputs, or the parent, that do not exist.
        """

    def get(self, experiment_id: str) -> ExperimentRecord:
        """The experiment. Raises `NotFound`."""

    def list(
        self, where: ExperimentFilter | None = None, *, limit: int | None = None
    ) -> Sequence[ExperimentRecord]:
        """Experiments that match, newest first; all of them unless `limit` is given."""

    def events(self, experiment_id: str) -> Sequence[ExperimentEvent]:
        """Every change of its status, oldest first. Raises `NotFound`."""

    def update_status(
        self,
        experiment_id: str,
        status: ExperimentStatus,
        *,
        error: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> ExperimentRecord:
        """Move to another status. Raises `NotFound`, and `Conflict` if it may not follow.

        `details` are kept with the event; an experiment that starts to run also has on record
        where it runs.
        """

    def store_results(
        self,
        experiment_id: str,
        outputs: Mapping[str, str],
        *,
        details: Mapping[str, Any] | None = None,
    ) -> ExperimentRecord:
        """Record the output artifacts by part and complete the running experiment, in one
        transaction. Raises `NotFound`, `Conflict`."""

    def hold_run(
        self, experiment_id: str, *, take_over: bool = False
    ) -> AbstractContextManager[bool]:
        """Hold the right to run the experiment while inside; False if a living run holds it.

        The right of a process that dies is free at once: an experiment that is `running` while its
        right is free has lost its run. Of a run on another machine nothing can be known here: its
        right counts as held unless `take_over`. Raises `NotFound`.
        """

    def superseded_inputs(self, experiment_id: str) -> Mapping[str, str | None]:
        """The frozen inputs that have been superseded, each with the active artifact that took its
        place in the end (None: nothing did). Raises `NotFound`."""

    def find_by_input_artifacts(
        self, artifact_ids: Sequence[str], *, match: Literal["any", "all"] = "any"
    ) -> Sequence[ExperimentRecord]:
        """Experiments that froze any (or all) of the artifacts, newest first."""

"""The experiments of a lake from Python: every verb that the `quantlab experiments` command has.

Part of the composition root `lake`: it hands the lake's store and ledger to the handlers, which are
imported when they are needed.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from quantlab_assets.domain.errors import Conflict, NotFound, StoreUnavailable
from quantlab_assets.domain.experiments.records import (
    AlertFilters,
    ExperimentEvent,
    ExperimentFilter,
    ExperimentRecord,
    looks_like_id,
)
from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_assets.lake.provenance import provenance_of

if TYPE_CHECKING:
    from quantlab_assets.adapters.artifact_store import ParquetStore
    from quantlab_assets.adapters.manifest.ledger import ExperimentLedger
    from quantlab_assets.domain.experiments.reproduction import Reproduction
    from quantlab_assets.handlers.experiments.check_lookahead import LookaheadCheck
    from quantlab_assets.handlers.experiments.execute import ExecutedExperiment
    from quantlab_assets.handlers.experiments.rerun import RerunExperiment
    from quantlab_assets.handlers.experiments.strategies import NamedStrategy
    from quantlab_assets.ports.projection_builder import ProjectionBuilder


class Experiments:
    """The experiments of a lake: the ledger's questions, and what changes it.

    Wherever an experiment is named, `exp-` and 8 digits of its id will do if no other begins so,
    and so will its name if no other has it. `tracker` is the `ExperimentTracker` below;
    `projections` gives the builder once something is executed, `ledger_file` is where `project`
    writes.
    """

    def __init__(
        self,
        store: "ParquetStore",
        tracker: "ExperimentLedger",
        projections: "Callable[[], ProjectionBuilder]",
        ledger_file: Path,
    ) -> None:
        self._store = store
        self.tracker = tracker
        self._projections = projections
        self._ledger_file = ledger_file

    def create(
        self,
        name: str,
        strategy: "Strategy | str",
        *,
        alerts: Literal["all"] | Sequence[str] = "all",
        slices: Literal["auto"] | Sequence[str] = "auto",
        filters: AlertFilters | None = None,
        params: Mapping[str, Any] | None = None,
        min_coverage: float | None = None,
    ) -> ExperimentRecord:
        """Freeze inputs and strategy; the same experiment is the same record, whatever its name.

        `strategy` may be the name of one that was added. Raises what
        `handlers.create_experiment` raises.
        """
        from quantlab_assets.handlers.experiments.create import create_experiment
        from quantlab_assets.simulation import engine_version

        record, _ = create_experiment(
            self._store,
            self.tracker,
            name=name,
            strategy=strategy
            if isinstance(strategy, Strategy)
            else self.strategy(strategy).strategy,
            alerts=alerts,
            slices=slices,
            filters=filters or AlertFilters(),
            params=params or {},
            min_coverage=min_coverage,
            engine_version=engine_version(),
            provenance=provenance_of("create_experiment"),
        )
        return record

    def execute(
        self,
        experiment_id: str,
        *,
        take_over: bool = False,
        keep_projection: bool = False,
        on_progress: Callable[[str], None] | None = None,
    ) -> "ExecutedExperiment":
        """Execute an experiment, or resume one whose run died. A completed one is not run again.

        Raises what `handlers.execute_experiment` raises.
        """
        from quantlab_assets.handlers.experiments.execute import execute_experiment

        return execute_experiment(
            self._store,
            self._projections(),
            self.tracker,
            self.resolve_id(experiment_id),
            provenance=provenance_of("execute_experiment"),
            take_over=take_over,
            keep_projection=keep_projection,
            on_progress=on_progress,
        )

    def cancel(self, experiment_id: str) -> ExperimentRecord:
        """Cancel an experiment; one that runs stops before it publishes anything.

        Raises `NotFound`, `Conflict` if it has ended already.
        """
        return self.tracker.update_status(
            self.resolve_id(experiment_id), "cancelled", error="cancelled by request"
        )

    def rerun(
        self, experiment_id: str, *, reselect: bool = False, execute: bool = True
    ) -> "RerunExperiment":
        """Make, and execute, the child of an experiment on what took its inputs' places.

        Raises what `handlers.rerun_experiment` and `execute` raise.
        """
        from dataclasses import replace

        from quantlab_assets.handlers.experiments.rerun import rerun_experiment
        from quantlab_assets.simulation import engine_version

        rerun = rerun_experiment(
            self._store,
            self.tracker,
            self.resolve_id(experiment_id),
            engine_version=engine_version(),
            reselect=reselect,
            provenance=provenance_of("create_experiment"),
        )
        if not execute or rerun.unchanged:
            return rerun
        return replace(rerun, record=self.execute(rerun.record.experiment_id).record)

    def reproduce(self, experiment_id: str) -> "Reproduction":
        """Compute a completed experiment again and say whether it is the same; publishes nothing.

        Raises what `handlers.reproduce_experiment` raises.
        """
        from quantlab_assets.handlers.experiments.reproduce import reproduce_experiment

        return reproduce_experiment(self._store, self.tracker, self.resolve_id(experiment_id))

    def check_lookahead(self, experiment_id: str, *, samples: int = 100) -> "LookaheadCheck":
        """Whether any sampled decision changes with what came after it.

        Raises what `handlers.check_lookahead` raises.
        """
        from quantlab_assets.handlers.experiments.check_lookahead import check_lookahead

        return check_lookahead(
            self._store,
            self.tracker,
            self.resolve_id(experiment_id),
            samples=samples,
        )

    def get(self, experiment_id: str) -> ExperimentRecord:
        """The experiment; one whose run has died is `failed`. Raises `NotFound`."""
        self._settle()
        return self.tracker.get(self.resolve_id(experiment_id))

    def list(
        self, where: ExperimentFilter | None = None, *, limit: int | None = None
    ) -> Sequence[ExperimentRecord]:
        """Experiments, newest first; all of them unless `limit` is given."""
        self._settle()
        return self.tracker.list(where, limit=limit)

    def events(self, experiment_id: str) -> Sequence[ExperimentEvent]:
        """Every change of its status, with where and by which code it ran. Raises `NotFound`."""
        return self.tracker.events(self.resolve_id(experiment_id))

    def superseded_inputs(self, experiment_id: str) -> Mapping[str, str | None]:
        """The frozen inputs that were superseded, and what took the place of each."""
        return self.tracker.superseded_inputs(self.resolve_id(experiment_id))

    def find_by_input_artifacts(
        self, artifact_ids: Sequence[str], *, match: Literal["any", "all"] = "any"
    ) -> Sequence[ExperimentRecord]:
        """Experiments that froze any (or all) of the artifacts."""
        return self.tracker.find_by_input_artifacts(artifact_ids, match=match)

    def resolve_id(self, experiment_id: str) -> str:
        """The full id of what was named. Raises `NotFound`, `Conflict` if several are meant."""
        if looks_like_id(experiment_id):
            return self.tracker.resolve_id(experiment_id)
        named = self.tracker.list(ExperimentFilter(name=experiment_id), limit=6)
        if not named:
            raise NotFound(f"no experiment {experiment_id[:80]!r}; see: quantlab experiments list")
        if len(named) > 1:
            ids = ", ".join(record.experiment_id for record in named)
            raise Conflict(f"several experiments are called {experiment_id[:80]!r}: {ids}")
        return named[0].experiment_id

    def project(self) -> Path:
        """Build `experiments.duckdb` from the ledger, if it has changed; the path of the file.

        Raises `StoreUnavailable`.
        """
        from quantlab_assets.adapters.duckdb.ledger_file import project_ledger

        return project_ledger(self._store.database, self._ledger_file)

    def add_strategy(self, name: str, strategy: Strategy) -> "NamedStrategy":
        """Keep a strategy under a name. Raises `ValidationFailed`."""
        from quantlab_assets.handlers.experiments.strategies import add_strategy

        add_strategy(self._store, name, strategy, provenance=provenance_of("add_strategy"))
        return self.strategy(name)

    def strategy(self, name: str) -> "NamedStrategy":
        """The strategy that has the name. Raises `NotFound`."""
        from quantlab_assets.handlers.experiments.strategies import get_strategy

        return get_strategy(self._store, name)

    def strategies(self) -> "Sequence[NamedStrategy]":
        """All named strategies, by name."""
        from quantlab_assets.handlers.experiments.strategies import list_strategies

        return list_strategies(self._store)

    def _settle(self) -> None:
        """Record runs that have died. Who may only read the lake sees them as running."""
        from quantlab_assets.handlers.experiments.dead_runs import settle_dead_runs

        with suppress(StoreUnavailable):
            settle_dead_runs(self.tracker)

"""`open_lake()`: the lab from Python, for notebooks and other programs.

A composition root: it binds the adapters to the ports. Everything is opened on first use, so asking
for the manifest alone starts fast. A notebook sees the nouns of `NOUNS`; what only the command line
and the graph need is on objects of its own (`ingestion`, `measures`, `queries`) and is not offered.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.assets import Assets
from quantlab_assets.domain.errors import NotFound, ValidationFailed
from quantlab_assets.lake import frames
from quantlab_assets.lake.extensions import artifact_types, assets
from quantlab_assets.lake.ingestion import Ingestion
from quantlab_assets.lake.measures import Measures
from quantlab_assets.lake.queries import Queries
from quantlab_assets.lake.sources import candle_setup
from quantlab_assets.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from quantlab_assets.adapters.artifact_store import ParquetStore
    from quantlab_assets.adapters.duckdb import DuckdbProjections
    from quantlab_assets.adapters.manifest.ledger import ExperimentLedger
    from quantlab_assets.lake.experiments import Experiments

NOUNS: Final = (
    "store",
    "projections",
    "experiments",
    "alerts",
    "candles",
    "trades",
    "metrics",
    "curves",
    "sql",
)
"""What a lake offers to those who explore it, in `dir` and in tab completion."""


class Lake:
    """One lake: its store, projections, experiments, alerts and candles. Made by `open_lake`."""

    def __init__(self, settings: Settings, *, create: bool = False) -> None:
        self.settings = settings
        self.types = TypeRegistry(partial(artifact_types, settings.types_module))
        self._create = create

    def __repr__(self) -> str:
        return f"Lake({str(self.settings.lake)!r})"

    def __dir__(self) -> Iterable[str]:
        return [*(name for name in super().__dir__() if name.startswith("__")), *NOUNS]

    @cached_property
    def store(self) -> "ParquetStore":
        """The `ArtifactStore` over Parquet files and the SQLite manifest."""
        from quantlab_assets.adapters.artifact_store import ParquetStore

        return ParquetStore.at(
            artifacts_root=self.settings.artifacts_root,
            manifest=self.settings.manifest,
            staging=self.settings.staging,
            types=self.types,
            create=self._create,
        )

    @cached_property
    def projections(self) -> "DuckdbProjections":
        """The `ProjectionBuilder`: disposable DuckDB files."""
        from quantlab_assets.adapters.duckdb import DuckdbProjections, ProjectionLimits
        from quantlab_assets.adapters.manifest.as_tables import ManifestRecords
        from quantlab_assets.adapters.manifest.projection_requests import ManifestRequests

        try:
            limits = ProjectionLimits(cache=self.settings.projection_budget)
        except ValidationFailed as error:
            raise ValidationFailed(f"PROJECTION_CACHE_BUDGET: {error}") from error
        return DuckdbProjections(
            self.settings.projection_cache,
            self.store,
            self.store,
            self.types,
            limits,
            records=ManifestRecords(self.store.database),
            requests=ManifestRequests(self.store.database),
        )

    @cached_property
    def experiments(self) -> "Experiments":
        """Experiments: create, execute, reproduce, look up."""
        from quantlab_assets.lake.experiments import Experiments

        return Experiments(
            self.store, self._tracker, lambda: self.projections, self.settings.experiment_db
        )

    def alerts(self, start: datetime, end: datetime, caller: str | None = None) -> "pl.LazyFrame":
        """Active alerts with `start <= alert_ts_utc < end`, by time; of one `caller_name_norm` if
        given.

        Times without a zone are refused: they would mean another moment on another machine.
        """
        return frames.alerts(self.store, self.types, start, end, caller)

    def candles(self, mint: str, start: datetime, end: datetime) -> "pl.LazyFrame":
        """Candles of a token with `start <= ts < end` over all active slices, by time.

        Where slices and intervals overlap, the finest interval is taken, by the same rule as in the
        simulation (docs/simulation.md). One address on several networks is several tokens: then
        there is one candle a moment and `token_chain`, those of no known network by themselves.
        """
        return frames.candles(self.store, self.types, mint, start, end)

    def trades(self, experiment_id: str) -> "pl.DataFrame":
        """The trades of a completed experiment. Raises `NotFound`."""
        return frames.result(self.store, self._tracker, experiment_id, "trades")

    def metrics(self, experiment_id: str) -> "pl.DataFrame":
        """The metrics of a completed experiment. Raises `NotFound`."""
        return frames.result(self.store, self._tracker, experiment_id, "metrics")

    def curves(self, experiment_id: str) -> "pl.DataFrame":
        """The equity curve of a completed experiment. Raises `NotFound`."""
        return frames.result(self.store, self._tracker, experiment_id, "curves")

    def sql(
        self, query: str, *, projection_id: str | None = None, timeout_s: float | None = None
    ) -> "pl.DataFrame":
        """The result of a read-only DuckDB query over the active artifacts.

        Tables are those of the research projection (docs/projections.md), built first if the lake
        has changed, or of the projection that is named. Times are UTC, intervals durations.

        Raises `ValidationFailed` for SQL that DuckDB refuses or that does more than read,
        `NotFound` for a projection that there is not, `StoreUnavailable` for a query that needs
        more memory than it may take, or more than `timeout_s` seconds.
        """
        with self.queries.session(projection_id, timeout_s=timeout_s) as session:
            return session.frame(query)

    @cached_property
    def assets(self) -> Assets:
        """The assets of the lab, and those of the user's own module."""
        return assets(self.settings.types_module)

    @cached_property
    def ingestion(self) -> Ingestion:
        """What comes into the lake: the inboxes, and how they are read."""
        return Ingestion(self.settings, lambda: self.store)

    @cached_property
    def measures(self) -> Measures:
        """By what slices and coverage are measured."""
        return Measures(self.settings)

    @cached_property
    def queries(self) -> Queries:
        """Sessions of SQL over projections."""
        return Queries(self.projections, lambda: self.assets)

    @cached_property
    def _tracker(self) -> "ExperimentLedger":
        """The `ExperimentTracker`, kept in the manifest database."""
        from quantlab_assets.adapters.manifest.ledger import ExperimentLedger

        return ExperimentLedger(self.store.database, self.store)


def open_lake(lake: str | Path | Settings | None = None, *, create: bool = False) -> Lake:
    """Open a lake: a folder, settings, or (None) the one the environment names.

    Raises `NotFound` if there is none, unless `create`; `StoreUnavailable` if it cannot be used;
    `ValidationFailed` for settings that mean nothing.
    """
    settings = (
        lake
        if isinstance(lake, Settings)
        else Settings.from_environment(Path(lake) if lake is not None else None)
    )
    candle_setup(settings)  # an unknown source is said before anything is made
    if create:
        settings.create_folders()
    elif not settings.manifest.exists():
        raise NotFound(
            f"there is no lake in {settings.lake}; make one with: quantlab init --lake "
            f"{settings.lake}"
        )
    return Lake(settings, create=create)

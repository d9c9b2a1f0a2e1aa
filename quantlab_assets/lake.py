"""`open_lake()`: the lab from Python, for notebooks and other programs.

A composition root: it binds the adapters to the ports. Everything is opened on first use, so asking
for the manifest alone starts fast.
"""

from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantlab_assets.domain.artifact_types import TypeRegistry
from quantlab_assets.domain.errors import NotFound, StoreUnavailable
from quantlab_assets.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from quantlab_assets.adapters.duckdb_projection import DuckdbProjections
    from quantlab_assets.adapters.experiment_ledger import ExperimentLedger
    from quantlab_assets.adapters.parquet_store import ParquetStore
    from quantlab_assets.ports.alert_source import AlertSource
    from quantlab_assets.ports.candle_source import CandleSource


class Lake:
    """One lake: its store, projections, experiments and sources. Made by `open_lake`."""

    def __init__(self, settings: Settings, *, create: bool = False) -> None:
        self.settings = settings
        self.types = TypeRegistry()
        self._create = create

    def __repr__(self) -> str:
        return f"Lake({str(self.settings.lake)!r})"

    @cached_property
    def store(self) -> "ParquetStore":
        """The `ArtifactStore` over Parquet files and the SQLite manifest."""
        from quantlab_assets.adapters.parquet_store import ParquetStore

        return ParquetStore.open(
            artifacts_root=self.settings.artifacts_root,
            manifest=self.settings.manifest,
            staging=self.settings.staging,
            types=self.types,
            create=self._create,
        )

    @cached_property
    def projections(self) -> "DuckdbProjections":
        """The `ProjectionBuilder`: disposable DuckDB files."""
        from quantlab_assets.adapters.duckdb_projection import DuckdbProjections

        return DuckdbProjections(
            self.settings.projection_cache, self.store, self.store, self.types
        )

    @cached_property
    def tracker(self) -> "ExperimentLedger":
        """The `ExperimentTracker`, kept in the manifest database."""
        from quantlab_assets.adapters.experiment_ledger import ExperimentLedger

        return ExperimentLedger(self.store.database, self.store)

    @cached_property
    def alert_source(self) -> "AlertSource":
        """The Telegram exports in the inbox."""
        from quantlab_assets.adapters.telegram.inbox import TelegramInbox

        return TelegramInbox(self.settings.telegram_inbox, self.settings.telegram_spool)

    @cached_property
    def candle_source(self) -> "CandleSource":
        """The candle files in the inbox."""
        from quantlab_assets.adapters.candle_files import CandleFolder

        folder = self.settings.candle_inbox
        if folder is None:
            raise StoreUnavailable(
                "QUANTLAB_CANDLES names a ClickHouse, which this version cannot read yet; give a folder"
            )
        return CandleFolder(folder, self.settings.candle_index)

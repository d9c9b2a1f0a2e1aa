"""The lake as a Dagster resource: one of the places where adapters meet ports.

Settings come from the environment when a step starts, not when definitions load, unless a lake was
named in `build_defs`.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource

from quantlab_assets.adapters.candle_folder import CandleFolder
from quantlab_assets.adapters.candle_folder.source import SUFFIXES as CANDLE_SUFFIXES
from quantlab_assets.adapters.candle_folder.source import FileCheck
from quantlab_assets.adapters.inbox_folder import files_in
from quantlab_assets.adapters.manifest.engine import utc_now
from quantlab_assets.adapters.telegram.export_folder import export_files, group_of
from quantlab_assets.adapters.upkeep.audit import AuditReport, audit
from quantlab_assets.adapters.upkeep.backup import BackupReport, backup
from quantlab_assets.adapters.upkeep.gc import CollectReport, collect
from quantlab_assets.defs.data.lineage import check_declared, current_ledger
from quantlab_assets.defs.data.read_ledger import PartitionFrames
from quantlab_assets.defs.partitions import UNPARTITIONED
from quantlab_assets.domain.artifacts.records import Provenance
from quantlab_assets.handlers.projections import RESEARCH_PROJECTION
from quantlab_assets.lake import Lake, open_lake
from quantlab_assets.lake.provenance import provenance_of
from quantlab_assets.lake.sources import FolderCandles
from quantlab_assets.ports.alert_source import AlertSource
from quantlab_assets.ports.candle_source import CandleSource
from quantlab_assets.ports.inbox import InboxFile
from quantlab_assets.settings import Settings

CandleFileCheck = FileCheck
"""What became of one candle file."""


class ResearchDatabase(DuckDBResource):
    """A DuckDB file whose times are read as UTC, whatever the zone of the machine."""

    @contextmanager
    def get_connection(self) -> Iterator[Any]:
        """An open connection, closed on leaving."""
        with super().get_connection() as connection, closing(connection):
            # Not among the options of a connection: DuckDB has time zones only once it is open.
            connection.execute("SET TimeZone = 'UTC'")
            yield connection


def research_database(settings: Settings) -> ResearchDatabase:
    """The file of `research_projection` for assets that query it: read-only, and only once built.

    An asset that uses it depends on `research_projection`.
    """
    return ResearchDatabase(
        database=str(settings.projection_cache / f"{RESEARCH_PROJECTION}.duckdb"),
        connection_config={"access_mode": "READ_ONLY"},
    )


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake that the graph works on.

    `root` is its folder; without it the environment decides (`QUANTLAB_LAKE`, else `./lake`).
    """

    root: str | None = None

    @property
    def lake(self) -> Lake:
        """The opened lake, made if it is not there yet."""
        return _opened(Settings.from_environment(Path(self.root) if self.root else None))

    def telegram_files(self) -> list[InboxFile]:
        """What lies in the Telegram inbox now, unopened."""
        return export_files(self.lake.settings.telegram_inbox)

    def telegram_group(self, path: str) -> str:
        """What the files of one export in the Telegram inbox have in common."""
        return group_of(path)

    def telegram_file(self, path: str) -> AlertSource:
        """The export that a file of the Telegram inbox is part of, as an alert source.

        It has no exports if the file cannot be used.
        """
        return self.lake.ingestion.exports(skip_refused=True, only={path})

    def candle_files(self) -> list[InboxFile] | None:
        """What lies in the candle inbox now, unopened; None if candles come from a database."""
        inbox = self.lake.ingestion.candles.inbox
        return None if inbox is None else files_in(inbox, CANDLE_SUFFIXES)

    def candle_source(self) -> CandleSource:
        """Where candles come from, looked at afresh, as it is when a step starts."""
        return self.lake.ingestion.candles.open()

    def candle_folder(self) -> CandleFolder:
        """The candle inbox, looked at afresh. There must be one."""
        candles = self.lake.ingestion.candles
        assert isinstance(candles, FolderCandles)
        return candles.open()

    def frames(
        self, asset: str, artifact_type: str, partitions: list[str] | None = None
    ) -> PartitionFrames:
        """Partitions of an upstream asset, recorded as read when they are.

        For bodies that read beyond their arguments. Raises `ValidationFailed` if the running asset
        does not declare the dependency.
        """
        check_declared(asset)
        return self.load(asset, artifact_type, partitions or [UNPARTITIONED])

    def load(self, asset: str, artifact_type: str, partitions: list[str]) -> PartitionFrames:
        """As `frames`, for the IO manager, whose inputs are declared by being inputs."""
        store = self.lake.store
        return PartitionFrames(
            asset,
            store.get_heads(asset, partitions),
            artifact_type=artifact_type,
            store=store,
            types=self.lake.types,
            ledger=current_ledger(),
        )

    def provenance(self, context: dg.AssetExecutionContext, asset: str) -> Provenance:
        """Who writes: the asset, its code version, the run, the step, the code and environment."""
        key = dg.AssetKey.from_user_string(asset)
        return provenance_of(
            asset,
            context.assets_def.code_versions_by_key.get(key) or "0",
            run_id=context.run.run_id,
            step=context.assets_def.op.name,
        )

    def audit(self, fraction: float) -> AuditReport:
        """Check the store; see `adapters.upkeep.audit`."""
        return audit(self.lake.store, fraction=fraction)

    def collectable(self) -> CollectReport:
        """What garbage collection would take now; see `adapters.upkeep.gc`."""
        return collect(self.lake.store, trash=self.lake.settings.trash, now=utc_now())

    def backup(self) -> BackupReport:
        """Copy the manifest into the backups folder; see `adapters.upkeep.backup`."""
        folder = self.lake.settings.backups
        folder.mkdir(exist_ok=True)
        return backup(
            self.lake.store.database, folder / f"manifest-{utc_now():%Y%m%dT%H%M%SZ}.sqlite"
        )


@lru_cache(maxsize=8)
def _opened(settings: Settings) -> Lake:
    return open_lake(settings, create=True)

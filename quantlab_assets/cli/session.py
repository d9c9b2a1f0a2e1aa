"""The composition root of the command line: opens what a command needs, when it needs it.

Here belongs what binds a command to an adapter that is behind no port (upkeep of the store,
bundles, CSV files) or that only the command line opens (datasets). Each method imports what it
opens, so that a command pays for nothing else. What Python callers share is in `lake`; what every
command has in common, as `--lake` and help, is in `cli.shell.command`. Rules and output do not
belong here: they are in `domain` and in the commands.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from quantlab_assets.cli.shell.command import Invocation
from quantlab_assets.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from quantlab_assets.adapters.bundle.export import BundleReport, ImportReport
    from quantlab_assets.adapters.manifest.upkeep.census import Census
    from quantlab_assets.adapters.upkeep.audit import AuditReport
    from quantlab_assets.adapters.upkeep.backup import BackupReport
    from quantlab_assets.adapters.upkeep.diagnosis import Finding, Use
    from quantlab_assets.adapters.upkeep.gc import CollectReport
    from quantlab_assets.adapters.upkeep.rebuild import RebuildReport
    from quantlab_assets.adapters.upkeep.repair import Repair
    from quantlab_assets.domain.artifacts.type import ArtifactType
    from quantlab_assets.lake import Lake
    from quantlab_assets.lake.sources import CandleSetup
    from quantlab_assets.ports.candle_dataset import CandleDataset

OnProgress = Callable[[int, int], None]
"""Called with how much is done, and how much there is in all."""


@dataclass
class Session(Invocation):
    """One invocation of `quantlab`, and what it opens. `given` settings win."""

    given: Settings | None = None

    @cached_property
    def settings(self) -> Settings:
        """The settings of the lake that was asked for."""
        return self.given or Settings.from_environment(self.lake)

    def open_lake(self, *, create: bool = False) -> "Lake":
        """The lake. Its parts open when they are first used.

        Raises `StoreUnavailable` if it is not there and not to be made.
        """
        from quantlab_assets.lake import open_lake

        return open_lake(self.settings, create=create)

    def census(self) -> "Census":
        """What the manifest holds, counted."""
        from quantlab_assets.adapters.manifest.upkeep.census import take_census

        return take_census(self.open_lake().store.database)

    def read_csv(self, path: Path, artifact_type: "ArtifactType") -> "pa.Table":
        """A CSV file by the declared types of an artifact type; nothing is guessed."""
        from quantlab_assets.adapters.artifact_store.csv_table import read_csv

        return read_csv(path, artifact_type)

    def write_whole(self, path: Path, content: bytes) -> None:
        """Write a file in one go: a reader sees the old one or the new one.

        Raises `StoreUnavailable` if it cannot be written.
        """
        from quantlab_assets.adapters.whole_files import written
        from quantlab_assets.domain.errors import StoreUnavailable

        mask = os.umask(0)
        os.umask(mask)
        try:
            with written(path.parent, lambda file: file.write(content), mode=0o666 & ~mask) as part:
                part.replace(path)
        except OSError as error:
            raise StoreUnavailable(f"cannot write {path}: {error.strerror}") from error

    def candle_dataset(self, folder: Path) -> "CandleDataset":
        """A folder of candles for other tools, made from slices."""
        from quantlab_assets.adapters.candle_dataset import CandleDatasetFolder

        return CandleDatasetFolder(folder)

    @property
    def upkeep(self) -> "Upkeep":
        """What keeps the store of this lake in order."""
        return Upkeep(self)


@dataclass(frozen=True)
class Upkeep:
    """The work on the store that is no part of its port; each says what it raises where it is."""

    session: Session

    def audit(self, *, fraction: float, seed: int, on_progress: OnProgress) -> "AuditReport":
        """See `adapters.upkeep.audit`."""
        from quantlab_assets.adapters.upkeep.audit import audit

        store = self.session.open_lake().store
        return audit(store, fraction=fraction, seed=seed, on_progress=on_progress)

    def repair(self, report: "AuditReport") -> "tuple[Repair, ...]":
        """See `adapters.upkeep.repair`."""
        from quantlab_assets.adapters.upkeep.repair import repair

        settings = self.session.settings
        return repair(self.session.open_lake().store, report, quarantine=settings.quarantine)

    def collect(
        self,
        *,
        dry_run: bool,
        grace: timedelta,
        superseded_after: timedelta | None,
        tombstoned_after: timedelta | None,
        empty_trash_after: timedelta,
        force: bool,
    ) -> "CollectReport":
        """See `adapters.upkeep.gc`."""
        from quantlab_assets.adapters.manifest.engine import utc_now
        from quantlab_assets.adapters.upkeep.gc import PurgePolicy, collect

        purges = tombstoned_after is not None or superseded_after is not None
        if not dry_run and (self.session.settings.projection_cache / ".building").is_dir():
            self.session.open_lake().projections.sweep()
        return collect(
            self.session.open_lake().store,
            trash=self.session.settings.trash,
            dry_run=dry_run,
            grace=grace,
            purge=PurgePolicy(tombstoned_after, superseded_after) if purges else None,
            empty_trash_after=empty_trash_after,
            now=utc_now(),
            force=force,
        )

    def export_bundle(
        self,
        artifact_ids: Sequence[str],
        out: Path | BinaryIO,
        *,
        with_lineage: bool,
        extra: Mapping[str, Any],
    ) -> "BundleReport":
        """See `adapters.bundle.export`."""
        from quantlab_assets.adapters.bundle.export import export_bundle

        store = self.session.open_lake().store
        return export_bundle(store, artifact_ids, out, with_lineage=with_lineage, extra=extra)

    def import_bundle(self, source: Path, *, max_file_bytes: int) -> "ImportReport":
        """See `adapters.bundle.export`."""
        from quantlab_assets.adapters.bundle.export import import_bundle

        store = self.session.open_lake().store
        return import_bundle(store, source, max_file_bytes=max_file_bytes)

    def rebuild_manifest(
        self, out: Path, *, backup: Path | None, on_progress: OnProgress
    ) -> "RebuildReport":
        """See `adapters.upkeep.rebuild`; needs no manifest."""
        from quantlab_assets.adapters.upkeep.rebuild import rebuild_manifest
        from quantlab_assets.lake import Lake

        settings = self.session.settings
        return rebuild_manifest(
            settings.artifacts_root,
            out,
            Lake(settings).types,
            backup=backup,
            on_progress=on_progress,
        )

    def backup(self, out: Path) -> "BackupReport":
        """See `adapters.upkeep.backup`."""
        from quantlab_assets.adapters.upkeep.backup import backup

        return backup(self.session.open_lake().store.database, out)

    def restore(self, source: Path) -> "BackupReport":
        """See `adapters.upkeep.backup`; needs no manifest."""
        from quantlab_assets.adapters.upkeep.backup import restore

        return restore(source, self.session.settings.manifest)

    def disk_use(self) -> "tuple[Use, ...]":
        """See `adapters.upkeep.diagnosis`."""
        from quantlab_assets.adapters.upkeep.diagnosis import disk_use

        return disk_use(self.session.open_lake().store, self.session.settings.parts())

    def diagnose(self) -> "tuple[Finding, ...]":
        """See `adapters.upkeep.diagnosis`; needs no lake."""
        from quantlab_assets.adapters.manifest.engine import utc_now
        from quantlab_assets.adapters.upkeep.diagnosis import diagnose
        from quantlab_assets.lake.sources import candle_setup

        settings = self.session.settings
        folders = {
            "artifacts": settings.artifacts_root,
            "staging": settings.staging,
            "manifest": settings.manifest.parent,
            "cache": settings.projection_cache,
            "trash": settings.trash,
            "telegram inbox": settings.telegram_inbox,
        }
        candles = candle_setup(settings)
        if candles.inbox is not None:
            folders["candle inbox"] = candles.inbox
        findings = diagnose(settings.manifest, folders, now=utc_now())
        findings += self._candles(candles)
        if any(finding.level == "error" for finding in findings):
            return findings
        return findings + self._stale_projections()

    def _candles(self, candles: "CandleSetup") -> "tuple[Finding, ...]":
        from quantlab_assets.adapters.upkeep.diagnosis import Finding
        from quantlab_assets.domain.errors import QuantlabError

        try:
            what = candles.look()
        except QuantlabError as error:
            return (Finding("error", str(error), candles.advice),)
        return () if what is None else (Finding("ok", what),)

    def _stale_projections(self) -> "tuple[Finding, ...]":
        from quantlab_assets.adapters.upkeep.diagnosis import Finding
        from quantlab_assets.domain.errors import QuantlabError

        cache = self.session.settings.projection_cache
        if next(cache.glob("*.duckdb"), None) is None:
            return ()  # DuckDB is not imported for nothing
        try:
            projections = self.session.open_lake().projections.list()
        except QuantlabError as error:
            return (Finding("warning", f"projections cannot be read: {error}", f"see {cache}"),)
        return tuple(
            Finding(
                "warning",
                f"projection {stale.projection_id} is stale: what it was built from was replaced",
                f"quantlab projections rebuild {stale.projection_id}, or delete {stale.path}",
            )
            for stale in projections
            if stale.stale
        )


pass_session = click.make_pass_decorator(Session, ensure=True)
"""Hands the `Session` to a command as its first argument."""

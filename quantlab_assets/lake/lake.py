"""`open_lake()`: the lab from Python, for notebooks and other programs.

A composition root: it binds the adapters to the ports. Everything is opened on first use, so asking
for the manifest alone starts fast.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantlab_assets.domain.artifacts.records import ArtifactFilter, Provenance
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.assets import Assets
from quantlab_assets.domain.errors import NotFound, ValidationFailed
from quantlab_assets.lake.extensions import artifact_types, assets
from quantlab_assets.settings import (
    GRADES_VARIABLE,
    TIMEZONE_VARIABLE,
    WINDOW_VARIABLE,
    Settings,
)
from quantlab_assets.version import __version__

if TYPE_CHECKING:
    import polars as pl

    from quantlab_assets.adapters.artifact_store import ParquetStore
    from quantlab_assets.adapters.clickhouse import ClickHouseCandles
    from quantlab_assets.adapters.duckdb import DuckdbProjections
    from quantlab_assets.adapters.duckdb.query import QuerySession
    from quantlab_assets.adapters.manifest.ledger import ExperimentLedger
    from quantlab_assets.adapters.telegram.export_folder import ExportFiles, ReadingOptions
    from quantlab_assets.adapters.telegram.given import GivenExport, GivenFiles
    from quantlab_assets.adapters.telegram.intake import Intake
    from quantlab_assets.adapters.telegram.retry import Retried
    from quantlab_assets.domain.slices.slices import Grading, SliceWindow
    from quantlab_assets.domain.telegram.pseudonyms import Pseudonyms
    from quantlab_assets.domain.telegram.rules import Rules
    from quantlab_assets.lake.experiments import Experiments
    from quantlab_assets.ports.alert_source import AlertSource
    from quantlab_assets.ports.candle_dataset import CandleDataset
    from quantlab_assets.ports.candle_intake import CandleReader, CandleTarget
    from quantlab_assets.ports.candle_source import CandleSource
    from quantlab_assets.ports.inbox import FileQuarantine
    from quantlab_assets.ports.projection_builder import Projection


class Lake:
    """One lake: its store, projections, experiments and sources. Made by `open_lake`."""

    def __init__(self, settings: Settings, *, create: bool = False) -> None:
        self.settings = settings
        self.types = TypeRegistry(partial(artifact_types, settings.types_module))
        self._create = create

    @cached_property
    def assets(self) -> Assets:
        """The assets of the lab, and those of the user's own module."""
        return assets(self.settings.types_module)

    def __repr__(self) -> str:
        return f"Lake({str(self.settings.lake)!r})"

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
    def tracker(self) -> "ExperimentLedger":
        """The `ExperimentTracker`, kept in the manifest database."""
        from quantlab_assets.adapters.manifest.ledger import ExperimentLedger

        return ExperimentLedger(self.store.database, self.store)

    @cached_property
    def alert_source(self) -> "AlertSource":
        """The Telegram exports in the inbox; a file there that is none is an error."""
        return self.exports()

    @cached_property
    def readable_exports(self) -> "AlertSource":
        """The Telegram exports in the inbox, without the files there that are none."""
        return self.exports(skip_refused=True)

    def exports(
        self, *, skip_refused: bool = False, only: Collection[str] | None = None
    ) -> "AlertSource":
        """The Telegram inbox, or the files of it that `only` names by their path below it."""
        return self.exports_in(
            self.settings.telegram_inbox,
            self.settings.telegram_spool,
            skip_refused=skip_refused,
            only=only,
        )

    def exports_in(
        self,
        folder: Path,
        spool: Path,
        *,
        skip_refused: bool = False,
        only: Collection[str] | None = None,
        exact: "ExportFiles | None" = None,
        override: "ReadingOptions | None" = None,
    ) -> "AlertSource":
        """The exports in any folder, read by this lake's rules, pseudonyms and time zone.

        `exact` is the one export that counts; `override` how it is read, whatever else is told.
        """
        from quantlab_assets.adapters.telegram.export_folder import ReadingOptions
        from quantlab_assets.adapters.telegram.inbox import TelegramInbox

        return TelegramInbox(
            folder,
            spool,
            rules=self.rules,
            pseudonyms=self.pseudonyms,
            skip_refused=skip_refused,
            only=only,
            exact=exact,
            options=ReadingOptions(self.timezone),
            override=override,
        )

    def given_exports(self, paths: Iterable[Path]) -> "list[GivenFiles]":
        """The exports in files and folders that a user names. Raises `NotFound`."""
        from quantlab_assets.adapters.telegram.given import given_exports

        return given_exports(paths)

    def read_given(
        self, given: "GivenFiles", spool: Path, *, timezone: str | None, chat_id: int | None
    ) -> "GivenExport":
        """Read a named export as it would be read from the inbox; what is asked for wins."""
        from quantlab_assets.adapters.telegram.export_folder import ReadingOptions
        from quantlab_assets.adapters.telegram.given import read_given

        return read_given(
            given,
            self.telegram_intake,
            lambda files, options: self.exports_in(
                given.folder.absolute(), spool, exact=files, override=options
            ),
            default=ReadingOptions(self.timezone),
            timezone=timezone,
            chat_id=chat_id,
        )

    @property
    def timezone(self) -> str:
        """The clock of exports of which nothing else is told: `auto`, `label` or an IANA zone.

        Raises `ValidationFailed` for anything else.
        """
        from quantlab_assets.domain.telegram.clock.times import check_timezone

        try:
            return check_timezone(self.settings.timezone)
        except ValidationFailed as error:
            raise ValidationFailed(f"{TIMEZONE_VARIABLE}: {error}") from error

    @property
    def telegram_intake(self) -> "Intake":
        """The way of exports into the Telegram inbox."""
        from quantlab_assets.adapters.telegram.intake import Intake

        return Intake(self.settings.telegram_inbox)

    def original_bytes(self, row: Mapping[str, Any]) -> bytes | None:
        """The bytes of an unreadable record in quarantine; None if they are not kept."""
        from quantlab_assets.adapters.telegram.retry import original_bytes

        return original_bytes(row)

    def read_again(self, rows: "pl.DataFrame") -> "list[Retried]":
        """Try unreadable records in quarantine by today's rules. Changes nothing."""
        from quantlab_assets.adapters.telegram.retry import read_again
        from quantlab_assets.handlers.ingest.quarantine import readings_of

        sources = sorted(set(rows["source"].drop_nulls().to_list()))
        return read_again(rows, self.rules, readings_of(self.store, sources))

    def take_in_again(self, retried: "list[Retried]") -> None:
        """Put the records that can be read now into the inbox, as exports of their own."""
        from quantlab_assets.adapters.telegram.retry import as_exports

        for export in as_exports(retried):
            if export.options is None:
                self.telegram_intake.put("retried", export.content)
            else:
                self.telegram_intake.put_page("retried", export.content, export.options)

    @cached_property
    def rules(self) -> "Rules":
        """What makes an alert: the packaged rules, with the user's own laid over them."""
        from quantlab_assets.domain.telegram.rules import load_rules

        path = self.settings.telegram_rules
        if path is None:
            return load_rules()
        try:
            return load_rules(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ValidationFailed(
                f"QUANTLAB_TELEGRAM_RULES: cannot read {path}: {error}"
            ) from error

    @cached_property
    def pseudonyms(self) -> "Pseudonyms | None":
        """What hides people's names, None if they are not hidden.

        Raises `Conflict` if the lake's messages were stored under another key, or with names.
        """
        from quantlab_assets.domain.telegram.pseudonyms import Pseudonyms
        from quantlab_assets.handlers.ingest.messages import check_pseudonym_key

        path = self.settings.pseudonym_key
        found = None
        if path is not None:
            try:
                found = Pseudonyms(path.read_bytes().strip())
            except OSError as error:
                raise ValidationFailed(
                    f"QUANTLAB_PSEUDONYM_KEY: cannot read {path}: {error.strerror}"
                ) from error
        if self.settings.manifest.exists():
            check_pseudonym_key(self.store, None if found is None else found.fingerprint)
        return found

    @cached_property
    def file_quarantine(self) -> "FileQuarantine":
        """The record of inbox files that were refused as a whole."""
        from quantlab_assets.adapters.manifest.inbox_refusals import ManifestQuarantine

        return ManifestQuarantine(self.store.database)

    @cached_property
    def candle_source(self) -> "CandleSource":
        """The candle files in the inbox, or the table of the configured ClickHouse."""
        return self.open_candle_source()

    def open_candle_source(self) -> "CandleSource":
        """As `candle_source`, with a look of its own: what a source has is looked at once."""
        folder = self.settings.candle_inbox
        if folder is None:
            return self.candle_database
        from quantlab_assets.adapters.candle_folder import CandleFolder

        return CandleFolder(folder, self.settings.candle_index)

    @property
    def slice_window(self) -> "SliceWindow":
        """How far slices reach around calls. Raises `ValidationFailed` for an impossible window."""
        from quantlab_assets.domain.coverage.forward import MAX_HORIZON_H
        from quantlab_assets.domain.slices.slices import SliceWindow

        minutes = self.settings.slice_window_min
        if not minutes:
            return SliceWindow()
        longest = MAX_HORIZON_H * 60
        if len(minutes) != 2 or max(minutes) > longest or minutes[0] < 0 or minutes[1] <= 0:
            raise ValidationFailed(
                f"{WINDOW_VARIABLE}: give the minutes before the first call and those after the"
                f" last, such as 260,2880; at most {longest}"
            )
        return SliceWindow(pre_s=minutes[0] * 60, post_s=minutes[1] * 60)

    @property
    def grading(self) -> "Grading":
        """From which shares of candles on slices and horizons are good, and partial. Raises
        `ValidationFailed` for shares that cannot be."""
        from quantlab_assets.domain.slices.slices import Grading

        shares = self.settings.slice_grades
        if not shares:
            return Grading()
        if len(shares) != 2:
            raise ValidationFailed(
                f"{GRADES_VARIABLE}: give the share from which on a slice is good and that of"
                " partial, such as 0.95,0.8"
            )
        try:
            return Grading(*shares)
        except ValidationFailed as error:
            raise ValidationFailed(f"{GRADES_VARIABLE}: {error}") from error

    @property
    def coverage_horizons(self) -> tuple[int, ...]:
        """The horizons of coverage, hours after a call (before it if negative)."""
        from quantlab_assets.domain.coverage.forward import HORIZONS_H

        return self.settings.coverage_horizons_h or HORIZONS_H

    @property
    def candle_database(self) -> "ClickHouseCandles":
        """The table of the configured ClickHouse, unopened. There must be one."""
        from quantlab_assets.adapters.clickhouse import (
            ClickHouseCandles,
            Connection,
            read_mapping,
        )

        dsn = self.settings.candle_database
        assert dsn is not None
        return ClickHouseCandles(Connection(dsn), read_mapping(self.settings.clickhouse_mapping))

    def candle_intake(
        self, paths: "Iterable[Path]", *, dry_run: bool = False
    ) -> "tuple[CandleReader, CandleTarget]":
        """Candle files somebody gives, and where they go: the inbox, or the ClickHouse.

        Raises `NotFound` and `ValidationFailed` for paths that are no candle files, or whose
        volumes are in another unit than those of the ClickHouse.
        """
        from quantlab_assets.adapters.candle_folder.intake import CandleIntake, GivenFiles
        from quantlab_assets.adapters.candle_folder.naming import MAPPING_NAME

        inbox = self.settings.candle_inbox
        if inbox is not None:
            given = GivenFiles(paths, [inbox / MAPPING_NAME])
            return given, CandleIntake(inbox, given.companions, dry_run=dry_run)
        from quantlab_assets.adapters.clickhouse import CandleInserter, Connection, read_mapping

        connection = Connection(self.settings.candle_database or "")
        mapping = read_mapping(self.settings.clickhouse_mapping)
        files = GivenFiles(paths)
        files.check_volume_unit(mapping.volume_unit)
        return files, CandleInserter(connection, mapping, dry_run=dry_run)

    def candle_dataset(self, folder: Path) -> "CandleDataset":
        """A folder of candles for other tools, made from slices."""
        from quantlab_assets.adapters.candle_dataset import CandleDatasetFolder

        return CandleDatasetFolder(folder)

    @cached_property
    def experiments(self) -> "Experiments":
        """Experiments: create, execute, reproduce, look up."""
        from quantlab_assets.lake.experiments import Experiments

        return Experiments(self)

    def provenance(self, writer: str) -> Provenance:
        """Who writes when something is published from this process."""
        from quantlab_assets.adapters.code_provenance import code_state, environment

        code = code_state()
        return Provenance(
            writer_name=writer,
            writer_version=__version__,
            git_commit=code.git_commit,
            git_dirty=code.git_dirty,
            git_diff_hash=code.git_diff_hash,
            environment=environment(),
        )

    def alerts(self, start: datetime, end: datetime, caller: str | None = None) -> "pl.LazyFrame":
        """Active alerts with `start <= alert_ts_utc < end`, by time; of one `caller_name_norm` if
        given.

        Times without a zone are refused: they would mean another moment on another machine.
        """
        import polars as pl

        start, end = _utc(start, "start"), _utc(end, "end")
        frame = self._active("alerts_v1", start, end).filter(
            (pl.col("alert_ts_utc") >= start) & (pl.col("alert_ts_utc") < end)
        )
        if caller is not None:
            frame = frame.filter(pl.col("caller_name_norm") == caller)
        return frame.sort("alert_ts_utc", "alert_id")

    def candles(self, mint: str, start: datetime, end: datetime) -> "pl.LazyFrame":
        """Candles of a token with `start <= ts < end` over all active slices, by time.

        Where slices and intervals overlap, the finest interval is taken, by the same rule as in the
        simulation (docs/simulation.md). One address on several networks is several tokens: then
        there is one candle a moment and `token_chain`, those of no known network by themselves.
        """
        import polars as pl

        from quantlab_assets.domain.slices.slices import windows_of
        from quantlab_assets.simulation.market.candle_book import one_candle_a_moment

        start, end = _utc(start, "start"), _utc(end, "end")
        address = mint.lower() if mint.startswith("0x") else mint
        frame = self._active("ohlcv_slice_v2", start, end, tags={"token": address}).filter(
            (pl.col("token_address") == address) & (pl.col("ts") >= start) & (pl.col("ts") < end)
        )
        candles = frame.collect()
        slices = self.store.list_artifacts(
            ArtifactFilter(artifact_type="ohlcv_slice_v2", status="active", tags={"token": address})
        ).artifacts
        networks = windows_of(one.logical_key for one in slices)["token_chain"]
        if networks.drop_nulls().n_unique() < 2:
            return one_candle_a_moment(candles).lazy()
        merged = [one_candle_a_moment(part) for part in candles.partition_by("token_chain")]
        return pl.concat([candles.clear(), *merged]).lazy().sort("ts", "token_chain")

    def trades(self, experiment_id: str) -> "pl.DataFrame":
        """The trades of a completed experiment. Raises `NotFound`."""
        return self._output(experiment_id, "trades")

    def metrics(self, experiment_id: str) -> "pl.DataFrame":
        """The metrics of a completed experiment. Raises `NotFound`."""
        return self._output(experiment_id, "metrics")

    def curves(self, experiment_id: str) -> "pl.DataFrame":
        """The equity curve of a completed experiment. Raises `NotFound`."""
        return self._output(experiment_id, "curves")

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
        with self.query_session(projection_id, timeout_s=timeout_s) as session:
            return session.frame(query)

    def research(self) -> "Projection":
        """The projection of all that is active, built first if the lake has changed since."""
        from quantlab_assets.handlers.projections import build_research

        return build_research(self.projections, self.assets)

    @contextmanager
    def query_session(
        self, projection_id: str | None = None, *, timeout_s: float | None = None
    ) -> Iterator["QuerySession"]:
        """A projection (None: research) as it is now, to ask several things of; see `sql`."""
        from quantlab_assets.adapters.duckdb.query import QuerySession

        named = self.research().projection_id if projection_id is None else projection_id
        with (
            self.projections.connect(named) as connection,
            QuerySession(connection, timeout_s=timeout_s) as session,
        ):
            yield session

    def _active(
        self,
        artifact_type: str,
        start: datetime,
        end: datetime,
        tags: Mapping[str, str] | None = None,
    ) -> "pl.LazyFrame":
        import polars as pl

        found = self.store.list_artifacts(
            ArtifactFilter(artifact_type=artifact_type, status="active", tags=tags or {})
        ).artifacts
        wanted = [
            artifact.artifact_id
            for artifact in found
            if artifact.min_ts is not None
            and artifact.max_ts is not None
            and artifact.min_ts < end
            and artifact.max_ts >= start
        ]
        if not wanted:
            return pl.LazyFrame(self.types.get(artifact_type).empty())
        return pl.scan_pyarrow_dataset(self.store.open_many(sorted(wanted)))

    def _output(self, experiment_id: str, part: str) -> "pl.DataFrame":
        import polars as pl

        record = self.tracker.get(experiment_id)
        if part not in record.outputs:
            raise NotFound(
                f"experiment {experiment_id} is {record.status} and has no {part}; execute it first"
            )
        table = self.store.open(record.outputs[part], verify=True).to_table()
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame


def open_lake(lake: str | Path | Settings | None = None, *, create: bool = False) -> Lake:
    """Open a lake: a folder, settings, or (None) the one the environment names.

    Raises `NotFound` if there is none, unless `create`; `StoreUnavailable` if it cannot be used.
    """
    settings = (
        lake
        if isinstance(lake, Settings)
        else Settings.from_environment(Path(lake) if lake is not None else None)
    )
    if create:
        settings.create_folders()
    elif not settings.manifest.exists():
        raise NotFound(
            f"there is no lake in {settings.lake}; make one with: quantlab init --lake "
            f"{settings.lake}"
        )
    return Lake(settings, create=create)


def _utc(moment: datetime, name: str) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValidationFailed(f"{name} needs a time zone, e.g. datetime(2025, 11, 7, tzinfo=UTC)")
    return moment.astimezone(UTC)

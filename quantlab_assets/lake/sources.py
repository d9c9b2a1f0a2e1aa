"""The table of candle sources: what each scheme of `QUANTLAB_CANDLES` stands for.

A row says how its source is opened, where files that are taken in go, and what `doctor`, `status`
and `init` say of it; nothing else in the package knows which sources there are. A user's own module
may add rows (`extensions`). Alerts have one source, the Telegram inbox (`ingestion`), and no table.
Reading candles does not belong here (`adapters`), nor what a source promises
(`ports.candle_source`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.lake.extensions import candle_sources
from quantlab_assets.settings import TYPES_VARIABLE, Settings

if TYPE_CHECKING:
    from quantlab_assets.adapters.candle_folder import CandleFolder
    from quantlab_assets.adapters.clickhouse import ClickHouseCandles
    from quantlab_assets.ports.candle_intake import CandleReader, CandleTarget
    from quantlab_assets.ports.candle_source import CandleSource

FOLDER: Final = "folder"
"""The scheme of a path without one."""


class CandleSetup(ABC):
    """One kind of candle source, set up for the lake of `settings`; `settings.candles` is its
    address. Cheap to make: it opens nothing and imports no driver before it is asked."""

    advice: str = "see docs/candles.md"
    """What to do if `doctor` finds that the source cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def open(self) -> "CandleSource":
        """The source, looked at afresh. Raises `StoreUnavailable`, `ValidationFailed`."""

    @property
    def inbox(self) -> Path | None:
        """The folder of files that the source is, which sensors watch; None if it is none."""
        return None

    @property
    def shown(self) -> str:
        """Where the candles are, as it may be shown: without user, password and options."""
        return self.settings.candles_shown

    @property
    def first_step(self) -> str:
        """What `init` says of candles, as the end of "put Telegram exports into ..."."""
        return f"candles come from                        {self.shown}"

    def look(self) -> str | None:
        """What `doctor` says of the source; None if its folder says it all. Raises what `open` and
        reading raise."""
        newest = self.open().newest_ts()
        what = "no candle yet" if newest is None else f"the newest candle is of {newest:%Y-%m-%d}"
        return f"candles come from {self.shown}: {what}"

    def intake(
        self, paths: Iterable[Path], *, dry_run: bool
    ) -> "tuple[CandleReader, CandleTarget]":
        """Candle files somebody gives, and where they go.

        Raises `NotFound` and `ValidationFailed` for paths that are no candle files, and for a
        source that takes in none.
        """
        raise ValidationFailed(
            f"{self.shown} takes in no files; put candles there yourself, or have QUANTLAB_CANDLES"
            " name a folder"
        )


class FolderCandles(CandleSetup):
    """CSV and Parquet files in a folder: the candle inbox."""

    @property
    def inbox(self) -> Path:
        """The folder."""
        return Path(self.settings.candles)

    @property
    def first_step(self) -> str:
        """Where to put files."""
        return f"and candles (CSV, Parquet) into          {self.shown}/"

    def open(self) -> "CandleFolder":
        """The files, by what is in them."""
        from quantlab_assets.adapters.candle_folder import CandleFolder

        return CandleFolder(self.inbox, self.settings.candle_index)

    def look(self) -> None:
        """The folder is among those of the lake, which `doctor` looks at."""

    def intake(
        self, paths: Iterable[Path], *, dry_run: bool
    ) -> "tuple[CandleReader, CandleTarget]":
        """Files are copied into the folder."""
        from quantlab_assets.adapters.candle_folder.intake import CandleIntake, GivenFiles
        from quantlab_assets.adapters.candle_folder.naming import MAPPING_NAME

        given = GivenFiles(paths, [self.inbox / MAPPING_NAME])
        return given, CandleIntake(self.inbox, given.companions, dry_run=dry_run)


class ClickHouseTable(CandleSetup):
    """A table of a ClickHouse: a server over HTTP, or the engine in this process."""

    advice = "see docs/candles.md, ClickHouse"

    @property
    def first_step(self) -> str:
        """Where `quantlab ingest candles` puts them."""
        return f"and candles (CSV, Parquet) into          {self.shown}"

    def open(self) -> "ClickHouseCandles":
        """The table, unopened."""
        from quantlab_assets.adapters.clickhouse import (
            ClickHouseCandles,
            Connection,
            read_mapping,
        )

        mapping = read_mapping(self.settings.clickhouse_mapping)
        return ClickHouseCandles(Connection(str(self.settings.candles)), mapping)

    def look(self) -> str:
        """How much is in the table."""
        tokens, rows = self.open().count()
        return f"candles come from {self.shown}: {rows} rows of {tokens} tokens"

    def intake(
        self, paths: Iterable[Path], *, dry_run: bool
    ) -> "tuple[CandleReader, CandleTarget]":
        """The candles of files are put into the table, if their volumes are in its unit."""
        from quantlab_assets.adapters.candle_folder.intake import GivenFiles
        from quantlab_assets.adapters.clickhouse import CandleInserter, Connection, read_mapping

        mapping = read_mapping(self.settings.clickhouse_mapping)
        files = GivenFiles(paths)
        files.check_volume_unit(mapping.volume_unit)
        connection = Connection(str(self.settings.candles))
        return files, CandleInserter(connection, mapping, dry_run=dry_run)


CANDLE_SOURCES: Final[Mapping[str, type[CandleSetup]]] = {
    FOLDER: FolderCandles,
    "clickhouse": ClickHouseTable,
    "clickhouses": ClickHouseTable,
    "chdb": ClickHouseTable,
}
"""What each scheme stands for. A user's own module may have more, not others of these names."""


def candle_setup(settings: Settings) -> CandleSetup:
    """The candle source that the settings name. Raises `ValidationFailed` for an unknown scheme."""
    address = settings.candles
    scheme = FOLDER if isinstance(address, Path) else address.partition("://")[0]
    known = CANDLE_SOURCES.get(scheme)
    if known is not None:
        return known(settings)
    own = candle_sources(settings.types_module)
    if scheme in own:
        if isinstance(own[scheme], type) and issubclass(own[scheme], CandleSetup):
            setup: CandleSetup = own[scheme](settings)
            return setup
        raise ValidationFailed(
            f"{TYPES_VARIABLE}: CANDLE_SOURCES[{scheme!r}] of {settings.types_module} is no"
            " CandleSetup"
        )
    schemes = [name for name in (*CANDLE_SOURCES, *own) if name != FOLDER]
    raise ValidationFailed(
        f"QUANTLAB_CANDLES: {scheme}:// is not a candle source; give a folder, or a DSN that "
        f"begins with {', '.join(f'{name}://' for name in schemes)}"
    )

"""The composition root of the command line: opens what a command needs, when it needs it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from quantlab_assets.settings import Settings

if TYPE_CHECKING:
    from quantlab_assets.adapters.parquet_store.census import Census
    from quantlab_assets.lake import Lake


@dataclass
class Session:
    """One invocation of `quantlab`: which lake, and how loud to fail."""

    lake: Path | None = None
    debug: bool = False

    @cached_property
    def settings(self) -> Settings:
        """The settings of the lake that was asked for."""
        return Settings.from_environment(self.lake)

    def open_lake(self, *, create: bool = False) -> "Lake":
        """The lake. Its parts open when they are first used.

        Raises `StoreUnavailable` if it is not there and not to be made.
        """
        from quantlab_assets.lake import open_lake

        return open_lake(self.settings, create=create)

    def census(self) -> "Census":
        """What the manifest holds, counted."""
        from quantlab_assets.adapters.parquet_store.census import take_census

        return take_census(self.open_lake().store.database)

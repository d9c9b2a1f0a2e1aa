"""The composition root of the command line: opens what a command needs, when it needs it."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from quantlab_assets.settings import Settings


@dataclass
class Session:
    """One invocation of `quantlab`: which lake, and how loud to fail."""

    lake: Path | None = None
    debug: bool = False
    _open: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def settings(self) -> Settings:
        """The settings of the lake that was asked for."""
        return Settings.from_environment(self.lake)

    def close(self) -> None:
        """Close whatever was opened."""
        self._open.close()

"""What lies in an inbox, and what was refused of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class InboxFile:
    """A file as a look at the folder shows it: path below the folder, bytes, time of writing."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """A file that was refused as a whole: its path with the inbox in front, why, and when."""

    path: str
    reason: str
    at: datetime


class FileQuarantine(Protocol):
    """The record of refused files. The files themselves stay where they are."""

    def record(self, path: str, reason: str) -> bool:
        """Note a refused file; False if the same refusal is noted already."""

    def list(self) -> Sequence[QuarantinedFile]:
        """Every refusal, oldest first."""

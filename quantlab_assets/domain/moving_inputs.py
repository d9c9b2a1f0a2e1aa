"""Work whose inputs moved while it ran starts over: how often, and what is said if they never rest.

Here: the bound and the error of every such race. Not here: how a race is noticed, which whoever
read the input knows; nor a row that another writer inserted first, which is an answer (the artifact
is there already), no reason to start over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from quantlab_assets.domain.errors import Conflict

Result = TypeVar("Result")


class InputsMoved(Exception):  # noqa: N818
    """What an attempt read is no longer what is there, and nothing of the attempt was kept."""


@dataclass(frozen=True, slots=True)
class Race:
    """A race that work can lose: how many attempts it has, and what its rivals do."""

    attempts: int
    rivals: str

    def run(self, attempt: Callable[[], Result], what: str) -> Result:
        """Return what `attempt` returns, trying again whenever it raises `InputsMoved`.

        Raises `Conflict`, naming `what`, when every attempt was lost.
        """
        for _ in range(self.attempts):
            try:
                return attempt()
            except InputsMoved:
                continue
        raise self.lost(what)

    def lost(self, what: str) -> Conflict:
        """The error when every attempt was lost."""
        return Conflict(f"{what}: {self.rivals} {self.attempts} times in a row; run it again")


UPSTREAM_MADE_ANEW: Final = Race(10, "other runs made its inputs anew")
"""Another run published what a step of the graph had read. Few: each attempt is a whole step, and a
rival needs as long to publish again."""

PARTITION_GREW: Final = Race(25, "other writers changed it")
"""Another writer added to the partition that this one adds to. Many: an attempt takes moments, and
as many writers as there are processes may add to one day; of those that meet, one gets through."""

FILES_COLLECTED: Final = Race(20, "garbage collection took files that it needs")
"""Garbage collection took a file that was found in its place, before the manifest named it. More
than enough: a file is collected once, so each attempt is lost to another collection."""

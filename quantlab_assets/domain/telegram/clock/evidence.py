"""What an export tells of its clock: times, labels, and what bots' buttons show.

Clock times are seconds since 1970 as if the clock were UTC; offsets are seconds east of UTC. Which
clock explains the evidence is decided in `judge`.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

NONE: Final = -(1 << 62)
"""Stands for no label, no epoch, no UTC time."""
STEP_S: Final = 15 * 60
"""Offsets are multiples of this."""
TOLERANCE_S: Final = 5
"""How far a card's posting and its epoch may be apart for the card to count as not refreshed."""
EDITED_AFTER_S: Final = 60
"""A card whose epoch is earlier than its posting by more than this refutes the clock."""
_WEST, _EAST = -12 * 3600, 14 * 3600
_SHOWN_SEGMENTS: Final = 50
Seconds = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segment:
    """Offset shown by unrefreshed cards from one UTC day to another, both included."""

    first: date
    last: date
    offset_s: int
    callbacks: int


def offset_label(offset_s: int) -> str:
    """`UTC+10:00`, as Telegram Desktop writes it."""
    sign = "-" if offset_s < 0 else "+"
    minutes = abs(offset_s) // 60
    return f"UTC{sign}{minutes // 60:02d}:{minutes % 60:02d}"


@dataclass(frozen=True, slots=True)
class Facts:
    """Times as exported, and the evidence in them."""

    local: Seconds
    label: Seconds
    epoch: Seconds
    shown: Seconds = field(init=False)
    """The offset each message shows exactly, else `NONE`."""
    bound: Seconds = field(init=False)
    """The smallest offset at which a message's card was not refreshed before it was posted."""
    labels: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        apart = self.local - self.epoch
        near = (apart + STEP_S // 2) // STEP_S * STEP_S
        known = (self.epoch != NONE) & (apart >= _WEST - STEP_S) & (apart <= _EAST + TOLERANCE_S)
        exact = known & (np.abs(apart - near) <= TOLERANCE_S) & (near >= _WEST) & (near <= _EAST)
        object.__setattr__(self, "shown", np.where(exact, near, NONE))
        object.__setattr__(self, "bound", np.where(known, apart - EDITED_AFTER_S, NONE))
        labels = np.unique(self.label[self.label != NONE])
        object.__setattr__(self, "labels", tuple(int(each) for each in labels))

    @property
    def evidence(self) -> npt.NDArray[np.bool_]:
        """Which messages show an offset exactly."""
        return np.not_equal(self.shown, NONE)

    def label_names(self) -> tuple[str, ...]:
        """The labels as they are written, `UTC+10:00`."""
        return tuple(offset_label(each) for each in self.labels)

    def segments(self, offsets: Seconds | None = None) -> tuple[Segment, ...]:
        """Runs of days on which cards show one offset; with `offsets`, of cards that agree."""
        at = self.evidence
        if offsets is not None:
            at = at & (self.shown == offsets)
        rows = (
            pl.DataFrame({"epoch": self.epoch[at], "offset": self.shown[at]})
            .with_columns(pl.from_epoch("epoch").dt.date().alias("day"))
            .group_by("day", "offset")
            .agg(pl.len())
            .sort("day", "offset")
            .with_columns(pl.col("offset").rle_id().alias("run"))
            .group_by("run", maintain_order=True)
            .agg(
                pl.col("day").first(),
                pl.col("day").last().alias("last"),
                pl.col("offset").first(),
                pl.col("len").sum(),
            )
        )
        return tuple(
            Segment(*row) for row in rows.select("day", "last", "offset", "len").iter_rows()
        )[:_SHOWN_SEGMENTS]

"""UTC times by one clock: by labels, or by an IANA zone with its changes of the hour."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.clock.evidence import NONE, Facts, Seconds

AUTO: Final = "auto"
LABEL: Final = "label"
_BACKWARDS_S: Final = 30
"""How far the clock must jump back between messages for it to have been set back."""


@dataclass(frozen=True, slots=True)
class Times:
    """UTC times by one clock. `guessed` counts hours shown twice that nothing tells apart."""

    zone: str | None
    utc: Seconds
    guessed: int = 0

    @property
    def skipped(self) -> int:
        """How many messages are at times that the clock never showed."""
        return int((self.utc == NONE).sum())

    def offsets(self, facts: Facts) -> Seconds:
        """Seconds east of UTC of each message; `NONE` where the clock never showed its time."""
        return np.where(self.utc == NONE, NONE, facts.local - self.utc)

    def agreeing(self, facts: Facts) -> int:
        """How many cards show the offset that this clock had."""
        at = facts.evidence
        return int((self.offsets(facts)[at] == facts.shown[at]).sum())

    def refuting(self, facts: Facts) -> int:
        """How many cards would have been refreshed before they were posted."""
        at = (facts.bound != NONE) & (self.utc != NONE)
        return int((facts.bound[at] > self.offsets(facts)[at]).sum())


def times_by_label(facts: Facts) -> Times:
    """UTC times by the label beside each time."""
    utc = np.where(facts.label == NONE, NONE, facts.local - facts.label)
    return Times(None, utc)


def times_by_zone(facts: Facts, zone: str) -> Times:
    """UTC times by a zone. An hour that the clock showed twice is told apart by evidence, by labels
    that change, and by the clock jumping back; else it is the later one, so that no message is
    taken to be known before it was written."""
    early, late = _both(facts.local, zone)
    utc = late.copy()
    twice = np.flatnonzero(early != late)
    guessed = 0
    for fold in _folds(facts.local, early, twice):
        second = _second(facts, early[fold], late[fold], fold)
        utc[fold] = np.where(second == 0, early[fold], late[fold])
        guessed += int((second < 0).sum())
    return Times(zone, utc, guessed)


def _folds(local: Seconds, early: Seconds, twice: npt.NDArray[np.intp]) -> Iterator[Any]:
    """The messages of each hour shown twice, in their order."""
    if not twice.size:
        return
    # Two set-backs of a clock are months apart.
    order = twice[np.argsort(early[twice], kind="stable")]
    breaks = np.flatnonzero(np.diff(early[order]) > 7 * 86_400) + 1
    for part in np.split(order, breaks):
        yield np.sort(part)


def _second(facts: Facts, early: Seconds, late: Seconds, at: Any) -> npt.NDArray[np.int8]:
    """0 where it was the first time the clock showed the hour, 1 the second, -1 not known."""
    local = facts.local[at]
    second = np.full(local.size, -1, np.int8)
    back = np.flatnonzero(np.diff(local) < -_BACKWARDS_S)
    if back.size:
        second[: back[0] + 1] = 0
        second[back[0] + 1 :] = 1
    first_pins = (facts.shown[at] == local - early) & facts.evidence[at]
    second_pins = (facts.shown[at] == local - late) & facts.evidence[at]
    if len(facts.labels) > 1:
        first_pins |= facts.label[at] == local - early
        second_pins |= facts.label[at] == local - late
    firsts, seconds = np.flatnonzero(first_pins), np.flatnonzero(second_pins)
    if firsts.size and (not seconds.size or firsts[-1] < seconds[0]):
        second[: firsts[-1] + 1] = 0
    if seconds.size and (not firsts.size or firsts[-1] < seconds[0]):
        second[seconds[0] :] = 1
    return second


def offsets_at(utc: Seconds, zone: str) -> Seconds:
    """Seconds east of UTC that the zone had at UTC moments."""
    seconds: Seconds = (
        pl.DataFrame({"utc": utc}).select(offset_at(pl.col("utc"), zone))["utc"].to_numpy()
    )
    return seconds


def offset_at(utc: pl.Expr, zone: str) -> pl.Expr:
    """Seconds east of UTC that the zone had, as an expression over Unix seconds."""
    there = pl.from_epoch(utc).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    return there.dt.replace_time_zone(None).dt.epoch("s") - utc


def _both(local: Seconds, zone: str) -> tuple[Seconds, Seconds]:
    """The first and the second time the zone's clock showed each time; `NONE` if it never did."""
    clock = pl.from_epoch(pl.Series(local, dtype=pl.Int64)).cast(pl.Datetime("us"))

    def utc(which: Any) -> Seconds:
        moments = clock.dt.replace_time_zone(zone, ambiguous=which, non_existent="null")
        seconds: Seconds = moments.dt.epoch("s").fill_null(NONE).to_numpy()
        return seconds

    return utc("earliest"), utc("latest")


def utc_of(local: datetime, zone: str) -> datetime | None:
    """One clock time in UTC: the later of two, None if the zone never showed it."""
    there = local.replace(tzinfo=_zone(zone), fold=1)
    moment = there.astimezone(UTC)
    shown = moment.astimezone(there.tzinfo).replace(tzinfo=None, fold=0)
    return moment if shown == local.replace(tzinfo=None, fold=0) else None


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def check_timezone(asked: str) -> str:
    """`auto`, `label`, or the name of an IANA zone. Raises `ValidationFailed` for anything else."""
    if asked in (AUTO, LABEL):
        return asked
    try:
        if not asked:
            raise ValueError(asked)
        pl.Series([0], dtype=pl.Datetime("us", asked))
        offsets_at(np.zeros(1, np.int64), asked)
    except Exception as error:
        raise ValidationFailed(
            f"timezone {asked!r} is neither auto, label, nor an IANA zone such as Europe/Berlin"
        ) from error
    return asked

"""Which clock an export was written by, judged by what bots wrote into it.

An HTML export tells times as the exporting machine's clock showed them, with a label such as
`UTC+10:00` that may be that machine's offset on the day of the export, not on the day of the
message. A bot's card carries Unix seconds in its buttons: when it was posted or last refreshed. So

- a card never refreshed shows the offset exactly: clock minus epoch is a multiple of 15 minutes;
- a refreshed one shows a bound: nothing is refreshed before it is posted.

Pure: arrays in, a `Clock` out. Clock times are seconds since 1970 as if the clock were UTC; offsets
are seconds east of UTC. See docs/alerts.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.zones import CLOCKS

AUTO: Final = "auto"
LABEL: Final = "label"

NONE: Final = -(1 << 62)
"""Stands for no label, no epoch, no UTC time."""

STEP_S: Final = 15 * 60
"""Offsets are multiples of this."""
TOLERANCE_S: Final = 5
"""How far a card's posting and its epoch may be apart for the card to count as not refreshed."""
AGREEMENT: Final = 0.9
"""The share of evidence that a clock must explain."""
EDITED_AFTER_S: Final = 60
"""A card whose epoch is earlier than its posting by more than this refutes the clock."""

_WEST, _EAST = -12 * 3600, 14 * 3600
_BACKWARDS_S: Final = 30
"""How far the clock must jump back between messages for it to have been set back."""
_YEAR_S: Final = 366 * 86_400
_SHOWN_SEGMENTS: Final = 50

Seconds = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segment:
    """Offset shown by unrefreshed cards from one UTC day to another, both included."""

    first: date
    last: date
    offset_s: int
    callbacks: int


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock an export is read by, and what speaks for it.

    `asked` is the setting (`auto`, `label` or an IANA zone); `zone` the IANA zone, None if labels
    are used. `basis` is `given`, `inferred` (from evidence), `confirmed` (labels, and evidence
    agrees) or `unconfirmed` (labels, no evidence). `callbacks` counts cards that show an offset,
    `agreeing` those it explains (`evidence` says what those show, by date), `refuting` cards that
    would have been refreshed before they were posted. `same` are zones that read every message
    alike. `guessed` counts messages in an hour that the clock showed twice, where nothing tells
    which it was; `skipped` those at times it never showed; `undecided` those that another clock,
    which fits as well, may read otherwise.
    """

    asked: str
    basis: str
    zone: str | None
    labels: tuple[str, ...]
    callbacks: int = 0
    agreeing: int = 0
    refuting: int = 0
    evidence: tuple[Segment, ...] = ()
    same: tuple[str, ...] = ()
    guessed: int = 0
    skipped: int = 0
    undecided: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def share(self) -> float | None:
        """The share of evidence that agrees; None without evidence."""
        return self.agreeing / self.callbacks if self.callbacks else None

    def document(self) -> dict[str, Any]:
        """As plain values, for parameters of publications and reports."""
        return {
            "timezone": self.asked,
            "basis": self.basis,
            "zone": self.zone,
            "same_clock": list(self.same),
            "labels": list(self.labels),
            "callbacks": self.callbacks,
            "agreeing": self.agreeing,
            "share": self.share,
            "refuting": self.refuting,
            "evidence": [
                {
                    "from": part.first.isoformat(),
                    "to": part.last.isoformat(),
                    "offset": offset_label(part.offset_s),
                    "callbacks": part.callbacks,
                }
                for part in self.evidence
            ],
            "ambiguous_messages": self.guessed,
            "nonexistent_messages": self.skipped,
            "undecided_messages": self.undecided,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """The clock, and the UTC seconds of each message by it; `NONE` where it never showed the time,
    or the message has no label and labels are used."""

    clock: Clock
    utc: Seconds


def offset_label(offset_s: int) -> str:
    """`UTC+10:00`, as Telegram Desktop writes it."""
    sign = "-" if offset_s < 0 else "+"
    minutes = abs(offset_s) // 60
    return f"UTC{sign}{minutes // 60:02d}:{minutes % 60:02d}"


def check_timezone(asked: str) -> str:
    """`auto`, `label`, or the name of an IANA zone. Raises `ValidationFailed` for anything else."""
    if asked in (AUTO, LABEL):
        return asked
    try:
        if not asked:
            raise ValueError(asked)
        pl.Series([0], dtype=pl.Datetime("us", asked))
        _offsets(np.zeros(1, np.int64), asked)
    except Exception as error:
        raise ValidationFailed(
            f"timezone {asked!r} is neither auto, label, nor an IANA zone such as Europe/Berlin"
        ) from error
    return asked


def read_clock(local: Seconds, label: Seconds, epoch: Seconds, asked: str = AUTO) -> Reading:
    """The UTC times of messages, in the order of the export.

    `local` is what the clock showed, `label` the offset written beside it (`NONE` if there is
    none), `epoch` the Unix seconds in a message's buttons (`NONE` if there are none). Raises
    `ValidationFailed` under `auto` if evidence is contradictory, or if there is neither evidence
    nor a label.
    """
    facts = _Facts(local, label, epoch)
    if asked == LABEL:
        return _given(facts, _by_label(facts), asked)
    if asked != AUTO:
        return _given(facts, _by_zone(facts, check_timezone(asked)), asked)
    return _judged(facts)


@dataclass(frozen=True, slots=True)
class _Facts:
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
        return np.not_equal(self.shown, NONE)

    def label_names(self) -> tuple[str, ...]:
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


@dataclass(frozen=True, slots=True)
class _Times:
    """UTC times by one clock. `guessed` counts hours shown twice that nothing tells apart."""

    zone: str | None
    utc: Seconds
    guessed: int = 0

    @property
    def skipped(self) -> int:
        return int((self.utc == NONE).sum())

    def offsets(self, facts: _Facts) -> Seconds:
        return np.where(self.utc == NONE, NONE, facts.local - self.utc)

    def agreeing(self, facts: _Facts) -> int:
        at = facts.evidence
        return int((self.offsets(facts)[at] == facts.shown[at]).sum())

    def refuting(self, facts: _Facts) -> int:
        at = (facts.bound != NONE) & (self.utc != NONE)
        return int((facts.bound[at] > self.offsets(facts)[at]).sum())


def _by_label(facts: _Facts) -> _Times:
    utc = np.where(facts.label == NONE, NONE, facts.local - facts.label)
    return _Times(None, utc)


def _by_zone(facts: _Facts, zone: str) -> _Times:
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
    return _Times(zone, utc, guessed)


def _folds(local: Seconds, early: Seconds, twice: npt.NDArray[np.intp]) -> Iterator[Any]:
    """The messages of each hour shown twice, in their order."""
    if not twice.size:
        return
    # Two set-backs of a clock are months apart.
    order = twice[np.argsort(early[twice], kind="stable")]
    breaks = np.flatnonzero(np.diff(early[order]) > 7 * 86_400) + 1
    for part in np.split(order, breaks):
        yield np.sort(part)


def _second(facts: _Facts, early: Seconds, late: Seconds, at: Any) -> npt.NDArray[np.int8]:
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


def _judged(facts: _Facts) -> Reading:
    """What evidence says: the labels, a zone, or neither."""
    count = int(facts.evidence.sum())
    labelled = bool(facts.labels) or not facts.local.size
    by_label = _by_label(facts)
    wrong = count - by_label.agreeing(facts)
    refuting = by_label.refuting(facts)
    bounds = int((facts.bound != NONE).sum())
    doubted = refuting > (1 - AGREEMENT) * bounds
    if labelled and not doubted and not wrong:
        return _confirmed(facts, by_label) if count else _read(facts, by_label, "unconfirmed", AUTO)
    candidates = _candidates(facts)
    if candidates:
        best = candidates[0]
        better = wrong - (count - best.agreeing(facts))
        # One card that tells of the other half of the year is enough; one that was refreshed an
        # even time after its posting, by chance, is explained by no zone of that label.
        whole = better == wrong and _shows_a_label(facts, best.zone or "")
        if not labelled or doubted or better > 1 or whole:
            return _inferred(facts, candidates)
    if labelled and not doubted and wrong <= max(min(1, count // 2), (1 - AGREEMENT) * count):
        return _confirmed(facts, by_label)
    if not bounds and not labelled:
        raise ValidationFailed(
            "its times have no UTC offset, and no bot's button tells one; say which clock it was "
            "written by: --timezone Europe/Berlin"
        )
    raise ValidationFailed(
        f"bots' buttons contradict each other about the clock ({_shown(facts)}), and no time zone "
        "explains them; say which it was: --timezone label, or an IANA zone"
    )


def _confirmed(facts: _Facts, by_label: _Times) -> Reading:
    """The labels, and whether what speaks for them leaves half the year open."""
    reading = _read(facts, by_label, "confirmed", AUTO)
    zone, differ = _unproved(facts, by_label)
    if not differ:
        return reading
    first, last = reading.clock.evidence[0].first, reading.clock.evidence[-1].last
    warning = (
        f"bots' buttons bear out its labels from {first} to {last} only; if the clock was {zone}, "
        f"{differ} messages are read at a wrong hour: give --timezone if it was"
    )
    warnings = (*reading.clock.warnings, warning)
    return Reading(replace(reading.clock, undecided=differ, warnings=warnings), reading.utc)


def _unproved(facts: _Facts, by_label: _Times) -> tuple[str, int]:
    """A zone that all evidence fits as well as the one label of the export, and how many messages
    it reads otherwise: the label can be that of the day of the export. None if labels change."""
    if len(facts.labels) != 1 or not facts.local.size:
        return "", 0
    [label] = facts.labels
    steps, counts = np.unique(facts.local // STEP_S, return_counts=True)
    moments = steps * STEP_S - label
    fitting = _fitting(facts, by_label.agreeing(facts))
    for zone in CLOCKS:
        if zone in fitting:
            differ = int(counts[_offsets(moments, zone) != label].sum())
            if differ:
                return zone, differ
    return "", 0


def _shown(facts: _Facts) -> str:
    parts = [f"{offset_label(part.offset_s)} on {part.first}" for part in facts.segments()[:4]]
    refuted = "cards refreshed before the time they were posted"
    return ", ".join(parts) or refuted


def _candidates(facts: _Facts) -> list[_Times]:
    """Clocks that explain the evidence and could have shown every time, the best first."""
    count = int(facts.evidence.sum())
    bounds = int((facts.bound != NONE).sum())
    fitting = _fitting(facts, AGREEMENT * count)
    found = []
    for order, zone in enumerate(CLOCKS):
        if zone not in fitting:
            continue
        times = _by_zone(facts, zone)
        agreeing, refuting = times.agreeing(facts), times.refuting(facts)
        if agreeing < AGREEMENT * count or refuting > (1 - AGREEMENT) * bounds:
            continue
        if times.skipped > facts.local.size // 1000:
            continue
        plausible = _shows_a_label(facts, zone)
        if not count and not plausible:
            continue
        rank = (not plausible, count - agreeing, refuting, times.skipped, order)
        found.append((rank, times))
    return [times for _, times in sorted(found, key=lambda one: one[0])]


def _fitting(facts: _Facts, needed: float) -> frozenset[str]:
    """The zones that had the offset which at least `needed` cards show, by the cards' own epochs:
    quick to tell."""
    at = facts.evidence
    if not at.any():
        return frozenset(CLOCKS)
    # No clock is changed but on a multiple of the step.
    moments = (
        pl.DataFrame({"utc": facts.epoch[at] // STEP_S * STEP_S, "shown": facts.shown[at]})
        .group_by("utc", "shown")
        .agg(pl.len().alias("cards"))
    )
    agree = moments.select(
        pl.col("cards").filter(_offset(pl.col("utc"), zone) == pl.col("shown")).sum().alias(zone)
        for zone in CLOCKS
    )
    return frozenset(zone for zone, n in agree.row(0, named=True).items() if n >= needed)


def _shows_a_label(facts: _Facts, zone: str) -> bool:
    """Whether the machine's clock can have had the offset of the labels, in the export's years."""
    if not facts.labels:
        return True
    start, end = int(facts.local.min()) - _YEAR_S, int(facts.local.max()) + _YEAR_S
    offsets = set(_offsets(np.arange(start, end, 86_400 * 7, dtype=np.int64), zone).tolist())
    return set(facts.labels) <= offsets


def _inferred(facts: _Facts, candidates: Sequence[_Times]) -> Reading:
    best = candidates[0]
    plausible = _shows_a_label(facts, best.zone or "")
    agreeing = best.agreeing(facts)
    same, rivals = [], []
    for times in candidates[1:]:
        assert times.zone is not None
        if np.array_equal(times.utc, best.utc):
            same.append(times.zone)
        elif (
            _shows_a_label(facts, times.zone) == plausible
            and times.agreeing(facts) == agreeing
            and times.skipped == best.skipped
        ):
            rivals.append(times)
    if rivals and not facts.evidence.any():
        raise ValidationFailed(
            f"its labels ({', '.join(facts.label_names())}) are wrong, since cards would have been "
            "refreshed before they were posted, and more than one time zone fits; say which it "
            "was: --timezone Europe/Berlin"
        )
    reading = _read(facts, best, "inferred", AUTO)
    clock = replace(reading.clock, same=tuple(same))
    if rivals:
        differ = int((rivals[0].utc != best.utc).sum())
        clock = replace(
            clock,
            undecided=differ,
            warnings=(
                *clock.warnings,
                f"{rivals[0].zone} explains the evidence as well as {best.zone} and reads {differ} "
                "messages otherwise; give --timezone if it was that",
            ),
        )
    return Reading(clock, reading.utc)


def _given(facts: _Facts, times: _Times, asked: str) -> Reading:
    return _read(facts, times, "given", asked)


def _read(facts: _Facts, times: _Times, basis: str, asked: str) -> Reading:
    clock = Clock(
        asked=asked,
        basis=basis,
        zone=times.zone,
        labels=facts.label_names(),
        callbacks=int(facts.evidence.sum()),
        agreeing=times.agreeing(facts),
        refuting=times.refuting(facts),
        evidence=facts.segments(times.offsets(facts)),
        guessed=times.guessed,
        skipped=times.skipped,
    )
    return Reading(replace(clock, warnings=tuple(_warnings(clock))), times.utc)


def _warnings(clock: Clock) -> Iterator[str]:
    named = clock.zone or "the labels"
    labels = f"{', '.join(clock.labels)}"
    wrong = clock.callbacks - clock.agreeing
    if clock.basis == "inferred" and clock.labels:
        yield (
            f"its times are labelled {labels}, but bots' buttons show that the clock was "
            f"{clock.zone}; it is read by that"
        )
    if clock.basis == "confirmed" and wrong:
        yield f"{wrong} of {clock.callbacks} bots' buttons contradict {named}, which are used"
    if clock.basis == "unconfirmed":
        yield (
            f"no bot's button tells its clock; its labels ({labels}) are used, and can be an hour "
            "off for half the year: give --timezone if you know the zone"
        )
    if clock.basis == "given" and (wrong > (1 - AGREEMENT) * clock.callbacks or clock.refuting):
        against = []
        if wrong:
            against.append(f"{wrong} of {clock.callbacks} bots' buttons contradict {named}")
        if clock.refuting:
            cards = "1 card" if clock.refuting == 1 else f"{clock.refuting} cards"
            against.append(f"by {named}, {cards} would have been refreshed before being posted")
        yield "; ".join(against)
    if clock.guessed:
        yield (
            f"{clock.guessed} messages are in an hour that the clock showed twice, and nothing "
            "tells which it was; the later one is taken"
        )
    if clock.skipped and clock.zone:
        yield f"{clock.skipped} messages are at times that {clock.zone} never showed"


def _offsets(utc: Seconds, zone: str) -> Seconds:
    """Seconds east of UTC that the zone had at UTC moments."""
    found: Seconds = (
        pl.DataFrame({"utc": utc}).select(_offset(pl.col("utc"), zone))["utc"].to_numpy()
    )
    return found


def _offset(utc: pl.Expr, zone: str) -> pl.Expr:
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

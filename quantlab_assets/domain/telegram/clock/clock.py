"""The clock an export is read by, what speaks for it, and what is worth a warning."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from quantlab_assets.domain.telegram.clock.evidence import Seconds, Segment, offset_label

AGREEMENT: Final = 0.9
"""The share of evidence that a clock must explain."""


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


def warnings_of(clock: Clock) -> Iterator[str]:
    """What a reader of the export should know of its clock, a sentence each."""
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

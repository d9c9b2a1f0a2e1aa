"""Which clock an export was written by, judged by what bots wrote into it.

An HTML export tells times as the exporting machine's clock showed them, with a label such as
`UTC+10:00` that may be that machine's offset on the day of the export, not on the day of the
message. A bot's card carries Unix seconds in its buttons: when it was posted or last refreshed. So

- a card never refreshed shows the offset exactly: clock minus epoch is a multiple of 15 minutes;
- a refreshed one shows a bound: nothing is refreshed before it is posted.

Pure: arrays in, a `Clock` out. Clock times are seconds since 1970 as if the clock were UTC; offsets
are seconds east of UTC. See docs/alerts.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.clock.clock import AGREEMENT, Clock, Reading, warnings_of
from quantlab_assets.domain.telegram.clock.evidence import (
    NONE,
    STEP_S,
    Facts,
    Seconds,
    offset_label,
)
from quantlab_assets.domain.telegram.clock.times import (
    AUTO,
    LABEL,
    Times,
    check_timezone,
    offset_at,
    offsets_at,
    times_by_label,
    times_by_zone,
)
from quantlab_assets.domain.telegram.clock.zones import CLOCKS

_YEAR_S: Final = 366 * 86_400


def read_clock(local: Seconds, label: Seconds, epoch: Seconds, asked: str = AUTO) -> Reading:
    """The UTC times of messages, in the order of the export.

    `local` is what the clock showed, `label` the offset written beside it (`NONE` if there is
    none), `epoch` the Unix seconds in a message's buttons (`NONE` if there are none). Raises
    `ValidationFailed` under `auto` if evidence is contradictory, or if there is neither evidence
    nor a label.
    """
    facts = Facts(local, label, epoch)
    if asked == LABEL:
        return _given(facts, times_by_label(facts), asked)
    if asked != AUTO:
        return _given(facts, times_by_zone(facts, check_timezone(asked)), asked)
    return _judged(facts)


def _judged(facts: Facts) -> Reading:
    """What evidence says: the labels, a zone, or neither."""
    count = int(facts.evidence.sum())
    labelled = bool(facts.labels) or not facts.local.size
    by_label = times_by_label(facts)
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


def _confirmed(facts: Facts, by_label: Times) -> Reading:
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


def _unproved(facts: Facts, by_label: Times) -> tuple[str, int]:
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
            differ = int(counts[offsets_at(moments, zone) != label].sum())
            if differ:
                return zone, differ
    return "", 0


def _shown(facts: Facts) -> str:
    parts = [f"{offset_label(part.offset_s)} on {part.first}" for part in facts.segments()[:4]]
    refuted = "cards refreshed before the time they were posted"
    return ", ".join(parts) or refuted


def _candidates(facts: Facts) -> list[Times]:
    """Clocks that explain the evidence and could have shown every time, the best first."""
    count = int(facts.evidence.sum())
    bounds = int((facts.bound != NONE).sum())
    fitting = _fitting(facts, AGREEMENT * count)
    ranked = []
    for order, zone in enumerate(CLOCKS):
        if zone not in fitting:
            continue
        times = times_by_zone(facts, zone)
        agreeing, refuting = times.agreeing(facts), times.refuting(facts)
        if agreeing < AGREEMENT * count or refuting > (1 - AGREEMENT) * bounds:
            continue
        if times.skipped > facts.local.size // 1000:
            continue
        plausible = _shows_a_label(facts, zone)
        if not count and not plausible:
            continue
        rank = (not plausible, count - agreeing, refuting, times.skipped, order)
        ranked.append((rank, times))
    return [times for _, times in sorted(ranked, key=lambda candidate: candidate[0])]


def _fitting(facts: Facts, needed: float) -> frozenset[str]:
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
        pl.col("cards").filter(offset_at(pl.col("utc"), zone) == pl.col("shown")).sum().alias(zone)
        for zone in CLOCKS
    )
    return frozenset(zone for zone, n in agree.row(0, named=True).items() if n >= needed)


def _shows_a_label(facts: Facts, zone: str) -> bool:
    """Whether the machine's clock can have had the offset of the labels, in the export's years."""
    if not facts.labels:
        return True
    start, end = int(facts.local.min()) - _YEAR_S, int(facts.local.max()) + _YEAR_S
    offsets = set(offsets_at(np.arange(start, end, 86_400 * 7, dtype=np.int64), zone).tolist())
    return set(facts.labels) <= offsets


def _inferred(facts: Facts, candidates: Sequence[Times]) -> Reading:
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


def _given(facts: Facts, times: Times, asked: str) -> Reading:
    return _read(facts, times, "given", asked)


def _read(facts: Facts, times: Times, basis: str, asked: str) -> Reading:
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
    return Reading(replace(clock, warnings=tuple(warnings_of(clock))), times.utc)

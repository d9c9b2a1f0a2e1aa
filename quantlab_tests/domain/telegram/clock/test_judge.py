"""Which clock an export was written by, and what its times are in UTC."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.clock.clock import Reading
from quantlab_assets.domain.telegram.clock.evidence import NONE, offset_label
from quantlab_assets.domain.telegram.clock.judge import read_clock
from quantlab_assets.domain.telegram.clock.times import check_timezone, utc_of

HOUR = 3600


def written(zone: str, moments: list[datetime]) -> np.ndarray:
    """What a clock in the zone showed at the moments."""
    shown = [moment.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC) for moment in moments]
    return np.array([int(each.timestamp()) for each in shown], np.int64)


def read(
    zone: str,
    moments: list[datetime],
    label: int | list[int] | None,
    epochs: dict[int, int],
    asked: str = "auto",
) -> Reading:
    """Read times written in `zone` under a label (hours). `epochs`: by message, how many seconds
    after its posting its card was refreshed."""
    count = len(moments)
    labels = label if isinstance(label, list) else [label] * count
    seconds = [int(each.timestamp()) for each in moments]
    return read_clock(
        written(zone, moments),
        np.array([NONE if each is None else int(each * HOUR) for each in labels], np.int64),
        np.array([seconds[n] + epochs[n] if n in epochs else NONE for n in range(count)], np.int64),
        asked,
    )


def times(moments: list[datetime]) -> list[int]:
    return [int(moment.timestamp()) for moment in moments]


def every(start: datetime, hours: float, count: int) -> list[datetime]:
    return [start + timedelta(hours=hours) * n for n in range(count)]


YEAR = every(datetime(2025, 1, 1, 0, 7, tzinfo=UTC), 13.37, 700)
CARDS = dict.fromkeys(range(0, 700, 9), 0) | {5 + 9 * n: 4030 + 60 * n for n in range(77)}
"""Every ninth message is a card never refreshed, as many were refreshed an hour later and more."""


@pytest.mark.parametrize(
    ("zone", "label"),
    [
        ("Australia/Sydney", 10),
        ("America/New_York", -5),
        ("Europe/Berlin", 2),
        ("America/St_Johns", -3.5),
        ("Asia/Kolkata", 0),
        ("Australia/Lord_Howe", 10.5),
        ("America/Santiago", -3),
    ],
)
def test_a_year_under_one_wrong_label_is_read_right(zone: str, label: float) -> None:
    found = read(zone, YEAR, label, CARDS)  # type: ignore[arg-type]
    assert found.utc.tolist() == times(YEAR)
    assert found.clock.basis == "inferred"
    assert zone in (found.clock.zone, *found.clock.same)
    assert found.clock.share == 1
    assert any("labelled" in warning for warning in found.clock.warnings)


def test_evidence_is_told_by_date() -> None:
    found = read("Europe/Berlin", YEAR, 1, CARDS).clock
    assert [offset_label(part.offset_s) for part in found.evidence] == [
        "UTC+01:00",
        "UTC+02:00",
        "UTC+01:00",
    ]
    assert found.evidence[0].last.month == 3
    assert found.evidence[1].last.month == 10


def test_labels_that_evidence_agrees_with_are_kept() -> None:
    winter = every(datetime(2025, 1, 1, tzinfo=UTC), 5, 100)
    found = read("Europe/Berlin", winter, 1, dict.fromkeys(range(0, 100, 10), 1))
    assert (found.clock.basis, found.clock.zone) == ("confirmed", None)
    assert found.clock.warnings == ()
    assert found.utc.tolist() == times(winter)


@pytest.mark.parametrize(("label", "cards"), [(1, range(0, 100, 9)), (2, range(300, 400, 9))])
def test_labels_that_half_a_year_bears_out_are_kept_and_the_other_half_is_told(
    label: int, cards: range
) -> None:
    found = read("Europe/Berlin", YEAR, label, dict.fromkeys(cards, 0))
    wrong = int((found.utc != np.array(times(YEAR))).sum())
    assert found.clock.basis == "confirmed"
    # One of them is in the hour shown twice.
    assert abs(found.clock.undecided - wrong) <= 1
    [warning] = found.clock.warnings
    assert f"if the clock was Europe/Berlin, {found.clock.undecided} messages" in warning


def test_labels_that_the_whole_year_bears_out_leave_nothing_open() -> None:
    found = read("Africa/Lagos", YEAR, 1, CARDS)
    assert (found.clock.basis, found.clock.undecided, found.clock.warnings) == ("confirmed", 0, ())


@pytest.mark.parametrize("label", [1, 2])
@pytest.mark.parametrize("cards", [(10, 300), (10, 20, 30, 300), (10, 290, 300, 310)])
def test_one_card_of_the_other_half_of_the_year_is_enough(
    label: int, cards: tuple[int, ...]
) -> None:
    found = read("Europe/Berlin", YEAR, label, dict.fromkeys(cards, 0))
    assert (found.clock.zone, found.utc.tolist()) == ("Europe/Berlin", times(YEAR))


def test_one_card_that_contradicts_the_labels_and_that_no_zone_explains_is_told() -> None:
    winter = every(datetime(2025, 1, 1, tzinfo=UTC), 5, 100)
    found = read("Europe/Berlin", winter, 1, {10: 0, 20: 0, 30: 0, 40: 3 * HOUR})
    assert (found.clock.basis, found.utc.tolist()) == ("confirmed", times(winter))
    assert found.clock.warnings == ("1 of 4 bots' buttons contradict the labels, which are used",)


def test_labels_that_change_with_the_clock_are_kept_and_tell_the_hour_shown_twice() -> None:
    change = datetime(2025, 10, 26, 0, 0, tzinfo=UTC)
    night = every(change, 0.2, 10)
    labels = [2 if moment < change + timedelta(hours=1) else 1 for moment in night]
    found = read("Europe/Berlin", night, labels, {})
    assert found.utc.tolist() == times(night)
    given = read("Europe/Berlin", night, labels, {}, "Europe/Berlin")
    assert given.utc.tolist() == times(night)
    assert given.clock.guessed == 0


def test_without_evidence_the_labels_are_used_and_that_is_said() -> None:
    found = read("Europe/Berlin", YEAR[:10], 5, {}).clock
    assert found.basis == "unconfirmed"
    assert "no bot's button" in found.warnings[0]


def test_cards_that_were_all_refreshed_later_are_no_evidence() -> None:
    late = {n: 100_130 + 960 * n for n in range(10)}
    assert read("Europe/Berlin", YEAR[:10], 1, late).clock.basis == "unconfirmed"


def test_one_card_refreshed_before_its_label_says_it_was_posted_refutes_the_label() -> None:
    moments = every(datetime(2025, 1, 3, tzinfo=UTC), 1, 10)
    found = read("Australia/Sydney", moments, 10, {4: 607})
    assert (found.clock.zone, found.clock.callbacks) == ("Australia/Sydney", 0)
    assert found.utc.tolist() == times(moments)


def test_times_without_labels_are_read_by_evidence() -> None:
    found = read("America/New_York", YEAR, None, CARDS)
    assert found.utc.tolist() == times(YEAR)


def test_times_with_neither_label_nor_evidence_are_refused() -> None:
    with pytest.raises(ValidationFailed, match="--timezone"):
        read("America/New_York", YEAR[:5], None, {})


def test_evidence_that_contradicts_itself_is_an_error_unless_a_zone_is_given() -> None:
    moments = every(datetime(2025, 1, 3, tzinfo=UTC), 1, 40)
    muddled = {n: (n % 5) * 5 * HOUR for n in range(40)}
    with pytest.raises(ValidationFailed, match=r"contradict.*--timezone"):
        read("Australia/Sydney", moments, 10, muddled)
    given = read("Australia/Sydney", moments, 10, muddled, "Australia/Sydney")
    assert given.utc.tolist() == times(moments)
    assert "contradict" in given.clock.warnings[0]


def test_a_few_stray_cards_change_nothing() -> None:
    stray = CARDS | dict.fromkeys((1, 300), -HOUR) | dict.fromkeys((2,), -7 * HOUR)
    found = read("Australia/Sydney", YEAR, 10, stray)
    assert found.utc.tolist() == times(YEAR)
    assert found.clock.share is not None
    assert 0.9 < found.clock.share < 1


def test_a_zone_that_is_given_wins_and_is_told_when_evidence_is_against_it() -> None:
    found = read("Australia/Sydney", YEAR, 10, CARDS, "Europe/Berlin").clock
    assert (found.basis, found.zone, found.agreeing) == ("given", "Europe/Berlin", 0)
    assert "contradict Europe/Berlin" in found.warnings[0]


def test_what_is_against_a_clock_that_is_given_is_told_as_it_is() -> None:
    moments = every(datetime(2025, 1, 3, tzinfo=UTC), 1, 10)
    found = read("Australia/Sydney", moments, 10, {4: 607}, "label").clock
    assert found.warnings == (
        "by the labels, 1 card would have been refreshed before being posted",
    )


def test_labels_that_are_asked_for_win() -> None:
    found = read("Australia/Sydney", YEAR, 10, CARDS, "label")
    assert found.utc.tolist() == (written("Australia/Sydney", YEAR) - 10 * HOUR).tolist()


BACK = datetime(2025, 4, 5, 16, 0, tzinfo=UTC)
"""Sydney shows 3:00 for the first time, and goes back to 2:00."""


def test_the_hour_shown_twice_is_told_apart_by_the_clock_jumping_back() -> None:
    night = every(BACK - timedelta(hours=1.5), 0.2, 16)
    found = read("Australia/Sydney", night, 10, {}, "Australia/Sydney")
    assert found.utc.tolist() == times(night)
    assert found.clock.guessed == 0


def test_the_hour_shown_twice_is_told_apart_by_a_bots_card() -> None:
    before = every(BACK - timedelta(minutes=50), 0.1, 5)
    found = read("Australia/Sydney", before, 10, {4: 0}, "Australia/Sydney")
    assert found.utc.tolist() == times(before)
    assert found.clock.guessed == 0


def test_where_nothing_tells_the_later_hour_is_taken_and_counted() -> None:
    before = every(BACK - timedelta(minutes=50), 0.1, 5)
    found = read("Australia/Sydney", before, 10, {}, "Australia/Sydney")
    assert found.utc.tolist() == [each + HOUR for each in times(before)]
    assert found.clock.guessed == 5
    assert "showed twice" in found.clock.warnings[-1]


def test_a_time_that_the_clock_never_showed_is_none() -> None:
    # 2:30 on 5 October 2025: Sydney went from 2:00 to 3:00.
    shown = np.array([int(datetime(2025, 10, 5, 2, 30, tzinfo=UTC).timestamp())], np.int64)
    nothing = np.array([NONE], np.int64)
    found = read_clock(shown, np.array([36000], np.int64), nothing, "Australia/Sydney")
    assert found.utc.tolist() == [NONE]
    assert found.clock.skipped == 1
    assert utc_of(datetime(2025, 10, 5, 2, 30), "Australia/Sydney") is None


def test_a_single_clock_time_shown_twice_is_the_later_one() -> None:
    local = datetime(2025, 4, 6, 2, 30)
    assert utc_of(local, "Australia/Sydney") == datetime(2025, 4, 5, 16, 30, tzinfo=UTC)


def test_no_messages_need_no_clock() -> None:
    nothing = np.empty(0, np.int64)
    assert read_clock(nothing, nothing, nothing).utc.size == 0


@pytest.mark.parametrize("name", ["Europe/Berln", "", "UTC+10", "../etc/passwd", "\0", "Auto"])
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValidationFailed, match="IANA"):
        check_timezone(name)


def test_known_zones_pass() -> None:
    for name in ("auto", "label", "Europe/Berlin", "UTC"):
        assert check_timezone(name) == name

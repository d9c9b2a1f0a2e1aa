"""What an edit time proves: Telegram sets it on a reaction too."""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from quantlab_assets.domain.telegram.alerts.known import known_times
from quantlab_tests.domain.telegram.alerts.chat_log import MINT, NOON, SEEN, log, said

EARLIER = SEEN - timedelta(days=9)


def known(*versions: dict[str, Any], text: str = MINT) -> tuple[float, str]:
    """Since how many seconds past noon the text stood, and how that is known."""
    frame = known_times(log(*versions).with_columns(pl.lit(NOON.date()).alias("day")))
    stood = frame.filter(pl.col("text") == text).select("known_ts_utc", "known_basis").unique()
    assert stood.height == 1
    at, basis = stood.row(0)
    return (at - NOON).total_seconds(), basis


def test_a_text_that_was_never_edited_stood_since_the_posting() -> None:
    assert known(said(1, MINT)) == (0, "posted")


def test_the_edit_time_of_a_message_with_reactions_proves_nothing() -> None:
    assert known(said(1, MINT, edited_after_s=9, reactions=True)) == (0, "unproven_edit")


def test_the_edit_time_of_a_message_without_stands_where_others_have_reactions() -> None:
    assert known(said(1, MINT, edited_after_s=9)) == (9, "edited")


def test_nothing_is_told_by_an_export_without_any_reactions() -> None:
    assert known(said(1, MINT, edited_after_s=9, reactions=None)) == (0, "unproven_edit")


def test_an_export_before_the_reaction_shows_that_only_a_reaction_came() -> None:
    versions = said(1, MINT), said(1, MINT, edited_after_s=9, reactions=True)
    assert known(*versions) == known(*reversed(versions)) == (0, "posted")


def test_an_edit_seen_before_a_reaction_overwrote_its_time_stays() -> None:
    versions = (
        said(1, MINT, edited_after_s=9),
        said(1, MINT, edited_after_s=99, reactions=True),
    )
    assert known(*versions) == known(*reversed(versions)) == (9, "edited")


@pytest.mark.parametrize("reactions", [True, False, None])
def test_another_text_before_it_proves_the_edit(reactions: bool | None) -> None:
    edited = said(1, MINT, edited_after_s=9, reactions=reactions)
    assert known(said(1, "soon"), edited) == (9, "edited")
    html = said(1, "soon", source="telegram_html", seen=NOON)
    assert known(html, edited) == (9, "edited")


def test_a_reaction_to_the_first_text_does_not_make_it_later() -> None:
    versions = (
        said(1, MINT, edited_after_s=9, reactions=True),
        said(1, f"{MINT} sold", edited_after_s=99, reactions=True),
    )
    assert known(*versions) == (0, "unproven_edit")
    assert known(*versions, text=f"{MINT} sold") == (99, "edited")


def test_html_shows_no_edits_and_a_text_that_replaced_another_counts_when_seen() -> None:
    html = said(1, MINT, source="telegram_html")
    assert known(html) == (0, "posted")
    seen = (SEEN - NOON).total_seconds()
    assert known(said(1, "soon", source="telegram_html", seen=EARLIER), html) == (seen, "seen")
    assert known(said(1, "soon"), html) == (seen, "seen")


def test_a_text_that_json_lost_is_no_version() -> None:
    html = said(1, MINT, source="telegram_html")
    assert known(said(1, ""), html) == (0, "posted")
    assert known(said(1, "", edited_after_s=9, reactions=True), html) == (0, "posted")


@pytest.mark.parametrize("reactions", [True, False, None])
@pytest.mark.parametrize("edited", [None, 9.0])
def test_json_of_the_same_text_never_makes_html_later(
    edited: float | None, reactions: bool | None
) -> None:
    html = said(1, MINT, source="telegram_html")
    json = said(1, MINT, edited_after_s=edited, reactions=reactions)
    assert known(html, json)[0] <= known(html)[0]


@dataclass(frozen=True)
class History:
    """What really happened to a message: seconds after its posting."""

    edit: int | None
    reactions: tuple[int, ...]

    def exported(self, number: int, at: int) -> dict[str, Any]:
        """The message as an export of that time has it."""
        changed = self.edit is not None and self.edit <= at
        reacted = [when for when in self.reactions if when <= at]
        events = [*reacted, *([self.edit] if self.edit is not None and changed else [])]
        text = MINT if self.edit is None or changed else "soon"
        edited = float(max(events)) if events else None
        return said(number, text, edited_after_s=edited, reactions=bool(reacted))


def generated(count: int) -> list[tuple[History, tuple[int, ...]]]:
    """Histories of which 30 % have reactions and 20 % a real edit, with the times of exports."""
    draw = random.Random(5)
    histories = []
    for _ in range(count):
        edit = draw.randrange(1, 5000) if draw.random() < 0.2 else None
        times = draw.sample(range(1, 10_000), draw.randrange(1, 4)) if draw.random() < 0.3 else []
        exports = sorted(draw.sample(range(1, 12_000), draw.randrange(1, 4)))
        histories.append((History(edit, tuple(times)), tuple(exports)))
    return histories


def test_of_ten_thousand_calls_none_is_known_late_and_no_shown_edit_early() -> None:
    calls = generated(10_000)
    rows = [
        history.exported(number, at)
        for number, (history, exports) in enumerate(calls)
        for at in exports
    ]
    frame = known_times(log(*rows).with_columns(pl.lit(NOON.date()).alias("day")))
    of_address = (
        frame.filter(pl.col("text") == MINT)
        .group_by("message_id")
        .agg((pl.col("known_ts_utc").min() - NOON).dt.total_seconds().alias("known"))
    )
    known_after = dict(of_address.iter_rows())
    late = early = edits_shown = untouched = 0
    for number, (history, exports) in enumerate(calls):
        if number not in known_after:
            continue  # no export is of after the edit
        if history.edit is None:
            untouched += 1
            late += known_after[number] > 0
        elif exports[0] < history.edit:
            edits_shown += 1
            early += known_after[number] < history.edit
    assert untouched > 7_000
    assert edits_shown > 400
    assert (late, early) == (0, 0)

"""The union of message versions does not depend on what came first, or twice."""

from datetime import timedelta
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from quantlab_assets.domain.telegram.union import union_messages
from quantlab_tests.domain.telegram.alerts.chat_log import SEEN, log, only, said

VERSIONS = st.builds(
    said,
    st.integers(1, 3),
    st.sampled_from(["a", "b"]),
    by=st.sampled_from(["x", "y", None]),
    edited_after_s=st.sampled_from([None, 5.0]),
    source=st.sampled_from(["telegram_json", "telegram_html"]),
    seen=st.integers(0, 3).map(lambda days: SEEN + timedelta(days=days)),
    links=st.sampled_from([(), ("https://a.example",)]),
)


def test_every_version_of_a_message_is_kept() -> None:
    rows = union_messages([log(said(1, "a")), log(said(1, "b", edited_after_s=9), said(1, "c"))])
    assert rows["text"].to_list() == ["b", "a", "c"]


def test_the_same_version_is_kept_once_and_seen_first_when_it_was() -> None:
    late, early = said(1, "a"), said(1, "a", seen=SEEN - timedelta(days=3))
    assert only(union_messages([log(late), log(early)])) == early


def test_json_beats_html() -> None:
    html = said(1, "a", by="from html", source="telegram_html", seen=SEEN - timedelta(days=1))
    row = only(union_messages([log(html), log(said(1, "a", by="from json"))]))
    assert (row["sender_name"], row["seen_at_utc"]) == ("from json", html["seen_at_utc"])


def test_nothing_unites_to_nothing() -> None:
    assert union_messages([]).is_empty()
    assert union_messages([log(), log()]).is_empty()


@given(st.lists(VERSIONS, max_size=8), st.randoms(use_true_random=False), st.integers(0, 8))
def test_order_batches_and_repetition_do_not_matter(
    rows: list[dict[str, Any]], random: Any, cut: int
) -> None:
    once = union_messages([log(*rows)])
    shuffled = [*rows, *rows[:cut]]
    random.shuffle(shuffled)
    batches = [log(*shuffled[:cut]), log(*shuffled[cut:])]
    assert_frame_equal(union_messages(batches), once)
    partly = union_messages([batches[1], union_messages([batches[0]])])
    assert_frame_equal(union_messages([partly, once]), once)
    assert isinstance(once, pl.DataFrame)

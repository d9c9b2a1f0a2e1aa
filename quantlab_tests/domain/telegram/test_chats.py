"""One chat, in whatever form its id is shown."""

from typing import Any

import pytest

from quantlab_assets.domain.telegram.chats import chat_id_of


@pytest.mark.parametrize(
    "form", [1976645587, -1001976645587, "1976645587", "-1001976645587", "channel1976645587"]
)
def test_all_forms_of_a_channel_are_one(form: Any) -> None:
    assert chat_id_of(form) == 1976645587


@pytest.mark.parametrize("form", [4567, -4567, "4567", "-4567", "chat4567", " 4567 "])
def test_all_forms_of_a_basic_group_are_one(form: Any) -> None:
    assert chat_id_of(form) == 4567


@pytest.mark.parametrize("chat_id", [(1 << 52) + 5, 997_852_516_352, 1])
def test_a_plain_id_stays(chat_id: int) -> None:
    assert chat_id_of(chat_id) == chat_id
    if chat_id < 1 << 52:
        assert chat_id_of(-(10**12) - chat_id) == chat_id


@pytest.mark.parametrize("value", [None, True, 1.5, "", "group", "-", "channel", "--1", 1 << 70])
def test_what_is_no_id_is_none(value: Any) -> None:
    assert chat_id_of(value) is None

"""Pseudonyms: stable under a key, unlinkable without it."""

import pytest

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.pseudonyms import Pseudonyms

KEY, OTHER = b"k" * 32, b"o" * 32


def test_the_same_person_is_the_same_pseudonym_under_a_key() -> None:
    assert Pseudonyms(KEY).name("Bob") == Pseudonyms(KEY).name("Bob")
    assert Pseudonyms(KEY).name("Bob") != Pseudonyms(OTHER).name("Bob")
    assert Pseudonyms(KEY).name("Bob") != Pseudonyms(KEY).name("Bobby")


def test_the_form_is_pinned_so_that_lakes_stay_readable() -> None:
    known = Pseudonyms(KEY)
    assert known.name("Bob") == "caller-2381ac8257cf79bc"
    assert known.sender_id("user5") == "user-6c09eab5129d7976"
    assert known.chat_id(5) == 1641413037388642
    assert known.fingerprint == "b1683acb66e62882"


def test_names_that_compare_equal_are_one_person() -> None:
    assert Pseudonyms(KEY).name(" BOB ") == Pseudonyms(KEY).name("bob")


def test_a_name_is_no_id_and_no_chat() -> None:
    known = Pseudonyms(KEY)
    assert known.name("user5")[7:] != known.sender_id("user5")[5:]


def test_a_lone_surrogate_is_a_name_like_any_other() -> None:
    assert Pseudonyms(KEY).name("\ud800").startswith("caller-")


@pytest.mark.parametrize("key", [b"", b"short"])
def test_a_key_that_could_be_guessed_is_refused(key: bytes) -> None:
    with pytest.raises(ValidationFailed, match="at least 16"):
        Pseudonyms(key)

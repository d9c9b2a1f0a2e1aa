"""Work whose inputs moved starts over, and says so when they never rest."""

import pytest

from quantlab_assets.domain.errors import Conflict, NotFound
from quantlab_assets.domain.moving_inputs import InputsMoved, Race

THRICE = Race(3, "others took it")


def test_an_attempt_that_finds_its_inputs_at_rest_is_the_last() -> None:
    moves = iter([True, True, False])

    def attempt() -> str:
        if next(moves):
            raise InputsMoved
        return "done"

    assert THRICE.run(attempt, "work") == "done"
    assert list(moves) == []


def test_every_attempt_lost_is_a_conflict_that_says_who_took_what() -> None:
    attempts: list[int] = []

    def attempt() -> None:
        attempts.append(1)
        raise InputsMoved

    with pytest.raises(Conflict, match=r"^work: others took it 3 times in a row; run it again$"):
        THRICE.run(attempt, "work")
    assert len(attempts) == 3


def test_any_other_error_is_no_race() -> None:
    def attempt() -> None:
        raise NotFound("gone for good")

    with pytest.raises(NotFound, match="gone for good"):
        THRICE.run(attempt, "work")

"""Who a sender is, and what a caller is called."""

import pytest

from quantlab_assets.domain.telegram.rules import load_rules
from quantlab_assets.domain.telegram.senders import caller_name_norm, sender_kind


@pytest.mark.parametrize(
    ("name", "sender_id", "kind"),
    [
        ("caller_01", "user1", "human"),
        ("Rick", "user2", "bot"),
        ("Phanes [Gold]", None, "bot"),
        ("  phanes  [gold] ", None, "bot"),
        ("renamed", "user6126376117", "bot"),
        ("Wen Presale", "user3", "feed"),
        ("Alpha Calls", "channel9", "channel"),
        (None, "user4", "human"),
        ("Ricky", None, "human"),
    ],
)
def test_senders_are_told_apart(name: str | None, sender_id: str | None, kind: str) -> None:
    assert sender_kind(name, sender_id, False, load_rules()) == kind


def test_telegram_itself_is_service() -> None:
    assert sender_kind("Rick", None, True, load_rules()) == "service"


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("  Big  Caller ", "big_caller"),
        ("ＡＢＣ\u00a0x", "abc_x"),
        ("caller_35 (multi-chain)", "caller_35_(multi-chain)"),
    ],
)
def test_a_callers_name_is_normalised(name: str, norm: str) -> None:
    assert caller_name_norm(name) == norm

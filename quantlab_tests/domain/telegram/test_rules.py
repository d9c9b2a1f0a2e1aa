"""Rules are data, and a user's own are laid over those of the package."""

import polars as pl
import pytest

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.links import classify
from quantlab_assets.domain.telegram.rules import load_rules
from quantlab_tests.domain.telegram.alerts.chat_log import MINT, only


def test_without_own_rules_the_packaged_ones_hold() -> None:
    assert load_rules() is load_rules()
    assert load_rules("").digest == load_rules().digest


def test_a_bot_is_added_and_the_others_stay() -> None:
    rules = load_rules('senders.bots = ["My Bot"]')
    assert {"my bot", "rick"} <= rules.bots


def test_the_digest_tells_rules_apart() -> None:
    assert load_rules('senders.bots = ["My Bot"]').digest != load_rules().digest


def test_an_own_link_matches_before_the_packaged_ones() -> None:
    own = "[[links]]\nrole = 'pair'\nhost = 'pump\\.fun'\npath = '/(?:coin/)?{address}'\n"
    url = pl.Series([f"https://pump.fun/coin/{MINT}"])
    assert only(classify(url, load_rules()))["role"] == "token"
    assert only(classify(url, load_rules(own)))["role"] == "pair"


def test_a_network_gains_names_or_is_added() -> None:
    rules = load_rules(
        "[[networks]]\nname = 'bsc'\nfamily = 'evm'\nnames = ['beans']\n"
        "[[networks]]\nname = 'mychain'\nfamily = 'evm'\nnames = ['mine']\n"
    )
    assert rules.network_names["beans"] == rules.network_names["bnb"] == "bsc"
    assert rules.network_families["mychain"] == "evm"


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("bots = ['x']", "unknown 'bots'"),
        ("senders.bot = ['x']", "unknown 'senders.bot'"),
        ("senders.bots = 'x'", "senders.bots is str, not list"),
        ("senders = [", "TOMLDecodeError"),
        ("[cards]\nprice_pattern = '('", "error"),
        ("[[networks]]\nname = 'bsc'\nfamily = 'solana'\nnames = []", "of family evm"),
        ("[[links]]\nrole = 'x'\nhost = 'a'\npath = '/'", "role 'x' is not token, pair,"),
        ("[[links]]\nrole = 'pair'\nhost = 'a'\npath = '/'", "has not one {address}"),
    ],
)
def test_a_mistake_is_named(own: str, said: str) -> None:
    with pytest.raises(ValidationFailed, match=said):
        load_rules(own)

"""Addresses of chains that are out of scope are told as such, and are never taken for a token."""

import base64
import random

import base58
import polars as pl
import pytest

from quantlab_assets.domain.telegram.addresses import candidates, judge_all
from quantlab_assets.domain.telegram.links import classify
from quantlab_assets.domain.telegram.rules import load_rules
from quantlab_tests.domain.telegram.alerts.chat_log import MINT, extracted, only, said

TAGS = (0x11, 0x51, 0x91, 0xD1)
TON = "EQCxE6mUtQJKFnGfaROTKOt1lZbDiiX1kCixRv7Nw2Id_sDs"
SUI = "0x" + "244e4b24e667ebf0ca798e496f1008b7389503c6a3975d0562e907f93997fdca"
TRON = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"


def ton_address(rng: random.Random) -> str:
    """A friendly address: a tag, the workchain, 32 bytes, CRC-16; 48 characters of base64url."""
    body = bytes((rng.choice(TAGS), 0)) + rng.randbytes(32)
    crc = 0
    for byte in body:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return base64.urlsafe_b64encode(body + crc.to_bytes(2, "big")).decode()


TEXTS = ("{}", "CA: {} go", "合约{}冲", "_{}_", "`{}`,", "{}-")
LINKS = (
    "https://tonviewer.com/{}",
    "https://unheard-of.example/token/{}",
    "https://dexscreener.com/ton/{}?x=1",
    "https://t.me/some_bot?start={}",
)


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.nightly)])
def test_no_ton_address_ever_becomes_a_token(count: int) -> None:
    rng = random.Random(count)
    addresses = [ton_address(rng) for _ in range(count)]
    assert all(address[:2] in ("EQ", "UQ", "kQ", "0Q") for address in addresses)

    texts = [TEXTS[at % len(TEXTS)].format(address) for at, address in enumerate(addresses)]
    found = pl.DataFrame({"t": texts}).select(candidates(pl.col("t")).alias("raw"))
    judged = judge_all(found.explode("raw")["raw"].drop_nulls())
    assert judged["address"].drop_nulls().is_empty()
    assert judged.filter(pl.col("error_code") == "unsupported_chain").height == count

    links = [LINKS[at % len(LINKS)].format(address) for at, address in enumerate(addresses)]
    raws = classify(pl.Series(links), load_rules())["raw"]
    assert sorted(raws) == sorted(addresses)
    assert judge_all(raws)["address"].drop_nulls().is_empty()


@pytest.mark.parametrize(
    "text",
    [
        f"{SUI}::moon::MOON",
        "0x2::sui::SUI",
        SUI,
        f"https://suiscan.xyz/mainnet/coin/{SUI}::moon::MOON",
        f"https://dexscreener.com/sui/{SUI}",
        TON,
        f"ca:{TON}!",
        "0:b113a994b5024a16719f69139328eb759596c38a25f59028b146fecdc3621dfe",
        f"https://dexscreener.com/ton/{TON.lower()}",
        f"https://www.geckoterminal.com/ton/pools/{TON}",
        TRON,
        f"https://tronscan.org/#/token20/{TRON}",
        f"https://sunpump.meme/token/{TRON}",
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "send 3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
    ],
)
def test_an_address_of_another_chain_is_quarantined_as_that(text: str) -> None:
    found = extracted(said(1, text))
    assert found.alerts.is_empty()
    assert only(found.quarantine)["error_code"] == "unsupported_chain"


def test_a_token_beside_one_is_called() -> None:
    found = extracted(said(1, f"{TON} or {MINT}"))
    assert only(found.alerts)["mint"] == MINT
    assert only(found.quarantine)["error_code"] == "unsupported_chain"


def test_a_mint_that_begins_like_ton_is_a_mint() -> None:
    key = base58.b58decode("EQ" + MINT[2:])
    assert len(key) == 32
    mint = base58.b58encode(key).decode()
    for text in (mint, f"https://pump.fun/{mint}", f"https://t.me/maestro?start={mint}-ab"):
        assert only(extracted(said(1, text)).alerts)["mint"] == mint


@pytest.mark.parametrize("stuck", ["l", "O", "0", "I"])
def test_a_mint_that_another_letter_sticks_to_is_a_guess(stuck: str) -> None:
    for text in (MINT + stuck, stuck + MINT):
        assert only(extracted(said(1, text)).quarantine)["error_code"] == "invalid_mint_address"


@pytest.mark.parametrize("tx", ["https://etherscan.io/tx/{}", "https://basescan.org/tx/{}"])
def test_a_link_to_a_transaction_is_no_address_of_another_chain(tx: str) -> None:
    assert extracted(said(1, tx.format(SUI))).accounting.ignored == {"no_token": 1}

"""Addresses in pieces are put together only where that leaves no doubt."""

from itertools import pairwise

import base58
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_assets.domain.telegram.addresses import judge
from quantlab_assets.domain.telegram.cut_addresses import join_all, runs_in
from quantlab_tests.domain.telegram.alerts.chat_log import (
    EVM,
    MINT,
    OTHER_MINT,
    extracted,
    only,
    said,
)


def joined(text: str) -> tuple[list[str], list[str]]:
    """The addresses put together from a text, and the codes of what only looks like one."""
    runs = pl.select(runs_in(pl.lit(text))).item().to_list()
    found = join_all(runs)
    return found["address"].drop_nulls().to_list(), found["error_code"].drop_nulls().to_list()


BREAKS = [
    "\u200b",
    "\u00ad",
    "\u2060",
    "\ufeff",
    "\u200d",
    "\u200b\u200b",
    "\n",
    "\r\n",
    " \n  ",
    " ",
]


@pytest.mark.parametrize("between", BREAKS)
@pytest.mark.parametrize("address", [MINT, OTHER_MINT, EVM])
def test_two_halves_of_an_address_are_put_together(address: str, between: str) -> None:
    cut = address[:20] + between + address[20:]
    for text in (
        cut,
        f"ape this {cut} now",
        f"合约{cut}",
        f"CA: {cut}!",
        f"watching closely\n{cut}",
    ):
        assert joined(text) == ([address.lower() if address == EVM else address], [])


@pytest.mark.parametrize("between", ["\u200b", "\n", " "])
def test_three_pieces_are_put_together(between: str) -> None:
    cut = between.join((MINT[:12], MINT[12:26], MINT[26:]))
    assert joined(f"now {cut} go") == ([MINT], [])


@pytest.mark.parametrize(
    "text",
    [
        f"{MINT}\u200b{OTHER_MINT}",
        f"{MINT}\n{OTHER_MINT}",
        f"{MINT} somewhere1 else2where",
        f"{MINT}\u200bGambled",
        f"{EVM}\ndeadbeef01",
        "community takeover announcement everybody listening",
        "2024 was better than everything2021",
    ],
)
def test_whole_addresses_and_words_are_left_alone(text: str) -> None:
    assert joined(text) == ([], [])


@pytest.mark.parametrize("between", ["\u200b", "\n", "\u00ad"])
@pytest.mark.parametrize("damaged", [MINT[:-3], EVM[:-2], EVM + "ab", EVM[:-1] + "E"])
def test_pieces_that_are_no_address_together_are_told(damaged: str, between: str) -> None:
    found = extracted(said(1, damaged[:21] + between + damaged[21:]))
    assert found.alerts.is_empty()
    assert only(found.quarantine)["error_code"] in ("invalid_mint_address", "bad_checksum")


@pytest.mark.parametrize("at", [4, 9, 20, 36, 40])
@pytest.mark.parametrize("between", ["\u200b", "\n"])
def test_a_cut_address_is_called_or_told_wherever_the_cut_is(at: int, between: str) -> None:
    found = extracted(said(1, f"{MINT[:at]}{between}{MINT[at:]}"))
    if found.alerts.is_empty():
        assert found.accounting.quarantined == 1
    else:
        alert = only(found.alerts)
        assert (alert["mint"], alert["raw_address"], alert["mint_source"]) == (MINT, MINT, "text")
        assert found.quarantine.is_empty()


@settings(max_examples=100, deadline=None)
@given(
    st.binary(min_size=32, max_size=32).filter(lambda key: key[0] > 15),
    st.lists(st.integers(1, 42), min_size=1, max_size=3, unique=True),
    st.sampled_from(BREAKS[:6]),
)
def test_what_cannot_be_seen_never_hides_an_address(
    key: bytes, cuts: list[int], between: str
) -> None:
    address = base58.b58encode(key).decode()
    ends = [0, *sorted(cuts), len(address)]
    pieces = [address[a:b] for a, b in pairwise(ends)]
    expected = judge(address).address
    if any(judge(piece).address for piece in pieces) or not any(c.isdigit() for c in address):
        return
    assert joined(between.join(pieces))[0] == ([expected] if expected else [])

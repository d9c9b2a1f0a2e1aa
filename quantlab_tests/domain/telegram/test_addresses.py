"""Which strings are token addresses."""

import base58
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlab_assets.domain.telegram.addresses import candidates, eip55, judge, judge_all
from quantlab_tests.domain.telegram.alerts.chat_log import EVM, MINT, OTHER_MINT


def found(text: str) -> list[str]:
    return sorted(pl.DataFrame({"t": [text]}).select(candidates(pl.col("t"))).item().to_list())


def accepted(text: str) -> list[str]:
    judged = judge_all(found(text))
    return sorted(judged["address"].drop_nulls().to_list())


@pytest.mark.parametrize(
    "text",
    [
        MINT,
        f"({MINT}, now)",
        f"[{MINT}]",
        f"`{MINT}`",
        f"🚀{MINT}🚀",
        f"one:{MINT}",
        f"ca\n{MINT}\nwatching",
        f"{MINT}.  Gambled",
        f"{MINT} {MINT}",
    ],
)
def test_a_mint_is_found_whatever_stands_around_it(text: str) -> None:
    assert accepted(text) == [MINT]


def test_both_families_in_one_text_are_found() -> None:
    assert accepted(f"{MINT} or {EVM}") == sorted([MINT, EVM.lower()])


def test_an_evm_address_is_stored_in_lower_case() -> None:
    assert judge(EVM).address == EVM.lower()
    assert judge(EVM.lower()).address == EVM.lower()


def test_an_evm_address_in_upper_case_has_no_checksum_to_fail() -> None:
    assert judge("0x" + EVM[2:].upper()).address == EVM.lower()
    assert judge(EVM.upper()).address == EVM.lower()


def test_an_evm_address_may_begin_with_a_capital_x() -> None:
    assert accepted(f"ape {'0X' + EVM[2:]} now") == accepted(EVM.upper()) == [EVM.lower()]
    assert judge("0X" + EVM[2:-1] + "E").error_code == "bad_checksum"
    assert judge("0X" + "0" * 40).address == "0x" + "0" * 40


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("0x6d665078d54ABBa0B328ECCDEB8D6d07A741CfbE", "bad_checksum"),
        (EVM[:-1], "invalid_mint_address"),
        (EVM + "a", "invalid_mint_address"),
        (EVM + "Gambled", "invalid_mint_address"),
        ("CA" + EVM, "invalid_mint_address"),
        ("0х" + EVM[2:], "invalid_mint_address"),
        (MINT + "gamb", "invalid_mint_address"),
        (MINT[:-4], "invalid_mint_address"),
        (MINT.lower(), "invalid_mint_address"),
        (MINT.lower().replace("l", "m"), "invalid_mint_address"),
    ],
)
def test_what_looks_like_an_address_and_is_none_is_refused_with_a_code(raw: str, code: str) -> None:
    judged = judge(raw)
    assert (judged.address, judged.error_code) == (None, code)
    assert judged.reason is not None
    assert "\n" not in judged.reason


@pytest.mark.parametrize(
    "raw",
    [
        "ha" * 20,
        "A" * 36,
        base58.b58encode(bytes(range(1, 65))).decode(),
        "7" * 300,
    ],
    ids=["laugh", "scream", "signature", "endless"],
)
def test_noise_is_neither_address_nor_refused(raw: str) -> None:
    assert judge(raw).address is None
    assert judge(raw).error_code is None


def test_a_lower_cased_mint_is_found_and_refused() -> None:
    [raw] = set(found(MINT.lower()))
    assert judge(raw).error_code == "invalid_mint_address"


def test_no_mint_is_cut_out_of_a_longer_run() -> None:
    assert accepted(MINT + OTHER_MINT) == []
    assert accepted("x" + MINT) == []


def test_no_mint_is_found_inside_a_hex_word() -> None:
    assert accepted("0x" + "abcdef123456789" * 3 + "0" + "abcdef123456789AB" * 3) == []


@pytest.mark.parametrize("text", ["ore...ybcp", "0x6d66…Cfbe", "oreoU2P8…jSybcp"])
def test_an_abbreviated_address_is_never_used(text: str) -> None:
    assert found(text) == []


def test_eip55_matches_the_examples_of_the_standard() -> None:
    for address in (
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ):
        assert eip55(address.lower()) == address


@given(st.binary(min_size=32, max_size=32))
def test_any_32_bytes_are_a_mint_whose_case_is_kept(key: bytes) -> None:
    raw = base58.b58encode(key).decode()
    judged = judge(raw)
    if raw not in (raw.lower(), raw.upper()) or key == bytes(32):
        assert (judged.chain, judged.address) == ("solana", raw)
    else:
        assert judged.address is None


ADDRESSES = st.sampled_from([MINT, OTHER_MINT, EVM, EVM.lower()]) | st.binary(
    min_size=31, max_size=33
).map(lambda key: base58.b58encode(key).decode())
ADDRESS_LIKE = st.text(alphabet="0x123abcABCDEFfоOIl ", max_size=90)


@given(ADDRESSES, st.integers(0, 44), st.integers(0, 2), ADDRESS_LIKE | st.text(max_size=3))
def test_whatever_is_accepted_validates(address: str, at: int, gone: int, put_in: str) -> None:
    """Addresses as they are, and with some letters gone or others put in."""
    text = address[:at] + put_in + address[at + gone :]
    candidates = found(text)
    judged = judge_all(candidates)
    assert judged["raw"].to_list() == candidates
    for raw, chain, accepted in judged.select("raw", "chain", "address").iter_rows():
        assert raw in text
        if accepted is None:
            assert raw not in (MINT, OTHER_MINT, EVM, EVM.lower())
        elif chain == "solana":
            assert accepted == raw
            assert len(base58.b58decode(raw)) == 32
        else:
            assert (chain, accepted) == ("evm", raw.lower())
            assert eip55(accepted) == raw or raw[2:] in (raw[2:].lower(), raw[2:].upper())

"""Token addresses in text: found by vectorised patterns, then judged once per distinct candidate.

Solana: a maximal base58 run of 32-44 characters that decodes to exactly 32 bytes; its case is part
of the address, so it is never changed, and a run that has lost its case is refused. EVM: `0x` or
`0X` and exactly 40 hex digits with boundaries; mixed case must pass EIP-55; stored in lower case.
See docs/alerts.md.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import base58
import polars as pl
from eth_hash.auto import keccak

from quantlab_assets.domain.tokens.token import Chain, fold_address, is_evm

_EVM_WORD: Final = r"[0-9A-Za-z]*0[xX][0-9A-Za-z]{30,}"
_LOOKALIKE: Final = r"0[хХ×ⅹҳᵡ][0-9a-fA-F]{40}"
_HEX_WORD: Final = r"0[xX][0-9a-fA-F]+"
_RUN: Final = r"[0OIl]?[1-9A-HJ-NP-Za-km-z]{32,}[0OIl]?"
"""With a letter that base58 has not, if one sticks to it: then it is part of another word."""
_LOWERED: Final = r"(?-u:\b)[1-9a-z]{32,44}(?-u:\b)"

_TON: Final = r"[EUk0]Q[0-9A-Za-z_-]{46}"
_FOREIGN: Final = "|".join(
    (
        r"(?-u:\b)0[xX][0-9a-fA-F]{1,64}(?:::[A-Za-z_][0-9A-Za-z_]*)+",
        r"(?-u:\b)0[xX][0-9a-fA-F]{64}(?-u:\b)",
        r"(?:_|(?-u:\b))[EUk0]Q[0-9A-Za-z_-]{45}(?:[0-9A-Za-z_](?:_|(?-u:\b))|-)",
        r"(?-u:\b)(?:0|-1):[0-9a-fA-F]{64}(?-u:\b)",
        r"(?-u:\b)(?i:bc1|ltc1)[02-9ac-hj-np-zA-HJ-NP-Z]{25,87}(?-u:\b)",
        r"(?-u:\b)[13DLMT][1-9A-HJ-NP-Za-km-z]{24,33}(?-u:\b)",
    )
)
"""Sui and Aptos, TON (friendly: 48 characters of base64url, parts of which can pass for a mint; and
raw), Bitcoin, Tron, and what else carries a checksum of base58."""
_NAMED: Final = (
    (re.compile(r"0[xX][0-9a-fA-F]+::.*"), "of Sui or Aptos"),
    (re.compile(r"0[xX][0-9a-fA-F]{64}"), "of Sui or Aptos, or a transaction"),
    (re.compile(rf"_?{_TON}_?"), "of TON"),
    (re.compile(r"(?:0|-1):[0-9a-fA-F]{64}"), "of TON"),
    (re.compile(r"(?i)(?:bc1|ltc1)[02-9ac-hj-np-z]{25,87}"), "of Bitcoin or Litecoin"),
)
_BASE58CHECK: Final = {0x41: "of Tron", 0x00: "of Bitcoin", 0x05: "of Bitcoin"}

_HEX: Final = frozenset("0123456789abcdefABCDEF")
_BASE58_CHARS: Final = frozenset("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
_NOT_BASE58: Final = ("0", "O", "I", "l")
_SHORTEST_MINT: Final = 32
_SIGNATURE_BYTES: Final = 64
_LOWERED_WORD: Final = re.compile(r"(?=.*[1-9])[1-9a-z]{32,44}")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a candidate is: `address` is set if it is a token address, else `error_code` and
    `reason` if it looks like one, else neither (noise: a hash, a laugh)."""

    chain: Chain | None = None
    address: str | None = None
    error_code: str | None = None
    reason: str | None = None


def judge(raw: str) -> Judgement:
    """Judge one candidate exactly as it was written."""
    if foreign := _foreign(raw):
        return _refused("unsupported_chain", f"{raw[:100]}: an address {foreign}, out of scope")
    inner = raw[raw[:1] in _NOT_BASE58 :].rstrip("".join(_NOT_BASE58))
    if inner != raw and not is_evm(raw) and _BASE58_CHARS.issuperset(inner):
        return _judge_inner(raw, inner)
    if _BASE58_CHARS.issuperset(raw):
        return _judge_solana(raw)
    if _LOWERED_WORD.fullmatch(raw) and not _HEX.issuperset(raw):
        return _refused("invalid_mint_address", f"{raw}: its upper and lower case are lost")
    return _judge_evm(raw)


def candidates(text: pl.Expr) -> pl.Expr:
    """The candidates in a text column, as a list of raw strings: addresses of other chains, and
    outside of those `0x` words, look-alikes of them, and maximal base58 runs (also with their case
    lost) outside of hex words: a hash is no place to look for a mint."""
    foreign = text.str.extract_all(_FOREIGN)
    text = text.str.replace_all(_FOREIGN, " ")
    without_hex = text.str.replace_all(_HEX_WORD, " ")
    return pl.concat_list(
        foreign,
        text.str.extract_all(_EVM_WORD),
        text.str.extract_all(_LOOKALIKE),
        without_hex.str.replace_all(_LOWERED, " ").str.extract_all(_RUN),
        without_hex.str.extract_all(_LOWERED),
    )


JUDGEMENTS: Final = pl.Schema(
    {
        "raw": pl.String,
        "chain": pl.String,
        "address": pl.String,
        "error_code": pl.String,
        "error_reason": pl.String,
    }
)


def judge_all(raws: Iterable[str]) -> pl.DataFrame:
    """One row of `JUDGEMENTS` for each distinct candidate; `address` is null unless it is one."""
    distinct = sorted(set(raws))
    found = [judge(raw) for raw in distinct]
    return pl.DataFrame(
        {
            "raw": distinct,
            "chain": [j.chain for j in found],
            "address": [j.address for j in found],
            "error_code": [j.error_code for j in found],
            "error_reason": [j.reason for j in found],
        },
        schema=JUDGEMENTS,
    )


def eip55(address: str) -> str:
    """The checksummed form of an EVM address (EIP-55)."""
    digits = address[2:].lower()
    digest = keccak(digits.encode()).hex()
    return "0x" + "".join(
        c.upper() if int(h, 16) >= 8 else c for c, h in zip(digits, digest, strict=False)
    )


def _judge_evm(raw: str) -> Judgement:
    digits = raw[2:]
    shown = raw if len(raw) <= 60 else f"{raw[:57]}..."
    if raw[:1] == "0" and not raw[1:2].isascii():
        return _refused("invalid_mint_address", f"{shown}: the second character is not the Latin x")
    if not (is_evm(raw) and _HEX.issuperset(digits)):
        if _looks_glued(raw):
            return _refused(
                "invalid_mint_address", f"{shown}: other characters stick to the address"
            )
        return Judgement()
    if len(digits) != 40:
        if len(digits) < 64:
            return _refused("invalid_mint_address", f"{shown}: {len(digits)} hex digits, not 40")
        return Judgement()
    letters = [c for c in digits if c.isalpha()]
    mixed = any(c.isupper() for c in letters) and any(c.islower() for c in letters)
    if mixed and eip55(raw)[2:] != digits:
        return _refused(
            "bad_checksum", f"{shown}: mixed case that fails EIP-55; a digit may be wrong"
        )
    return Judgement(chain="evm", address=fold_address(raw))


def _foreign(raw: str) -> str | None:
    """Of which other chain a candidate is an address, if of one."""
    for pattern, name in _NAMED:
        if pattern.fullmatch(raw):
            return name
    if 25 <= len(raw) <= 35 and _BASE58_CHARS.issuperset(raw):
        try:
            payload = base58.b58decode_check(raw)
        except ValueError:
            return None
        if len(payload) == 21:
            return _BASE58CHECK.get(payload[0], "of another chain")
    return None


def _judge_inner(raw: str, inner: str) -> Judgement:
    """A run of base58 that other letters stick to."""
    if _judge_solana(inner) == Judgement():
        return Judgement()
    return _refused("invalid_mint_address", f"{raw}: other characters stick to the address")


def _judge_solana(raw: str) -> Judgement:
    if len(raw) < _SHORTEST_MINT:
        return Judgement()
    shown = raw if len(raw) <= 60 else f"{raw[:57]}..."
    if len(raw) > 100:
        return Judgement()
    size = len(base58.b58decode(raw))
    cased = (raw != raw.lower() and raw != raw.upper()) or set(raw) == {"1"}
    if size == 32 and len(raw) <= 44 and cased:
        return Judgement(chain="solana", address=raw)
    if size == _SIGNATURE_BYTES or not (
        any(c.isdigit() for c in raw) and any(c.isalpha() for c in raw)
    ):
        return Judgement()
    if not cased:
        return _refused("invalid_mint_address", f"{shown}: its upper and lower case are lost")
    return _refused("invalid_mint_address", f"{shown}: base58 of {size} bytes, not 32")


def _looks_glued(raw: str) -> bool:
    """Whether a word holds `0x` and 40 hex digits in a row, with something stuck to either side."""
    start = raw.lower().find("0x")
    return start >= 0 and _HEX.issuperset(raw[start + 2 : start + 42]) and len(raw) >= start + 42


def _refused(code: str, reason: str) -> Judgement:
    return Judgement(error_code=code, reason=reason)

"""Which token an address in a file or a table names."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final

import base58
import polars as pl

from quantlab_assets.domain.candles.normalise import TOKEN_COLUMNS
from quantlab_assets.domain.telegram.rules import load_rules
from quantlab_assets.domain.tokens.token import EVM_ADDRESS, Token, fold_address

_EVM: Final = re.compile(EVM_ADDRESS)
_SOLANA: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")


@cache
def evm_networks() -> Mapping[str, str]:
    """EVM networks by the names for them; the same names as in alerts."""
    rules = load_rules()
    return {
        name: network
        for name, network in rules.network_names.items()
        if rules.network_families[network] == "evm"
    }


def token_of(address: str, network_word: str | None = None) -> Token | None:
    """The token of a full address; None if the text is none.

    EVM addresses fold to lower case; their network is null unless the word names one. A Solana mint
    must decode to 32 bytes; its network is `solana`, which needs no word.
    """
    text = address.strip()
    if _EVM.fullmatch(text):
        if int(text, 16) == 0:
            return None
        network = evm_networks().get((network_word or "").strip().lower())
        return Token("evm", fold_address(text), network)
    if _SOLANA.fullmatch(text) and len(base58.b58decode(text)) == 32:
        return Token("solana", text, "solana")
    return None


def known_tokens(
    columns: Iterable[tuple[str | None, str | None]],
) -> dict[tuple[str | None, str | None], Token | None]:
    """The tokens of distinct (address, network word) pairs."""
    return {
        (address, word): None if address is None else token_of(address, word)
        for address, word in columns
    }


def with_tokens(rows: pl.DataFrame) -> tuple[pl.DataFrame, tuple[Token, ...]]:
    """Rows with the columns `address` and `network` as written, and the tokens they name: the
    columns `TOKEN_COLUMNS`, null where an address is none. Also the distinct tokens, sorted."""
    known = known_tokens(rows.select("address", "network").unique().iter_rows())
    resolved = pl.DataFrame(
        [
            (address, word, token.chain, token.address, token.network)
            for (address, word), token in known.items()
            if token is not None
        ],
        schema=dict.fromkeys(("address", "network", *TOKEN_COLUMNS), pl.String()),
        orient="row",
    )
    joined = rows.join(resolved, on=["address", "network"], how="left", nulls_equal=True)
    return joined, tuple(sorted({t for t in known.values() if t}, key=lambda t: (t.chain, t.key)))

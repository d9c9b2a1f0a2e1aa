"""Which token a file is about: its address column, its name, or a line of `tokens.csv`."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import PurePosixPath
from typing import Final

import base58

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.rules import load_rules
from quantlab_assets.domain.tokens import Token

MAPPING_NAME: Final = "tokens.csv"
ADDRESS_HEADERS: Final = frozenset({"address", "token", "token_address", "full_address", "mint"})

_EVM: Final = re.compile(r"0x[0-9a-fA-F]{40}")
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
        return Token("evm", text.lower(), network)
    if _SOLANA.fullmatch(text) and len(base58.b58decode(text)) == 32:
        return Token("solana", text, "solana")
    return None


@dataclass(frozen=True, slots=True)
class TokenNames:
    """The lines of `tokens.csv`: file name, path or abbreviated address -> token."""

    tokens: Mapping[str, Token] = field(default_factory=dict)

    def find(self, path: PurePosixPath) -> Token | None:
        """The token the mapping names for a file, by path, name, stem or a word of its name."""
        for name in (path.as_posix(), path.name, path.stem, *_parts(path)):
            token = self.tokens.get(name.lower())
            if token is not None:
                return token
        return None


def read_mapping(text: str) -> TokenNames:
    """Parse `tokens.csv`: file name or abbreviated address, full address, network; header optional.

    Raises `ValidationFailed` naming the line that cannot be used.
    """
    tokens: dict[str, Token] = {}
    for number, line in enumerate(csv.reader(io.StringIO(text)), start=1):
        cells = [cell.strip() for cell in line]
        if not any(cells) or cells[0].startswith("#"):
            continue
        token = token_of(cells[1], cells[2] if len(cells) > 2 else None) if len(cells) > 1 else None
        if token is None:
            if number == 1 and len(cells) > 1 and cells[1].lower() in ADDRESS_HEADERS:
                continue
            raise ValidationFailed(
                f"{MAPPING_NAME} line {number}: the second field must be a full token address"
            )
        name = cells[0].lower()
        if tokens.setdefault(name, token) != token:
            raise ValidationFailed(f"{MAPPING_NAME} line {number}: {cells[0]!r} is named twice")
    return TokenNames(tokens)


def token_of_file(path: PurePosixPath, mapping: TokenNames) -> Token | None:
    """The token a file's name tells; None if it names none, several, or only a part of one.

    What the mapping says goes first; a network it leaves open may stand in the name.
    """
    parts = _parts(path)
    networks = {evm_networks()[word.lower()] for word in parts if word.lower() in evm_networks()}
    network = networks.pop() if len(networks) == 1 else None
    mapped = mapping.find(path)
    if mapped is not None:
        return replace(mapped, network=mapped.network or network)
    found = {token for token in (token_of(part, network) for part in parts) if token}
    return found.pop() if len(found) == 1 else None


def unresolved(path: PurePosixPath) -> str:
    """Why a file's token is unknown, and what to do about it."""
    short = next(
        (part for part in _parts(path) if re.fullmatch(r"0x[0-9a-fA-F]{4,39}", part)), None
    )
    what = f"only the abbreviated address {short}" if short else "no full token address"
    return (
        f"the file has no token_address column and its name has {what};"
        f" name the token in {MAPPING_NAME}: {short or path.name},<full address>,<network>"
    )


def _parts(path: PurePosixPath) -> list[str]:
    """The words of a file's name."""
    return [part for part in re.split(r"[^0-9A-Za-z]+", path.stem) if part]


def known_tokens(
    columns: Iterable[tuple[str | None, str | None]],
) -> dict[tuple[str | None, str | None], Token | None]:
    """The tokens of distinct (address, network word) pairs of a file's columns."""
    return {
        (address, word): None if address is None else token_of(address, word)
        for address, word in columns
    }

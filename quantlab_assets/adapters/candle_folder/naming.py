"""Which token a file is about: its address column, its name, or a line of `tokens.csv`."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Final

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.tokens.addresses import evm_networks, token_of
from quantlab_assets.domain.tokens.token import Token

MAPPING_NAME: Final = "tokens.csv"
ADDRESS_HEADERS: Final = frozenset({"address", "token", "token_address", "full_address", "mint"})


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
    tokens = {token for token in (token_of(part, network) for part in parts) if token}
    return tokens.pop() if len(tokens) == 1 else None


def unresolved(path: PurePosixPath) -> str:
    """Why a file's token is unknown, and what to do about it."""
    short = next(
        (part for part in _parts(path) if re.fullmatch(r"0[xX][0-9a-fA-F]{4,39}", part)), None
    )
    what = f"only the abbreviated address {short}" if short else "no full token address"
    return (
        f"the file has no token_address column and its name has {what};"
        f" name the token in {MAPPING_NAME}: {short or path.name},<full address>,<network>"
    )


def _parts(path: PurePosixPath) -> list[str]:
    """The words of a file's name."""
    return [part for part in re.split(r"[^0-9A-Za-z]+", path.stem) if part]

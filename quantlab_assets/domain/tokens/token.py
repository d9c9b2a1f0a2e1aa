"""What a token is: a chain family, an address, and the network when it is known."""

from dataclasses import dataclass
from typing import Literal

Chain = Literal["solana", "evm"]


@dataclass(frozen=True, slots=True, order=True)
class Token:
    """A token. `chain` is the family; `network` (`bsc`, `base`, ...) is None when unknown.

    An EVM address alone does not tell its network, and one address on two networks is two tokens.
    """

    chain: Chain
    address: str
    network: str | None = None

    @property
    def key(self) -> str:
        """The token as a slice's logical key writes it: `address` or `network:address`."""
        if self.network is None or self.network == self.chain:
            return self.address
        return f"{self.network}:{self.address}"

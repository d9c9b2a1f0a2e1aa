"""What a token is: a chain family, an address in its one spelling, and the network if it is known.

Which text is an address belongs into `addresses`, which candles a call takes into `networks`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    import polars as pl

Chain = Literal["solana", "evm"]

CHAINS: Final[tuple[Chain, ...]] = get_args(Chain)
"""The families of networks there are."""

EVM_PREFIXES: Final = ("0x", "0X")
"""How EVM addresses begin, and no Solana address does: base58 has no zero."""

EVM_ADDRESS: Final = r"0[xX][0-9a-fA-F]{40}"
"""The pattern of an EVM address in any spelling, to search or to match with."""


@dataclass(frozen=True, slots=True, order=True)
class Token:
    """A token. `chain` is the family; `network` (`bsc`, `base`, ...) is None when unknown.

    An EVM address alone does not tell its network, and one address on two networks is two tokens.
    Solana is family and network at once: tokens of slices and sources have `solana` for both.
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


def is_evm(address: str) -> bool:
    """Whether an address is of the EVM family, by how it begins; it is not checked further."""
    return address.startswith(EVM_PREFIXES)


def fold_address(address: str) -> str:
    """The one spelling of an address: EVM in lower case, its `0X` too; Solana, whose case is part
    of the address, as it is. Text that is no address is folded alike, never refused."""
    return address.lower() if is_evm(address) else address


def folded_address(address: "pl.Expr") -> "pl.Expr":
    """`fold_address` of a column."""
    import polars as pl

    evm = pl.any_horizontal(address.str.starts_with(prefix) for prefix in EVM_PREFIXES)
    return pl.when(evm).then(address.str.to_lowercase()).otherwise(address)


def folded_address_sql(address: str) -> str:
    """`fold_address` of an SQL expression, as an SQL expression; standard SQL throughout."""
    evm = " OR ".join(f"{address} LIKE '{prefix}%'" for prefix in EVM_PREFIXES)
    return f"CASE WHEN {evm} THEN lower({address}) ELSE {address} END"

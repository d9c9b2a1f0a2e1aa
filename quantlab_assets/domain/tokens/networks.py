"""Which candles a call takes: of all networks its address has candles on, one or none.

An EVM address is another token on each network, and few calls say which one they mean. This is the
only place that decides (docs/candles.md, "Networks"): coverage, the choice of an experiment's
slices and its execution ask here, and the macro `price_at` of projections is held against it by a
test. Where an address comes from, and what candles there are, belongs elsewhere.
"""

from collections.abc import Sequence
from typing import Final, Literal

import polars as pl

Outcome = Literal["taken", "ambiguous_network", "no_candles"]

TAKEN: Final = "taken"
AMBIGUOUS: Final = "ambiguous_network"
NO_CANDLES: Final = "no_candles"

OUTCOME: Final = pl.Enum((TAKEN, AMBIGUOUS, NO_CANDLES))

ADDRESS: Final = ("chain", "mint")
"""What calls and candles meet by, where nothing narrower is given."""


def network_of_token(network: str = "token_chain", chain: str = "chain") -> pl.Expr:
    """The network of a token, null when unknown. Solana is its own, whether or not it is said."""
    return pl.when(pl.col(chain) == "solana").then(pl.lit("solana")).otherwise(pl.col(network))


def networks_taken(
    calls: pl.DataFrame, candles: pl.DataFrame, on: Sequence[str] = ADDRESS
) -> pl.DataFrame:
    """Which network's candles each call takes.

    A call that names a network takes the candles of that one or, only if there are none, those of
    unknown network. A call that names none takes those of the one known network that has any, or
    the unknown ones if none has; with several known ones it is ambiguous and takes nothing.

    `calls` has the columns `on`, chain and token_chain (the network named, null for none), and any
    others but `network` and `outcome`; `candles` has `on`, chain and token_chain, a row for each
    candle or, cheaper, for each network that has one. With `on` a call's own id, the networks are
    those of the call's own candles.

    Returns the calls in their order with `network`, whose candles are taken (null: the unknown
    ones), and `outcome` (`OUTCOME`); network is null too unless the outcome is `taken`.
    """
    keys = list(on)
    by_address = (
        candles.select(*keys, network_of_token().alias("network"))
        .unique()
        .group_by(keys)
        .agg(
            pl.col("network").drop_nulls().alias("known"),
            pl.col("network").is_null().any().alias("has_unknown"),
        )
    )
    met = calls.with_columns(network_of_token().alias("named")).join(
        by_address, on=keys, how="left", maintain_order="left"
    )
    named = pl.col("named")
    networks = pl.col("known").list.len().fill_null(0)
    takes_named = pl.col("known").list.contains(named).fill_null(False) & named.is_not_null()
    takes_only = named.is_null() & (networks == 1)
    several = named.is_null() & (networks > 1)
    return met.select(
        *calls.columns,
        pl.when(takes_named)
        .then(named)
        .when(takes_only)
        .then(pl.col("known").list.first())
        .alias("network"),
        pl.when(several)
        .then(pl.lit(AMBIGUOUS))
        .when(takes_named | takes_only | pl.col("has_unknown").fill_null(False))
        .then(pl.lit(TAKEN))
        .otherwise(pl.lit(NO_CANDLES))
        .cast(OUTCOME)
        .alias("outcome"),
    )

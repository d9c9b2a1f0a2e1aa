"""Networks by the many names people give them."""

import polars as pl

from quantlab_assets.domain.telegram.rules import Rules


def network_of(name: pl.Expr, rules: Rules, *, ids: bool = False) -> pl.Expr:
    """The network a name stands for (`BNB` -> `bsc`), null if the name is unknown; with `ids` also
    by its chain id (`56`), which elsewhere is a mere number."""
    cleaned = name.str.to_lowercase().str.strip_chars()
    known = {**rules.network_names, **(rules.network_ids if ids else {})}
    return cleaned.replace_strict(
        list(known),
        list(known.values()),
        default=None,
        return_dtype=pl.String,
    )


def network_in(text: pl.Expr, patterns: tuple[str, ...], rules: Rules) -> pl.Expr:
    """The network that the first matching pattern finds in a text, null if none does."""
    return pl.coalesce(network_of(text.str.extract(pattern, 1), rules) for pattern in patterns)


def is_foreign(network: pl.Expr, rules: Rules) -> pl.Expr:
    """Whether a network is one whose addresses are out of scope; false if none is named."""
    out_of_scope = [name for name, family in rules.network_families.items() if family == "other"]
    return network.is_in(out_of_scope).fill_null(False)


def fits(network: pl.Expr, chain: pl.Expr, rules: Rules) -> pl.Expr:
    """The network where it can hold addresses of the chain family, else null."""
    family = network.replace_strict(
        list(rules.network_families),
        list(rules.network_families.values()),
        default=None,
        return_dtype=pl.String,
    )
    return pl.when(family == chain).then(network)

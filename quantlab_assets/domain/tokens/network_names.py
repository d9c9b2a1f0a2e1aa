"""Networks by the many names people give them."""

import polars as pl

from quantlab_assets.domain.telegram.rules import Rules


def network_of(name: pl.Expr, rules: Rules) -> pl.Expr:
    """The network a name stands for (`BNB` -> `bsc`), null if the name is unknown."""
    cleaned = name.str.to_lowercase().str.strip_chars()
    return cleaned.replace_strict(
        list(rules.network_names),
        list(rules.network_names.values()),
        default=None,
        return_dtype=pl.String,
    )


def network_in(text: pl.Expr, patterns: tuple[str, ...], rules: Rules) -> pl.Expr:
    """The network that the first matching pattern finds in a text, null if none does."""
    return pl.coalesce(network_of(text.str.extract(pattern, 1), rules) for pattern in patterns)


def fits(network: pl.Expr, chain: pl.Expr, rules: Rules) -> pl.Expr:
    """The network where it can hold addresses of the chain family, else null."""
    family = network.replace_strict(
        list(rules.network_families),
        list(rules.network_families.values()),
        default=None,
        return_dtype=pl.String,
    )
    return pl.when(family == chain).then(network)

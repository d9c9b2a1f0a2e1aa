"""Links: where they stand in a message, and whether they name a token or a pool."""

import re
from typing import Final

import polars as pl

from quantlab_assets.domain.telegram.rules import ADDRESS, Rules
from quantlab_assets.domain.tokens.network_names import network_of

_URL: Final = (
    r"(?:[Hh][Tt][Tt][Pp][Ss]?://|(?-u:\b)(?:[0-9A-Za-z-]+\.)+[A-Za-z]{2,24}/)[^\s<>\"'`]*"
)
"""ASCII throughout, also the boundary: links stand right behind emoji and letters of other scripts,
and the boundaries of Unicode make the search ten times slower."""

_AT_ONCE: Final = 10_000
"""Links classified together: each takes up to 2 KiB meanwhile."""

LINK_ADDRESSES: Final = pl.Schema(
    {"url": pl.String, "raw": pl.String, "role": pl.String, "network": pl.String}
)


def separated(text: pl.Expr) -> pl.Expr:
    """The text with every `http(s)://` set off by a space: feeds glue links to words."""
    return text.str.replace_all(r"([Hh][Tt][Tt][Pp][Ss]?://)", " ${1}")


def urls_in(text: pl.Expr) -> pl.Expr:
    """The links in a separated text, with or without a scheme, as a list."""
    return text.str.extract_all(_URL)


def outside_urls(text: pl.Expr) -> pl.Expr:
    """A separated text with its links blanked out."""
    return text.str.replace_all(_URL, " ")


def classify(urls: pl.Series, rules: Rules) -> pl.DataFrame:
    """The address each distinct link names, its role and the network the link tells.

    Returns `LINK_ADDRESSES` for links that hold a candidate address; role `token`, `pair`, `other`,
    or `unknown` where no rule knows the link.
    """
    distinct = pl.DataFrame({"url": urls.drop_nulls().unique().sort()}, schema={"url": pl.String})
    candidates = distinct.filter(pl.col("url").str.contains(ADDRESS))
    if candidates.is_empty():
        return LINK_ADDRESSES.to_frame()
    return pl.concat(_classified(part, rules) for part in candidates.iter_slices(_AT_ONCE))


def _classified(urls: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Candidates by the first rule that finds an address. All rules are tried in one query: on the
    few links of a day a query costs more than its patterns."""
    raws = [_group(rule.pattern, "address") for rule in rules.links]
    found = urls.select("url", *(raw.alias(f"{n}") for n, raw in enumerate(raws))).select(
        "url",
        pl.coalesce(
            *(pl.when(pl.col(f"{n}").is_not_null()).then(n) for n in range(len(raws))),
            pl.lit(None, pl.Int32),
        ).alias("rule"),
        pl.coalesce(
            *(pl.col(f"{n}") for n in range(len(raws))), pl.col("url").str.extract(ADDRESS, 1)
        ).alias("raw"),
    )
    named = [
        pl.when(pl.col("rule") == n).then(_group(rule.pattern, "network"))
        for n, rule in enumerate(rules.links)
        if rule.names_network
    ]
    order = list(range(len(rules.links)))
    told = pl.col("rule").replace_strict(
        order, [rule.network for rule in rules.links], default=None, return_dtype=pl.String
    )
    return found.select(
        "url",
        "raw",
        pl.col("rule")
        .replace_strict(
            order, [rule.role for rule in rules.links], default="unknown", return_dtype=pl.String
        )
        .alias("role"),
        pl.coalesce(network_of(pl.coalesce(*named, pl.lit(None, pl.String)), rules), told).alias(
            "network"
        ),
    )


def _group(pattern: str, name: str) -> pl.Expr:
    # By number, since Polars keeps compiled patterns for `extract` and not for `extract_groups`.
    return pl.col("url").str.extract(pattern, re.compile(pattern).groupindex[name])

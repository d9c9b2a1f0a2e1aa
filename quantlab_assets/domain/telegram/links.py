"""Links: where they stand in a message, and whether they name a token or a pool."""

from typing import Final

import polars as pl

from quantlab_assets.domain.telegram.networks import network_of
from quantlab_assets.domain.telegram.rules import ADDRESS, Rules

_URL: Final = r"(?i)(?:https?://|\b(?:[a-z0-9-]+\.)+[a-z]{2,24}/)[^\s<>\"'`]*"

LINK_ADDRESSES: Final = pl.Schema(
    {"url": pl.String, "raw": pl.String, "role": pl.String, "network": pl.String}
)


def separated(text: pl.Expr) -> pl.Expr:
    """The text with every `http(s)://` set off by a space: feeds glue links to words."""
    return text.str.replace_all(r"(?i)(https?://)", " ${1}")


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
    left = pl.DataFrame({"url": urls.drop_nulls().unique().sort()}, schema={"url": pl.String})
    left = left.filter(pl.col("url").str.contains(ADDRESS))
    parts = []
    for rule in rules.links:
        if left.is_empty():
            break
        groups = pl.col("url").str.extract_groups(rule.pattern)
        matched = left.with_columns(groups.struct.field("address").alias("raw"))
        network = network_of(groups.struct.field("network"), rules) if rule.names_network else None
        parts.append(
            matched.filter(pl.col("raw").is_not_null()).select(
                "url",
                "raw",
                pl.lit(rule.role).alias("role"),
                pl.coalesce(network, pl.lit(rule.network, pl.String)).alias("network")
                if network is not None
                else pl.lit(rule.network, pl.String).alias("network"),
            )
        )
        left = matched.filter(pl.col("raw").is_null()).select("url")
    parts.append(
        left.select(
            "url",
            pl.col("url").str.extract(ADDRESS, 1).alias("raw"),
            pl.lit("unknown").alias("role"),
            pl.lit(None, pl.String).alias("network"),
        )
    )
    return pl.concat([pl.DataFrame(schema=LINK_ADDRESSES), *parts], how="vertical")

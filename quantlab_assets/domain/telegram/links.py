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
    distinct = pl.DataFrame({"url": urls.drop_nulls().unique().sort()}, schema={"url": pl.String})
    url, rule = pl.col("url"), pl.col("rule")
    groups = [url.str.extract_groups(each.pattern) for each in rules.links]
    named = [
        pl.when(rule == number).then(pl.col(f"groups_{number}").struct.field("network"))
        for number, each in enumerate(rules.links)
        if each.names_network
    ]
    numbers = list(range(len(rules.links)))

    def told(values: list[str | None]) -> pl.Expr:
        return rule.replace_strict(numbers, values, default=None, return_dtype=pl.String)

    return (
        distinct.lazy()
        .filter(url.str.contains(ADDRESS))
        .with_columns(each.alias(f"groups_{number}") for number, each in enumerate(groups))
        .with_columns(
            pl.coalesce(
                pl.when(pl.col(f"groups_{number}").struct.field("address").is_not_null()).then(
                    pl.lit(number, pl.Int64)
                )
                for number in numbers
            ).alias("rule"),
            pl.coalesce(
                *(pl.col(f"groups_{number}").struct.field("address") for number in numbers),
                url.str.extract(ADDRESS, 1),
            ).alias("raw"),
        )
        .select(
            "url",
            "raw",
            told([each.role for each in rules.links]).fill_null("unknown").alias("role"),
            pl.coalesce(
                network_of(pl.coalesce(*named, pl.lit(None, pl.String)), rules),
                told([each.network for each in rules.links]),
            ).alias("network"),
        )
        .collect()
    )

"""Every candidate address of messages: where it stands, and what it is.

Nothing is decided here: a mention may be a wallet, a pool, or broken.
"""

import polars as pl

from quantlab_assets.domain.telegram import addresses, cut_addresses, links
from quantlab_assets.domain.telegram.alerts.known import MESSAGE
from quantlab_assets.domain.telegram.rules import Rules
from quantlab_assets.domain.tokens import network_names as networks


def mentions_of(versions: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Every candidate address of the versions: where it stands (`role` text, token, pair, other or
    undecided, or why it is no token to call: quote_token, program) and what it is."""
    in_text = (
        versions.select(
            "v",
            addresses.candidates(links.outside_urls(pl.col("separated"))).alias("raw"),
            pl.when(pl.col("sender_kind") == "feed")
            .then(networks.network_in(pl.col("text"), rules.feed_network_patterns, rules))
            .alias("network"),
        )
        .explode("raw")
        .filter(pl.col("raw").is_not_null())
        .with_columns(pl.lit("text").alias("role"))
    )
    urls = (
        versions.select(
            "v", pl.concat_list(links.urls_in(pl.col("separated")), "hrefs").alias("url")
        )
        .explode("url")
        .filter(pl.col("url").is_not_null())
    )
    in_links = urls.join(links.classify(urls["url"], rules), on="url")
    columns = ["v", "raw", "role", "network"]
    found = pl.concat([in_text.select(columns), in_links.select(columns)]).unique()
    judged = _with_cut(found.join(addresses.judge_all(found["raw"]), on="raw"), versions, in_text)
    context = versions.select("v", *MESSAGE, "ts_utc", "known_ts_utc", "known_basis", "text")
    return (
        _without_foreign(judged, rules)
        .with_columns(
            networks.fits(pl.col("network"), pl.col("chain"), rules).alias("network"),
            _role(rules),
        )
        .join(context, on="v")
        .sort(*MESSAGE, "known_ts_utc", "v", "role", "raw", "network")
    )


def _with_cut(judged: pl.DataFrame, versions: pl.DataFrame, in_text: pl.DataFrame) -> pl.DataFrame:
    """The mentions with addresses that are cut in pieces in the text, instead of their pieces."""
    runs = (
        versions.select(
            "v", cut_addresses.runs_in(links.outside_urls(pl.col("separated"))).alias("run")
        )
        .explode("run")
        .drop_nulls("run")
    )
    if runs.is_empty():
        return judged
    cut = runs.join(cut_addresses.join_all(runs["run"]), on="run")
    pieces = cut.select("v", pl.col("pieces").alias("raw"), pl.lit("text").alias("role"))
    said = in_text.select("v", pl.col("network")).unique("v", maintain_order=True)
    joined = cut.with_columns(pl.lit("text").alias("role")).join(said, on="v", how="left")
    rest = judged.join(pieces.explode("raw"), on=["v", "raw", "role"], how="anti")
    return pl.concat([rest, joined.select(judged.columns)]).unique()


def _without_foreign(judged: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """What links say is on a network out of scope is no address, whatever it looks like."""
    foreign = networks.is_foreign(pl.col("network"), rules) & (pl.col("role") != "other")
    nothing = pl.lit(None, pl.String)
    return judged.with_columns(foreign.alias("foreign")).with_columns(
        *(
            pl.when("foreign").then(nothing).otherwise(name).alias(name)
            for name in ("chain", "address")
        ),
        pl.when("foreign")
        .then(pl.lit("unsupported_chain"))
        .otherwise("error_code")
        .alias("error_code"),
        pl.when("foreign")
        .then(pl.format("{}: an address on {}, out of scope", "raw", "network"))
        .otherwise("error_reason")
        .alias("error_reason"),
    )


def _role(rules: Rules) -> pl.Expr:
    """The role, or why what would be a token is none: what is sold is what others are bought
    with."""
    reason = pl.col("address").replace_strict(
        list(rules.no_tokens),
        list(rules.no_tokens.values()),
        default=None,
        return_dtype=pl.String,
    )
    return (
        pl.when(pl.col("role") == "other")
        .then("role")
        .when(pl.col("role") == "sold")
        .then(pl.lit("quote_token"))
        .otherwise(pl.coalesce(reason, "role"))
        .alias("role")
    )

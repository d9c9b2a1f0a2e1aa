"""Which tokens messages call: those they name themselves, and those bots answered with."""

import polars as pl

from quantlab_assets.domain.telegram import senders
from quantlab_assets.domain.telegram.alerts.known import BOT_REPLY, MESSAGE
from quantlab_assets.domain.telegram.callers import caller_key
from quantlab_assets.domain.telegram.rules import Rules


def pools_of(mentions: pl.DataFrame, replies: pl.DataFrame) -> pl.DataFrame:
    """Addresses called as tokens that a bot's card lists as a pool of another token."""
    listed = replies.explode("pool_keys").select(*MESSAGE, pl.col("pool_keys").alias("key"))
    named = replies.select(*MESSAGE, pl.col("mint").str.to_lowercase().alias("key"))
    return (
        mentions.filter(pl.col("address").is_not_null())
        .select(*MESSAGE, "address", pl.col("address").str.to_lowercase().alias("key"))
        .join(listed, on=[*MESSAGE, "key"], how="semi")
        .join(named, on=[*MESSAGE, "key"], how="anti")
        .select(*MESSAGE, "address")
        .unique()
    )


def own_tokens(mentions: pl.DataFrame, pools: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """The tokens that messages name themselves, each with the earliest version that holds it, and
    with all `networks` that its links, or by `networks_told` the text beside it, say."""
    named = mentions.filter(
        pl.col("address").is_not_null() & pl.col("role").is_in(["text", "token"])
    ).join(pools, on=[*MESSAGE, "address"], how="anti")
    beside = named.join(told, on=["v", "address"], suffix="_told").with_columns(
        pl.col("network_told").alias("network")
    )
    return (
        pl.concat([named, beside.select(named.columns)])
        .sort("known_ts_utc", "known_basis", pl.col("role") != "text", "raw")
        .group_by(*MESSAGE, "chain", "address", maintain_order=True)
        .agg(
            pl.col("known_ts_utc", "known_basis").first(),
            pl.when(pl.col("role").first() == "text")
            .then(pl.lit("text"))
            .otherwise(pl.lit("link"))
            .alias("mint_source"),
            pl.col("raw").first().alias("raw_address"),
            pl.col("network").drop_nulls().alias("networks"),
        )
        .rename({"address": "mint"})
    )


def answered_before(own: pl.DataFrame, replies: pl.DataFrame) -> pl.DataFrame:
    """The tokens that messages name, known from a bot's answer where all bots answered with that
    token before the message named it: an edit brought the address to the message only later."""
    answers = (
        replies.group_by(MESSAGE)
        .agg(
            pl.struct("chain", "mint").n_unique().alias("tokens"),
            pl.col("chain", "mint").first(),
            pl.col("known_ts_utc").min().alias("answered"),
        )
        .filter(pl.col("tokens") == 1)
        .drop("tokens")
    )
    before = pl.col("answered") < pl.col("known_ts_utc")
    return (
        own.join(answers, on=[*MESSAGE, "chain", "mint"], how="left", maintain_order="left")
        .with_columns(
            pl.when(before).then("answered").otherwise("known_ts_utc").alias("known_ts_utc"),
            pl.when(before).then(pl.lit(BOT_REPLY)).otherwise("known_basis").alias("known_basis"),
            pl.when(before).then(pl.lit("bot_reply")).otherwise("mint_source").alias("mint_source"),
        )
        .drop("answered")
    )


def resolved_by_bots(
    posts: pl.DataFrame, own: pl.DataFrame, pairs: pl.DataFrame, replies: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Messages that name no token themselves, by the token bots answered with; and those to which
    bots answered with different tokens. A human's reply needs at least a pool link of its own."""
    open_posts = posts.join(own, on=MESSAGE, how="anti")
    open_posts = pl.concat(
        [
            open_posts.filter(~pl.col("is_reply")).select(MESSAGE),
            open_posts.filter("is_reply").join(pairs, on=MESSAGE, how="semi").select(MESSAGE),
        ]
    )
    answers = (
        replies.join(open_posts, on=MESSAGE, how="semi")
        .sort("known_ts_utc", "bot_message_id", "raw_address")
        .group_by(MESSAGE, maintain_order=True)
        .agg(
            pl.struct("chain", "mint").n_unique().alias("tokens"),
            pl.col("chain", "mint", "known_ts_utc", "raw_address").first(),
        )
    )
    resolved = answers.filter(pl.col("tokens") == 1).select(
        *MESSAGE,
        "chain",
        "mint",
        "known_ts_utc",
        pl.lit(BOT_REPLY).alias("known_basis"),
        pl.lit("bot_reply").alias("mint_source"),
        "raw_address",
        pl.lit([], pl.List(pl.String)).alias("networks"),
    )
    return resolved, answers.filter(pl.col("tokens") > 1).select(MESSAGE)


def alerts_of(
    calls: pl.DataFrame, posts: pl.DataFrame, replies: pl.DataFrame, rules: Rules
) -> pl.DataFrame:
    """Calls with their caller, and with the first card that names the same token.

    The network is the one on which the message and all cards agree; `network_disputed` says that
    they name several, and then none counts.
    """
    token = [*MESSAGE, "chain", "mint"]
    figures = ["bot_name", "card_price_usd", "card_mcap_usd", "card_asof_ts_utc", "card_leaks"]
    first_cards = replies.group_by(token, maintain_order=True).agg(
        pl.col(figures).first(), pl.col("card_network").drop_nulls().alias("card_networks")
    )
    alerts = calls.join(posts, on=MESSAGE).join(first_cards, on=token, how="left")
    callers = alerts["caller_name"].drop_nulls().unique().sort().to_list()
    norms = [senders.caller_name_norm(name) for name in callers]
    is_solana = pl.col("chain") == "solana"
    said = pl.concat_list(
        "networks", pl.coalesce("card_networks", pl.lit([], pl.List(pl.String)))
    ).list.unique()
    return (
        alerts.with_columns(said.alias("said"))
        .with_columns(
            pl.when(is_solana)
            .then(pl.lit("solana"))
            .when(pl.col("said").list.len() == 1)
            .then(pl.col("said").list.first())
            .alias("token_chain"),
            (~is_solana & (pl.col("said").list.len() > 1)).alias("network_disputed"),
            pl.col("caller_name")
            .replace_strict(callers, norms, default=None, return_dtype=pl.String)
            .alias("caller_name_norm"),
            pl.col("chat_id").alias("alert_chat_id"),
            pl.col("message_id").alias("alert_message_id"),
            pl.format("{}:{}:{}", "chat_id", "message_id", "mint").alias("alert_id"),
        )
        .with_columns(caller_key("caller_id", "chat_id", "caller_name_norm").alias("caller_key"))
        .sort("alert_ts_utc", "chain", "mint", *MESSAGE)
    )

"""Bots' cards that answer a message in time: the token each names, its figures and its pools."""

from datetime import timedelta
from typing import Final

import polars as pl

from quantlab_assets.domain.telegram import cards
from quantlab_assets.domain.telegram.alerts.known import MESSAGE
from quantlab_assets.domain.telegram.alerts.mentions import mentions_of
from quantlab_assets.domain.telegram.rules import Rules
from quantlab_assets.domain.tokens import network_names as networks

REPLY_WINDOW: Final = timedelta(minutes=5)
"""How long after a message a bot's reply can still resolve it."""
_TIME: Final = pl.Datetime("us", "UTC")
_REPLIES: Final = pl.Schema(
    {
        "day": pl.Date(),
        "chat_id": pl.Int64(),
        "message_id": pl.Int64(),
        "chain": pl.String(),
        "mint": pl.String(),
        "raw_address": pl.String(),
        "known_ts_utc": _TIME,
        "bot_message_id": pl.Int64(),
        "bot_ts_utc": _TIME,
        "bot_name": pl.String(),
        "card_network": pl.String(),
        "card_price_usd": pl.Float64(),
        "card_mcap_usd": pl.Float64(),
        "card_asof_ts_utc": _TIME,
        "card_leaks": pl.Boolean(),
        "pool_keys": pl.List(pl.String),
        "seen_at_utc": _TIME,
        "ingest_source": pl.String(),
    }
)


def replies_of(
    versions: pl.DataFrame, lookahead: pl.DataFrame, posts: pl.DataFrame, rules: Rules
) -> pl.DataFrame:
    """Bots' cards that answer a message in time: the token each names, its figures, and the pools
    it lists (`pool_keys`, lower case). One row for each version of a card."""
    bots = (
        pl.concat([versions.drop("v"), lookahead.drop("v")])
        .filter((pl.col("sender_kind") == "bot") & pl.col("reply_to_message_id").is_not_null())
        .unique(maintain_order=True)
        .with_row_index("v")
    )
    answered = posts.filter(pl.col("can_call") & ~pl.col("is_command") & ~pl.col("bot_forward"))
    bots = bots.join(
        answered.select(
            "day", "chat_id", pl.col("message_id").alias("reply_to_message_id"), "alert_ts_utc"
        ),
        on=["day", "chat_id", "reply_to_message_id"],
    ).filter((pl.col("ts_utc") - pl.col("alert_ts_utc")).is_between(timedelta(0), REPLY_WINDOW))
    if bots.is_empty():
        return _REPLIES.to_frame()

    mentions = mentions_of(bots, rules)
    valid = mentions.filter(pl.col("address").is_not_null())
    in_text = valid.filter(pl.col("role") == "text")
    in_links = valid.filter(pl.col("role") == "token").join(in_text, on="v", how="anti")
    named = (
        pl.concat([in_text, in_links])
        .group_by("v")
        .agg(
            pl.struct("chain", "address").n_unique().alias("tokens"),
            pl.col("chain").first(),
            pl.col("address").first().alias("mint"),
            pl.col("raw").min().alias("raw_address"),
        )
        .filter(pl.col("tokens") == 1)
    )
    pools = (
        mentions.filter(pl.col("role") == "pair")
        .group_by("v")
        .agg(pl.col("raw").str.to_lowercase().unique().sort().alias("pool_keys"))
    )
    # A refresh changes figures: unless a version of the card names none or another, it named the
    # token from its posting on.
    card = ["day", "chat_id", "message_id"]
    steady = (
        bots.join(named.select("v", "chain", "mint"), on="v", how="left")
        .with_columns(pl.struct("chain", "mint").n_unique().over(card).alias("named"))
        .select("v", (pl.col("named") == 1).alias("steady"))
    )
    # Versions of a card can share all of these, in another order each time: the rest decides.
    first = [*MESSAGE, "bot_ts_utc", "bot_message_id", "known_ts_utc", "raw_address", "card_leaks"]
    return (
        cards.card_figures(bots.join(named, on="v").join(steady, on="v"), rules)
        .join(pools, on="v", how="left")
        .select(
            "day",
            "chat_id",
            pl.col("reply_to_message_id").alias("message_id"),
            "chain",
            "mint",
            "raw_address",
            pl.when("steady").then("ts_utc").otherwise("known_ts_utc").alias("known_ts_utc"),
            pl.col("message_id").alias("bot_message_id"),
            pl.col("ts_utc").alias("bot_ts_utc"),
            pl.coalesce("sender_name", "sender_id").alias("bot_name"),
            networks.fits(pl.col("card_network"), pl.col("chain"), rules).alias("card_network"),
            "card_price_usd",
            "card_mcap_usd",
            "card_asof_ts_utc",
            "card_leaks",
            "pool_keys",
            "seen_at_utc",
            "ingest_source",
        )
        .sort(*first, *[column for column in _REPLIES if column not in (*first, "pool_keys")])
    )

"""Messages as extraction sees them: their versions, and one row for each message.

What a text names is not judged here, only who wrote it and whether it can be a call at all; when a
text came to be is judged in `known`.
"""

from typing import Final

import polars as pl

from quantlab_assets.domain.telegram import links, senders
from quantlab_assets.domain.telegram.alerts.known import MESSAGE, known_times
from quantlab_assets.domain.telegram.frames import MESSAGES
from quantlab_assets.domain.telegram.rules import Rules, normal_name

_ENTITIES: Final = pl.List(pl.Struct({"href": pl.String}))
_TICKER: Final = r"\$[A-Za-z][A-Za-z0-9]+"


def versions_of(messages: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """The versions with their sender's kind as judged now, in an order that is a function of their
    content, numbered `v`; `known_ts_utc` is when the version's text came to be, `known_basis` how
    that is known (`known_times`)."""
    ordered = known_times(senders.with_sender_kinds(messages, rules))
    by_time = [*MESSAGE, "known_ts_utc", "text"]
    forwarder = pl.col("forwarded_from")
    distinct = ordered["forwarded_from"].drop_nulls().unique().sort().to_list()
    bots = [name for name in distinct if normal_name(name) in rules.bots]
    return (
        ordered.with_columns(
            senders.is_command(pl.col("text")).alias("is_command"),
            forwarder.is_in(bots).fill_null(False).alias("bot_forward"),
            links.separated(pl.col("text")).alias("separated"),
            pl.col("entities_json")
            .str.json_decode(_ENTITIES)
            .list.eval(pl.element().struct.field("href"))
            .list.drop_nulls()
            .alias("hrefs"),
        )
        .sort(*by_time, *[c for c in MESSAGES if c not in by_time], nulls_last=True)
        .with_row_index("v")
    )


def posts_of(versions: pl.DataFrame) -> pl.DataFrame:
    """One row a message: its time, sender, and whether it can be a call at all."""
    named = pl.col("sender_name").str.strip_chars() != ""
    return versions.group_by(MESSAGE, maintain_order=True).agg(
        pl.col("ts_utc").min().alias("alert_ts_utc"),
        pl.coalesce(pl.when(named).then("sender_name"), "sender_id")
        .drop_nulls()
        .first()
        .alias("caller_name"),
        pl.col("sender_name").drop_nulls().first(),
        pl.col("sender_id").drop_nulls().first().alias("caller_id"),
        pl.col("sender_kind").first(),
        pl.col("text").first(),
        pl.col("seen_at_utc").min(),
        pl.col("ingest_source").first(),
        (pl.col("reply_to_message_id").is_not_null() & ~pl.col("reply_to_service").fill_null(False))
        .any()
        .alias("is_reply"),
        pl.col("author").drop_nulls().first(),
        pl.col("is_service").any().alias("is_service"),
        (pl.col("sender_kind") == "bot").any().alias("is_bot"),
        pl.col("is_command").any().alias("is_command"),
        pl.col("bot_forward").any().alias("bot_forward"),
        (pl.col("text").str.strip_chars() == "").all().alias("no_text"),
        pl.col("text").str.contains(_TICKER).any().alias("has_ticker"),
        pl.col("sender_kind").is_in(senders.CALLING_KINDS).all().alias("can_call"),
    )

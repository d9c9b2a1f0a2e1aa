"""Every observation of an alert: the call, edits of it, bots' answers to it."""

import polars as pl

from quantlab_assets.domain.artifacts.seed_types import ALERT_EVENTS
from quantlab_assets.domain.telegram.alerts.known import EDITED, MESSAGE, SEEN


def events_of(
    alerts: pl.DataFrame, versions: pl.DataFrame, mentions: pl.DataFrame, replies: pl.DataFrame
) -> pl.DataFrame:
    """Each observation of an alert: the call, every edit that holds the token, every bot's card."""
    none = pl.lit(None)
    no_bot = [
        none.cast(pl.String).alias("bot_name"),
        none.cast(pl.Int64).alias("bot_message_id"),
        none.cast(pl.Datetime("us", "UTC")).alias("bot_ts_utc"),
    ]
    seen = ["seen_at_utc", "ingest_source"]
    bots = ["bot_name", "bot_message_id", "bot_ts_utc"]
    base = alerts.with_columns(pl.col("alert_id").alias("alert_key"))
    calls = base.with_columns(
        pl.lit("call").alias("event_kind"), pl.col("alert_ts_utc").alias("event_ts_utc"), *no_bot
    )
    bare = base.drop(*seen, "bot_name", "mint_source", "known_ts_utc")
    edits = (
        mentions.filter(
            pl.col("known_basis").is_in([EDITED, SEEN]) & pl.col("role").is_in(["text", "token"])
        )
        .sort("v", pl.col("role") != "text")
        .unique(["v", "address"], keep="first", maintain_order=True)
        .join(versions.select("v", *seen), on="v")
        .select(
            *MESSAGE,
            pl.col("address").alias("mint"),
            pl.col("known_ts_utc").alias("event_ts_utc"),
            pl.when(pl.col("role") == "text")
            .then(pl.lit("text"))
            .otherwise(pl.lit("link"))
            .alias("mint_source"),
            *seen,
        )
    )
    edited = bare.join(edits, on=[*MESSAGE, "mint"]).with_columns(
        pl.lit("edit").alias("event_kind"), *no_bot
    )
    answered = bare.join(
        replies.select(
            *MESSAGE, "mint", pl.col("known_ts_utc").alias("event_ts_utc"), *seen, *bots
        ),
        on=[*MESSAGE, "mint"],
    ).with_columns(
        pl.lit("bot_reply").alias("event_kind"), pl.lit("bot_reply").alias("mint_source")
    )
    columns = ["day", *ALERT_EVENTS.schema.names]
    return (
        pl.concat([part.select(columns) for part in (calls, edited, answered)])
        .unique()
        .sort(columns)
    )

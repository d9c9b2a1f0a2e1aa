"""What looks like a call and cannot be trusted, with a code and the reason."""

import polars as pl

from quantlab_assets.domain.telegram.alerts.known import MESSAGE


def quarantine_of(
    posts: pl.DataFrame,
    mentions: pl.DataFrame,
    pairs: pl.DataFrame,
    disputed: pl.DataFrame,
    anonymous: pl.DataFrame,
    alerts: pl.DataFrame,
) -> pl.DataFrame:
    """What looks like a call and cannot be trusted, with the code and the reason. Broken addresses
    are told even of messages that also call; the rest only of those that do not."""
    text = pl.col("text").alias("shown")
    broken = mentions.filter(
        pl.col("error_code").is_not_null()
        & (pl.col("role").is_in(["text", "token"]) | pl.col("foreign"))
    ).select(*MESSAGE, text, "error_code", "error_reason")
    vague = mentions.filter(
        (pl.col("role") == "undecided") & pl.col("address").is_not_null()
    ).select(
        *MESSAGE,
        text,
        pl.lit("ambiguous_address").alias("error_code"),
        pl.format("{}: a link of unknown kind; it may be no token", "raw").alias("error_reason"),
    )
    pool_links = mentions.filter((pl.col("role") == "pair") & ~pl.col("foreign")).select(
        *MESSAGE,
        text,
        pl.lit("pair_address_unresolved").alias("error_code"),
        pl.format("{}: a pool or a sale, not the token; no bot told which token", "raw").alias(
            "error_reason"
        ),
    )

    def whole(of: pl.DataFrame, code: str, reason: str) -> pl.DataFrame:
        return posts.join(of, on=MESSAGE, how="semi").select(
            *MESSAGE, text, pl.lit(code).alias("error_code"), pl.lit(reason).alias("error_reason")
        )

    disputes = whole(disputed, "ambiguous_address", "bots answered with different tokens")
    nameless = whole(anonymous, "missing_sender", "the message names neither a sender nor an id")
    unresolved = pl.concat(
        [vague, pool_links.join(disputed, on=MESSAGE, how="anti"), disputes, nameless]
    ).join(alerts.select(MESSAGE), on=MESSAGE, how="anti")
    return (
        pl.concat([broken, unresolved])
        .unique([*MESSAGE, "error_code", "error_reason"], keep="first", maintain_order=True)
        .join(posts, on=MESSAGE)
        .select(
            *MESSAGE,
            pl.col("alert_ts_utc").alias("ts_utc"),
            "sender_name",
            pl.col("shown").alias("text"),
            "error_code",
            "error_reason",
        )
        .sort(*MESSAGE, "error_code", "error_reason")
    )

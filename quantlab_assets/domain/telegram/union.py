"""The union of message versions from many exports, whatever their order, overlap or repetition."""

from collections.abc import Sequence
from datetime import date
from typing import Final

import polars as pl

from quantlab_assets.domain.telegram.frames import MESSAGES

VERSION_KEY: Final = ("chat_id", "message_id", "edited_ts_utc", "text")
"""What makes two rows the same version of a message."""

_ANY: Final = ("reply_to_service", "has_buttons", "has_reactions")
"""What one export may not tell and another does."""
_NOTHING: Final = MESSAGES.to_frame().lazy()
MESSAGE: Final = ("chat_id", "message_id")
HTML: Final = "telegram_html"
"""The `ingest_source` of messages whose times are a clock's, and were put into UTC."""


def html_messages(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The messages (`chat_id`, `message_id`) of which a version comes from HTML."""
    rows = pl.concat([MESSAGES.to_frame(), *(frame.select(MESSAGES.names()) for frame in frames)])
    return rows.filter(pl.col("ingest_source") == HTML).select(MESSAGE).unique()


def by_surest_times(
    frames: Sequence[pl.DataFrame], times: pl.DataFrame, day: date
) -> list[pl.DataFrame]:
    """The messages of a UTC day with those from HTML at the time of the surest clock known.

    `times` (columns `chat_id`, `message_id`, `ts_utc`) is what exports say; a JSON version among
    the frames is surer. A message that belongs to another day is left out: its export has it there.
    """
    every = pl.concat([MESSAGES.to_frame(), *(frame.select(MESSAGES.names()) for frame in frames)])
    of_json = every.filter(pl.col("ingest_source") != HTML)
    sure = (
        pl.concat([of_json.select(*MESSAGE, "ts_utc"), times.select(*MESSAGE, "ts_utc")])
        .group_by(MESSAGE, maintain_order=True)
        .agg(pl.col("ts_utc").first().alias("sure"))
    )
    from_html = pl.col("ingest_source") == HTML
    return [
        frame.join(sure, on=MESSAGE, how="left", maintain_order="left")
        .with_columns(
            pl.when(from_html)
            .then(pl.coalesce("sure", "ts_utc"))
            .otherwise("ts_utc")
            .alias("ts_utc")
        )
        .filter(~from_html | (pl.col("ts_utc").dt.date() == day))
        .drop("sure")
        for frame in frames
    ]


def union_messages(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One row for each version of a message, with columns of `telegram_messages`.

    Of rows that are the same version one stays: from JSON rather than HTML, then with the longer
    entities, then by value, so that the choice depends on nothing but the rows themselves.
    `seen_at_utc` is the earliest of them all; whether it has buttons, reactions, or answers a
    service message is true if any of them says so. Associative, commutative and idempotent.
    """
    rows = pl.concat([_NOTHING, *(frame.lazy().select(MESSAGES.names()) for frame in frames)])
    others = [name for name in MESSAGES.names() if name not in (*VERSION_KEY, *_ANY, "seen_at_utc")]
    rows = rows.sort(
        *VERSION_KEY,
        pl.col("ingest_source") != "telegram_json",
        -pl.col("entities_json").str.len_bytes().cast(pl.Int64),
        *others,
        nulls_last=True,
        maintain_order=True,
    )
    return (
        rows.group_by(VERSION_KEY, maintain_order=True)
        .agg(pl.col(others).first(), pl.col(_ANY).max(), pl.col("seen_at_utc").min())
        .select(MESSAGES.names())
        .collect()
    )

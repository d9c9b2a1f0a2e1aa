"""The union of message versions from many exports, whatever their order, overlap or repetition."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from quantlab_assets.domain.telegram.frames import MESSAGES

VERSION_KEY: Final = ("chat_id", "message_id", "edited_ts_utc", "text")
"""What makes two rows the same version of a message."""

_NOTHING: Final = MESSAGES.to_frame().lazy()


def union_messages(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One row for each version of a message, with columns of `telegram_messages`.

    Of rows that are the same version one stays: from JSON rather than HTML, then with the longer
    entities, then by value, so that the choice depends on nothing but the rows themselves.
    `seen_at_utc` is the earliest of them all. Associative, commutative and idempotent.
    """
    rows = pl.concat([_NOTHING, *(frame.lazy().select(MESSAGES.names()) for frame in frames)])
    others = [name for name in MESSAGES.names() if name not in (*VERSION_KEY, "seen_at_utc")]
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
        .agg(pl.col(others).first(), pl.col("seen_at_utc").min())
        .select(MESSAGES.names())
        .collect()
    )

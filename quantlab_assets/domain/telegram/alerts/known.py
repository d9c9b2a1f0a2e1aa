"""Since when the text of a message stood: what an edit time proves, and what it does not.

Telegram sets a message's edit time on a reaction too, and overwrites a real one by it. So an edit
time alone says little; only another version of the message with another text proves a change:

- posted 10:01, a reaction at 15:01: the JSON says `edited` 15:01, and the text stood since 10:01;
- posted 10:01 as `soon`, edited at 10:05 to an address: an export of 10:03 has `soon`, a later one
  the address with `edited` 10:05, and the address was known at 10:05.

HTML shows no edits at all. Which message is a call is not judged here. See docs/alerts.md.
"""

from typing import Final

import polars as pl

MESSAGE: Final = ["day", "chat_id", "message_id"]
"""What identifies a message; `day` is the day for which a row counts."""

POSTED: Final = "posted"
EDITED: Final = "edited"
BOT_REPLY: Final = "bot_reply"
UNPROVEN_EDIT: Final = "unproven_edit"
SEEN: Final = "seen"

_TEXT: Final = [*MESSAGE, "text"]


def known_times(versions: pl.DataFrame) -> pl.DataFrame:
    """The versions with `known_ts_utc`, since when their text stood, and `known_basis`.

    `has_reactions` is null where the export carries no reactions at all, so that nothing can be
    told of its edit times. Of a message's texts,

    - one that JSON has without an edit time stood since the posting (`posted`);
    - one that an earlier text was changed into stood since its edit time (`edited`), or, if only
      HTML has it, since it was first seen (`seen`);
    - any other has an edit time and no text before it: on a message without reactions, in an export
      that has them elsewhere, the edit time stands (`edited`), unless HTML has the same text: JSON
      beside HTML never makes a text later. Else nothing is proven, and the posting counts
      (`unproven_edit`).

    An empty JSON text beside an HTML text of the message is no version: the export lost the text.
    """
    from_json = pl.col("ingest_source") == "telegram_json"
    empty = pl.col("text").str.strip_chars() == ""
    lost = from_json & empty & (~from_json & ~empty).any().over(MESSAGE)
    posted = pl.col("ts_utc")
    edited = pl.max_horizontal("edited_ts_utc", "ts_utc")
    edit_time = pl.when(pl.col("edited_ts_utc").is_not_null()).then(edited)
    without_reactions = ~pl.col("has_reactions").fill_null(True)
    texts = (
        versions.filter(~lost)
        .group_by(_TEXT)
        .agg(
            posted.min().alias("posted"),
            from_json.any().alias("in_json"),
            (~from_json).any().alias("in_html"),
            (from_json & pl.col("edited_ts_utc").is_null()).any().alias("unedited"),
            pl.coalesce(edit_time, posted).filter(from_json).min().alias("claimed"),
            edit_time.filter(from_json & without_reactions).min().alias("edited_unreacted"),
            pl.col("seen_at_utc").min().alias("seen"),
            pl.col("seen_at_utc").filter(~from_json).min().alias("seen_in_html"),
        )
    )
    html_only = ~pl.col("in_json")
    first_seen = pl.col("seen").min().over(MESSAGE)
    # Of texts in JSON the earliest claim came first, and an HTML text that was seen by then before.
    first_claim = pl.min_horizontal(
        pl.col("claimed").min().over(MESSAGE),
        pl.col("seen").filter(html_only).min().over(MESSAGE),
    )
    replaced_another = (
        pl.when(html_only)
        .then(pl.col("unedited").any().over(MESSAGE) | (pl.col("seen") > first_seen))
        .otherwise(pl.col("claimed") > first_claim)
    )
    when_seen = pl.when("in_html").then(pl.max_horizontal("posted", "seen_in_html"))
    stands = pl.col("edited_unreacted").is_not_null() & ~pl.col("in_html")
    known = texts.with_columns(replaced_another.alias("replaced_another")).select(
        *_TEXT,
        pl.when("unedited")
        .then("posted")
        .when("replaced_another")
        .then(pl.min_horizontal("claimed", when_seen))
        .when(html_only)
        .then("posted")
        .when(stands)
        .then("edited_unreacted")
        .otherwise("posted")
        .alias("known_ts_utc"),
        pl.when("unedited")
        .then(pl.lit(POSTED))
        .when("replaced_another")
        .then(
            pl.when(html_only | (when_seen < pl.col("claimed")).fill_null(False))
            .then(pl.lit(SEEN))
            .otherwise(pl.lit(EDITED))
        )
        .when(html_only)
        .then(pl.lit(POSTED))
        .when(stands)
        .then(pl.lit(EDITED))
        .otherwise(pl.lit(UNPROVEN_EDIT))
        .alias("known_basis"),
    )
    return versions.join(known, on=_TEXT, how="left", maintain_order="left").with_columns(
        pl.coalesce("known_ts_utc", "ts_utc"),
        pl.coalesce("known_basis", pl.lit(POSTED)),
    )

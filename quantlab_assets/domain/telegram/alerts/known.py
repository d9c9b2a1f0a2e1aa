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
    known = _judged(_texts(versions))
    return versions.join(known, on=_TEXT, how="left", maintain_order="left").with_columns(
        pl.coalesce("known_ts_utc", "ts_utc"),
        pl.coalesce("known_basis", pl.lit(POSTED)),
    )


def _texts(versions: pl.DataFrame) -> pl.DataFrame:
    """One row for each text of a message: what all its versions say of its time.

    `claimed` is the earliest time that JSON gives it, `edited_unreacted` the earliest edit time on
    a message without reactions where there could be some.
    """
    from_json = pl.col("ingest_source") == "telegram_json"
    empty = pl.col("text").str.strip_chars() == ""
    lost = from_json & empty & (~from_json & ~empty).any().over(MESSAGE)
    posted = pl.col("ts_utc")
    is_edited = pl.col("edited_ts_utc").is_not_null()
    edit_time = pl.when(is_edited).then(pl.max_horizontal("edited_ts_utc", "ts_utc"))
    without_reactions = ~pl.col("has_reactions").fill_null(True)
    return (
        versions.filter(~lost)
        .group_by(_TEXT)
        .agg(
            posted.min().alias("posted"),
            from_json.any().alias("in_json"),
            (~from_json).any().alias("in_html"),
            (from_json & ~is_edited).any().alias("unedited"),
            pl.coalesce(edit_time, posted).filter(from_json).min().alias("claimed"),
            edit_time.filter(from_json & without_reactions).min().alias("edited_unreacted"),
            pl.col("seen_at_utc").min().alias("seen"),
            pl.col("seen_at_utc").filter(~from_json).min().alias("seen_in_html"),
        )
    )


def _judged(texts: pl.DataFrame) -> pl.DataFrame:
    """Since when each text stood, and how that is known."""
    html_only = ~pl.col("in_json")
    first_seen = pl.col("seen").min().over(MESSAGE)
    # A text of JSON came after another if that has an earlier time, or HTML showed it by then.
    first_time = pl.min_horizontal(
        pl.col("claimed").min().over(MESSAGE),
        pl.col("seen").filter(html_only).min().over(MESSAGE),
    )
    replaced_another = (
        pl.when(html_only)
        .then(pl.col("unedited").any().over(MESSAGE) | (pl.col("seen") > first_seen))
        .otherwise(pl.col("claimed") > first_time)
    )
    when_seen = pl.when("in_html").then(pl.max_horizontal("posted", "seen_in_html"))
    seen_first = html_only | (when_seen < pl.col("claimed")).fill_null(False)
    edit_stands = pl.col("edited_unreacted").is_not_null() & ~pl.col("in_html")
    basis = (
        pl.when("unedited")
        .then(pl.lit(POSTED))
        .when(replaced_another & seen_first)
        .then(pl.lit(SEEN))
        .when(replaced_another)
        .then(pl.lit(EDITED))
        .when(html_only)
        .then(pl.lit(POSTED))
        .when(edit_stands)
        .then(pl.lit(EDITED))
        .otherwise(pl.lit(UNPROVEN_EDIT))
    )
    edited_at = pl.when(replaced_another).then("claimed").otherwise("edited_unreacted")
    return texts.with_columns(basis.alias("known_basis"), edited_at.alias("edited_at")).select(
        *_TEXT,
        pl.when(pl.col("known_basis") == SEEN)
        .then(when_seen)
        .when(pl.col("known_basis") == EDITED)
        .then("edited_at")
        .otherwise("posted")
        .alias("known_ts_utc"),
        "known_basis",
    )

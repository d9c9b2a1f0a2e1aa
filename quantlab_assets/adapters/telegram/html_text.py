"""Texts of messages and their links, from the markup inside a message, by column.

The parser has written the markup: tags are closed and in lower case, attributes quoted, text and
attributes escaped. So patterns that would be guesses on a page are exact here.
"""

import html
import re
from collections.abc import Callable
from typing import Final

import polars as pl

_TAG: Final = "<[^>]*>"
_ENTITY: Final = (
    r"(?s)<a[ >].*?</a>"
    r"|<(?:strong|b|em|i|u|ins|s|del|strike|code|pre|blockquote)(?: [^>]*)?>[^<]*</"
)
_HREF: Final = ' href="([^"]*)"'
_ACTION: Final = r"return Show(\w+)\("
_FORMATS: Final = {
    "strong": "bold",
    "b": "bold",
    "em": "italic",
    "i": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "del": "strikethrough",
    "strike": "strikethrough",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
}
_ACTIONS: Final = {
    "Hashtag": "hashtag",
    "Cashtag": "cashtag",
    "BotCommand": "bot_command",
    "MentionName": "mention_name",
}
_ESCAPED: Final = ["&lt;", "&gt;", "&quot;", "&nbsp;", "&amp;"]
_PLAIN: Final = ["<", ">", '"', "\u00a0", "&"]
_JSON_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"} | {
    chr(n): f"\\u{n:04x}" for n in range(32) if chr(n) not in "\n\r\t"
}
_ANY_TAG: Final = re.compile(_TAG)
_MENTION: Final = re.compile(
    r'(<a href="(?:https?://t\.me/[^"]*)?"(?: onclick="return ShowMentionName\(\)")?>)(.*?)(</a>)',
    re.DOTALL,
)


def entities_json(markup: pl.Series, buttons: pl.Series) -> pl.Series:
    """The entities of each message as JSON: a list of `{type, text, href?}` without plain parts.

    `buttons` holds, for each message, the objects of its buttons that open a link, joined by `,`.
    """
    frame = pl.DataFrame({"markup": markup, "buttons": buttons}).with_row_index("row")
    found = (
        frame.lazy()
        .filter(pl.col("markup").str.contains("<", literal=True))
        .select("row", pl.col("markup").str.extract_all(_ENTITY).alias("entity"))
        .explode("entity", empty_as_null=False)
        .with_columns(pl.col("entity").str.splitn(">", 2))
        .unnest("entity")
        .rename({"field_0": "opening", "field_1": "inside"})
        .with_columns(
            pl.col("opening").str.extract("^<([a-z]+)").alias("tag"),
            _unescaped(pl.col("opening").str.extract(_HREF)).alias("href"),
            pl.col("opening").str.extract(_ACTION).alias("action"),
            # The pattern of formats ends in `</`, that of links in a whole tag.
            _unescaped(pl.col("inside").str.strip_suffix("</").str.replace_all(_TAG, "")).alias(
                "text"
            ),
        )
        .with_columns(
            pl.when(pl.col("tag") != "a")
            .then(pl.col("tag").replace(_FORMATS))
            .when(pl.col("href").fill_null("") == "")
            .then(
                pl.col("action")
                .replace_strict(_ACTIONS, default="unknown", return_dtype=pl.String)
                .fill_null("unknown")
            )
            .when(
                pl.col("text").str.starts_with("@")
                & (pl.col("href") == pl.format("https://t.me/{}", pl.col("text").str.slice(1)))
            )
            .then(pl.lit("mention"))
            .when(pl.col("href").str.starts_with("mailto:"))
            .then(pl.lit("email"))
            .when(pl.col("href").str.starts_with("tel:"))
            .then(pl.lit("phone"))
            .when(pl.col("href") == pl.col("text"))
            .then(pl.lit("link"))
            .otherwise(pl.lit("text_link"))
            .alias("type")
        )
        .select(
            "row",
            _object().alias("object"),
        )
        .group_by("row", maintain_order=True)
        .agg(pl.col("object").str.join(",").alias("objects"))
    )
    joined = (
        frame.lazy()
        .select("row", "buttons")
        .join(found, on="row", how="left", maintain_order="left")
        .select(
            pl.concat_str(
                pl.lit("["),
                pl.concat_str(
                    pl.col("objects"),
                    pl.when(pl.col("buttons") != "").then("buttons"),
                    separator=",",
                    ignore_nulls=True,
                ),
                pl.lit("]"),
            )
        )
        .collect()
    )
    return joined.to_series()


def _object() -> pl.Expr:
    href = pl.when(pl.col("type") == "text_link").then(
        pl.concat_str(pl.lit(',"href":"'), _json_escaped(pl.col("href")), pl.lit('"'))
    )
    return pl.concat_str(
        pl.lit('{"type":"'),
        "type",
        pl.lit('","text":"'),
        _json_escaped(pl.col("text")),
        pl.lit('"'),
        href.otherwise(pl.lit("")),
        pl.lit("}"),
    )


def without_people(markup: str, rename: Callable[[str], str]) -> str:
    """The markup with the people renamed whom Telegram marks as mentioned."""

    def renamed(found: re.Match[str]) -> str:
        text = html.unescape(_ANY_TAG.sub("", found[2]))
        if "ShowMentionName" not in found[1] and not text.startswith("@"):
            return found[0]
        return found[1] + html.escape(rename(text), quote=False) + found[3]

    return _MENTION.sub(renamed, markup)


def text_of(markup: str) -> str:
    """The text that markup shows."""
    return html.unescape(_ANY_TAG.sub("", markup)).strip(" \t\n\r\f")


def _unescaped(text: pl.Expr) -> pl.Expr:
    return text.str.replace_many(_ESCAPED, _PLAIN)


def _json_escaped(text: pl.Expr) -> pl.Expr:
    return text.str.replace_many(_JSON_ESCAPES)

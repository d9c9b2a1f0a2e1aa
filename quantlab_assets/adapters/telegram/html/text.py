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
_BUTTON: Final = '<a ="" href="[^"]*">[ \t\f]*<div>[^<]*</div>'
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
_JSON_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"} | {
    chr(n): f"\\u{n:04x}" for n in range(32) if chr(n) not in "\n\r\t"
}
_JSON_TEXT: Final = _JSON_ESCAPES | {
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '\\"',
    "&nbsp;": "\u00a0",
    "&amp;": "&",
}
_PARTS: Final = ["opening", "inside"]
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
    opening, inside = pl.col("opening"), pl.col("inside")
    found = (
        frame.lazy()
        .filter(pl.col("markup").str.contains("<", literal=True))
        .select("row", pl.col("markup").str.extract_all(_ENTITY).alias("entity"))
        .explode("entity", empty_as_null=False)
        .with_columns(pl.col("entity").str.splitn(">", 2).struct.rename_fields(_PARTS))
        .unnest("entity")
        .with_columns(
            opening.str.splitn(' href="', 2).struct.field("field_1").alias("href"),
            # The pattern of formats ends in `</`, that of links in a whole tag.
            _json_text(inside.str.strip_suffix("</").str.replace_all(_TAG, "")).alias("text"),
        )
        .with_columns(pl.col("href").str.splitn('"', 2).struct.rename_fields(["href", "rest"]))
        .unnest("href")
        # What lacks the closing quote is no address.
        .with_columns(pl.when(pl.col("rest").is_not_null()).then(_json_text(pl.col("href"))))
        .with_columns(_type(opening, pl.col("href"), pl.col("text")).alias("type"))
        .select("row", _object().alias("object"))
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


def buttons_json(table: pl.Expr) -> pl.Expr:
    """The buttons that open a link, of a table as Telegram Desktop writes it, as JSON objects
    joined by `,`; empty where there are none."""
    button = pl.element()
    text = button.str.replace_all(_TAG, "").str.strip_chars()
    href = button.str.splitn('"', 5).struct.field("field_3")
    found = pl.concat_str(
        pl.lit('{"type":"button","text":"'),
        _json_text(text),
        pl.lit('","href":"'),
        _json_text(href),
        pl.lit('"}'),
    )
    return table.str.extract_all(_BUTTON).list.eval(found).list.join(",").fill_null("")


def _type(opening: pl.Expr, href: pl.Expr, text: pl.Expr) -> pl.Expr:
    """What Telegram calls the entity; address and text are compared as JSON has them, in which
    both are equal when they are."""
    return (
        pl.when((opening != "<a") & ~opening.str.starts_with("<a "))
        .then(opening.str.extract("^<([a-z]+)").replace(_FORMATS))
        .when(href.fill_null("") == "")
        .then(
            opening.str.extract(_ACTION)
            .replace_strict(_ACTIONS, default="unknown", return_dtype=pl.String)
            .fill_null("unknown")
        )
        .when(text.str.starts_with("@") & (href == pl.format("https://t.me/{}", text.str.slice(1))))
        .then(pl.lit("mention"))
        .when(href.str.starts_with("mailto:"))
        .then(pl.lit("email"))
        .when(href.str.starts_with("tel:"))
        .then(pl.lit("phone"))
        .when(href == text)
        .then(pl.lit("link"))
        .otherwise(pl.lit("text_link"))
    )


def _object() -> pl.Expr:
    href = pl.when(pl.col("type") == "text_link").then(
        pl.concat_str(pl.lit(',"href":"'), pl.col("href"), pl.lit('"'))
    )
    return pl.concat_str(
        pl.lit('{"type":"'),
        "type",
        pl.lit('","text":"'),
        pl.col("text"),
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


def _json_text(markup: pl.Expr) -> pl.Expr:
    """What markup shows, as it stands inside of a JSON string."""
    return markup.str.replace_many(_JSON_TEXT)

"""Messages that are exactly as Telegram Desktop writes them, read by column.

Nearly all messages of an export are: a text with links and simple formats, maybe a reply, media
that were not exported, a bot's buttons, reactions. One pattern without groups tells which, at the
speed of a scan; then every part has an anchor that holds a `<`, which no text can, so it is found
by that alone. Anything else is for the parser, and what is read here is what it would have read.
"""

from typing import Final

import polars as pl

from quantlab_assets.adapters.telegram.html.text import buttons_json

_S: Final = r"[ \t\n\r\f]*"
_ESCAPE: Final = "&(?:amp|lt|gt|quot|apos);"
_VALUE: Final = '(?:[^"<>&]|&(?:amp|quot);)*'
_INLINE: Final = f"(?:[^<&]|<br>|{_ESCAPE})*"
# Not `pre`: of a line break right after it the parser makes nothing.
_FORMATS: Final = "|".join(
    f"<{tag}>{_INLINE}</{tag}>" for tag in ("strong", "em", "code", "u", "s", "del")
)
_TEXT: Final = (
    f'<div class="text">(?:[^<&]|<br>|{_ESCAPE}|{_FORMATS}'
    f'|<a href ?= ?"{_VALUE}"(?: onclick="{_VALUE}")?>{_INLINE}</a>)*</div>{_S}'
)
_MEDIA: Final = (
    f'<div class="media_wrap clearfix">{_S}<div class="media clearfix pull_left media_[a-z_]+">{_S}'
    f'<div class="fill pull_left">{_S}</div>{_S}<div class="body">{_S}'
    f'(?:<div class="(?:title bold|description|status details)">[^<]*</div>{_S})*'
    f"</div>{_S}</div>{_S}</div>{_S}"
)
_ON_BUTTON: Final = r"[^<&\x00-\x08\x0b-\x1f]"
_IN_BUTTON: Final = r'[^"<>&\x00-\x08\x0b-\x1f]|&(?:amp|quot);'
_BUTTON: Final = (
    f'<div class="bot_button">{_S}'
    f'<a ="" (?:href="(?:{_IN_BUTTON})+"|onclick="(?:{_IN_BUTTON}|&apos;)*")>{_S}'
    f"<div>(?:{_ON_BUTTON}|{_ESCAPE})*</div>{_S}</a>{_S}</div>{_S}"
)
_BUTTONS: Final = (
    f'<table class="bot_buttons_table">{_S}<tbody>{_S}(?:<tr>{_S}<td class="bot_button_row">{_S}'
    f'(?:{_BUTTON}|<div class="bot_button_column_separator">{_S}</div>{_S})*'
    f"</td>{_S}</tr>{_S})*</tbody>{_S}</table>{_S}"
)
_USERPIC: Final = (
    f'<div class="userpic userpic[0-9]+" style="[^"<>]*">{_S}'
    f'<div class="initials" style="[^"<>]*"(?: title="[^"<>]*")?>[^<]*</div>{_S}</div>{_S}'
)
_REACTIONS: Final = (
    f'<span class="reactions">{_S}(?:<span class="reaction(?: active)?">{_S}'
    f'<span class="emoji">[^<]*</span>{_S}'
    f'(?:<span class="userpics">{_S}(?:{_USERPIC})*</span>{_S}'
    f'|<span class="count">[^<]*</span>{_S})?'
    f"</span>{_S})*</span>{_S}"
)
_TIME: Final = r"[0-9]{2}\.[0-9]{2}\.20[0-9]{2} [0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
_LABEL: Final = " UTC[+-](?:0[0-9]:[0-5][0-9]|1[0-3]:[0-5][0-9]|14:00)"
_TEMPLATE: Final = (
    f'^<div class="message default clearfix(?: joined)?" id="message-?[0-9]{{1,18}}">{_S}'
    f'(?:<div class="pull_left userpic_wrap">{_S}{_USERPIC}</div>{_S})?<div class="body">{_S}'
    f'<div class="pull_right date details" title="{_TIME}(?:{_LABEL})?">[^<]*</div>{_S}'
    f'(?:<div class="from_name">(?:[^<&]|{_ESCAPE})*</div>{_S})?'
    f'(?:<div class="reply_to details">{_S}In reply to '
    f'<a href="[^"<>&#]*#go_to_message-?[0-9]{{1,18}}"'
    f'(?: onclick="[^"<>]*")?>[^<]*</a>{_S}</div>{_S})?'
    f"(?:{_MEDIA})?(?:{_TEXT})?(?:{_BUTTONS})?(?:{_REACTIONS})?</div>{_S}</div>{_S}$"
)
_JOINED: Final = '<div class="message default clearfix joined"'
_ID: Final = '^<div class="message default clearfix(?: joined)?" id="message(-?[0-9]+)"'
_DATE: Final = '<div class="pull_right date details" title="([^"]*)"'
_NAME: Final = '<div class="from_name">([^<]*)<'
_REPLY: Final = '<div class="reply_to details">[^<]*<a href="[^"]*#go_to_message(-?[0-9]+)"'
_TABLE: Final = '<table class="bot_buttons_table">'
_EPOCH: Final = r"Data: (?:delete_message:[0-9]+|refr):[0-9]{10}(?-u:\b)"
_SPACE: Final = " \t\n\r\f"
_EARLIEST: Final = pl.datetime(2013, 1, 1)

READ: Final = pl.Schema(
    {
        "at": pl.Int64(),
        "message_id": pl.Int64(),
        "is_service": pl.Boolean(),
        "joined": pl.Boolean(),
        "local": pl.Int64(),
        "label": pl.Int64(),
        "name": pl.String(),
        "reply_to_message_id": pl.Int64(),
        "forwarded": pl.Boolean(),
        "forwarded_from": pl.String(),
        "text": pl.String(),
        "markup": pl.String(),
        "buttons": pl.String(),
        "epoch": pl.Int64(),
    }
)
"""A message as it stands in the page: `at` is its place among the window's; the rest as in
`html_message.Said`."""


def read_template(messages: pl.Series, *, most_tags: int) -> pl.DataFrame:
    """Those of the messages (valid UTF-8 without a NUL) that are of the template, as rows of
    `READ`; all others are left out."""
    whole, title, markup = pl.col("message"), pl.col("title"), pl.col("markup")
    return (
        messages.alias("message")
        .to_frame()
        .lazy()
        .with_row_index("at")
        .filter(whole.str.contains(_TEMPLATE))
        .filter(whole.str.count_matches("<", literal=True) <= most_tags)
        .with_columns(
            whole.str.extract(_DATE).alias("title"),
            _one_line(whole.str.extract(_NAME)).alias("name"),
            _one_line(_before(_after(whole, '<div class="text">'), "</div>")).alias("markup"),
            _one_line(_before(_after(whole, _TABLE), "</table>")).alias("table"),
        )
        .with_columns(
            title.str.head(19).str.to_datetime("%d.%m.%Y %H:%M:%S", strict=False).alias("shown"),
            title.str.slice(23).alias("east"),
            markup.str.replace_all("<br>", "\n", literal=True)
            .str.replace_all('<a href = "', '<a href="', literal=True)
            .str.replace_all("&apos;", "'", literal=True)
            .fill_null(""),
        )
        # A day that is none is the parser's to refuse, and a bot's name its to take away.
        .filter(
            pl.col("shown") >= _EARLIEST,
            ~pl.col("name").str.contains(" via @", literal=True).fill_null(value=False),
        )
        .with_columns(markup.str.contains("<", literal=True).alias("formatted"))
        .select(
            pl.col("at").cast(pl.Int64),
            whole.str.extract(_ID).cast(pl.Int64).alias("message_id"),
            pl.lit(value=False).alias("is_service"),
            whole.str.starts_with(_JOINED).alias("joined"),
            pl.col("shown").dt.epoch("s").alias("local"),
            _offset(pl.col("east")).alias("label"),
            _stripped(pl.col("name")).replace("", None),
            whole.str.extract(_REPLY).cast(pl.Int64).alias("reply_to_message_id"),
            pl.lit(value=False).alias("forwarded"),
            pl.lit(None, pl.String).alias("forwarded_from"),
            _stripped(markup.str.replace_all("<[^>]*>", "")).alias("text"),
            pl.when("formatted").then("markup").otherwise(pl.lit("")).alias("markup"),
            buttons_json(pl.col("table")).alias("buttons"),
            _epoch(pl.col("table")).alias("epoch"),
        )
        .collect()
    )


def _offset(label: pl.Expr) -> pl.Expr:
    """`+10:30` in seconds; null if empty."""
    hours, minutes = (label.str.slice(at, 2).cast(pl.Int64, strict=False) for at in (1, 4))
    seconds = hours * 3600 + minutes * 60
    return pl.when(label.str.starts_with("-")).then(-seconds).otherwise(seconds)


def _after(text: pl.Expr, mark: str) -> pl.Expr:
    return text.str.splitn(mark, 2).struct.field("field_1")


def _before(text: pl.Expr, mark: str) -> pl.Expr:
    return text.str.splitn(mark, 2).struct.field("field_0")


def _one_line(text: pl.Expr) -> pl.Expr:
    """Line breaks of the file are spaces."""
    return text.str.replace_all("\n", " ", literal=True).str.replace_all("\r", " ", literal=True)


def _stripped(text: pl.Expr) -> pl.Expr:
    plain = text.str.replace_many(
        ["&amp;", "&lt;", "&gt;", "&quot;", "&apos;"], ["&", "<", ">", '"', "'"]
    )
    return plain.str.strip_chars(_SPACE)


def _epoch(table: pl.Expr) -> pl.Expr:
    """The earliest Unix time in a message's buttons, null without one."""
    return (
        table.str.extract_all(_EPOCH).list.eval(pl.element().str.tail(10).cast(pl.Int64)).list.min()
    )

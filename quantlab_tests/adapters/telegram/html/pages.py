"""Writes pages as Telegram Desktop's HTML export does, for tests."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

HEAD = """<!DOCTYPE html>
<html>

 <head>

  <meta charset="utf-8"/>
<title>Exported Data</title>
  <script src="js/script.js" type="text/javascript">

  </script>

 </head>

 <body onload="CheckLocation();">

  <div class="page_wrap">

   <div class="page_header">

    <div class="content">

     <div class="text bold">
{title}
     </div>

    </div>

   </div>

   <div class="page_body chat_page">

    <div class="history">

"""
TAIL = """
    </div>

   </div>

  </div>

 </body>

</html>
"""


@dataclass(frozen=True)
class Html:
    """A message: what the clock showed, in seconds since 1970 as if it were UTC, and its parts.

    `label` is the offset printed beside it, None for a template that has none. `epoch` is what a
    bot's buttons say. `markup` is the text as HTML; `raw` replaces all of it.
    """

    message_id: int
    local: int
    markup: str = "gm"
    name: str | None = "caller_01"
    label: str | None = "UTC+00:00"
    reply_to: str | None = None
    epoch: int | None = None
    body: str = ""
    raw: str | None = None


def message(said: Html) -> str:
    """A message as it stands in a page."""
    if said.raw is not None:
        return said.raw
    shown = datetime.fromtimestamp(said.local, UTC)
    title = f"{shown:%d.%m.%Y %H:%M:%S}" + ("" if said.label is None else f" {said.label}")
    joined = " joined" if said.name is None else ""
    parts = [
        f'<div class="message default clearfix{joined}" id="message{said.message_id}">\n\n'
        '      <div class="body">\n\n'
        f'       <div class="pull_right date details" title="{title}">\n{shown:%H:%M}\n'
        "       </div>\n\n"
    ]
    if said.name is not None:
        parts.append(
            f'       <div class="from_name">\n{html.escape(said.name)} \n       </div>\n\n'
        )
    if said.reply_to is not None:
        parts.append(
            f'       <div class="reply_to details">\nIn reply to <a href="{said.reply_to}">'
            "this message</a>\n       </div>\n\n"
        )
    if said.markup:
        parts.append(f'       <div class="text">\n{said.markup}\n       </div>\n\n')
    parts.append(said.body)
    if said.epoch is not None:
        parts.append(
            '<table class="bot_buttons_table"><tbody><tr><td class="bot_button_row">'
            '<div class="bot_button"><a ="" onclick="return ShowTextCopied(&apos;Data: '
            f'delete_message:7:{said.epoch}:0 | Type: callback&apos;);"><div>x</div></a></div>'
            "</td></tr></tbody></table>\n"
        )
    parts.append("      </div>\n\n     </div>\n\n     ")
    return "".join(parts)


def page(messages: Sequence[Html], title: str = "group") -> str:
    """A page with the messages."""
    return HEAD.replace("{title}", html.escape(title)) + "".join(map(message, messages)) + TAIL


def write(path: Path, messages: Sequence[Html], title: str = "group") -> Path:
    """Write a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(messages, title), encoding="utf-8")
    return path


def clock(moment: datetime, zone: str) -> int:
    """What a clock in the zone shows at a moment, in seconds since 1970 as if it were UTC."""
    there = moment.astimezone(ZoneInfo(zone))
    return int(there.replace(tzinfo=UTC).timestamp())


def year_of(
    zone: str, label: str | None, start: datetime, *, every: timedelta, days: int
) -> tuple[list[Html], list[datetime]]:
    """Messages of a chat written by a clock in `zone`, under one label, with the true times: every
    tenth is a bot's card, half of which were refreshed later."""
    said, true = [], []
    moment, number = start, 1
    while moment < start + timedelta(days=days):
        epoch = None
        if number % 10 == 0:
            epoch = int(moment.timestamp()) + (0 if number % 20 else 4000 + number)
        said.append(
            Html(
                number,
                clock(moment, zone),
                name="Phanes" if epoch else "caller_01",
                label=label,
                epoch=epoch,
            )
        )
        true.append(moment)
        moment += every + timedelta(seconds=number % 7)
        number += 1
    return said, true

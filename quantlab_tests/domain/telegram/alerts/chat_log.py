"""Small chats for tests: `said(...)` is one message version, `log(...)` the frame of several."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from quantlab_assets.domain.telegram.alerts.extract import Extraction, extract_alerts
from quantlab_assets.domain.telegram.frames import MESSAGES

NOON = datetime(2025, 11, 7, 12, tzinfo=UTC)
SEEN = datetime(2025, 12, 1, tzinfo=UTC)
CHAT = 77

MINT = "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump"
OTHER_MINT = "oreoU2P8bN6jkk3jbaiVxYnG1dCXcYxwhwyK9jSybcp"
POOL = "CpLMHS3EsacY4frVPeSb75wpWFwnCrS4UDsXDt4dytoo"
EVM = "0x6d665078d54ABBa0B328ECCDEB8D6d07A741Cfbe"


def said(
    message_id: int,
    text: str = "",
    *,
    after_s: float = 0,
    by: str | None = "caller_01",
    by_id: str | None = None,
    reply_to: int | None = None,
    edited_after_s: float | None = None,
    links: tuple[str, ...] = (),
    chat: int = CHAT,
    service: bool = False,
    forwarded_from: str | None = None,
    source: str = "telegram_json",
    seen: datetime = SEEN,
    reactions: bool | None = False,
    to_service: bool | None = None,
    buttons: bool | None = None,
    author: str | None = None,
    via_bot: str | None = None,
) -> dict[str, Any]:
    """A version of a message, `after_s` seconds past noon. `reactions` is None in an export that
    carries none at all, and in HTML."""
    edited = None if edited_after_s is None else NOON + timedelta(seconds=edited_after_s)
    entities = [{"type": "text_link", "text": "x", "href": href} for href in links]
    return {
        "chat_id": chat,
        "chat_name": "group",
        "message_id": message_id,
        "ts_utc": NOON + timedelta(seconds=after_s),
        "edited_ts_utc": edited,
        "sender_name": by,
        "sender_id": by_id,
        "sender_kind": "human",
        "author": author,
        "via_bot": via_bot,
        "reply_to_message_id": reply_to,
        "reply_to_service": to_service,
        "forwarded_from": forwarded_from,
        "is_service": service,
        "has_buttons": buttons,
        "has_reactions": None if source == "telegram_html" else reactions,
        "text": text,
        "entities_json": json.dumps(entities),
        "ingest_source": source,
        "seen_at_utc": seen,
    }


def card(
    message_id: int, mint: str, *, reply_to: int, after_s: float = 1, more: str = "", **other: Any
) -> dict[str, Any]:
    """A bot's card that names `mint`, as an answer."""
    other.setdefault("by", "Rick")
    text = f"Token [2.2M/13%] $ZKSL\n💰 USD: $0.0022986\n💎 FDV: $2.51M ⇨ 3.1M\n{more}\n{mint}\n"
    return said(message_id, text, after_s=after_s, reply_to=reply_to, **other)


def log(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=MESSAGES, orient="row")


def of_one_day(messages: pl.DataFrame, lookahead: pl.DataFrame) -> Extraction:
    """What a day comes to, whatever times its messages have."""
    day, tag = NOON.date(), pl.lit(NOON.date()).alias("day")
    return extract_alerts([day], messages.with_columns(tag), lookahead.with_columns(tag))[day]


def extracted(*rows: dict[str, Any], next_day: tuple[dict[str, Any], ...] = ()) -> Extraction:
    return of_one_day(log(*rows), log(*next_day))


def only(frame: pl.DataFrame) -> dict[str, Any]:
    """The single row of a frame."""
    assert frame.height == 1, frame
    return frame.row(0, named=True)

"""Who writes: human, bot, feed, channel, or Telegram itself; and what a caller is called."""

import unicodedata
from typing import Final

import polars as pl

from quantlab_assets.domain.telegram.rules import Rules, normal_name

CALLING_KINDS: Final = ("human", "feed", "channel")
"""Kinds of sender whose messages can be calls; bots never call."""


def sender_kind(name: str | None, sender_id: str | None, is_service: bool, rules: Rules) -> str:
    """`human`, `bot`, `feed`, `channel` or `service`, by name and id as Telegram exports them."""
    normal = normal_name(name or "")
    if is_service:
        return "service"
    if normal in rules.bots or sender_id in rules.bot_ids:
        return "bot"
    if normal in rules.feeds:
        return "feed"
    return "channel" if (sender_id or "").startswith("channel") else "human"


def with_sender_kinds(messages: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """The messages with `sender_kind` as the rules have it now: a new bot needs no re-ingest."""
    keys = ["sender_name", "sender_id", "is_service"]
    senders = messages.lazy().select(keys).unique().collect()
    kinds = [sender_kind(name, of, service, rules) for name, of, service in senders.iter_rows()]
    known = senders.with_columns(pl.Series("sender_kind", kinds, dtype=pl.String))
    return (
        messages.lazy()
        .drop("sender_kind")
        .join(known.lazy(), on=keys, how="left", nulls_equal=True, maintain_order="left")
        .select(messages.columns)
        .collect()
    )


def is_command(text: pl.Expr) -> pl.Expr:
    """Whether a message is a command to a bot: it starts with `/`."""
    return text.str.strip_chars_start().str.starts_with("/")


def caller_name_norm(name: str) -> str:
    """A caller's name for comparison: NFKC, trimmed, lower case, white space to `_`."""
    return "_".join(unicodedata.normalize("NFKC", name).strip().lower().split())

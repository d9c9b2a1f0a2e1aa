"""From the messages of UTC days to their alerts: who called which token, and when it was known.

Humans, feeds and channels call; bots and commands never do. Everything is judged by message
version, so that an address that came with an edit is known from the edit on. See docs/alerts.md.

Many days go through each query together, since a thin day costs what a query costs, not what its
rows do. `day` is part of what identifies a message, so no day sees the rows of another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from quantlab_assets.domain.artifacts.seed_types import ALERT_EVENTS, ALERTS, ALERTS_QUARANTINE
from quantlab_assets.domain.telegram.alerts.accounting import Accounting, accounting_of, outcomes_of
from quantlab_assets.domain.telegram.alerts.calls import (
    alerts_of,
    answered_before,
    own_tokens,
    pools_of,
    resolved_by_bots,
)
from quantlab_assets.domain.telegram.alerts.events import events_of
from quantlab_assets.domain.telegram.alerts.known import MESSAGE
from quantlab_assets.domain.telegram.alerts.mentions import mentions_of
from quantlab_assets.domain.telegram.alerts.quarantine import quarantine_of
from quantlab_assets.domain.telegram.alerts.replies import replies_of
from quantlab_assets.domain.telegram.alerts.told_networks import networks_told
from quantlab_assets.domain.telegram.alerts.versions import posts_of, versions_of
from quantlab_assets.domain.telegram.frames import typed
from quantlab_assets.domain.telegram.rules import Rules, load_rules


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a day came to. `outcomes` has one row a message: chat_id, message_id, sender_kind,
    outcome (`service`, `ignored`, `calling`, `quarantined`), reason (of being ignored).
    `network_disputed` alerts have no network, since several were named."""

    alerts: pl.DataFrame
    events: pl.DataFrame
    quarantine: pl.DataFrame
    outcomes: pl.DataFrame
    accounting: Accounting
    network_disputed: int


def extract_alerts(
    days: Sequence[date],
    messages: pl.DataFrame,
    lookahead: pl.DataFrame,
    rules: Rules | None = None,
) -> dict[date, Extraction]:
    """The alerts of each of `days`, in all versions of its messages.

    Both frames have the columns of `telegram_messages` and `day`, the day for which a row counts.
    `lookahead` holds messages after the end of a day, of which only bots' replies to its last
    messages matter. Results have the columns of `alerts_v1`, `alerts_event_v1`,
    `alerts_quarantine`, and are the same whatever days share the call and in whatever order rows
    come.
    """
    rules = rules or load_rules()
    versions = versions_of(messages, rules)
    posts = posts_of(versions)
    callable_versions = versions.join(posts.filter("can_call"), on=MESSAGE, how="semi").filter(
        ~pl.col("is_command") & ~pl.col("bot_forward")
    )
    mentions = mentions_of(callable_versions, rules)
    told = networks_told(callable_versions, mentions, rules)
    replies = replies_of(versions, versions_of(lookahead, rules), posts, rules)

    pools = pools_of(mentions, replies)
    own = answered_before(own_tokens(mentions, pools, told), replies)
    pairs = pl.concat(
        [mentions.filter(pl.col("role") == "pair").select(MESSAGE), pools.select(MESSAGE)]
    ).unique()
    resolved, disputed = resolved_by_bots(posts, own, pairs, replies)
    alerts = alerts_of(pl.concat([own, resolved]), posts, replies, rules)
    anonymous = alerts.filter(pl.col("caller_name").is_null()).select(MESSAGE)
    alerts = alerts.filter(pl.col("caller_name").is_not_null())
    events = events_of(alerts, versions, mentions, replies)
    quarantine = quarantine_of(posts, mentions, pairs, disputed, anonymous, alerts)
    outcomes = outcomes_of(posts, mentions, alerts, quarantine)
    of_day = zip(
        days,
        _by_day(typed(alerts, ALERTS, "day"), days),
        _by_day(typed(events, ALERT_EVENTS, "day"), days),
        _by_day(typed(quarantine, ALERTS_QUARANTINE, "day"), days),
        _by_day(outcomes, days),
        accounting_of(outcomes, days),
        _disputed(alerts, days),
        strict=True,
    )
    return {day: Extraction(*found) for day, *found in of_day}


def _by_day(frame: pl.DataFrame, days: Sequence[date]) -> list[pl.DataFrame]:
    """The rows of each day, without the column that says so."""
    parts = frame.partition_by("day", as_dict=True, include_key=False)
    nothing = frame.clear().drop("day")
    return [parts.get((day,), nothing) for day in days]


def _disputed(alerts: pl.DataFrame, days: Sequence[date]) -> list[int]:
    counts = dict(alerts.filter("network_disputed").group_by("day").len().iter_rows())
    return [counts.get(day, 0) for day in days]

"""A day's alerts, by chain family, with their events and what was quarantined."""

from datetime import date, timedelta

import polars as pl

from quantlab_assets.domain.artifacts.seed_types import ALERT_EVENTS, ALERTS, ALERTS_QUARANTINE
from quantlab_assets.domain.telegram.rules import load_rules
from quantlab_assets.handlers.ingest.alerts import (
    MESSAGES_AT_ONCE,
    DayAlerts,
    alerts_of_days,
    days_at_once,
)
from quantlab_tests.domain.telegram.alerts.chat_log import (
    EVM,
    MINT,
    OTHER_MINT,
    POOL,
    card,
    log,
    said,
)

DAY = date(2025, 11, 7)
PAIR_LINK = f"https://dexscreener.com/solana/{POOL}"


def alerts(messages: pl.DataFrame) -> DayAlerts:
    return alerts_of_days([DAY], messages, load_rules())[DAY]


def test_alerts_are_one_artifact_a_chain_family() -> None:
    found = alerts(log(said(1, f"{MINT} {EVM}"), said(2, EVM)))
    assert [draft.logical_key for draft in found.alerts.drafts] == [
        "day=2025-11-07/chain=evm",
        "day=2025-11-07/chain=solana",
    ]
    assert [draft.table.num_rows for draft in found.alerts.drafts] == [2, 1]
    assert all(draft.table.schema == ALERTS.schema for draft in found.alerts.drafts)


def test_events_and_quarantine_are_one_artifact_each() -> None:
    found = alerts(log(said(1, MINT), said(2, PAIR_LINK)))
    [events], [quarantine] = found.events.drafts, found.quarantine.drafts
    assert (events.logical_key, events.table.schema) == ("day=2025-11-07", ALERT_EVENTS.schema)
    assert quarantine.logical_key == "day=2025-11-07"
    assert quarantine.table.schema == ALERTS_QUARANTINE.schema
    assert found.quarantine.counts == {
        "quarantine_rows": 1,
        "quarantined_pair_address_unresolved": 1,
    }


def test_a_day_of_chatter_publishes_nothing_and_says_what_it_saw() -> None:
    found = alerts(log(said(1, "gm"), said(2, "/gm"), said(3, "", by="Rick")))
    assert (found.alerts.drafts, found.events.drafts, found.quarantine.drafts) == ((), (), ())
    assert found.alerts.counts == {
        "messages_seen": 3,
        "service": 0,
        "ignored_bot": 1,
        "ignored_command": 1,
        "ignored_no_token": 1,
        "ignored": 3,
        "calling": 0,
        "quarantined": 0,
        "alerts": 0,
        "network_disputed": 0,
    }


def test_only_messages_of_the_day_are_its_alerts() -> None:
    rows = log(said(1, MINT, after_s=-43_201), said(2, MINT), said(3, MINT, after_s=43_200))
    found = alerts(rows)
    assert found.alerts.drafts[0].table["alert_message_id"].to_pylist() == [2]


def test_the_next_days_first_minutes_resolve_the_last_calls() -> None:
    late = log(said(1, PAIR_LINK, after_s=43_199))
    next_day = log(
        card(2, MINT, reply_to=1, after_s=43_202), said(3, MINT, after_s=43_300, by="caller_02")
    )
    found = alerts(pl.concat([late, next_day]))
    assert found.alerts.drafts[0].table["alert_message_id"].to_pylist() == [1]
    assert found.alerts.counts["messages_seen"] == 1
    assert alerts(late).alerts.drafts == ()


def test_a_day_comes_to_the_same_whatever_days_it_shares_the_call_with() -> None:
    """Message 2 of one chat stands on two days, as a moved clock or a reused id would have it."""
    day_s = 86_400
    rows = [
        said(1, PAIR_LINK, after_s=43_199),
        card(2, MINT, reply_to=1, after_s=43_202),
        said(2, f"{OTHER_MINT}", after_s=10),
        said(2, f"edited: {EVM}", after_s=10, edited_after_s=day_s),
        said(3, "/gm", after_s=day_s),
        said(4, f"{EVM} {POOL}", after_s=2 * day_s, chat=-5),
        card(5, MINT, reply_to=4, after_s=2 * day_s + 9, chat=-5, more=PAIR_LINK),
        said(6, "0x123456789012345678901234567890123456789", after_s=3 * day_s, by="Rick"),
        said(7, f"{MINT}", after_s=3 * day_s, by=None),
    ]
    days = [DAY + timedelta(days=number) for number in range(5)]
    together = alerts_of_days(days, log(*rows), load_rules())
    assert sum(found.alerts.counts["alerts"] for found in together.values()) == 4
    for day in days:
        assert alerts_of_days([day], log(*rows[::-1]), load_rules()) == {day: together[day]}


def test_many_thin_days_or_one_busy_day_are_extracted_at_once() -> None:
    assert days_at_once([MESSAGES_AT_ONCE + 1, 1]) == 1
    assert days_at_once([MESSAGES_AT_ONCE - 1, 1, 1]) == 2
    assert days_at_once([0] * 365) == 365


def test_cards_that_nothing_else_tells_apart_are_told_apart_by_what_they_say() -> None:
    """One second, one message id, many versions: no order of rows decides which is the first."""
    other_days = [
        card(number, EVM, reply_to=1, after_s=86_400 * (1 + number % 3)) for number in range(50)
    ]
    cards = [
        card(2, MINT, reply_to=1, edited_after_s=1, by=("Rick", "Phanes")[number % 2])
        | {"text": f"Token $X\n💰 USD: $0.00{number + 100}\n{MINT}"}
        for number in range(50)
    ]
    rows = log(said(1, MINT), *cards, *other_days)
    alone = alerts(rows)
    (price,) = alone.alerts.drafts[0].table["card_price_usd"].to_pylist()
    assert price == 0.00101  # of Phanes, the first by name
    days = [DAY + timedelta(days=number) for number in range(-1, 4)]
    for seed in range(3):
        shuffled = rows.sample(fraction=1, shuffle=True, seed=seed)
        assert alerts_of_days(days, shuffled, load_rules())[DAY] == alone

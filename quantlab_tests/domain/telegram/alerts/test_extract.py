"""The rules of docs/alerts.md: what becomes an alert, when it is known, and what is left out."""

from datetime import timedelta
from typing import Any

import base58
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from quantlab_assets.domain.artifacts.seed_types import ALERT_EVENTS, ALERTS, ALERTS_QUARANTINE
from quantlab_assets.domain.errors import IntegrityError
from quantlab_assets.domain.telegram.addresses import judge
from quantlab_assets.domain.telegram.alerts.accounting import Accounting
from quantlab_assets.domain.telegram.frames import table_of
from quantlab_assets.domain.telegram.rules import load_rules
from quantlab_assets.domain.telegram.union import union_messages
from quantlab_tests.domain.telegram.alerts.chat_log import (
    CHAT,
    EVM,
    MINT,
    NOON,
    OTHER_MINT,
    POOL,
    SEEN,
    card,
    extracted,
    log,
    of_one_day,
    only,
    said,
)

PAIR_LINK = f"https://dexscreener.com/solana/{POOL}"


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


class TestCalls:
    def test_a_human_who_names_a_mint_calls_it(self) -> None:
        alert = only(extracted(said(5, f"{MINT} lfg", by=" Big Caller ", by_id="user1")).alerts)
        assert alert["alert_id"] == f"{CHAT}:5:{MINT}"
        assert (alert["alert_ts_utc"], alert["known_ts_utc"]) == (NOON, NOON)
        assert (alert["chain"], alert["token_chain"]) == ("solana", "solana")
        assert (alert["mint"], alert["raw_address"], alert["mint_source"]) == (MINT, MINT, "text")
        assert (alert["caller_name"], alert["caller_name_norm"]) == (" Big Caller ", "big_caller")
        assert alert["caller_id"] == "user1"

    def test_an_evm_address_alone_does_not_tell_its_network(self) -> None:
        alert = only(extracted(said(1, EVM)).alerts)
        assert (alert["chain"], alert["token_chain"]) == ("evm", None)
        assert (alert["mint"], alert["raw_address"]) == (EVM.lower(), EVM)

    def test_a_link_to_a_token_calls_it_and_tells_the_network(self) -> None:
        alert = only(extracted(said(1, "this", links=(f"https://bscscan.com/token/{EVM}",))).alerts)
        assert (alert["mint"], alert["mint_source"]) == (EVM.lower(), "link")
        assert alert["token_chain"] == "bsc"

    def test_an_address_in_the_text_wins_over_the_same_in_a_link(self) -> None:
        alert = only(extracted(said(1, f"https://pump.fun/{MINT} {MINT}")).alerts)
        assert alert["mint_source"] == "text"

    def test_one_message_calls_each_of_its_tokens_once(self) -> None:
        found = extracted(said(1, f"{MINT} {OTHER_MINT} {MINT}"))
        assert sorted(found.alerts["mint"]) == [MINT, OTHER_MINT]
        assert found.accounting.calling == 1

    def test_two_mints_that_begin_alike_are_two_alerts(self) -> None:
        twins = [base58.b58encode(bytes([9] * 31 + [last])).decode() for last in (1, 2)]
        assert twins[0][:8] == twins[1][:8]
        assert extracted(said(1, " ".join(twins))).alerts["alert_id"].n_unique() == 2

    def test_a_feed_and_a_channel_call(self) -> None:
        found = extracted(
            said(1, MINT, by="Wen Presale"), said(2, MINT, by="Alpha", by_id="channel5")
        )
        assert sorted(found.alerts["caller_name"]) == ["Alpha", "Wen Presale"]

    def test_what_a_feed_says_of_the_network_is_kept(self) -> None:
        text = f"New GemPad sale on BSC detected! {EVM}"
        assert only(extracted(said(1, text, by="Wen Presale")).alerts)["token_chain"] == "bsc"
        assert only(extracted(said(1, EVM, by="Wen Presale")).alerts)["token_chain"] is None

    def test_a_caller_without_a_name_goes_by_the_id(self) -> None:
        alert = only(extracted(said(1, MINT, by=None, by_id="user5")).alerts)
        assert alert["caller_name"] == "user5"

    def test_a_call_without_any_sender_is_quarantined(self) -> None:
        found = extracted(said(1, MINT, by=None))
        assert only(found.quarantine)["error_code"] == "missing_sender"
        assert found.alerts.is_empty()

    def test_a_reply_with_an_address_of_its_own_is_a_call(self) -> None:
        found = extracted(said(1, MINT), said(2, OTHER_MINT, reply_to=1), said(3, "in", reply_to=1))
        assert sorted(found.alerts["alert_message_id"]) == [1, 2]

    def test_chats_do_not_mix(self) -> None:
        found = extracted(said(1, PAIR_LINK, chat=1), card(2, MINT, reply_to=1, chat=2))
        assert found.alerts.is_empty()


class TestWhoNeverCalls:
    @pytest.mark.parametrize("bot", ["Rick", "Phanes", "Phanes [Gold]", "Rose", "Maestro"])
    def test_a_bot_never_calls(self, bot: str) -> None:
        found = extracted(said(1, MINT, by=bot))
        assert found.alerts.is_empty()
        assert found.accounting.ignored == {"bot": 1}

    @pytest.mark.parametrize("text", [f"/pnl {MINT}", f"  /th {MINT}", f"/{MINT}"])
    def test_a_command_never_calls(self, text: str) -> None:
        found = extracted(said(1, text), card(2, OTHER_MINT, reply_to=1))
        assert found.alerts.is_empty()
        assert found.accounting.ignored == {"bot": 1, "command": 1}

    def test_a_service_message_never_calls(self) -> None:
        found = extracted(said(1, MINT, service=True))
        assert (found.accounting.service, found.alerts.height) == (1, 0)

    def test_a_bots_card_passed_on_is_no_call(self) -> None:
        found = extracted(said(1, MINT, forwarded_from="Rick"))
        assert found.accounting.ignored == {"bot_forward": 1}

    def test_a_call_passed_on_is_a_call_by_who_passed_it_on(self) -> None:
        alert = only(extracted(said(1, MINT, forwarded_from="channel_01")).alerts)
        assert alert["caller_name"] == "caller_01"

    def test_a_new_bot_in_the_rules_needs_no_new_ingest(self) -> None:
        row = said(1, MINT, by="Rick") | {"sender_kind": "human"}
        assert extracted(row).alerts.is_empty()


class TestBotReplies:
    def test_a_reply_tells_the_token_of_a_pool_link_from_then_on(self) -> None:
        found = extracted(said(1, PAIR_LINK), card(2, MINT, reply_to=1, after_s=7))
        alert = only(found.alerts)
        assert (alert["mint"], alert["mint_source"]) == (MINT, "bot_reply")
        assert (alert["alert_ts_utc"], alert["known_ts_utc"]) == (NOON, NOON + seconds(7))
        assert alert["bot_name"] == "Rick"
        assert (alert["card_price_usd"], alert["card_mcap_usd"]) == (0.0022986, 2_510_000.0)
        assert found.quarantine.is_empty()

    def test_a_reply_tells_the_token_of_a_ticker(self) -> None:
        found = extracted(said(1, "$ZKSL sends"), card(2, MINT, reply_to=1))
        assert only(found.alerts)["mint"] == MINT

    def test_the_first_reply_counts(self) -> None:
        alert = only(
            extracted(
                said(1, "$ZKSL"),
                card(3, MINT, reply_to=1, after_s=2, by="Rick"),
                card(2, MINT, reply_to=1, after_s=1, by="Phanes"),
            ).alerts
        )
        assert (alert["bot_name"], alert["known_ts_utc"]) == ("Phanes", NOON + seconds(1))

    @pytest.mark.parametrize(("after_s", "alerts"), [(0, 1), (300, 1), (301, 0), (-1, 0)])
    def test_a_reply_counts_for_five_minutes(self, after_s: float, alerts: int) -> None:
        found = extracted(said(1, "$ZKSL"), card(2, MINT, reply_to=1, after_s=after_s))
        assert found.alerts.height == alerts

    def test_a_reply_after_midnight_resolves_a_call_before_it(self) -> None:
        late = said(1, PAIR_LINK, after_s=43_199)
        reply = card(2, MINT, reply_to=1, after_s=43_201)
        found = extracted(late, next_day=(reply,))
        assert only(found.alerts)["known_ts_utc"] == NOON + seconds(43_201)
        assert found.accounting.seen == 1
        assert extracted(late).alerts.is_empty()

    def test_a_human_who_answers_resolves_nothing(self) -> None:
        found = extracted(said(1, "$ZKSL"), card(2, MINT, reply_to=1, by="caller_02"))
        assert only(found.alerts)["alert_message_id"] == 2

    def test_a_ticker_nobody_resolves_is_ignored_for_that(self) -> None:
        assert extracted(said(1, "$ZKSL")).accounting.ignored == {"ticker_unresolved": 1}

    def test_a_reply_that_only_chats_is_no_call_even_if_a_bot_answers(self) -> None:
        found = extracted(
            said(1, MINT), said(2, "$ZKSL again", reply_to=1), card(3, MINT, reply_to=2)
        )
        assert only(found.alerts)["alert_message_id"] == 1

    def test_bots_that_disagree_resolve_nothing(self) -> None:
        found = extracted(
            said(1, "$ZKSL"),
            card(2, MINT, reply_to=1),
            card(3, OTHER_MINT, reply_to=1, by="Phanes"),
        )
        assert found.alerts.is_empty()
        assert only(found.quarantine)["error_code"] == "ambiguous_address"

    def test_a_reply_tells_the_network_of_an_address(self) -> None:
        alert = only(
            extracted(said(1, EVM), card(2, EVM, reply_to=1, more="🌐 BNB @ Pancakeswap V2")).alerts
        )
        assert (alert["token_chain"], alert["mint_source"]) == ("bsc", "text")
        assert alert["known_ts_utc"] == NOON

    def test_replies_that_disagree_on_the_network_tell_none(self) -> None:
        found = extracted(
            said(1, EVM),
            card(2, EVM, reply_to=1, more="└ #BSC | 1d"),
            card(3, EVM, reply_to=1, more="└ #BASE | 1d", by="Phanes"),
        )
        assert only(found.alerts)["token_chain"] is None

    def test_a_network_of_another_family_is_not_believed(self) -> None:
        found = extracted(said(1, EVM), card(2, EVM, reply_to=1, more="└ #SOL | 1d"))
        assert only(found.alerts)["token_chain"] is None

    def test_a_reply_about_another_token_says_nothing_of_this_one(self) -> None:
        alert = only(extracted(said(1, MINT), card(2, OTHER_MINT, reply_to=1)).alerts)
        assert (alert["mint"], alert["bot_name"], alert["card_price_usd"]) == (MINT, None, None)

    def test_a_pool_called_as_if_it_were_a_token_is_seen_through(self) -> None:
        reply = card(2, MINT, reply_to=1, links=(PAIR_LINK.lower(),))
        alert = only(extracted(said(1, POOL), reply).alerts)
        assert (alert["mint"], alert["mint_source"]) == (MINT, "bot_reply")

    def test_a_card_that_names_two_tokens_tells_none(self) -> None:
        found = extracted(said(1, "$ZKSL"), card(2, MINT, reply_to=1, more=OTHER_MINT))
        assert found.alerts.is_empty()
        assert found.accounting.ignored == {"bot": 1, "ticker_unresolved": 1}

    def test_the_text_of_a_card_wins_over_its_links(self) -> None:
        links = (f"https://solscan.io/token/{OTHER_MINT}",)
        found = extracted(said(1, "$ZKSL"), card(2, MINT, reply_to=1, links=links))
        assert only(found.alerts)["mint"] == MINT

    def test_an_answer_to_a_bots_card_passed_on_makes_no_call_of_it(self) -> None:
        found = extracted(said(1, "$ZKSL", forwarded_from="Rick"), card(2, MINT, reply_to=1))
        assert found.alerts.is_empty()
        assert found.accounting.ignored == {"bot": 1, "bot_forward": 1}

    def test_an_abbreviated_address_is_read_from_the_links_beside_it(self) -> None:
        reply = said(
            2,
            "├ ore...ybcp\n└ #SOL",
            after_s=1,
            by="Phanes",
            reply_to=1,
            links=(
                f"https://t.me/phanesgoldbot?start=price_{OTHER_MINT}",
                f"https://solscan.io/account/{POOL}",
                PAIR_LINK,
            ),
        )
        assert only(extracted(said(1, "$ORE"), reply).alerts)["mint"] == OTHER_MINT

    def test_a_card_that_was_refreshed_named_the_token_since_its_posting(self) -> None:
        reply = card(2, MINT, reply_to=1, edited_after_s=900)
        alert = only(extracted(said(1, "$ZKSL"), reply).alerts)
        assert (alert["known_ts_utc"], alert["known_basis"]) == (NOON + seconds(1), "bot_reply")
        assert alert["card_leaks"] is True

    @pytest.mark.parametrize("before", ["searching ...", OTHER_MINT])
    def test_a_card_that_named_none_or_another_before_is_known_since_its_edit(
        self, before: str
    ) -> None:
        versions = (
            said(2, before, by="Rick", after_s=1, reply_to=1),
            card(2, MINT, reply_to=1, edited_after_s=9),
        )
        found = extracted(said(1, "$ZKSL"), *versions)
        if before == OTHER_MINT:  # bots that answer with different tokens resolve nothing
            assert found.alerts.is_empty()
        else:
            assert only(found.alerts)["known_ts_utc"] == NOON + seconds(9)

    def test_a_card_also_exported_before_its_edit_is_known_since_its_posting(self) -> None:
        versions = (
            card(2, MINT, reply_to=1, edited_after_s=900, more="refreshed"),
            card(2, MINT, reply_to=1),
        )
        alert = only(extracted(said(1, "$ZKSL"), *versions).alerts)
        assert (alert["known_ts_utc"], alert["card_leaks"]) == (NOON + seconds(1), False)


class TestEdits:
    def test_an_address_that_came_with_an_edit_is_known_from_the_edit_on(self) -> None:
        found = extracted(said(1, "soon"), said(1, f"soon {MINT}", edited_after_s=60))
        alert = only(found.alerts)
        assert (alert["alert_ts_utc"], alert["known_ts_utc"]) == (NOON, NOON + seconds(60))
        assert found.accounting.seen == 1

    def test_the_earliest_version_with_the_address_counts(self) -> None:
        found = extracted(
            said(1, f"{MINT} again", edited_after_s=90),
            said(1, f"{MINT} now", edited_after_s=60),
            said(1, "soon"),
        )
        assert only(found.alerts)["known_ts_utc"] == NOON + seconds(60)

    def test_an_address_edited_away_stays_called(self) -> None:
        found = extracted(said(1, MINT), said(1, "deleted", edited_after_s=60))
        assert only(found.alerts)["known_ts_utc"] == NOON

    @pytest.mark.parametrize("before", ["telegram_json", "telegram_html"])
    def test_what_replaced_another_text_in_html_is_known_when_it_was_first_seen(
        self, before: str
    ) -> None:
        earlier = SEEN - timedelta(days=9)
        found = extracted(
            said(1, "soon", source=before, seen=earlier), said(1, MINT, source="telegram_html")
        )
        alert = only(found.alerts)
        assert (alert["alert_ts_utc"], alert["known_ts_utc"]) == (NOON, SEEN)

    def test_what_several_html_exports_show_is_known_since_the_first_of_them(self) -> None:
        ago = [SEEN - timedelta(days=days) for days in (9, 5, 0)]
        found = extracted(
            *(
                said(1, text, source="telegram_html", seen=seen)
                for text, seen in zip(("soon", MINT, MINT), ago, strict=True)
            )
        )
        assert only(found.alerts)["known_ts_utc"] == ago[1]

    def test_clocks_that_disagree_make_nothing_known_before_its_posting(self) -> None:
        """An edit dated before the message, and an export read by a machine whose clock is late."""
        edited = extracted(said(1, "soon"), said(1, MINT, edited_after_s=-60))
        assert only(edited.alerts)["known_ts_utc"] == NOON
        early = [NOON - timedelta(days=days) for days in (2, 1)]
        shown = extracted(
            said(1, "soon", source="telegram_html", seen=early[0]),
            said(1, MINT, source="telegram_html", seen=early[1]),
        )
        assert only(shown.alerts)["known_ts_utc"] == NOON

    def test_what_a_bot_answered_with_is_known_before_an_edit_brings_it(self) -> None:
        edited = said(1, MINT, edited_after_s=900)
        alert = only(extracted(said(1, "$ZKSL"), edited, card(2, MINT, reply_to=1)).alerts)
        assert (alert["known_ts_utc"], alert["mint_source"]) == (
            NOON + timedelta(seconds=1),
            "bot_reply",
        )
        other = card(3, OTHER_MINT, reply_to=1, by="Phanes")
        disputed = extracted(said(1, "$ZKSL"), edited, card(2, MINT, reply_to=1), other)
        alert = only(disputed.alerts)
        assert (alert["known_ts_utc"], alert["mint_source"]) == (
            NOON + timedelta(seconds=900),
            "text",
        )

    @pytest.mark.parametrize("bot_message", [2, 8])
    @pytest.mark.parametrize("edited_after_s", [None, 60])
    def test_an_answer_of_the_same_second_was_not_there_before_the_call(
        self, edited_after_s: float | None, bot_message: int
    ) -> None:
        """Telegram tells whole seconds; the message that names its token itself is its source."""
        call = said(5, MINT, edited_after_s=edited_after_s)
        answer = card(bot_message, MINT, reply_to=5, after_s=edited_after_s or 0)
        alert = only(extracted(said(5, "$ZKSL"), call, answer).alerts)
        assert (alert["known_ts_utc"], alert["mint_source"]) == (
            NOON + seconds(edited_after_s or 0),
            "text",
        )
        assert alert["bot_name"] == "Rick"

    def test_an_unedited_text_refutes_another_in_html_of_the_same_hour(self) -> None:
        found = extracted(said(1, "soon"), said(1, MINT, source="telegram_html"))
        assert only(found.alerts)["known_ts_utc"] == SEEN

    def test_what_html_shows_first_stood_from_the_posting_on(self) -> None:
        found = extracted(
            said(1, MINT, source="telegram_html", seen=SEEN - timedelta(days=9)),
            said(1, f"sold {MINT}", source="telegram_html"),
            said(1, "gone", edited_after_s=7200),
        )
        assert only(found.alerts)["known_ts_utc"] == NOON

    def test_json_beside_html_makes_no_call_later(self) -> None:
        found = extracted(said(1, MINT, edited_after_s=60), said(1, MINT, source="telegram_html"))
        alert = only(found.alerts)
        assert (alert["known_ts_utc"], alert["known_basis"]) == (NOON, "unproven_edit")

    def test_a_command_edited_into_a_call_is_a_call_from_then_on(self) -> None:
        found = extracted(said(1, f"/pnl {MINT}"), said(1, MINT, edited_after_s=60))
        assert only(found.alerts)["known_ts_utc"] == NOON + seconds(60)


class TestEvents:
    def test_a_call_its_edit_and_the_answers_are_events(self) -> None:
        found = extracted(
            said(1, MINT),
            said(1, f"{MINT} !", edited_after_s=60),
            card(2, MINT, reply_to=1),
            card(3, OTHER_MINT, reply_to=1, by="Phanes"),
        )
        events = found.events.sort("event_ts_utc")
        assert events["event_kind"].to_list() == ["call", "bot_reply", "edit"]
        assert events["bot_message_id"].to_list() == [None, 2, None]
        assert events["alert_id"].unique().to_list() == [f"{CHAT}:1:{MINT}"]


class TestQuarantine:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            (PAIR_LINK, "pair_address_unresolved"),
            (f"https://gempad.app/presale/{EVM}", "pair_address_unresolved"),
            (f"https://bscscan.com/address/{EVM}", "ambiguous_address"),
            ("0x6d665078d54ABBa0B328ECCDEB8D6d07A741CfbE", "bad_checksum"),
            (MINT + "gambled", "invalid_mint_address"),
            (MINT.lower(), "invalid_mint_address"),
            ("0х" + EVM[2:], "invalid_mint_address"),
        ],
    )
    def test_what_looks_like_a_call_and_cannot_be_trusted(self, text: str, code: str) -> None:
        found = extracted(said(1, text))
        row = only(found.quarantine)
        assert (row["chat_id"], row["message_id"], row["ts_utc"]) == (CHAT, 1, NOON)
        assert (row["error_code"], row["text"], row["sender_name"]) == (code, text, "caller_01")
        assert (found.accounting.quarantined, found.alerts.height) == (1, 0)

    def test_a_broken_address_is_told_even_beside_a_good_one(self) -> None:
        found = extracted(said(1, f"{MINT} {EVM[:-1]}"))
        assert only(found.quarantine)["error_code"] == "invalid_mint_address"
        assert (found.accounting.calling, found.accounting.quarantined) == (1, 0)

    def test_a_pool_link_beside_the_token_is_no_reason_for_doubt(self) -> None:
        found = extracted(said(1, f"{MINT} {PAIR_LINK}"))
        assert (found.alerts.height, found.quarantine.height) == (1, 0)

    def test_a_lower_cased_pool_link_is_never_a_token(self) -> None:
        found = extracted(said(1, PAIR_LINK.lower()))
        assert found.alerts.is_empty()
        assert only(found.quarantine)["error_code"] == "pair_address_unresolved"


WRAPPED_SOL = "So11111111111111111111111111111111111111112"
USDC_ON_BASE = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"


OTHER_EVM = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"


def networks(*rows: dict[str, Any]) -> dict[str, str | None]:
    return dict(extracted(*rows).alerts.select("mint", "token_chain").iter_rows())


class TestNetworks:
    @pytest.mark.parametrize(
        ("text", "network"),
        [
            ("New gem on Base\n{}", "base"),
            ("live on the BNB chain: {}", "bsc"),
            ("BSC: {}", "bsc"),
            ("[ETH] {}", "ethereum"),
            ("Polygon CA - {}", "polygon"),
            ("#ETH {}", "ethereum"),
            ("{} (Base)", "base"),
            ("{} | avax", "avalanche"),
            ("chain: Sonic\n{}", "sonic"),
            ("chainId=8453 {}", "base"),
            ("{} BSC链", "bsc"),
            ("在BSC链 {}", "bsc"),
            ("core chain {}", "core"),
            ("🟦 Base 🟦\n\n{}", "base"),
            ("BEP-20\n{}", "bsc"),
            ("Contract (Base):\n{}", "base"),
            ("Ethereum contract address:\n{}", "ethereum"),
            ("Network – Linea\n{}", "linea"),
            ("next arbitrum gem\n\n{}", "arbitrum"),
            ("https://neo.bullx.io/terminal?chainId=56&address={}", "bsc"),
            (f"https://dexscreener.com/base/{OTHER_EVM}\n{{}}", "base"),
            ("https://basescan.org/address/{}\nCA {}", "base"),
            ("look https://unheard-of.example/bsc/{} {}", "bsc"),
            ("{}", None),
            ("$BASE {}", None),
            ("$ETH\n{}", None),
            ("sold my ETH\n{}", None),
            ("degen\n{}", None),
            ("the core team knows {}", None),
            ("hype! {} mode on", None),
            ("WETH pair {}", None),
            ("on sol {}", None),
        ],
    )
    def test_words_and_links_beside_an_address_tell_its_network(
        self, text: str, network: str | None
    ) -> None:
        found = extracted(said(1, text.replace("{}", EVM)))
        assert only(found.alerts)["token_chain"] == network
        assert found.network_disputed == 0

    @pytest.mark.parametrize(
        "text",
        [
            f"#ETH on Base {EVM}",
            f"BSC: {EVM} https://dexscreener.com/base/{OTHER_EVM}",
            f"{EVM} https://bscscan.com/token/{EVM} https://basescan.org/token/{EVM}",
            f"on Base {EVM}\nhttps://etherscan.io/address/{EVM}",
        ],
    )
    def test_what_contradicts_itself_tells_none_and_is_counted(self, text: str) -> None:
        found = extracted(said(1, text))
        assert only(found.alerts)["token_chain"] is None
        assert found.network_disputed == 1

    def test_a_card_that_contradicts_the_message_tells_none(self) -> None:
        found = extracted(said(1, f"BSC: {EVM}"), card(2, EVM, reply_to=1, more="└ #BASE | 1d"))
        assert (only(found.alerts)["token_chain"], found.network_disputed) == (None, 1)

    def test_each_line_speaks_of_its_own_address(self) -> None:
        listed = said(1, f"BSC: {EVM}\nBASE: {OTHER_EVM}")
        assert networks(listed) == {EVM.lower(): "bsc", OTHER_EVM: "base"}

    def test_a_link_that_names_one_of_two_tokens_speaks_of_it_alone(self) -> None:
        links = (f"https://bscscan.com/token/{EVM}", f"https://basescan.org/address/{OTHER_EVM}")
        found = networks(said(1, f"{EVM} {OTHER_EVM}", links=links))
        assert found == {EVM.lower(): "bsc", OTHER_EVM: "base"}

    def test_a_solana_token_needs_no_word_and_heeds_none(self) -> None:
        assert networks(said(1, f"on Base BSC: {MINT}")) == {MINT: "solana"}


class TestNoTokens:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (f"swap your {WRAPPED_SOL} first", "quote_token"),
            (f"USDC {USDC_ON_BASE.lower()} $X", "quote_token"),
            (f"https://solscan.io/token/{WRAPPED_SOL}", "quote_token"),
            (f"https://dexscreener.com/solana/{WRAPPED_SOL}", "quote_token"),
            (f"https://jup.ag/swap?sell={MINT}&buy={WRAPPED_SOL}", "quote_token"),
            (f"https://raydium.io/swap/?inputMint={MINT}&outputMint=sol", "quote_token"),
            (f"{TOKEN_PROGRAM} and {WRAPPED_SOL}", "quote_token"),
            (f"locked by {TOKEN_PROGRAM}", "program"),
            (f"https://solscan.io/account/{TOKEN_PROGRAM}", "program"),
            ("burnt: 0x000000000000000000000000000000000000dEaD", "program"),
            ("0x" + "0" * 40, "program"),
            ("1" * 32, "program"),
        ],
    )
    def test_what_others_are_bought_with_and_programs_are_ignored_for_that(
        self, text: str, reason: str
    ) -> None:
        found = extracted(said(1, text))
        assert found.accounting.ignored == {reason: 1}
        assert found.alerts.is_empty()
        assert found.quarantine.is_empty()

    @pytest.mark.parametrize("other", [WRAPPED_SOL, TOKEN_PROGRAM, "0x" + "0" * 40])
    def test_a_token_beside_one_is_called_alone(self, other: str) -> None:
        found = extracted(said(1, f"{other} {MINT} {other}"))
        assert only(found.alerts)["mint"] == MINT
        assert found.quarantine.is_empty()

    def test_a_card_that_lists_one_names_its_token_all_the_same(self) -> None:
        found = extracted(said(1, "$ZKSL"), card(2, MINT, reply_to=1, more=WRAPPED_SOL))
        assert only(found.alerts)["mint"] == MINT

    def test_all_in_the_rules_are_addresses(self) -> None:
        for address in load_rules().no_tokens:
            assert judge(address).address == address


def test_a_day_without_messages_is_empty_and_adds_up() -> None:
    found = extracted()
    assert (found.alerts.height, found.accounting.seen) == (0, 0)
    assert table_of(found.alerts, ALERTS).schema == ALERTS.schema
    assert table_of(found.events, ALERT_EVENTS).schema == ALERT_EVENTS.schema
    assert table_of(found.quarantine, ALERTS_QUARANTINE).schema == ALERTS_QUARANTINE.schema


def test_accounting_that_does_not_add_up_is_an_error() -> None:
    with pytest.raises(IntegrityError, match="2 messages seen, 1 accounted for"):
        Accounting(seen=2, service=1, ignored={}, calling=0, quarantined=0)


def test_right_to_left_marks_and_emoji_do_not_hide_or_change_a_mint() -> None:
    assert only(extracted(said(1, f"\u202e{MINT}\u200f💀")).alerts)["mint"] == MINT


TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            "gm",
            "$ZKSL",
            MINT,
            OTHER_MINT,
            EVM,
            EVM.lower(),
            MINT.lower(),
            PAIR_LINK,
            PAIR_LINK.lower(),
            f"/pnl {MINT}",
            f"https://pump.fun/{MINT}",
            f"https://bscscan.com/address/{EVM}",
            "0x" + "0" * 40,
            "🌐 BNB @ x\nUpdated 99:99 @ 31-02 UTC " + EVM,
        ]
    ),
    st.text(max_size=60),
)
MESSAGES = st.builds(
    said,
    st.integers(1, 6),
    TEXTS,
    after_s=st.sampled_from([0.0, 1.0, 299.0, 600.0]),
    by=st.sampled_from(["caller_01", "Rick", "Phanes", "Wen Presale", None, " "]),
    by_id=st.sampled_from([None, "user1", "channel2"]),
    reply_to=st.sampled_from([None, 1, 2, 3]),
    edited_after_s=st.sampled_from([None, 700.0]),
    links=st.sampled_from([(), (PAIR_LINK,), (f"https://solscan.io/token/{MINT}",)]),
    chat=st.sampled_from([1, -2]),
    service=st.sampled_from([False, False, True]),
    forwarded_from=st.sampled_from([None, "Rick", "someone"]),
    source=st.sampled_from(["telegram_json", "telegram_html"]),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(MESSAGES, max_size=12), st.lists(MESSAGES, max_size=3), st.randoms())
def test_whatever_a_chat_holds(
    rows: list[dict[str, Any]], later: list[dict[str, Any]], random: Any
) -> None:
    messages, lookahead = union_messages([log(*rows)]), union_messages([log(*later)])
    found = of_one_day(messages, lookahead)

    told = found.accounting
    assert told.seen == messages.select("chat_id", "message_id").n_unique()
    calls = found.alerts.select("alert_chat_id", "alert_message_id").n_unique()
    assert told.calling == (calls if found.alerts.height else 0)

    assert found.alerts["alert_id"].is_unique().all()
    texts = pl.concat([messages, lookahead]).select("text", "entities_json")
    written = "\n".join(texts.unpivot()["value"].to_list())
    for alert in found.alerts.iter_rows(named=True):
        assert alert["raw_address"] in written
        if alert["chain"] == "solana":
            assert len(base58.b58decode(alert["mint"])) == 32
            assert alert["mint"] == alert["raw_address"]
        else:
            assert alert["mint"] == alert["raw_address"].lower() != "0x" + "0" * 40
        assert alert["known_ts_utc"] >= alert["alert_ts_utc"]
        assert alert["caller_name"].strip() not in ("Rick", "Phanes", "")

    shuffled = list(range(messages.height)) * 2
    random.shuffle(shuffled)
    again = of_one_day(union_messages([messages[shuffled]]), lookahead)
    for one, other in zip(
        (found.alerts, found.events, found.quarantine, found.outcomes),
        (again.alerts, again.events, again.quarantine, again.outcomes),
        strict=True,
    ):
        assert_frame_equal(one, other)
    reordered = of_one_day(messages[list(range(messages.height))[::-1]], lookahead[::-1])
    assert_frame_equal(reordered.alerts, found.alerts)
    assert_frame_equal(reordered.events, found.events)

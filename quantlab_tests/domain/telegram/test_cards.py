"""What bots' cards say: figures, network, and the time they speak of."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quantlab_assets.domain.telegram.cards import card_figures, money
from quantlab_assets.domain.telegram.rules import load_rules
from quantlab_tests.domain.telegram.alerts.chat_log import NOON, log, only, said

PHANES = (
    "🔸 Fund ($X)\n├ 0x..\n└ #BSC | 37d\n ├ USD   $0.230 (-29%)\n ├ MC    $223K\n ├ Vol   $1.2M\n"
)
RICK = "Fund $X\n🌐 BNB @ Pancakeswap V2\n💰 USD: $0.0022986\n💎 FDV: $2.51M ⇨ 3.1M [5h]\n"


def figures(text: str, **other: Any) -> dict[str, Any]:
    return only(card_figures(log(said(1, text, by="Rick", **other)), load_rules()))


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("2.51M", 2_510_000.0),
        ("223K", 223_000.0),
        ("1.2B", 1_200_000_000.0),
        ("0.0002247", 0.0002247),
        ("1,234.5", 1234.5),
        ("0.0₅12", 0.0000012),
        ("1.2.3", None),
    ],
)
def test_amounts_are_exact(text: str, amount: float | None) -> None:
    assert money(text) == amount


@pytest.mark.parametrize(
    ("text", "price", "mcap", "network"),
    [(PHANES, 0.23, 223_000.0, "bsc"), (RICK, 0.0022986, 2_510_000.0, "bsc")],
    ids=["phanes", "rick"],
)
def test_price_market_cap_and_network_are_read(
    text: str, price: float, mcap: float, network: str
) -> None:
    row = figures(text)
    found = (row["card_price_usd"], row["card_mcap_usd"], row["card_network"])
    assert found == (price, mcap, network)


def test_a_card_never_refreshed_speaks_of_its_posting() -> None:
    row = figures(RICK)
    assert (row["card_asof_ts_utc"], row["card_leaks"]) == (NOON, False)


def test_an_edit_time_is_what_a_card_speaks_of() -> None:
    row = figures(RICK, edited_after_s=900)
    assert (row["card_asof_ts_utc"], row["card_leaks"]) == (NOON + timedelta(minutes=15), True)


@pytest.mark.parametrize(
    ("stamp", "asof"),
    [
        ("Updated at 1:56 PM UTC ...", datetime(2025, 11, 7, 13, 56, tzinfo=UTC)),
        ("Updated at 1:56 AM UTC ...", datetime(2025, 11, 8, 1, 56, tzinfo=UTC)),
        ("12:27 PM · 11/7 UTC", datetime(2025, 11, 7, 12, 27, tzinfo=UTC)),
        ("♻️ Updated 08:33 @ 08-11 UTC", datetime(2025, 11, 8, 8, 33, tzinfo=UTC)),
        ("♻️ Updated 08:33 @ 02-01 UTC", datetime(2026, 1, 2, 8, 33, tzinfo=UTC)),
    ],
)
def test_a_printed_refresh_time_is_read(stamp: str, asof: datetime) -> None:
    row = figures(RICK + stamp)
    assert (row["card_asof_ts_utc"], row["card_leaks"]) == (asof, True)


@pytest.mark.parametrize("stamp", ["Updated 25:99 @ 08-11 UTC", "10:27 AM · 13/45 UTC"])
def test_a_time_that_does_not_exist_is_passed_over(stamp: str) -> None:
    assert figures(RICK + stamp)["card_asof_ts_utc"] == NOON

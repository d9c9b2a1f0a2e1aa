"""Every message of the sample export, against a table checked by hand (`golden_sample.csv`)."""

from importlib.resources import as_file, files
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from quantlab_assets.adapters.telegram.inbox import TelegramInbox
from quantlab_assets.domain.telegram.alerts.extract import Extraction, extract_alerts

GOLDEN = Path(__file__).with_name("golden_sample.csv")


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> list[Extraction]:
    sample = files("quantlab_assets") / "sample" / "telegram"
    with as_file(sample) as folder:
        spool = tmp_path_factory.mktemp("spool")
        inbox = TelegramInbox(folder, spool, only={"result.json"})
        [export] = inbox.exports()
        messages = pl.concat(inbox.read(day)[0].messages for day in export.days)
    at = pl.col("ts_utc")
    return list(
        extract_alerts(
            export.days,
            messages.with_columns(at.dt.date().alias("day")),
            messages.with_columns(at.dt.date().dt.offset_by("-1d").alias("day")),
        ).values()
    )


def test_every_message_is_what_the_hand_checked_table_says(days: list[Extraction]) -> None:
    expected = pl.read_csv(GOLDEN, schema_overrides={"card_leaks": pl.Boolean})
    outcomes = pl.concat([day.outcomes for day in days])
    alerts = pl.concat([day.alerts for day in days])
    refused = pl.concat([day.quarantine for day in days])
    times = alerts.select(
        pl.col("alert_message_id").alias("message_id"),
        "chain",
        "token_chain",
        "mint",
        "mint_source",
        _iso("known_ts_utc"),
        "bot_name",
        _iso("card_asof_ts_utc"),
        "card_leaks",
        _iso("alert_ts_utc"),
    )
    found = (
        outcomes.join(refused.select("message_id", "error_code"), on="message_id", how="left")
        .join(times, on="message_id", how="left")
        .with_columns(pl.coalesce("reason", "error_code").alias("why"))
        .sort("message_id")
    )
    assert_frame_equal(
        found.select(expected.columns[:1] + expected.columns[2:]), expected.drop("ts_utc")
    )
    called = found.join(expected, on="message_id").filter(pl.col("outcome") == "calling")
    assert called["alert_ts_utc"].to_list() == called["ts_utc"].to_list()


def test_the_accounting_of_the_sample_adds_up(days: list[Extraction]) -> None:
    assert sum(day.accounting.seen for day in days) == 76
    assert sum(day.accounting.service for day in days) == 1
    assert sum(day.accounting.calling for day in days) == 29
    assert sum(day.accounting.quarantined for day in days) == 6


def test_the_figures_of_a_card_are_kept_in_full(days: list[Extraction]) -> None:
    alerts = pl.concat([day.alerts for day in days])
    ore = alerts.filter(pl.col("alert_message_id") == 147875).row(0, named=True)
    assert (ore["card_price_usd"], ore["card_mcap_usd"]) == (355.1, 146_800_000.0)
    assert ore["raw_address"] == "oreoU2P8bN6jkk3jbaiVxYnG1dCXcYxwhwyK9jSybcp"


def test_two_identical_feed_messages_are_two_alerts(days: list[Extraction]) -> None:
    alerts = pl.concat([day.alerts for day in days])
    feed = alerts.filter(pl.col("caller_name_norm") == "wen_presale")
    assert feed["alert_id"].to_list() == [
        "1976645587:147015:0x2338c5ad75967dac2ff988fc3488109ec2406dfe",
        "1976645587:147016:0x2338c5ad75967dac2ff988fc3488109ec2406dfe",
    ]


def _iso(column: str) -> pl.Expr:
    return pl.col(column).dt.strftime("%Y-%m-%dT%H:%M:%SZ")

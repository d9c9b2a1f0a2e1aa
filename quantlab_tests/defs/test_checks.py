"""Asset checks over small lakes: each sees what it is for, and names the day."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from quantlab_assets.definitions import build_defs
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.records import (
    ArtifactDraft,
    PartitionOutput,
    PartitionRef,
    Provenance,
)
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.handlers.data_quality import (
    Quality,
    accounting,
    counted_days,
    coverage,
    duplicates,
    freshness,
    poor_slices,
    quarantine_share,
)
from quantlab_assets.handlers.publish_partition import publish_partition
from quantlab_tests.defs.watched import FIRST, LATER, export
from quantlab_tests.domain.telegram.alerts.chat_log import MINT
from quantlab_tests.in_memory.artifact_store import InMemoryArtifactStore

DAY = "2025-11-03"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def store() -> InMemoryArtifactStore:
    return InMemoryArtifactStore(TypeRegistry())


def hold(store: Any, asset: str, partition: str, *drafts: ArtifactDraft) -> None:
    publish_partition(
        store,
        PartitionRef(asset, partition),
        PartitionOutput(drafts),
        inputs=lambda: (),
        provenance=Provenance("test", "1"),
    )


def draft(artifact_type: str, key: str, *rows: dict[str, Any], **tags: str) -> ArtifactDraft:
    """A draft of rows; a column that is left out is null, or harmless."""
    declared = TypeRegistry().get(artifact_type)
    frame = pl.DataFrame(
        [
            {
                field.name: row.get(
                    field.name, None if field.nullable else HARMLESS[str(field.type)]
                )
                for field in declared.schema
            }
            for row in rows
        ],
        schema=pl.DataFrame(declared.empty()).schema,
    )
    return ArtifactDraft(artifact_type, key, frame.to_arrow(), tags=tags)


def message(number: int) -> dict[str, Any]:
    return {
        "chat_id": 1,
        "message_id": number,
        "ts_utc": NOON,
        "sender_kind": "human",
        "entities_json": "[]",
        "ingest_source": "telegram_json",
    }


def call(number: int) -> dict[str, Any]:
    return {
        "alert_ts_utc": NOON,
        "known_ts_utc": NOON,
        "known_basis": "posted",
        "caller_key": "name:1:caller_01",
        "chain": "solana",
        "mint": MINT,
        "alert_chat_id": 1,
        "alert_message_id": number,
        "alert_id": f"1:{number}:{MINT}",
        "mint_source": "text",
        "raw_address": MINT,
    }


def covered(number: int, grade: str, reason: str = "ok") -> dict[str, Any]:
    return {
        "alert_id": f"1:{number}:{MINT}",
        "chain": "solana",
        "mint": MINT,
        "horizon_h": 24,
        "interval_s": 60,
        "expected_candles": 1440,
        "actual_candles": 1440,
        "traded_candles": 1440,
        "coverage_ratio": 1.0,
        "grade": grade,
        "reason": reason,
    }


def told(**parts: int) -> dict[str, dict[str, int]]:
    empty = dict.fromkeys(("messages_seen", "service", "ignored", "calling", "quarantined"), 0)
    return {DAY: {**empty, **parts}}


def failing(quality: Quality) -> list[str]:
    return [finding.partition for finding in quality.failing]


def three_messages(store: Any) -> None:
    """One that calls, one that is quarantined, one that is neither."""
    key = f"day={DAY}/bucket=6"
    messages = draft("telegram_messages", key, message(1), message(2), message(3))
    hold(store, "telegram_messages", DAY, messages)
    hold(store, "alerts", DAY, draft("alerts_v1", f"day={DAY}/chain=solana", call(1)))
    refused = {**message(2), "error_code": "bad_checksum", "error_reason": "no"}
    hold(store, "alerts_quarantine", DAY, draft("alerts_quarantine", f"day={DAY}", refused))


def test_messages_that_are_old_are_not_fresh(store):
    three_messages(store)
    assert freshness(store, NOON + timedelta(days=3)).passed
    late = freshness(store, NOON + timedelta(days=3, seconds=1))
    assert (failing(late), late.figures["newest_message"]) == ([DAY], NOON.isoformat())


def test_an_empty_lake_passes_everything(store):
    for quality in (
        freshness(store, NOON),
        accounting(store, {}),
        duplicates(store, "alert_events", "event_ts_utc", ["alert_key"]),
        quarantine_share(store),
        poor_slices(store),
        coverage(store),
        counted_days(store),
    ):
        assert quality.passed


def test_messages_that_are_all_accounted_for_pass(store):
    three_messages(store)
    assert accounting(store, told(messages_seen=3, ignored=1, calling=1, quarantined=1)).passed


def test_alerts_that_were_made_without_their_quarantine_pass(store):
    messages = draft("telegram_messages", f"day={DAY}/bucket=6", message(1), message(2))
    hold(store, "telegram_messages", DAY, messages)
    hold(store, "alerts", DAY, draft("alerts_v1", f"day={DAY}/chain=solana", call(1)))
    told_of_both = told(messages_seen=2, calling=1, quarantined=1)
    assert accounting(store, told_of_both).passed
    hold(store, "alerts_quarantine", DAY)
    assert failing(accounting(store, told_of_both)) == [DAY]


@pytest.mark.parametrize(
    "parts",
    [
        {"messages_seen": 3, "calling": 1, "quarantined": 1},  # one is missing
        {"messages_seen": 4, "ignored": 2, "calling": 1, "quarantined": 1},  # the lake has 3
        {"messages_seen": 3, "ignored": 2, "quarantined": 1},  # one calls, in the lake
        {"messages_seen": 3, "ignored": 2, "calling": 1},  # one is quarantined, in the lake
    ],
)
def test_a_day_that_does_not_add_up_is_named(store, parts):
    three_messages(store)
    assert failing(accounting(store, told(**parts))) == [DAY]


def test_a_day_of_which_nothing_was_told_is_counted_and_not_judged(store):
    three_messages(store)
    quality = accounting(store, {})
    assert (quality.passed, quality.figures["days_untold"]) == (True, 1)


def test_rows_that_are_there_twice_are_found(store):
    three_messages(store)
    assert duplicates(store, "alerts", "alert_ts_utc", ["alert_id"]).passed
    twice = duplicates(store, "telegram_messages", "ts_utc", ["chat_id"])
    assert [(each.partition, each.figures) for each in twice.failing] == [(DAY, {"duplicates": 2})]


def test_a_day_with_much_in_quarantine_is_named(store):
    three_messages(store)
    assert failing(quarantine_share(store)) == [DAY]
    assert quarantine_share(store, most=0.5).passed


def test_a_day_of_mostly_poor_slices_is_named(store):
    def slice_of(hour: int, grade: str) -> ArtifactDraft:
        key = f"token={MINT}/res=1m/from=2025-11-03T{hour:02}:00:00Z/to=2025-11-04T00:00:00Z"
        row = {"token_address": MINT, "chain": "solana", "interval_s": 60, "ts": NOON}
        return draft("ohlcv_slice_v2", key, row, grade=grade)

    hold(store, "ohlcv_slices", DAY, slice_of(1, "poor"), slice_of(2, "good"))
    assert poor_slices(store).passed
    hold(store, "ohlcv_slices", DAY, slice_of(1, "poor"), slice_of(2, "poor"), slice_of(3, "good"))
    assert failing(poor_slices(store)) == [DAY]


def test_a_day_of_uncovered_calls_is_named_and_one_that_has_not_passed_is_not(store):
    key = f"day={DAY}"
    rows = [covered(n, "good") for n in range(4)]
    missing = covered(5, "none", "no_slice")
    hold(store, "alert_forward_coverage", DAY, draft("alert_forward_coverage", key, *rows, missing))
    assert coverage(store).passed
    worse = draft("alert_forward_coverage", key, *rows[:3], missing)
    hold(store, "alert_forward_coverage", DAY, worse)
    assert failing(coverage(store)) == [DAY]
    not_yet = draft("alert_forward_coverage", key, covered(5, "none", "not_elapsed"))
    hold(store, "alert_forward_coverage", DAY, not_yet)
    assert coverage(store).passed


def test_a_day_that_the_summary_does_not_count_is_named(store):
    rows = draft("alert_forward_coverage", f"day={DAY}", covered(1, "good"), covered(2, "good"))
    hold(store, "alert_forward_coverage", DAY, rows)
    assert failing(counted_days(store)) == [DAY]
    counted = {"day": NOON.date(), "chain": "solana", "horizon_h": 24, "alerts": 2, "covered": 2}
    zero = dict.fromkeys(("partial", "poor", "none"), 0)
    summary = draft("coverage_summary", "scope=all", {**counted, **zero})
    hold(store, "coverage_summary", "", summary)
    assert counted_days(store).passed


def test_checks_run_with_the_graph_and_name_the_failing_day(
    tmp_path: Path, instance: dg.DagsterInstance
):
    lake = LakeResource(root=str(tmp_path / "lake")).lake
    (lake.settings.telegram_inbox / "chat.json").write_text(export(FIRST, LATER))
    defs = build_defs(lake.settings, clock=lambda: datetime(2025, 11, 20, tzinfo=UTC))
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(name) for name in ("telegram_messages", "alerts")],
        tags={
            "dagster/asset_partition_range_start": "2025-11-02",
            "dagster/asset_partition_range_end": "2025-11-09",
        },
        run_config=QUIET,
    )
    checks = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert checks["accounted_for"].passed
    assert checks["accounted_for"].metadata["days"].value == 8
    assert not checks["fresh"].passed
    (record,) = checks["fresh"].metadata["failing"].records
    assert record.data["partition"] == "2025-11-09"
    assert checks["fresh"].severity is dg.AssetCheckSeverity.WARN
    assert result.success


NOON = datetime(2025, 11, 3, 12, tzinfo=UTC)
HARMLESS = {
    "string": "x",
    "int64": 1,
    "double": 1.0,
    "bool": False,
    "timestamp[us, tz=UTC]": NOON,
    "date32[day]": NOON.date(),
}

"""A day's messages are the union of what the lake holds and what the exports bring."""

import itertools
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from quantlab_assets.domain.artifacts.records import (
    Artifact,
    ArtifactDraft,
    HeldArtifact,
    PartitionOutput,
    SourceFile,
)
from quantlab_assets.domain.artifacts.seed_types import ALERTS_QUARANTINE, TELEGRAM_MESSAGES
from quantlab_assets.domain.telegram.chats import chat_bucket
from quantlab_assets.domain.telegram.frames import frame_schema
from quantlab_assets.domain.telegram.rules import load_rules
from quantlab_assets.handlers.ingest.messages import messages_of_day
from quantlab_tests.domain.telegram.alerts.chat_log import log, said
from quantlab_tests.in_memory.alert_source import HeldExport, InMemoryAlertSource

DAY = date(2025, 11, 7)
KEY = f"day={DAY}/bucket={chat_bucket(77)}"


def source(name: str) -> SourceFile:
    return SourceFile(f"sha256:{name * 64}", f"{name}.json", 10, "telegram_json")


def export(name: str, *rows: dict[str, Any], unreadable: int = 0) -> HeldExport:
    refused = [{"error_code": "missing_id", "error_reason": "no id"}] * unreadable
    return HeldExport(
        source(name), log(*rows), pl.DataFrame(refused, schema=frame_schema(ALERTS_QUARANTINE))
    )


def ingest(
    exports: Sequence[HeldExport], held: PartitionOutput | None = None, day: date = DAY
) -> PartitionOutput:
    drafts = () if held is None else held.drafts
    return messages_of_day(InMemoryAlertSource(exports), day, load_rules()).build(
        {draft.logical_key: as_held(draft) for draft in drafts}
    )


def as_held(draft: ArtifactDraft) -> HeldArtifact:
    artifact = Artifact(
        artifact_id="a" * 32,
        artifact_type=draft.artifact_type,
        schema_version=1,
        logical_key=draft.logical_key,
        status="active",
        path="x",
        file_hash="x",
        file_size=1,
        content_hash="x",
        row_count=draft.table.num_rows,
        min_ts=None,
        max_ts=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return HeldArtifact(artifact, draft.table, draft.sources)


def test_a_day_is_one_artifact_a_bucket_of_chats() -> None:
    output = ingest([export("a", said(1, "x"), said(2, "y", chat=-5))])
    other = f"day={DAY}/bucket={chat_bucket(-5)}"
    assert [draft.logical_key for draft in output.drafts] == sorted([other, KEY])
    assert all(draft.table.schema == TELEGRAM_MESSAGES.schema for draft in output.drafts)
    assert (output.counts["chats"], output.counts["messages"]) == (2, 2)


def test_lineage_ends_at_exactly_the_exports_that_brought_something() -> None:
    elsewhere = export("c", said(9, "z", after_s=86_400))
    output = ingest([export("a", said(1, "x")), export("b", said(2, "y", chat=5)), elsewhere])
    sources = {draft.logical_key: [s.name for s in draft.sources] for draft in output.drafts}
    assert sources == {f"day={DAY}/bucket={chat_bucket(5)}": ["b.json"], KEY: ["a.json"]}


def test_a_message_that_a_later_export_lacks_stays_with_its_source() -> None:
    before = ingest([export("a", said(1, "call"), said(2, "y"))])
    after = ingest([export("b", said(2, "y"), said(3, "z"))], held=before)
    [draft] = after.drafts
    assert draft.table["message_id"].to_pylist() == [1, 2, 3]
    assert [s.name for s in draft.sources] == ["a.json", "b.json"]
    assert after.counts["new_versions"] == 1


def test_without_exports_a_day_stays_as_it_is_held() -> None:
    before = ingest([export("a", said(1, "x"))])
    after = ingest([], held=before)
    assert after.drafts[0].table.equals(before.drafts[0].table)
    assert after.drafts[0].sources == before.drafts[0].sources
    assert ingest([]).drafts == ()


@pytest.mark.parametrize("order", list(itertools.permutations("abc")), ids="".join)
def test_the_order_in_which_exports_arrive_changes_nothing(order: tuple[str, ...]) -> None:
    exports = {
        "a": export("a", said(1, "x"), said(2, "old", by="before")),
        "b": export("b", said(2, "old", by="after", after_s=5), said(3, "z", after_s=9)),
        "c": export("c", said(2, "new", edited_after_s=60), said(3, "z", after_s=9)),
    }
    together = ingest(list(exports.values()))
    one_by_one: PartitionOutput | None = None
    for name in (*order, *order[:1]):
        one_by_one = ingest([exports[name]], held=one_by_one)
    assert one_by_one is not None
    assert one_by_one.drafts == together.drafts


def test_unreadable_records_are_published_beside_the_day_by_export() -> None:
    output = ingest([export("a", said(1, "x"), unreadable=2), export("b", said(2, "y"))])
    [loose] = output.loose
    assert loose.logical_key == f"day=unknown/source={'a' * 16}"
    assert (loose.artifact_type, loose.table.num_rows) == ("alerts_quarantine", 2)
    assert [s.name for s in loose.sources] == ["a.json"]
    assert output.counts["unreadable_records"] == 2


def test_an_export_of_other_days_answers_for_its_own_unreadable_records() -> None:
    other = export("a", said(1, "x", after_s=86_400), unreadable=1)
    hopeless = export("b", unreadable=1)
    output = ingest([other, hopeless])
    assert [s.name for draft in output.loose for s in draft.sources] == ["b.json"]

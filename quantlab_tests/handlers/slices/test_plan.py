"""What an export would do, and what the lake says of its slices afterwards."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from quantlab_assets.domain.artifacts.records import (
    ArtifactDraft,
    PartitionOutput,
    PartitionRef,
    Provenance,
)
from quantlab_assets.domain.artifacts.seed_types import ALERTS as ALERTS_TYPE
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.slices.plan import SliceWindow
from quantlab_assets.handlers.coverage.analyse import coverage_of_day
from quantlab_assets.handlers.publish_partition import publish_partition
from quantlab_assets.handlers.slices.export import slices_of_day
from quantlab_assets.handlers.slices.listing import SliceFilter, list_slices
from quantlab_assets.handlers.slices.plan import (
    ALERTS,
    SLICES,
    PlannedExport,
    days_to_analyse,
    days_to_export,
    plan_export,
)
from quantlab_assets.ports.candle_source import CandleRejects, CandleSource
from quantlab_tests.in_memory.artifact_store import InMemoryArtifactStore
from quantlab_tests.in_memory.candle_source import MEMORY, InMemoryCandles

DAY = date(2025, 11, 6)
NOON = datetime(2025, 11, 6, 12, tzinfo=UTC)
ONE = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"
TWO = "0xeca1c3dde449fd83c748f9fb017da17459d84444"
WINDOW = SliceWindow(pre_s=600, post_s=1800)
WRITER = Provenance("test", "1")


def alerts(*tokens: str, at: datetime = NOON) -> pl.DataFrame:
    rows = [
        {
            "alert_ts_utc": at,
            "known_ts_utc": at,
            "chain": "evm",
            "token_chain": "bsc",
            "mint": token,
            "alert_chat_id": 1,
            "alert_message_id": number,
            "alert_id": f"1:{number}:{token}",
            "caller_name": "A",
            "caller_name_norm": "a",
            "caller_key": "name:1:a",
            "known_basis": "posted",
            "mint_source": "text",
            "raw_address": token,
            "card_leaks": False,
        }
        for number, token in enumerate(tokens)
    ]
    shape = pl.DataFrame(ALERTS_TYPE.empty()).schema
    return pl.DataFrame(rows, schema=shape)


def candles(token: str, minutes: Iterable[int], volume: float = 1.0) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (token, "evm", "bsc", 300, NOON + timedelta(minutes=m), 1.0, 1.0, 1.0, 1.0, volume)
            for m in minutes
        ],
        schema=pl.DataFrame(OHLCV_SLICE.empty()).schema,
        orient="row",
    )


def publish(store: InMemoryArtifactStore, asset: str, day: date, output: PartitionOutput) -> None:
    ref = PartitionRef(asset, day.isoformat())
    publish_partition(store, ref, output, inputs=tuple, provenance=WRITER)


def call(store: InMemoryArtifactStore, day: date, *tokens: str) -> None:
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    table = alerts(*tokens, at=at).to_arrow().cast(ALERTS_TYPE.schema)
    draft = ArtifactDraft(ALERTS_TYPE.name, f"day={day}/chain=evm", table)
    publish(store, ALERTS, day, PartitionOutput((draft,) if tokens else ()))


def export(store: InMemoryArtifactStore, source: CandleSource, *tokens: str) -> None:
    publish(store, SLICES, DAY, slices_of_day(DAY, alerts(*tokens), source, WINDOW))


def plan(store: InMemoryArtifactStore, source: CandleSource) -> list[PlannedExport]:
    [found] = plan_export(store, source, [DAY], WINDOW)
    return found


@pytest.fixture
def store() -> InMemoryArtifactStore:
    return InMemoryArtifactStore()


def test_what_is_new_unchanged_changed_removed_or_not_there(store: InMemoryArtifactStore) -> None:
    call(store, DAY, ONE, TWO)
    source = InMemoryCandles(candles(ONE, range(0, 30, 5)))

    planned = plan(store, source)

    assert [(one.token, one.outcome, one.rows) for one in planned] == [
        (ONE, "new", 6),
        (TWO, "no_candles", 0),
    ]
    assert (planned[0].expected, planned[0].grade, planned[0].alerts) == (8, "poor", 1)
    assert (planned[0].window_from, planned[0].window_to) == (
        NOON - timedelta(minutes=10),
        NOON + timedelta(minutes=30),
    )
    assert list_slices(store, SliceFilter()) == []

    export(store, source, ONE, TWO)
    assert [one.outcome for one in plan(store, source)] == ["unchanged", "no_candles"]

    corrected = InMemoryCandles(candles(ONE, range(0, 30, 5), volume=2.0))
    assert [one.outcome for one in plan(store, corrected)] == ["changed", "no_candles"]

    call(store, DAY, TWO)
    assert [(one.token, one.outcome, one.alerts) for one in plan(store, source)] == [
        (ONE, "removed", None),
        (TWO, "no_candles", 1),
    ]


def test_days_are_those_that_have_calls_or_slices(store: InMemoryArtifactStore) -> None:
    empty, later = DAY + timedelta(days=1), DAY + timedelta(days=3)
    call(store, DAY, ONE)
    call(store, empty)
    call(store, later, TWO)
    assert days_to_export(store) == [DAY, later]
    assert days_to_export(store, first=empty) == [later]
    assert days_to_export(store, last=empty) == [DAY]

    # Its calls are gone, its slices are not: they must go too.
    export(store, InMemoryCandles(candles(ONE, [0])), ONE)
    call(store, DAY)
    assert days_to_export(store, last=empty) == [DAY]


def test_coverage_follows_calls_that_are_gone(store: InMemoryArtifactStore) -> None:
    call(store, DAY, ONE)
    call(store, DAY + timedelta(days=1), TWO)  # no slices were made of it
    source = InMemoryCandles(candles(ONE, range(0, 30, 5)))
    export(store, source, ONE)
    covered = coverage_of_day(DAY, alerts(ONE), candles(ONE, range(0, 30, 5)), None)
    publish(store, "alert_forward_coverage", DAY, covered.forward)
    call(store, DAY)
    export(store, source)

    assert days_to_analyse(store) == [DAY]

    publish(store, "alert_forward_coverage", DAY, PartitionOutput(()))
    assert days_to_analyse(store) == []


def test_the_list_tells_what_became_of_the_rows(store: InMemoryArtifactStore) -> None:
    refused = pl.DataFrame(
        {
            "row_number": [7, 8],
            "raw_values": ["x", "y"],
            "error_code": ["unparsable_row"] * 2,
            "error_reason": ["no number"] * 2,
        },
        schema_overrides={"row_number": pl.Int64},
    )
    source = InMemoryCandles(
        candles(ONE, [0, 5, 15]), [CandleRejects(MEMORY, refused, ())], volume_unit="token"
    )

    export(store, source, ONE)

    [one] = list_slices(store, SliceFilter())
    assert (one.token, one.chain, one.network, one.interval_s) == (ONE, "evm", "bsc", 300)
    assert (one.grade, one.rows, one.expected, one.traded, one.gaps) == ("poor", 3, 8, 3, 3)
    assert one.coverage == 0.375
    assert (one.duplicates, one.conflicts, one.quarantined_rows) == (0, 0, 2)
    assert one.newest_ts == NOON + timedelta(minutes=15)
    assert one.status == "active"


def test_the_list_is_of_windows_that_touch_the_days(store: InMemoryArtifactStore) -> None:
    export(store, InMemoryCandles(candles(ONE, [0, 5])), ONE)

    def listed(**where: object) -> int:
        return len(list_slices(store, SliceFilter(**where)))  # type: ignore[arg-type]

    before, after = DAY - timedelta(days=1), DAY + timedelta(days=1)
    assert listed(first=DAY) == listed(last=DAY) == listed(first=DAY, last=DAY) == 1
    assert listed(first=after) == listed(last=before) == 0
    assert (listed(grade="poor"), listed(grade="good")) == (1, 0)
    assert (listed(interval_s=300), listed(interval_s=60)) == (1, 0)
    assert (listed(token=ONE), listed(token=TWO)) == (1, 0)


def test_superseded_slices_are_listed_when_asked_for(store: InMemoryArtifactStore) -> None:
    export(store, InMemoryCandles(candles(ONE, [0, 5])), ONE)
    export(store, InMemoryCandles(candles(ONE, [0, 5, 10])), ONE)

    assert [one.rows for one in list_slices(store, SliceFilter())] == [3]
    both = list_slices(store, SliceFilter(superseded=True))
    assert [(one.rows, one.status) for one in both] == [(3, "active"), (2, "superseded")]


def test_slices_that_somebody_published_without_tags_are_listed_too(
    store: InMemoryArtifactStore,
) -> None:
    output = slices_of_day(DAY, alerts(ONE), InMemoryCandles(candles(ONE, [0])), WINDOW)
    [draft] = output.drafts
    bare = ArtifactDraft(draft.artifact_type, draft.logical_key, draft.table)
    publish(store, SLICES, DAY, PartitionOutput((bare,)))

    [one] = list_slices(store, SliceFilter())

    assert (one.rows, one.grade, one.gaps, one.newest_ts) == (1, None, None, None)

"""What every `ArtifactStore` must do, whatever keeps its artifacts."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.identity import artifact_id_of, input_set_id_of
from quantlab_assets.domain.artifacts.records import (
    ArtifactFilter,
    HeadReplacement,
    LineageInput,
    PartitionRef,
    Provenance,
    PublishRequest,
    SourceFile,
)
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.seed_types import SEED_TYPES
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import Conflict, NotFound, QuantlabError, ValidationFailed
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_tests.in_memory.artifact_store import InMemoryArtifactStore

NOTES = ArtifactType(
    name="notes",
    schema_version=3,
    schema=pa.schema(
        [
            pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("text", pa.string()),
        ]
    ),
    sort_keys=("at",),
    keys=("day={day}",),
    time_column="at",
)
MANY = ArtifactType(
    name="reports",
    schema_version=1,
    schema=pa.schema([pa.field("text", pa.string())]),
    sort_keys=("text",),
    keys=("day={day}",),
    keeps_many=True,
)
NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)
WRITER = Provenance(writer_name="test", writer_version="1")
RAW = SourceFile(sha256="sha256:" + "a" * 64, name="result.json", size=10, kind="telegram")
OTHER_RAW = SourceFile(sha256="sha256:" + "b" * 64, name="more.json", size=20, kind="telegram")
DAY_1 = PartitionRef("messages", "2025-05-01")
DAY_2 = PartitionRef("messages", "2025-05-02")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["in_memory", "parquet"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[ArtifactStore]:
    types = TypeRegistry((*SEED_TYPES, NOTES, MANY))
    if request.param == "in_memory":
        yield InMemoryArtifactStore(types, clock)
    else:
        yield ParquetStore.at(
            artifacts_root=tmp_path / "artifacts",
            manifest=tmp_path / "manifest" / "manifest.sqlite",
            staging=tmp_path / "staging",
            types=types,
            create=True,
            clock=clock,
        )


def notes(*texts: str | None) -> pa.Table:
    times = [NOON + timedelta(minutes=i) for i in range(len(texts))]
    return pa.table([times, list(texts)], schema=NOTES.schema)


def note(day: int, *texts: str | None, **more: object) -> PublishRequest:
    """A request for the notes of a day of May 2025."""
    return PublishRequest("notes", f"day=2025-05-{day:02d}", notes(*texts), WRITER, **more)  # type: ignore[arg-type]


def made_from(*ids: str) -> tuple[LineageInput, ...]:
    return tuple(LineageInput(artifact_id=one) for one in ids)


# Publishing


def test_a_published_artifact_is_found_by_its_id(store: ArtifactStore, clock: Clock) -> None:
    result = store.publish_artifact(note(1, "gm", "wen", tags={"chat": "lab"}))

    artifact = store.get_artifact(result.artifact_id)
    assert artifact == result.artifact
    assert not result.deduped
    assert (artifact.artifact_type, artifact.schema_version) == ("notes", 3)
    assert (artifact.logical_key, artifact.status) == ("day=2025-05-01", "active")
    assert (artifact.row_count, artifact.tags) == (2, {"chat": "lab"})
    assert (artifact.min_ts, artifact.max_ts) == (NOON, NOON + timedelta(minutes=1))
    assert artifact.created_at == clock.now


def test_the_id_is_a_function_of_type_key_and_content(store: ArtifactStore) -> None:
    artifact = store.publish_artifact(note(1, "gm")).artifact

    assert artifact.content_hash == content_hash(notes("gm"))
    assert artifact.artifact_id == artifact_id_of(
        "notes", 3, "day=2025-05-01", artifact.content_hash
    )


def test_what_is_read_is_what_was_published_in_canonical_order(store: ArtifactStore) -> None:
    shuffled = notes("a", None, "c").take([2, 0, 1])
    request = PublishRequest("notes", "day=2025-05-01", shuffled, WRITER)

    result = store.publish_artifact(request)

    assert store.open(result.artifact_id, verify=True).to_table().equals(notes("a", None, "c"))


def test_no_rows_are_an_artifact_too(store: ArtifactStore) -> None:
    artifact = store.publish_artifact(note(1)).artifact

    assert (artifact.row_count, artifact.min_ts, artifact.max_ts) == (0, None, None)
    assert store.open(artifact.artifact_id).to_table().num_rows == 0


def test_the_same_content_again_is_deduped_but_its_event_is_kept(store: ArtifactStore) -> None:
    first = store.publish_artifact(note(1, "gm", sources=(RAW,)))
    again = store.publish_artifact(note(1, "gm", tags={"seen": "twice"}, sources=(OTHER_RAW,)))

    assert again.artifact_id == first.artifact_id
    assert again.deduped
    assert again.artifact.tags == {"seen": "twice"}
    assert [one.deduped for one in store.get_publications(first.artifact_id)] == [False, True]
    assert store.get_sources([first.artifact_id]) == {first.artifact_id: (RAW, OTHER_RAW)}


def test_a_tag_given_again_replaces_its_value_and_no_other(store: ArtifactStore) -> None:
    store.publish_artifact(note(1, "gm", tags={"chat": "lab", "seen": "once"}))

    again = store.publish_artifact(note(1, "gm", tags={"seen": "twice"}))

    now = {"chat": "lab", "seen": "twice"}
    assert again.artifact.tags == store.get_artifact(again.artifact_id).tags == now
    assert store.list_artifacts(ArtifactFilter(tags={"seen": "once"})).artifacts == ()


def test_the_last_request_of_a_batch_says_what_a_tag_is(store: ArtifactStore) -> None:
    requests = [note(1, "gm", tags={"seen": text}) for text in ("once", "twice")]

    for published in store.publish_many(requests):
        assert published.artifact.tags == {"seen": "twice"}


def test_the_same_content_under_another_key_is_another_artifact(store: ArtifactStore) -> None:
    one, other = store.publish_many([note(1, "gm"), note(2, "gm")])

    assert one.artifact_id != other.artifact_id
    assert one.artifact.content_hash == other.artifact.content_hash
    assert not other.deduped


def test_twice_in_one_batch_is_one_artifact(store: ArtifactStore) -> None:
    first, second = store.publish_many([note(1, "gm"), note(1, "gm")])

    assert (first.deduped, second.deduped) == (False, True)
    assert first.artifact_id == second.artifact_id


def test_two_contents_for_one_key_in_a_batch_are_refused(store: ArtifactStore) -> None:
    with pytest.raises(ValidationFailed, match="two contents"):
        store.publish_many([note(1, "gm"), note(1, "gn")])

    assert store.list_artifacts().artifacts == ()


def test_new_content_supersedes_the_active_artifact_of_its_key(store: ArtifactStore) -> None:
    old = store.publish_artifact(note(1, "gm"))
    new = store.publish_artifact(note(1, "gm", "edited"))

    assert new.superseded == (old.artifact_id,)
    assert store.get_artifact(old.artifact_id).status == "superseded"
    assert store.get_artifact(new.artifact_id).status == "active"


def test_superseded_content_published_again_is_active_again(store: ArtifactStore) -> None:
    old = store.publish_artifact(note(1, "gm"))
    new = store.publish_artifact(note(1, "edited"))

    back = store.publish_artifact(note(1, "gm"))

    assert back.deduped
    assert back.artifact_id == old.artifact_id
    assert back.artifact.status == "active"
    assert back.superseded == (new.artifact_id,)
    assert store.get_artifact(new.artifact_id).status == "superseded"


def test_a_type_that_keeps_many_supersedes_nothing(store: ArtifactStore) -> None:
    for text in ("a", "b"):
        table = pa.table([[text]], schema=MANY.schema)
        assert (
            store.publish_artifact(
                PublishRequest("reports", "day=2025-05-01", table, WRITER)
            ).superseded
            == ()
        )

    found = store.find_by_logical_key("reports", "day=2025-05-01")
    assert [one.status for one in found] == ["active", "active"]


def test_tombstoned_content_cannot_come_back(store: ArtifactStore) -> None:
    gone = store.publish_artifact(note(1, "gm"))
    store.tombstone(gone.artifact_id, "a leaked phone number")

    with pytest.raises(Conflict, match="tombstoned"):
        store.publish_artifact(note(1, "gm"))


def test_a_batch_is_all_or_nothing(store: ArtifactStore) -> None:
    gone = store.publish_artifact(note(9, "gone"))
    store.tombstone(gone.artifact_id, "a leaked phone number")

    with pytest.raises(Conflict, match="tombstoned"):
        store.publish_many([note(1, "gm"), note(9, "gone")])

    assert store.list_artifacts().artifacts == ()
    assert store.find_by_logical_key("notes", "day=2025-05-01") == []


def test_an_empty_batch_is_no_error(store: ArtifactStore) -> None:
    assert store.publish_many([]) == []


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        (PublishRequest("nonsense", "day=2025-05-01", notes(), WRITER), NotFound, "nonsense"),
        (PublishRequest("notes", "day=1 May", notes(), WRITER), ValidationFailed, "day=1 May"),
        (PublishRequest("notes", "day=2025-05-01/../x", notes(), WRITER), ValidationFailed, "key"),
        (
            PublishRequest("notes", "day=2025-05-01", notes(), WRITER, schema_version=9),
            ValidationFailed,
            "version 9",
        ),
        (
            PublishRequest("notes", "day=2025-05-01", notes("x").select(["at"]), WRITER),
            ValidationFailed,
            "text",
        ),
        (note(1, "x", tags={"": "y"}), ValidationFailed, "tag"),
        (
            note(1, "x", sources=(SourceFile("md5:1", "x", 1, "x"),)),
            ValidationFailed,
            "sha256",
        ),
        (
            PublishRequest(
                "notes", "day=2025-05-01", notes(), Provenance("w", "1", params={"at": NOON})
            ),
            ValidationFailed,
            "JSON",
        ),
    ],
)
def test_what_breaks_a_contract_is_refused_by_name(
    store: ArtifactStore, request_: PublishRequest, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        store.publish_artifact(request_)

    assert store.list_artifacts().artifacts == ()


def test_values_are_checked(store: ArtifactStore) -> None:
    table = pa.table({"name": ["x"], "strategy_json": ["not json"]})

    with pytest.raises(ValidationFailed, match="strategy_json must be a JSON object"):
        store.publish_artifact(PublishRequest("strategy", "strategy=x", table, WRITER))


# Compare and swap


def test_expected_active_lets_the_publish_happen_if_it_holds(store: ArtifactStore) -> None:
    first = store.publish_artifact(note(1, "a", expected_active=None))
    second = store.publish_artifact(note(1, "a", "b", expected_active=first.artifact_id))

    assert second.superseded == (first.artifact_id,)


def test_expected_active_is_a_conflict_if_somebody_was_faster(store: ArtifactStore) -> None:
    first = store.publish_artifact(note(1, "a"))
    faster = store.publish_artifact(note(1, "a", "b"))

    for expected in (None, first.artifact_id):
        with pytest.raises(Conflict, match="active by now"):
            store.publish_artifact(note(1, "a", "c", expected_active=expected))

    assert store.get_artifact(faster.artifact_id).status == "active"


def test_somebody_who_published_the_same_is_no_conflict(store: ArtifactStore) -> None:
    first = store.publish_artifact(note(1, "a"))
    store.publish_artifact(note(1, "a", "b", expected_active=first.artifact_id))

    twin = store.publish_artifact(note(1, "a", "b", expected_active=first.artifact_id))

    assert twin.deduped


# Heads


def test_a_head_is_what_a_partition_consists_of(store: ArtifactStore) -> None:
    published = store.publish_many(
        [note(2, "b", head=DAY_1), note(1, "a", head=DAY_1), note(3, "loose")],
        heads=[HeadReplacement(DAY_1)],
    )

    heads = store.get_heads("messages", ["2025-05-01", "2025-05-02"])

    assert heads == {
        "2025-05-01": (published[1].artifact, published[0].artifact),
        "2025-05-02": None,
    }


def test_an_empty_head_differs_from_no_head(store: ArtifactStore) -> None:
    store.publish_many([], heads=[HeadReplacement(DAY_1)])

    assert store.get_heads("messages", ["2025-05-01", "2025-05-02"]) == {
        "2025-05-01": (),
        "2025-05-02": None,
    }
    assert store.list_head_partitions("messages") == ["2025-05-01"]
    assert store.list_head_partitions("alerts") == []


def test_what_a_partition_no_longer_produces_is_superseded(store: ArtifactStore) -> None:
    kept, dropped = store.publish_many(
        [note(1, "a", head=DAY_1), note(2, "b", head=DAY_1)], heads=[HeadReplacement(DAY_1)]
    )

    store.publish_many([note(1, "a", head=DAY_1)], heads=[HeadReplacement(DAY_1)])

    assert store.get_artifact(kept.artifact_id).status == "active"
    assert store.get_artifact(dropped.artifact_id).status == "superseded"


def test_an_artifact_stays_active_while_another_head_holds_it(store: ArtifactStore) -> None:
    shared = store.publish_many(
        [note(1, "a", head=DAY_1), note(1, "a", head=DAY_2)],
        heads=[HeadReplacement(DAY_1), HeadReplacement(DAY_2)],
    )[0]

    store.publish_many([], heads=[HeadReplacement(DAY_1)])
    assert store.get_artifact(shared.artifact_id).status == "active"

    store.publish_many([], heads=[HeadReplacement(DAY_2)])
    assert store.get_artifact(shared.artifact_id).status == "superseded"


def test_an_artifact_of_the_batch_outlives_the_head_it_leaves(store: ArtifactStore) -> None:
    store.publish_many([note(1, "a", head=DAY_1)], heads=[HeadReplacement(DAY_1)])

    loose = store.publish_many([note(1, "a")], heads=[HeadReplacement(DAY_1)])[0]

    assert loose.artifact.status == "active"


def test_a_head_is_replaced_only_if_it_is_what_was_expected(store: ArtifactStore) -> None:
    first = store.publish_many(
        [note(1, "a", head=DAY_1)], heads=[HeadReplacement(DAY_1, expected=None)]
    )[0]
    expected = frozenset({first.artifact_id})

    with pytest.raises(Conflict, match="another head"):
        store.publish_many(
            [note(1, "b", head=DAY_1)], heads=[HeadReplacement(DAY_1, expected=None)]
        )
    with pytest.raises(Conflict, match="another head"):
        store.publish_many(
            [note(1, "b", head=DAY_1)], heads=[HeadReplacement(DAY_1, expected=frozenset())]
        )
    assert store.get_artifact(first.artifact_id).status == "active"

    store.publish_many(
        [note(1, "b", head=DAY_1)], heads=[HeadReplacement(DAY_1, expected=expected)]
    )
    assert store.get_artifact(first.artifact_id).status == "superseded"


def test_a_head_that_is_the_same_already_is_no_conflict(store: ArtifactStore) -> None:
    batch = ([note(1, "a", head=DAY_1)], [HeadReplacement(DAY_1, expected=None)])
    store.publish_many(batch[0], heads=batch[1])

    assert store.publish_many(batch[0], heads=batch[1])[0].deduped


def test_a_request_may_not_name_a_head_that_its_batch_leaves_alone(store: ArtifactStore) -> None:
    with pytest.raises(ValidationFailed, match="head"):
        store.publish_artifact(note(1, "a", head=DAY_1))


# Finding


def test_artifacts_are_listed_newest_first_in_pages(store: ArtifactStore, clock: Clock) -> None:
    ids = []
    for day in range(1, 6):
        clock.now -= timedelta(days=1)  # a clock that goes backwards changes nothing
        ids.append(store.publish_artifact(note(day, "x")).artifact_id)

    pages, cursor = [], None
    while True:
        page = store.list_artifacts(limit=2, cursor=cursor)
        pages.append([one.artifact_id for one in page.artifacts])
        cursor = page.cursor
        if cursor is None:
            break

    assert pages == [ids[4:2:-1], ids[2:0:-1], ids[:1]]
    assert [one.artifact_id for one in store.list_artifacts().artifacts] == ids[::-1]


def test_a_page_that_ends_with_the_last_artifact_has_no_cursor(store: ArtifactStore) -> None:
    store.publish_many([note(1, "x"), note(2, "x")])

    assert store.list_artifacts(limit=2).cursor is None


def test_a_page_continues_where_it_ended_though_artifacts_came(store: ArtifactStore) -> None:
    store.publish_many([note(day, "x") for day in range(1, 5)])
    page = store.list_artifacts(limit=2)
    store.publish_artifact(note(9, "x"))

    rest = store.list_artifacts(limit=2, cursor=page.cursor)

    assert [one.logical_key for one in rest.artifacts] == ["day=2025-05-02", "day=2025-05-01"]


@pytest.mark.parametrize("cursor", ["", "x", "1; DROP TABLE artifacts", "²"])
def test_a_forged_cursor_is_refused(store: ArtifactStore, cursor: str) -> None:
    with pytest.raises(ValidationFailed, match="cursor"):
        store.list_artifacts(cursor=cursor)


def test_filters_restrict_together(store: ArtifactStore, clock: Clock) -> None:
    start = clock.now
    first = store.publish_artifact(note(1, "a", tags={"chat": "lab", "src": "json"})).artifact_id
    clock.now += timedelta(hours=1)
    second = store.publish_artifact(note(2, "b", tags={"chat": "lab"})).artifact_id
    table = pa.table([["r"]], schema=MANY.schema)
    third = store.publish_artifact(
        PublishRequest("reports", "day=2025-05-01", table, WRITER)
    ).artifact_id
    store.publish_artifact(note(1, "a2", tags={"chat": "lab"}))

    def listed(**where: object) -> set[str]:
        page = store.list_artifacts(ArtifactFilter(**where))  # type: ignore[arg-type]
        return {one.artifact_id for one in page.artifacts}

    assert listed(artifact_type="reports") == {third}
    assert listed(status="superseded") == {first}
    assert listed(tags={"chat": "lab", "src": "json"}) == {first}
    assert listed(tags={"chat": "nowhere"}) == set()
    assert listed(created_to=start) == {first}
    assert first not in listed(created_from=start + timedelta(minutes=1))
    assert listed(key_prefix="day=2025-05-02") == {second}
    assert listed(key_prefix="day=2025-05-0_") == set()
    assert listed(artifact_type="notes", status="active", tags={"src": "json"}) == set()


def test_tombstoned_artifacts_are_listed_only_if_asked_for(store: ArtifactStore) -> None:
    gone = store.publish_artifact(note(1, "a")).artifact_id
    store.tombstone(gone, "a leaked phone number")

    assert store.list_artifacts().artifacts == ()
    tombstoned = store.list_artifacts(ArtifactFilter(status="tombstoned")).artifacts
    assert [one.artifact_id for one in tombstoned] == [gone]
    assert store.get_artifact(gone).status == "tombstoned"


def test_a_key_finds_its_active_artifact_first_then_the_newest(store: ArtifactStore) -> None:
    a, b, c = (store.publish_artifact(note(1, text)).artifact_id for text in "abc")
    store.publish_artifact(note(1, "a"))

    found = store.find_by_logical_key("notes", "day=2025-05-01")

    assert [one.artifact_id for one in found] == [a, c, b]
    assert store.find_by_logical_key("notes", "day=2025-05-09") == []


def test_artifacts_come_in_the_order_asked_for(store: ArtifactStore) -> None:
    ids = [one.artifact_id for one in store.publish_many([note(day, "x") for day in range(1, 4)])]

    asked = [ids[2], ids[0], ids[2]]

    assert [one.artifact_id for one in store.get_artifacts(asked)] == asked


def test_missing_artifacts_are_named(store: ArtifactStore) -> None:
    there = store.publish_artifact(note(1, "x")).artifact_id
    missing = "0" * 32

    for call in (
        lambda: store.get_artifact(missing),
        lambda: store.get_artifacts([there, missing]),
        lambda: store.open(missing),
        lambda: store.verify_artifacts([missing]),
        lambda: store.get_lineage(missing),
        lambda: store.get_downstream(missing),
        lambda: store.get_publications(missing),
        lambda: store.get_sources([missing]),
        lambda: store.latest_publications([missing]),
        lambda: store.freeze_inputs([there, missing]),
        lambda: store.supersede(missing, there),
        lambda: store.tombstone(missing, "x"),
    ):
        with pytest.raises(NotFound, match=missing):
            call()


def test_several_artifacts_open_as_one_in_the_order_of_their_ids(store: ArtifactStore) -> None:
    one, two = store.publish_many([note(1, "one"), note(2, "two")])

    rows = store.open_many([two.artifact_id, one.artifact_id], verify=True).to_table()

    assert rows.column("text").to_pylist() == ["two", "one"]


def test_artifacts_of_two_types_do_not_open_together(store: ArtifactStore) -> None:
    table = pa.table([["r"]], schema=MANY.schema)
    ids = [
        store.publish_artifact(note(1, "x")).artifact_id,
        store.publish_artifact(
            PublishRequest("reports", "day=2025-05-01", table, WRITER)
        ).artifact_id,
    ]

    for several in (ids, []):
        with pytest.raises(ValidationFailed, match="one type"):
            store.open_many(several)


# Lineage


def test_lineage_goes_down_to_the_raw_file(store: ArtifactStore) -> None:
    messages = store.publish_artifact(note(1, "messages", sources=(RAW,)))
    alerts = store.publish_artifact(note(2, "alerts", inputs=made_from(messages.artifact_id)))
    trades = store.publish_artifact(note(3, "trades", inputs=made_from(alerts.artifact_id)))

    lineage = store.get_lineage(trades.artifact_id)

    assert [(one.artifact_id, one.input_id, one.depth) for one in lineage.edges] == [
        (trades.artifact_id, alerts.artifact_id, 1),
        (alerts.artifact_id, messages.artifact_id, 2),
    ]
    assert lineage.edges[0].publication_id == trades.publication_id
    assert [(one.artifact_id, one.source) for one in lineage.sources] == [
        (messages.artifact_id, RAW)
    ]
    assert set(lineage.artifacts) == {one.artifact_id for one in (messages, alerts, trades)}
    assert lineage.artifacts[alerts.artifact_id] == alerts.artifact


def test_lineage_stops_at_the_depth_asked_for(store: ArtifactStore) -> None:
    messages = store.publish_artifact(note(1, "messages", sources=(RAW,)))
    alerts = store.publish_artifact(note(2, "alerts", inputs=made_from(messages.artifact_id)))
    trades = store.publish_artifact(note(3, "trades", inputs=made_from(alerts.artifact_id)))

    def inputs(depth: int) -> list[str]:
        return [one.input_id for one in store.get_lineage(trades.artifact_id, depth=depth).edges]

    assert inputs(0) == []
    assert inputs(1) == [alerts.artifact_id]
    assert store.get_lineage(trades.artifact_id, depth=1).sources == ()
    assert inputs(2) == [alerts.artifact_id, messages.artifact_id]
    assert [
        one.artifact_id for one in store.get_downstream(messages.artifact_id, depth=1).edges
    ] == [alerts.artifact_id]


def test_an_artifact_reached_twice_has_its_least_depth(store: ArtifactStore) -> None:
    a = store.publish_artifact(note(1, "a")).artifact_id
    b = store.publish_artifact(note(2, "b", inputs=made_from(a))).artifact_id
    c = store.publish_artifact(note(3, "c", inputs=made_from(a, b))).artifact_id

    edges = store.get_lineage(c).edges

    assert [(one.artifact_id, one.input_id, one.depth) for one in edges] == sorted(
        [(c, a, 1), (c, b, 1), (b, a, 2)], key=lambda edge: (edge[2], edge[0], edge[1])
    )


def test_lineage_goes_through_a_frozen_set(store: ArtifactStore) -> None:
    a, b = (one.artifact_id for one in store.publish_many([note(1, "a"), note(2, "b")]))
    frozen = store.freeze_inputs([b, a, b])
    trades = store.publish_artifact(
        note(3, "trades", inputs=(LineageInput(input_set_id=frozen),))
    ).artifact_id

    assert frozen == input_set_id_of([a, b])
    assert store.freeze_inputs([a, b]) == frozen
    assert {one.input_id for one in store.get_lineage(trades).edges} == {a, b}
    assert [one.artifact_id for one in store.get_downstream(a).edges] == [trades]


def test_nothing_can_be_frozen(store: ArtifactStore) -> None:
    frozen = store.freeze_inputs([])
    made = store.publish_artifact(note(1, "x", inputs=(LineageInput(input_set_id=frozen),)))

    assert frozen == input_set_id_of([])
    assert store.get_lineage(made.artifact_id).edges == ()


def test_an_unknown_set_is_not_found(store: ArtifactStore) -> None:
    with pytest.raises(NotFound, match="input set"):
        store.publish_artifact(note(1, "x", inputs=(LineageInput(input_set_id="0" * 32),)))


def test_lineage_follows_the_publication_that_created_an_artifact(store: ArtifactStore) -> None:
    a, b = (one.artifact_id for one in store.publish_many([note(1, "a"), note(2, "b")]))
    first = store.publish_artifact(note(3, "c", inputs=made_from(a), sources=(RAW,)))
    again = store.publish_artifact(note(3, "c", inputs=made_from(b), sources=(OTHER_RAW,)))
    c = first.artifact_id

    created = store.get_lineage(c)
    every = store.get_lineage(c, all_publications=True)

    assert [one.input_id for one in created.edges] == [a]
    assert [one.source for one in created.sources] == [RAW]
    assert {(one.input_id, one.publication_id) for one in every.edges} == {
        (a, first.publication_id),
        (b, again.publication_id),
    }
    assert [one.source for one in every.sources] == [RAW, OTHER_RAW]
    assert [one.artifact_id for one in store.get_downstream(b).edges] == [c]


def test_contents_made_from_each_other_in_turn_are_no_endless_lineage(
    store: ArtifactStore,
) -> None:
    a = store.publish_artifact(note(1, "a")).artifact_id
    b = store.publish_artifact(note(2, "b", inputs=made_from(a))).artifact_id
    store.publish_artifact(note(1, "a", inputs=made_from(b)))

    edges = store.get_lineage(a, all_publications=True).edges

    assert [(one.artifact_id, one.input_id, one.depth) for one in edges] == [(a, b, 1), (b, a, 2)]
    assert store.get_lineage(a).edges == ()
    assert len(store.get_downstream(a, depth=5).edges) == 2


def test_an_input_must_exist_before(store: ArtifactStore) -> None:
    later = artifact_id_of("notes", 3, "day=2025-05-02", content_hash(notes("b")))
    a_from_b = note(1, "a", inputs=made_from(later))

    with pytest.raises(NotFound, match=later):
        store.publish_artifact(a_from_b)
    with pytest.raises(NotFound, match=later):
        store.publish_many([a_from_b, note(2, "b")])

    made = store.publish_many([note(2, "b"), a_from_b])
    assert [one.input_id for one in store.get_lineage(made[1].artifact_id).edges] == [later]


def test_nothing_is_made_from_itself(store: ArtifactStore) -> None:
    a = store.publish_artifact(note(1, "a")).artifact_id
    frozen = store.freeze_inputs([a])

    with pytest.raises(ValidationFailed, match="itself"):
        store.publish_artifact(note(1, "a", inputs=made_from(a)))
    with pytest.raises(ValidationFailed, match="itself"):
        store.publish_artifact(note(1, "a", inputs=(LineageInput(input_set_id=frozen),)))


def test_what_was_loaded_and_declared_was_loaded(store: ArtifactStore) -> None:
    a = store.publish_artifact(note(1, "a")).artifact_id
    b = store.publish_artifact(
        note(
            2,
            "b",
            inputs=(LineageInput(artifact_id=a), LineageInput(artifact_id=a, role="declared")),
        )
    ).artifact_id

    assert [one.role for one in store.get_lineage(b).edges] == ["loaded"]


def test_publications_tell_who_when_and_how(store: ArtifactStore, clock: Clock) -> None:
    provenance = Provenance(
        writer_name="lab",
        writer_version="2",
        run_id="run-1",
        step="alerts",
        git_commit="abc",
        git_dirty=True,
        git_diff_hash="def",
        params={"window": [1, 2.5, None], "on": True},
        environment={"python": "3.11"},
    )
    result = store.publish_artifact(
        PublishRequest("notes", "day=2025-05-01", notes("a"), provenance)
    )
    store.publish_artifact(note(1, "a"))

    first, second = store.get_publications(result.artifact_id)

    assert first.provenance == provenance
    assert first.created_at == clock.now
    assert first.publication_id == result.publication_id
    assert store.latest_publications([result.artifact_id]) == {result.artifact_id: second}


# Superseding and tombstoning


def test_supersede_says_what_replaces_what(store: ArtifactStore) -> None:
    old, new = (one.artifact_id for one in store.publish_many([note(1, "a"), note(2, "b")]))

    store.supersede(new, old, reason="wrong day")

    assert store.get_artifact(old).status == "superseded"
    assert store.get_artifact(new).status == "active"


def test_supersede_wants_two_active_artifacts_of_one_type(store: ArtifactStore) -> None:
    old, new = (one.artifact_id for one in store.publish_many([note(1, "a"), note(2, "b")]))
    table = pa.table([["r"]], schema=MANY.schema)
    other = store.publish_artifact(
        PublishRequest("reports", "day=2025-05-01", table, WRITER)
    ).artifact_id

    with pytest.raises(Conflict, match="itself"):
        store.supersede(old, old)
    with pytest.raises(Conflict, match="one of its own type"):
        store.supersede(other, old)
    store.supersede(new, old)
    for pair in ((new, old), (old, new)):
        with pytest.raises(Conflict, match=f"{old} is superseded, not active"):
            store.supersede(*pair)


def test_a_tombstoned_artifact_leaves_its_head(store: ArtifactStore) -> None:
    gone = store.publish_many([note(1, "a", head=DAY_1)], heads=[HeadReplacement(DAY_1)])[0]

    store.tombstone(gone.artifact_id, "a leaked phone number")
    store.tombstone(gone.artifact_id, "again changes nothing")

    assert store.get_heads("messages", ["2025-05-01"]) == {"2025-05-01": ()}


def test_a_head_keeps_its_other_members_when_one_is_tombstoned(store: ArtifactStore) -> None:
    gone, kept = store.publish_many(
        [note(1, "a", head=DAY_1), note(2, "b", head=DAY_1)], heads=[HeadReplacement(DAY_1)]
    )

    store.tombstone(gone.artifact_id, "a leaked phone number")

    assert store.get_heads("messages", ["2025-05-01"]) == {"2025-05-01": (kept.artifact,)}
    # Who read the head before and the one member that is left may replace it.
    expected = HeadReplacement(DAY_1, expected=frozenset({kept.artifact_id}))
    assert store.publish_many([note(2, "b", head=DAY_1)], heads=[expected])[0].deduped


def test_a_pinned_artifact_cannot_be_tombstoned(store: ArtifactStore) -> None:
    kept = store.publish_artifact(note(1, "a", tags={"pin": "paper"})).artifact_id

    with pytest.raises(Conflict, match="pin"):
        store.tombstone(kept, "no longer wanted")


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE artifacts; --", "../../etc", "nul\0byte", "‮right to left", "x" * 10_000]
)
def test_hostile_text_is_stored_as_text(store: ArtifactStore, text: str) -> None:
    raw = SourceFile(sha256="sha256:" + "c" * 64, name=text, size=1, kind=text)
    result = store.publish_many(
        [note(1, text, tags={text: text}, sources=(raw,), head=PartitionRef(text, text))],
        heads=[HeadReplacement(PartitionRef(text, text))],
    )[0]

    assert store.get_artifact(result.artifact_id).tags == {text: text}
    assert store.get_sources([result.artifact_id])[result.artifact_id] == (raw,)
    heads = store.get_heads(text, [text])[text]
    assert heads is not None
    assert [one.artifact_id for one in heads] == [result.artifact_id]
    assert len(store.list_artifacts(ArtifactFilter(tags={text: text})).artifacts) == 1
    assert store.open(result.artifact_id, verify=True).to_table().column("text")[0].as_py() == text


@pytest.mark.parametrize(
    "text",
    [
        "../../../etc/passwd",
        "day=2025-05-01\0",
        "day=2025-05-01\n",
        "day=２０２５-05-01",
        "\u202eday=2025-05-01",
        "'; DROP TABLE artifacts; --",
        "d" * 10_000,
        "\udcff",
        "",
    ],
)
def test_hostile_keys_types_and_ids_are_refused_in_one_short_line(
    store: ArtifactStore, text: str
) -> None:
    kept = store.publish_artifact(note(1, "kept"))
    asked: list[Callable[[], object]] = [
        lambda: store.publish_artifact(PublishRequest("notes", text, notes(), WRITER)),
        lambda: store.publish_artifact(PublishRequest(text, "day=2025-05-01", notes(), WRITER)),
        lambda: store.get_artifact(text),
        lambda: store.get_lineage(text),
        lambda: store.tombstone(text, "x"),
        lambda: store.supersede(kept.artifact_id, text),
        lambda: store.publish_artifact(note(2, "x", inputs=made_from(text))),
    ]
    for ask in asked:
        with pytest.raises(QuantlabError) as refused:
            ask()
        assert "\n" not in str(refused.value)
    assert text == "\udcff" or store.find_by_logical_key("notes", text) == []
    assert store.list_artifacts().artifacts == (kept.artifact,)


@pytest.mark.parametrize("field", ["tag", "source"])
def test_text_that_is_not_utf8_is_refused(store: ArtifactStore, field: str) -> None:
    bad = "\udcff"
    raw = SourceFile(sha256="sha256:" + "c" * 64, name=bad, size=1, kind="x")
    request = note(1, "a", tags={"t": bad}) if field == "tag" else note(1, "a", sources=(raw,))

    with pytest.raises(ValidationFailed, match="UTF-8"):
        store.publish_artifact(request)


def test_the_store_says_that_it_is_there(store: ArtifactStore) -> None:
    assert store.is_available()


# --- Parquet files instead of tables ---


def test_a_parquet_file_is_published_like_its_table(store: ArtifactStore, tmp_path: Path) -> None:
    request = note(1, "gm", "wen")
    file = tmp_path / "given.parquet"
    pq.write_table(request.table, file)
    first = store.publish_artifact(replace(request, table=file))

    again = store.publish_artifact(replace(request, table=file))
    as_table = store.publish_artifact(request)

    assert (first.deduped, again.deduped, as_table.deduped) == (False, True, True)
    assert first.artifact_id == again.artifact_id == as_table.artifact_id
    assert store.read_verified([first.artifact_id])["text"].to_list() == ["gm", "wen"]


def test_a_file_that_an_artifact_has_brings_a_superseded_one_back(
    store: ArtifactStore, tmp_path: Path
) -> None:
    old = store.publish_artifact(note(1, "gm"))
    store.publish_artifact(note(1, "edited"))
    copy = tmp_path / "copy.parquet"
    pq.write_table(note(1, "gm").table, copy)

    again = store.publish_artifact(replace(note(1), table=copy))

    assert again.deduped
    assert again.artifact_id == old.artifact_id
    assert store.get_artifact(old.artifact_id).status == "active"


def test_a_file_that_is_no_parquet_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    file = tmp_path / "notes.parquet"
    file.write_bytes(b"PAR1 and nothing else PAR1")

    with pytest.raises(ValidationFailed, match=r"notes\.parquet"):
        store.publish_artifact(replace(note(1), table=file))
    with pytest.raises(NotFound, match=r"absent\.parquet"):
        store.publish_artifact(replace(note(1), table=tmp_path / "absent.parquet"))
    assert store.list_artifacts().artifacts == ()

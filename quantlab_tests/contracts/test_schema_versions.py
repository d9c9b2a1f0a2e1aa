"""Types of several schema versions: what every `ArtifactStore` makes of them.

Everything is read as the newest version, whatever it is stored as; the newest is what is active.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.domain.artifacts.canonical_order import canonical_table
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.records import (
    HeadReplacement,
    PartitionRef,
    Provenance,
    PublishRequest,
    PublishResult,
)
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import Conflict, ValidationFailed
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_tests.contracts.versioned_type import (
    MARKS_1,
    MARKS_2,
    MARKS_3,
    marks_1,
    marks_2,
    marks_3,
)
from quantlab_tests.in_memory.artifact_store import InMemoryArtifactStore

WRITER = Provenance(writer_name="test", writer_version="1")
BOOK = "book=atlas/day=2025-05-01"
SHELF = "day=2025-05-01/shelf=a"
DAY = PartitionRef("marks", "2025-05-01")
ROWS = [(0, "Zoe", 4), (1, "Ann", None), (1, "Ann", 3), (2, "ann", -1)]
MORE = [(5, "Bob", 8)]

Make = Callable[[ArtifactType], ArtifactStore]


@pytest.fixture(params=["in_memory", "parquet"])
def lake_of(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes the store as a program sees it that knows the type up to a version.

    Calling it again opens the same artifacts, as a newer program does.
    """
    held = InMemoryArtifactStore(TypeRegistry(()))

    def make(newest: ArtifactType) -> ArtifactStore:
        types = TypeRegistry((newest,))
        if request.param == "in_memory":
            held.types = types
            return held
        return ParquetStore.at(
            artifacts_root=tmp_path / "artifacts",
            manifest=tmp_path / "manifest" / "manifest.sqlite",
            staging=tmp_path / "staging",
            types=types,
            create=True,
        )

    return make


def put(
    store: ArtifactStore,
    table: pa.Table,
    version: int | None = None,
    key: str = BOOK,
    **more: object,
) -> PublishResult:
    return store.publish_artifact(
        PublishRequest("marks", key, table, WRITER, schema_version=version, **more)  # type: ignore[arg-type]
    )


def status(store: ArtifactStore, result: PublishResult) -> str:
    return store.get_artifact(result.artifact_id).status


def read(store: ArtifactStore, *ids: str) -> pa.Table:
    """The rows, by both ways of reading, which must agree."""
    opened = store.open_many(ids, verify=True).to_table()
    frame = store.read_verified(ids)
    assert frame.equals(pl.DataFrame(pl.from_arrow(opened)))
    return opened.combine_chunks()


# Reading


def test_rows_of_every_version_are_read_as_the_newest(lake_of: Make) -> None:
    first = put(lake_of(MARKS_1), marks_1(ROWS))
    second = put(lake_of(MARKS_2), marks_2(MORE, "hi"), key="book=bible/day=2025-05-01")
    store = lake_of(MARKS_3)
    third = put(store, marks_3(MORE, "new"), key="day=2025-05-01/shelf=c")

    rows = read(store, first.artifact_id, third.artifact_id, second.artifact_id)

    assert rows.schema == MARKS_3.schema
    assert rows["author"].to_pylist() == ["Ann", "Ann", "Zoe", "ann", "Bob", "Bob"]
    assert rows["weight"].to_pylist() == [0.0, 1.5, 2.0, -0.5, 4.0, 4.0]
    assert rows["handle"].to_pylist() == ["ann", "ann", "zoe", "ann", "bob", "bob"]
    assert rows["note"].to_pylist() == [None, None, None, None, "new", "hi"]


def test_columns_are_taken_from_the_newest_version(lake_of: Make) -> None:
    first = put(lake_of(MARKS_1), marks_1(ROWS))
    store = lake_of(MARKS_3)

    chosen = store.read_verified([first.artifact_id], ["author", "weight"])

    assert chosen.columns == ["author", "weight"]
    assert chosen["weight"].to_list() == [0.0, 1.5, 2.0, -0.5]
    with pytest.raises(ValidationFailed, match="old"):
        store.read_verified([first.artifact_id], ["old"])


def test_what_is_stored_can_still_be_seen(lake_of: Make) -> None:
    first = put(lake_of(MARKS_1), marks_1(ROWS))
    store = lake_of(MARKS_3)

    stored = store.open(first.artifact_id, verify=True, as_stored=True).to_table()

    assert stored.schema == MARKS_1.schema
    assert content_hash(canonical_table(stored, MARKS_1)) == first.artifact.content_hash
    assert store.get_artifact(first.artifact_id) == first.artifact


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["Ann", "ann", "ANN", "", "Ä", "z"]),
            st.none() | st.integers(-3, 3),
        ),
        max_size=12,
    ),
    version=st.sampled_from([1, 2]),
)
def test_reading_the_old_is_reading_what_publishing_it_anew_would_give(
    lake_of: Make, rows: Sequence[tuple[int, str, int | None]], version: int
) -> None:
    store = lake_of(MARKS_3)
    old = put(store, marks_1(rows) if version == 1 else marks_2(rows), version)
    new = put(store, marks_3(rows), key="day=2025-05-01/shelf=z")

    upgraded = read(store, old.artifact_id)

    assert upgraded.equals(read(store, new.artifact_id))
    assert content_hash(upgraded) == new.artifact.content_hash


def test_a_version_that_the_program_does_not_know_is_not_guessed(lake_of: Make) -> None:
    newer = put(lake_of(MARKS_2), marks_2(ROWS))

    with pytest.raises(ValidationFailed, match="schema version 2 is not known, only 1"):
        lake_of(MARKS_1).open(newer.artifact_id)


# Publishing


def test_writers_write_the_newest_version_unless_told(lake_of: Make) -> None:
    store = lake_of(MARKS_2)

    assert put(store, marks_1(ROWS), 1).artifact.schema_version == 1
    assert put(store, marks_2(ROWS)).artifact.schema_version == 2
    with pytest.raises(ValidationFailed, match="version 3 is not known, only 1, 2"):
        put(store, marks_2(ROWS), 3)
    with pytest.raises(ValidationFailed, match="missing column handle"):
        put(store, marks_1(ROWS))


def test_a_newer_version_of_a_key_takes_the_place_of_the_older(lake_of: Make) -> None:
    old = put(lake_of(MARKS_1), marks_1(ROWS))
    store = lake_of(MARKS_2)
    new = put(store, marks_2(ROWS), expected_active=old.artifact_id)

    assert new.superseded == (old.artifact_id,)
    assert (status(store, old), status(store, new)) == ("superseded", "active")
    found = store.find_by_logical_key("marks", BOOK)
    assert [one.artifact_id for one in found] == [new.artifact_id, old.artifact_id]


def test_an_older_version_does_not_displace_the_newer(lake_of: Make) -> None:
    store = lake_of(MARKS_2)
    new = put(store, marks_2(ROWS))
    for deduped in (False, True):
        old = put(store, marks_1(MORE), 1)
        assert old.deduped is deduped
        assert (old.superseded, old.superseded_by) == ((), new.artifact_id)
        assert old.artifact.status == "superseded"
        assert (status(store, old), status(store, new)) == ("superseded", "active")
    assert store.find_by_logical_key("marks", BOOK)[0].artifact_id == new.artifact_id


def test_a_key_finds_what_is_active_then_the_newest_versions(lake_of: Make) -> None:
    store = lake_of(MARKS_2)
    first = put(store, marks_2(ROWS))
    second = put(store, marks_2(MORE))
    old = put(store, marks_1(MORE), 1)

    found = [one.artifact_id for one in store.find_by_logical_key("marks", BOOK)]

    assert found == [second.artifact_id, first.artifact_id, old.artifact_id]


def test_an_older_version_is_active_where_nothing_newer_is(lake_of: Make) -> None:
    store = lake_of(MARKS_2)
    new = put(store, marks_2(ROWS))
    old = put(store, marks_1(MORE), 1)
    store.tombstone(new.artifact_id, "wrong")

    again = put(store, marks_1(MORE), 1)

    assert (again.artifact_id, again.superseded_by) == (old.artifact_id, None)
    assert status(store, again) == "active"


def test_an_older_version_cannot_be_the_head(lake_of: Make) -> None:
    store = lake_of(MARKS_2)
    put(store, marks_2(ROWS))
    request = PublishRequest("marks", BOOK, marks_1(MORE), WRITER, schema_version=1, head=DAY)

    with pytest.raises(Conflict, match="newer schema version"):
        store.publish_many([request], heads=[HeadReplacement(DAY)])
    assert store.get_heads("marks", [DAY.partition]) == {DAY.partition: None}


def test_two_versions_of_a_key_in_one_batch_are_refused(lake_of: Make) -> None:
    store = lake_of(MARKS_2)
    both = [
        PublishRequest("marks", BOOK, marks_1(ROWS), WRITER, schema_version=1),
        PublishRequest("marks", BOOK, marks_2(ROWS), WRITER, schema_version=2),
    ]

    with pytest.raises(ValidationFailed, match="two contents"):
        store.publish_many(both)


def test_what_left_its_head_for_a_key_of_another_form_has_a_successor(lake_of: Make) -> None:
    before = lake_of(MARKS_1)
    books = [
        PublishRequest("marks", f"book={book}/day=2025-05-01", marks_1(rows), WRITER, head=DAY)
        for book, rows in (("atlas", ROWS), ("almanac", MORE), ("bible", MORE))
    ]
    old = before.publish_many(books, heads=[HeadReplacement(DAY)])
    store = lake_of(MARKS_3)
    shelf = PublishRequest("marks", SHELF, marks_3([*ROWS, *MORE]), WRITER, head=DAY)
    (new,) = store.publish_many([shelf], heads=[HeadReplacement(DAY)])

    assert [status(store, one) for one in old] == ["superseded"] * 3
    assert successors(store) == {
        old[0].artifact_id: (new.artifact_id, "republished"),
        old[1].artifact_id: (new.artifact_id, "republished"),
        old[2].artifact_id: (None, "not_produced"),
    }


def successors(store: ArtifactStore) -> dict[str, tuple[str | None, str]]:
    """What each artifact was replaced by, and why."""
    if isinstance(store, InMemoryArtifactStore):
        return store.replacements()
    assert isinstance(store, ParquetStore)
    with store.database.reading() as connection:
        rows = connection.exec_driver_sql("SELECT old_id, new_id, reason FROM supersedes").all()
    return {old: (new, reason) for old, new, reason in rows}


def test_whoever_comes_last_the_newer_version_is_the_active_one(tmp_path: Path) -> None:
    store = ParquetStore.at(
        artifacts_root=tmp_path / "artifacts",
        manifest=tmp_path / "manifest" / "manifest.sqlite",
        staging=tmp_path / "staging",
        types=TypeRegistry((MARKS_2,)),
        create=True,
    )
    for turn in range(4):
        key = f"book=atlas/day=2025-05-0{turn + 1}"
        requests = [
            PublishRequest("marks", key, marks_1([(number, "Zoe", turn)]), WRITER, 1)
            if number % 2
            else PublishRequest("marks", key, marks_2([(number, "Zoe", turn)]), WRITER, 2)
            for number in range(6)
        ]
        start = Barrier(len(requests))

        def publish(request: PublishRequest, start: Barrier = start) -> PublishResult:
            start.wait()
            return store.publish_artifact(request)

        with ThreadPoolExecutor(len(requests)) as pool:
            results = list(pool.map(publish, requests))

        found = store.find_by_logical_key("marks", key)
        assert len(found) == len(results)
        assert [one.schema_version for one in found if one.status == "active"] == [2]

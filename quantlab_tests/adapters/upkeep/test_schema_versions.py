"""Rebuilding a manifest and carrying bundles leave the newest schema version of a key active."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.adapters.bundle.export import export_bundle, import_bundle
from quantlab_assets.adapters.upkeep.rebuild import rebuild_manifest
from quantlab_assets.domain.artifacts.records import (
    HeadReplacement,
    PartitionRef,
    Provenance,
    PublishRequest,
)
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_tests.adapters.artifact_store.scenes import clean
from quantlab_tests.contracts.versioned_type import MARKS_3, marks_1, marks_2, marks_3

TYPES = TypeRegistry([MARKS_3])
WRITER = Provenance("test", "1")
HEAD = PartitionRef("marks", "2025-05-01")
ROWS = [(0, "Zoe", 4), (1, "Ann", None)]


class Clock:
    """Each moment is later than the last."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


def lake(folder: Path, manifest: str = "manifest.sqlite", *, create: bool = True) -> ParquetStore:
    return ParquetStore.at(
        artifacts_root=folder / "artifacts",
        manifest=folder / manifest,
        staging=folder / "staging",
        types=TYPES,
        create=create,
        clock=Clock(),
    )


@pytest.fixture
def store(tmp_path: Path) -> ParquetStore:
    """A version 2 with a later version 1 of its key, and two books of a day that became a shelf."""
    store = lake(tmp_path / "lake")
    key = "book=bible/day=2025-05-02"
    store.publish_artifact(PublishRequest("marks", key, marks_2(ROWS, "hi"), WRITER, 2))
    store.publish_artifact(PublishRequest("marks", key, marks_1(ROWS), WRITER, 1))
    books = [
        PublishRequest("marks", f"book={book}/day=2025-05-01", marks_1(ROWS), WRITER, 1, head=HEAD)
        for book in ("atlas", "almanac")
    ]
    store.publish_many(books, heads=[HeadReplacement(HEAD)])
    shelf = "day=2025-05-01/shelf=a"
    request = PublishRequest("marks", shelf, marks_3([*ROWS, *ROWS]), WRITER, head=HEAD)
    store.publish_many([request], heads=[HeadReplacement(HEAD)])
    return store


def statuses(store: ParquetStore) -> dict[tuple[str, int], str]:
    return {
        (one.logical_key, one.schema_version): one.status
        for one in store.list_artifacts().artifacts
    }


WANTED = {
    ("book=bible/day=2025-05-02", 2): "active",
    ("book=bible/day=2025-05-02", 1): "superseded",
    ("book=atlas/day=2025-05-01", 1): "superseded",
    ("book=almanac/day=2025-05-01", 1): "superseded",
    ("day=2025-05-01/shelf=a", 3): "active",
}


def test_a_rebuilt_manifest_has_the_newest_versions_active(
    store: ParquetStore, tmp_path: Path
) -> None:
    assert statuses(store) == WANTED

    report = rebuild_manifest(tmp_path / "lake" / "artifacts", tmp_path / "lake" / "new", TYPES)

    rebuilt = lake(tmp_path / "lake", "new", create=False)
    assert report.problems == ()
    assert statuses(rebuilt) == WANTED
    heads = rebuilt.get_heads(HEAD.asset, [HEAD.partition])
    assert heads == store.get_heads(HEAD.asset, [HEAD.partition])
    clean(rebuilt)


def test_a_bundle_carries_artifacts_of_every_version(store: ParquetStore, tmp_path: Path) -> None:
    ids = [one.artifact_id for one in store.list_artifacts().artifacts]
    export_bundle(store, ids, tmp_path / "all.tar")
    target = lake(tmp_path / "target")

    assert len(import_bundle(target, tmp_path / "all.tar").added) == len(ids)

    assert statuses(target) == WANTED
    assert target.read_verified(ids).equals(store.read_verified(ids))
    clean(target)


def test_a_bundle_displaces_nothing_whatever_its_version(
    store: ParquetStore, tmp_path: Path
) -> None:
    (new, _) = store.find_by_logical_key("marks", "book=bible/day=2025-05-02")
    export_bundle(store, [new.artifact_id], tmp_path / "new.tar")
    target = lake(tmp_path / "target")
    here = target.publish_artifact(
        PublishRequest("marks", new.logical_key, marks_1(ROWS[:1]), WRITER, 1)
    )

    import_bundle(target, tmp_path / "new.tar")

    assert target.get_artifact(here.artifact_id).status == "active"
    assert target.get_artifact(new.artifact_id).status == "superseded"

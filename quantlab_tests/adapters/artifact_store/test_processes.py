"""Many processes on one lake: they agree, wait their turn, and lose nothing."""

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from quantlab_assets.adapters.upkeep.audit import audit
from quantlab_assets.domain.artifacts.records import ArtifactFilter
from quantlab_assets.domain.errors import IntegrityError, NotFound
from quantlab_tests.adapters.artifact_store.lakes import (
    add_to_one_key,
    note,
    open_lake,
    publish_series,
)
from quantlab_tests.adapters.artifact_store.operations import collect_all

PROCESSES = 4


@pytest.fixture(scope="module")
def pool() -> Any:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as executor:
        yield executor


def results(futures: "list[Future[Any]]") -> list[Any]:
    return [future.result(timeout=120) for future in futures]


def test_publishers_of_the_same_and_of_other_things(tmp_path: Path, pool: Any) -> None:
    store = open_lake(tmp_path, create=True)
    each = 3

    published = results(
        [pool.submit(publish_series, tmp_path, worker, each) for worker in range(PROCESSES)]
    )

    artifacts = store.list_artifacts().artifacts
    assert len(artifacts) == PROCESSES * each + 2 * each
    assert {one.status for one in artifacts} == {"active"}
    store.verify_artifacts([one.artifact_id for one in artifacts])
    shared = [[one for i, (one, _) in enumerate(series) if i % 3] for series in published]
    assert all(ids == shared[0] for ids in shared), "all agree on the ids"
    new = [one for series in published for one, deduped in series if not deduped]
    assert sorted(new) == sorted(one.artifact_id for one in artifacts), "each was new once"
    assert all(len(store.get_publications(one)) == PROCESSES for one in shared[0])
    assert list((tmp_path / "staging").iterdir()) == []


def test_additive_writers_of_one_key_lose_nothing(tmp_path: Path, pool: Any) -> None:
    store = open_lake(tmp_path, create=True)
    each = 3

    results([pool.submit(add_to_one_key, tmp_path, worker, each) for worker in range(PROCESSES)])

    found = store.find_by_logical_key("notes", "chat=7/day=2025-05-01")
    assert [one.status for one in found].count("active") == 1
    texts = store.open(found[0].artifact_id, verify=True).to_table().column("text").to_pylist()
    assert set(texts) == {f"{w}/{i}" for w in range(PROCESSES) for i in range(each)}


def test_a_lake_is_made_once_though_many_make_it(tmp_path: Path, pool: Any) -> None:
    futures = [pool.submit(open_and_count, tmp_path) for _ in range(PROCESSES)]

    assert results(futures) == [0] * PROCESSES


@pytest.mark.nightly
def test_sixteen_publishers_of_fifty_things_each(tmp_path: Path) -> None:
    store = open_lake(tmp_path / "distinct", create=True)
    same = open_lake(tmp_path / "same", create=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(16, mp_context=context) as executor:
        made = results(
            [executor.submit(publish_keys, tmp_path / "distinct", w, w, 50) for w in range(16)]
        )
        agreed = results(
            [executor.submit(publish_keys, tmp_path / "same", 0, w, 50) for w in range(16)]
        )

    assert len({one for series in made for one in series}) == 800
    assert len(store.list_artifacts().artifacts) == 800
    assert all(series == agreed[0] for series in agreed)
    assert len(same.list_artifacts().artifacts) == len(agreed[0]) == 50
    assert all(len(same.get_publications(one)) == 16 for one in agreed[0])
    for one in (store, same):
        report = audit(one)
        assert (report.problems, report.unreferenced) == ((), ())


@pytest.mark.parametrize("rounds", [6, pytest.param(100, marks=pytest.mark.nightly)])
def test_publishers_collectors_and_readers_together(tmp_path: Path, pool: Any, rounds: int) -> None:
    """The collectors have no grace at all: only the lock stands between them and the publishers."""
    open_lake(tmp_path, create=True)

    published = [pool.submit(publish_over, tmp_path, worker, rounds) for worker in range(2)]
    collected = [pool.submit(collect_until_done, tmp_path)]
    read = [pool.submit(read_until_done, tmp_path)]
    try:
        ids = {one for series in results(published) for one in series}
    finally:
        (tmp_path / "done").touch()
    results(collected)
    results(read)

    store = open_lake(tmp_path)
    report = audit(store)
    assert report.problems == ()
    assert report.artifacts == len(ids)
    active = [
        one.artifact_id for one in store.list_artifacts(ArtifactFilter(status="active")).artifacts
    ]
    store.verify_artifacts(active)
    assert len(active) == 2
    print(f"{report.artifacts} artifacts, {report.purged} purged meanwhile")


def publish_keys(folder: Path, first: int, writer: int, count: int) -> list[str]:
    """Publish the same things in an order of one's own; their ids in one order."""
    store = open_lake(folder)
    order = sorted(range(count), key=lambda i: (i * (writer + 3)) % 53)
    ids = {
        i: store.publish_artifact(note(1000 * first + i, f"{first}/{i}")).artifact_id for i in order
    }
    return [ids[i] for i in range(count)]


def publish_over(folder: Path, worker: int, rounds: int) -> list[str]:
    store = open_lake(folder)
    # Every third content comes back, purged or not.
    texts = [f"{worker}/{i if i % 3 else 0}" for i in range(rounds)]
    return [store.publish_artifact(note(worker, text)).artifact_id for text in texts]


def collect_until_done(folder: Path) -> None:
    store = open_lake(folder)
    # The grace period does protect what is being staged; only that is left alone here.
    store.files_on_disk.scan_staging = lambda: iter(())  # type: ignore[method-assign]
    while not (folder / "done").exists():
        collect_all(store, folder)


def read_until_done(folder: Path) -> None:
    store = open_lake(folder)
    while not (folder / "done").exists():
        for one in store.list_artifacts(ArtifactFilter(status="active")).artifacts:
            try:
                store.read_verified([one.artifact_id])
            except (NotFound, IntegrityError):
                # Superseded and given up between the two looks; never damaged, never half there.
                assert store.get_artifact(one.artifact_id).status == "superseded"


def open_and_count(folder: Path) -> int:
    return len(open_lake(folder, create=True).list_artifacts().artifacts)

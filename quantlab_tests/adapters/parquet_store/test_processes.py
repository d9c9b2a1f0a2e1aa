"""Many processes on one lake: they agree, wait their turn, and lose nothing."""

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from quantlab_tests.adapters.parquet_store.lakes import (
    add_to_one_key,
    open_lake,
    publish_series,
)

PROCESSES = 8


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


def open_and_count(folder: Path) -> int:
    return len(open_lake(folder, create=True).list_artifacts().artifacts)

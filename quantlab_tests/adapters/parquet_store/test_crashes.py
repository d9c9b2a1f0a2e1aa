"""A publisher that dies, or whose disk fails, at every step it takes."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from quantlab_assets.adapters.parquet_store import ParquetStore
from quantlab_assets.adapters.parquet_store.files import LocalFiles, sha256_of
from quantlab_assets.domain.content_hash import content_hash
from quantlab_assets.domain.errors import StoreUnavailable
from quantlab_tests.adapters.parquet_store import crash_loop
from quantlab_tests.adapters.parquet_store.lakes import (
    first_batch,
    open_lake,
    second_batch,
    stepwise_lake,
)

BATCHES = (first_batch, second_batch)


def assert_sound(store: ParquetStore, folder: Path) -> None:
    """No row without its file, no half file under a final name, at most one active a key."""
    artifacts = store.list_artifacts().artifacts
    store.verify_artifacts([one.artifact_id for one in artifacts])
    keys = [one.logical_key for one in artifacts if one.status == "active"]
    assert len(keys) == len(set(keys))
    for path in (folder / "artifacts").rglob("*.parquet"):
        table = pq.read_table(path, page_checksum_verification=True)
        assert table.schema.metadata[b"quantlab.content_hash"].decode() == content_hash(table)
    for path in (folder / "artifacts").rglob("*.json"):
        sidecar = json.loads(path.read_bytes())
        assert sidecar["fileHash"] == sha256_of(path.with_suffix(".parquet").read_bytes())
    with store.database.reading() as connection:
        check = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    assert (check, orphans) == ("ok", [])


def lake_before(folder: Path, batch: int) -> ParquetStore:
    store = open_lake(folder, create=True)
    for earlier in BATCHES[:batch]:
        requests, heads = earlier()
        store.publish_many(requests, heads=heads)
    return store


@pytest.mark.parametrize("batch", [0, 1])
def test_killed_at_every_step(memory_path: Path, batch: int) -> None:
    before = lake_before(memory_path / "before", batch).list_artifacts().artifacts
    loop = subprocess.run(
        [sys.executable, "-m", crash_loop.__name__, str(memory_path), str(batch)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (loop.returncode, loop.stderr) == (0, "")
    crashes = int(loop.stdout)
    print(f"{crashes} crash points")
    assert crashes > 30

    done = set()
    for step in range(crashes + 1):
        folder = memory_path / str(step)
        store = open_lake(folder)
        assert_sound(store, folder)
        after = store.list_artifacts().artifacts
        done.add(after == before)
        if after != before:
            assert step >= crashes - 1, "visible before the commit"

        requests, heads = BATCHES[batch]()
        again = store.publish_many(requests, heads=heads)

        assert [one.artifact.status for one in again] == ["active"] * len(requests)
        assert len(store.get_heads("notes", ["2025-05-01"])["2025-05-01"] or ()) == len(requests)
        assert_sound(store, folder)
    assert done == {True, False}


@pytest.mark.parametrize("batch", [0, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_full_disk_is_one_clear_error_and_nothing_half_written(
    memory_path: Path, batch: int
) -> None:
    failed = set()
    for failing in range(1000):
        folder = memory_path / str(failing)
        before = lake_before(folder, batch).list_artifacts().artifacts
        steps: list[str] = []

        def step(name: str, steps: list[str] = steps, failing: int = failing) -> None:
            if name.startswith(("sql", "commit")):
                return
            steps.append(name)
            if len(steps) == failing + 1:
                raise OSError(errno.ENOSPC, "No space left on device")

        requests, heads = BATCHES[batch]()
        error = None
        try:
            stepwise_lake(folder, step).publish_many(requests, heads=heads)
        except StoreUnavailable as raised:
            error = str(raised)
        if error is not None:
            failed.add(steps[failing])
            assert error.endswith(": No space left on device")
            assert open_lake(folder).list_artifacts().artifacts == before
            assert list((folder / "staging").iterdir()) == []
        assert_sound(open_lake(folder), folder)
        assert open_lake(folder).publish_many(requests, heads=heads)
        if len(steps) <= failing:
            break

    assert failed == {
        "create",
        "write",
        "make_readable",
        "sync_file",
        "link.parquet",
        "link.json",
        "make_folder",
        "sync_folder",
    }


def test_an_unreferenced_file_of_the_same_content_is_adopted(tmp_path: Path) -> None:
    """Also if it was written by another library version, whose bytes differ."""
    published = open_lake(tmp_path / "one", create=True).publish_many(
        first_batch()[0], heads=first_batch()[1]
    )[0]
    source = LocalFiles(tmp_path / "one" / "artifacts", tmp_path / "one" / "staging")
    table = pq.read_table(source.locate(published.artifact.path))
    store = open_lake(tmp_path / "two", create=True)
    left = tmp_path / "two" / "artifacts" / published.artifact.path
    left.parent.mkdir(parents=True)
    pq.write_table(table, left, compression="none")
    requests, heads = first_batch()

    adopted = store.publish_many(requests, heads=heads)[0]

    assert adopted.artifact.file_hash == sha256_of(left.read_bytes())
    assert adopted.artifact.file_hash != published.artifact.file_hash
    assert not adopted.deduped
    store.verify_artifacts([adopted.artifact_id])
    sidecar = json.loads(left.with_suffix(".json").read_bytes())
    assert sidecar["fileHash"] == adopted.artifact.file_hash

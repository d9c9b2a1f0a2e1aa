"""A publisher that dies, or whose disk fails, at every step it takes."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.adapters.objects.local_disk import LocalFiles, sha256_of
from quantlab_assets.adapters.upkeep.audit import audit
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.records import Artifact
from quantlab_assets.domain.errors import StoreUnavailable
from quantlab_tests.adapters.artifact_store import crash_loop, kill_loop
from quantlab_tests.adapters.artifact_store.lakes import (
    first_batch,
    open_lake,
    second_batch,
    stepwise_lake,
)
from quantlab_tests.adapters.artifact_store.operations import OPERATIONS, collect_all

BATCHES = (first_batch, second_batch)


def assert_sound(store: ParquetStore, folder: Path) -> None:
    """No row without its file, no half file under a final name, at most one active a key."""
    artifacts = store.list_artifacts().artifacts
    store.verify_artifacts([one.artifact_id for one in artifacts if one.purged_at is None])
    keys = [one.logical_key for one in artifacts if one.status == "active"]
    assert len(keys) == len(set(keys))
    for path in (folder / "artifacts").rglob("*.parquet"):
        table = pq.read_table(path, page_checksum_verification=True)
        assert table.schema.metadata[b"quantlab.content_hash"].decode() == content_hash(table)
    for path in (folder / "artifacts").rglob("*.json"):
        sidecar, file = json.loads(path.read_bytes()), path.with_suffix(".parquet")
        assert not file.exists() or sidecar["fileHash"] == sha256_of(file.read_bytes())
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


def run_module(module: str, *arguments: object) -> str:
    """What a module of these tests prints; it must end well and silently."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def known(store: ParquetStore) -> dict[str, Artifact]:
    """Every artifact of the lake, by id."""
    with store.database.reading() as connection:
        ids = [row[0] for row in connection.exec_driver_sql("SELECT artifact_id FROM artifacts")]
    return {one.artifact_id: one for one in store.get_artifacts(ids)}


@pytest.mark.parametrize(
    ("operation", "stride"),
    [
        ("publish over", 12),
        ("collect", 12),
        ("import", 16),
        *(pytest.param(one, 1, marks=pytest.mark.nightly) for one in OPERATIONS),
    ],
)
def test_killed_at_every_step(memory_path: Path, operation: str, stride: int) -> None:
    """Nothing that was there is lost, the audit is clean, all leftovers are collected, and doing it
    again comes to the same as if nothing had happened."""
    doing = OPERATIONS[operation]
    doing.prepare(memory_path / "before")
    before = known(open_lake(memory_path / "before"))
    damaged = operation == "repair"
    printed = run_module(crash_loop.__name__, memory_path, operation, stride)
    *steps, end = map(int, printed.split())
    print(f"{operation}: {len(steps)} crash points of {end}")

    undisturbed = state(open_lake(memory_path / str(end)))
    changed = set()
    for step in (*steps, end):
        folder = memory_path / str(step)
        store = open_lake(folder)
        report = audit(store)
        if damaged:
            assert {one.code for one in report.problems} <= {"damaged_sidecar", "missing_sidecar"}
        else:
            assert report.problems == (), step
        after = known(store)
        assert before.keys() <= after.keys()
        changed.add(state(store) == undisturbed)

        doing.run(store, folder)
        assert state(store) == undisturbed
        collect_all(store, folder)
        assert list((folder / "staging").iterdir()) == []
        report = audit(store)
        assert (report.problems, report.unreferenced) == ((), ())
        assert_sound(store, folder)
    assert True in changed


def state(store: ParquetStore) -> object:
    """What a reader of the lake could tell apart."""
    return sorted(
        (one.artifact_id, one.status, one.purged_at is None, one.file_hash)
        for one in known(store).values()
    )


@pytest.mark.parametrize("rounds", [3, pytest.param(200, marks=pytest.mark.nightly)])
def test_sigkill_at_any_moment(memory_path: Path, rounds: int) -> None:
    printed = run_module(kill_loop.__name__, memory_path / "lake", rounds, 7)

    print(f"{rounds} kills, {printed.strip()} acknowledged artifacts, none lost")
    assert int(printed) >= rounds


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

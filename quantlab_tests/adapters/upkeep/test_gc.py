"""Collection takes what nothing needs, later, by way of the trash; and nothing else."""

import json
import shutil
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.adapters.upkeep.audit import audit
from quantlab_assets.adapters.upkeep.gc import CollectReport, PurgePolicy, collect
from quantlab_assets.domain.artifacts.records import PublishRequest, PublishResult
from quantlab_assets.domain.errors import Conflict
from quantlab_tests.adapters.artifact_store.lakes import note, open_lake
from quantlab_tests.adapters.artifact_store.scenes import age, clean, copied, derived

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
ALL = PurgePolicy(timedelta(0), timedelta(0))


@pytest.fixture
def store(memory_path: Path, full_lake: Path) -> ParquetStore:
    return copied(full_lake, memory_path / "lake")


def run(
    store: ParquetStore,
    *,
    now: datetime = NOW,
    dry_run: bool = False,
    purge: PurgePolicy | None = None,
    force: bool = False,
) -> CollectReport:
    trash = store.files_on_disk.staging.parent / "trash"
    return collect(store, trash=trash, now=now, dry_run=dry_run, purge=purge, force=force)


def stray(store: ParquetStore, number: int, *, days: float) -> Path:
    """A file and a staging file that a crash left so many days ago."""
    path = store.files_on_disk.root / f"notes/v1/ab/ab{number:030x}.parquet"
    staged = store.files_on_disk.staging / f"{number:032x}"
    path.parent.mkdir(parents=True, exist_ok=True)
    for each in (path, staged):
        each.write_bytes(b"left")
        age(each, days * 86_400)
    return path


def published_after_a_collection(
    store: ParquetStore, request: PublishRequest, *, now: datetime = NOW + 2 * DAY
) -> tuple[PublishResult, CollectReport]:
    """Publish it, with a collection between its files and its row."""
    database, collected = store.database, []
    writing = database.writing

    def collect_first():  # type: ignore[no-untyped-def]
        database.writing = writing  # type: ignore[method-assign]
        collected.append(run(store, now=now))
        return writing()

    database.writing = collect_first  # type: ignore[method-assign]
    return store.publish_artifact(request), collected[0]


def test_only_what_is_old_and_unreferenced_goes_and_first_to_the_trash(store: ParquetStore) -> None:
    old, young = stray(store, 1, days=2), stray(store, 2, days=0.5)
    foreign = store.files_on_disk.root / "notes" / "README"
    foreign.write_text("mine")

    dry = run(store, dry_run=True)
    assert old.exists()
    report = run(store)

    assert dry.files == report.files
    assert [one.reason for one in report.files] == ["unreferenced", "staging"]
    assert (old.exists(), young.exists(), foreign.exists()) == (False, True, True)
    assert report.too_young == 1
    assert report.bytes == 8
    trashed = list((store.files_on_disk.staging.parent / "trash").rglob("*"))
    assert sum(one.is_file() for one in trashed) == 2
    assert run(store).files == ()
    clean(store)


def test_trash_is_emptied_after_its_time_and_only_what_was_collected(store: ParquetStore) -> None:
    stray(store, 1, days=2)
    run(store)
    trash = store.files_on_disk.staging.parent / "trash"
    (trash / "by hand").mkdir()

    assert run(store, now=NOW + 6 * DAY).files == ()
    emptied = run(store, now=NOW + 8 * DAY)

    assert {one.reason for one in emptied.files} == {"trash"}
    assert [one.name for one in trash.iterdir()] == ["by hand"]


def test_links_in_the_trash_are_not_followed(store: ParquetStore, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    stray(store, 1, days=2)
    run(store)
    (folder,) = (store.files_on_disk.staging.parent / "trash").iterdir()
    (folder / "link").symlink_to(tmp_path)

    run(store, now=NOW + 8 * DAY)

    assert (tmp_path / "precious").read_text() == "mine"
    assert not folder.exists()


def test_bytes_go_only_by_policy_and_come_back_when_published_again(store: ParquetStore) -> None:
    tombstoned = next(one for one in store.find_by_logical_key("notes", "chat=13/day=2025-05-01"))
    later = NOW + DAY
    assert run(store, now=later, purge=PurgePolicy(superseded_after=400 * DAY)).purged == ()

    report = run(store, now=later, purge=ALL)

    assert tombstoned.artifact_id in report.purged
    assert {one.reason for one in report.files} == {"purged"}
    purged = store.get_artifact(tombstoned.artifact_id)
    assert purged.purged_at is not None
    assert (purged.content_hash, purged.status) == (tombstoned.content_hash, "tombstoned")
    assert store.files_on_disk.locate(purged.path).with_suffix(".json").exists()
    assert clean(store).purged == len(report.purged)
    brought = [one for one in report.purged if store.get_artifact(one).status == "superseded"]
    assert len(brought) == 1
    again = store.publish_artifact(note(1, "gm", "wen" * 50))
    assert (again.artifact_id, again.artifact.purged_at) == (brought[0], None)
    clean(store)


@pytest.mark.parametrize("what", ["bytes given up and not yet taken", "lost files"])
def test_the_very_file_of_an_artifact_brings_its_bytes_back(
    what: str, store: ParquetStore, memory_path: Path
) -> None:
    """Given a file that an artifact has, publishing looks whether that artifact has it still."""
    published = store.publish_artifact(note(7, "gm"))
    file = store.files_on_disk.locate(published.artifact.path)
    given = memory_path / "given.parquet"
    shutil.copy(file, given)
    if what == "lost files":
        file.unlink()
        file.with_suffix(".json").unlink()
    else:  # a collection died between its two steps
        with store.database.writing() as connection:
            connection.exec_driver_sql(
                "UPDATE artifacts SET purged_at = 1 WHERE artifact_id = ?",
                (published.artifact_id,),
            )

    again = store.publish_artifact(replace(note(7), table=given))

    assert (again.artifact_id, again.artifact.purged_at) == (published.artifact_id, None)
    told = json.loads(file.with_suffix(".json").read_bytes())
    assert datetime.fromisoformat(told["createdAt"]) == published.artifact.created_at
    store.verify_artifacts([published.artifact_id])
    clean(store)


def test_what_is_needed_keeps_its_bytes(memory_path: Path) -> None:
    store = open_lake(memory_path, create=True)
    pinned = store.publish_artifact(note(1, "pinned"))
    with sqlite3.connect(store.database.path) as connection:
        connection.execute("INSERT INTO artifact_tags VALUES (?, 'pin', '')", (pinned.artifact_id,))
    connection.close()
    frozen = store.publish_artifact(note(2, "frozen"))
    store.freeze_inputs([frozen.artifact_id])
    used = store.publish_artifact(note(3, "used"))
    derived(store, 4, used, "still active")
    loose = store.publish_artifact(note(5, "loose"))
    for chat in (1, 2, 3, 5):
        store.publish_artifact(note(chat, "newer"))

    report = run(store, now=NOW + DAY, purge=ALL)

    assert report.purged == (loose.artifact_id,)


def test_most_of_a_lake_is_taken_only_by_force(memory_path: Path) -> None:
    """An old backup was restored: the files that it does not know are not garbage."""
    store = open_lake(memory_path, create=True)
    for number in range(101):
        stray(store, number, days=2)

    with pytest.raises(Conflict, match="is it the manifest of these files"):
        run(store, dry_run=True)

    assert len(run(store, force=True).files) == 202


def test_a_file_that_is_collected_before_its_row_is_written_is_written_again(
    store: ParquetStore,
) -> None:
    """The grace period is no part of safety: here a collection comes between file and row."""
    published, collected = published_after_a_collection(store, note(77, "slow writer"))

    assert len(collected.files) == 2
    store.verify_artifacts([published.artifact_id])
    clean(store)
    assert audit(store).unreferenced == ()


@pytest.mark.parametrize("left", ["file", "file and sidecar"])
def test_an_old_file_that_is_collected_after_it_was_adopted_is_written_again(
    left: str, store: ParquetStore, memory_path: Path
) -> None:
    """What a crash left long ago is due for collection, and just now its content is published."""
    request = note(77, "gm again")
    aborted = open_lake(memory_path / "aborted", create=True)
    path = aborted.publish_artifact(request).artifact.path
    for suffix in (".parquet", ".json")[: len(left.split(" and "))]:
        file = store.files_on_disk.locate(path).with_suffix(suffix)
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(aborted.files_on_disk.locate(path).with_suffix(suffix), file)
        age(file, 2 * 86_400)

    published, collected = published_after_a_collection(store, request, now=NOW)

    assert path in {one.path for one in collected.files}
    store.verify_artifacts([published.artifact_id])
    clean(store)
    assert audit(store).unreferenced == ()

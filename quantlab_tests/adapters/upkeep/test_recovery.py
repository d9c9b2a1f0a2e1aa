"""Backups, restoring them, and a manifest made from sidecars; disk use and the doctor."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.adapters.upkeep.backup import backup, restore
from quantlab_assets.adapters.upkeep.diagnosis import diagnose, disk_use
from quantlab_assets.adapters.upkeep.rebuild import rebuild_manifest
from quantlab_assets.domain.errors import Conflict, IntegrityError, NotFound
from quantlab_tests.adapters.artifact_store.lakes import TYPES, note, open_lake
from quantlab_tests.adapters.artifact_store.scenes import age, clean, copied, flip

NOW = datetime.now(UTC)


@pytest.fixture
def store(memory_path: Path, full_lake: Path) -> ParquetStore:
    return copied(full_lake, memory_path / "lake")


def test_a_backup_is_a_manifest_and_restoring_keeps_what_was_there(
    store: ParquetStore, memory_path: Path
) -> None:
    before = store.list_artifacts().artifacts
    made = backup(store.database, memory_path / "copy.sqlite")
    later = store.publish_artifact(note(99, "later"))

    done = restore(memory_path / "copy.sqlite", store.database.path)

    assert made.artifacts == done.artifacts == len(before) + 1
    assert open_lake(memory_path / "lake").list_artifacts().artifacts == before
    assert done.replaced is not None
    assert restore(done.replaced, store.database.path).artifacts == done.artifacts + 1
    assert store.get_artifact(later.artifact_id).status == "active"
    clean(store)


def test_a_backup_carries_the_code_that_experiments_ran_with(
    store: ParquetStore, memory_path: Path
) -> None:
    diff = b"--- a/kernel.py\n+++ b/kernel.py\n"
    name = f"{hashlib.sha256(diff).hexdigest()}.patch"
    code = store.database.path.parent / "code"
    code.mkdir()
    (code / name).write_bytes(diff)
    (code / ".unfinished.patch").write_bytes(b"half")
    copy = memory_path / "copy.sqlite"

    assert backup(store.database, copy).patches == 1
    (code / name).unlink()
    assert restore(copy, store.database.path).patches == 1

    assert (code / name).read_bytes() == diff
    kept = memory_path / "copy.sqlite.code" / name
    kept.chmod(0o600)
    kept.write_bytes(b"another")
    before = store.database.path.read_bytes()
    with pytest.raises(IntegrityError, match="is damaged"):
        restore(copy, store.database.path)
    assert store.database.path.read_bytes() == before


def test_a_backup_overwrites_nothing_and_leaves_nothing(
    store: ParquetStore, memory_path: Path
) -> None:
    (memory_path / "mine").write_text("mine")
    with pytest.raises(Conflict, match="not overwritten"):
        backup(store.database, memory_path / "mine")
    backup(store.database, memory_path / "backups" / "copy.sqlite")
    assert [one.name for one in (memory_path / "backups").iterdir()] == ["copy.sqlite"]


def test_a_damaged_or_foreign_backup_is_refused_and_the_manifest_stays(
    store: ParquetStore, memory_path: Path
) -> None:
    copy = memory_path / "copy.sqlite"
    backup(store.database, copy)
    whole = copy.read_bytes()
    before = store.database.path.read_bytes()
    for bad, says in (
        (whole[: len(whole) // 2], "is damaged"),
        (b"no database" * 1000, "is damaged: file is not a database"),
        (b"", "is no whole manifest"),
    ):
        copy.write_bytes(bad)
        with pytest.raises(IntegrityError, match=says):
            restore(copy, store.database.path)
    with pytest.raises(NotFound, match="no backup at"):
        restore(memory_path / "absent", store.database.path)
    with pytest.raises(Conflict, match="the manifest itself"):
        restore(store.database.path, store.database.path)
    assert store.database.path.read_bytes() == before


def test_a_manifest_is_made_again_from_sidecars(store: ParquetStore, memory_path: Path) -> None:
    ids = [one.artifact_id for one in store.list_artifacts().artifacts]
    old = {one.artifact_id: one for one in store.list_artifacts().artifacts}
    head = store.get_heads("notes", ["2025-05-01"])
    made = store.find_by_logical_key("notes", "chat=12/day=2025-05-01")[0].artifact_id
    lineage = store.get_lineage(made)
    store.database.path.unlink()

    report = rebuild_manifest(store.files_on_disk.root, store.database.path, TYPES)

    assert (report.from_backup, report.problems) == (0, ())
    assert report.from_sidecars == len(ids) + 1
    assert {one.artifact_id: one for one in store.get_artifacts(ids)} == old
    assert store.get_heads("notes", ["2025-05-01"]) == head
    assert {(e.artifact_id, e.input_id) for e in store.get_lineage(made).edges} == {
        (e.artifact_id, e.input_id) for e in lineage.edges
    }
    assert store.get_sources(ids)
    clean(store)
    with pytest.raises(Conflict, match="move it away"):
        rebuild_manifest(store.files_on_disk.root, store.database.path, TYPES)


def test_what_came_later_is_in_the_backup(store: ParquetStore, memory_path: Path) -> None:
    (gone,) = store.find_by_logical_key("notes", "chat=13/day=2025-05-01")
    backup(store.database, memory_path / "copy.sqlite")
    newer = store.publish_artifact(note(14, "newest"))
    store.database.path.unlink()

    report = rebuild_manifest(
        store.files_on_disk.root, store.database.path, TYPES, backup=memory_path / "copy.sqlite"
    )

    assert (report.from_sidecars, report.problems) == (1, ())
    assert store.get_artifact(gone.artifact_id).status == "tombstoned"
    assert (
        store.find_by_logical_key("notes", "chat=14/day=2025-05-01")[0].artifact_id
        == newer.artifact_id
    )
    clean(store)


def test_what_cannot_be_rebuilt_is_named(store: ParquetStore, memory_path: Path) -> None:
    (lost,) = store.find_by_logical_key("notes", "chat=10/day=2025-05-01")
    file = store.files_on_disk.locate(lost.path)
    flip(file.with_suffix(".json"), 300)
    (bytes_gone,) = store.find_by_logical_key("notes", "chat=2/day=2025-05-01")
    store.files_on_disk.locate(bytes_gone.path).unlink()
    store.database.path.unlink()

    report = rebuild_manifest(store.files_on_disk.root, store.database.path, TYPES)

    assert any("is damaged" in one for one in report.problems)
    assert any("nothing is left" in one for one in report.problems)
    assert any("taken as purged" in one for one in report.problems)
    assert store.get_artifact(bytes_gone.artifact_id).purged_at is not None
    clean(store)


def test_disk_use_counts_types_and_folders(store: ParquetStore, memory_path: Path) -> None:
    uses = {
        use.part: use
        for use in disk_use(
            store, {"manifest": store.database.path, "cache": memory_path / "cache"}
        )
    }

    assert uses["notes (active)"].files == len(store.list_artifacts().artifacts) - 2
    assert uses["manifest"].bytes == store.database.path.stat().st_size
    assert uses["cache"] == type(uses["cache"])("cache", 0, 0)


def test_the_doctor_finds_what_is_wrong(store: ParquetStore, memory_path: Path) -> None:
    folders = {"artifacts": store.files_on_disk.root, "staging": store.files_on_disk.staging}
    assert {one.level for one in diagnose(store.database.path, folders, now=NOW)} <= {
        "ok",
        "warning",
    }
    left = store.files_on_disk.staging / ("0" * 32)
    left.write_bytes(b"left")
    age(left, 2 * 86_400)

    found = diagnose(
        store.database.path,
        {**folders, "cache": memory_path / "absent"},
        now=NOW - timedelta(days=1) + timedelta(hours=20),
    )

    said = " | ".join(one.what for one in found)
    assert "no cache folder" in said
    assert "which is to come" in said
    assert "were left in" in said
    assert all(one.do for one in found if one.level != "ok")
    store.database.path.write_bytes(b"nothing" * 500)
    assert "error" in {one.level for one in diagnose(store.database.path, folders, now=NOW)}

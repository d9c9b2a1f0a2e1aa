"""An audit finds whatever does not fit, says nothing of what does, and repairs without deleting."""

import random
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from quantlab_assets.adapters.artifact_store import ManifestDatabase, ParquetStore
from quantlab_assets.adapters.objects.layout import sidecar_path
from quantlab_assets.adapters.upkeep.audit import audit
from quantlab_assets.adapters.upkeep.repair import repair
from quantlab_assets.domain.errors import IntegrityError, QuantlabError, ValidationFailed
from quantlab_tests.adapters.artifact_store.lakes import TYPES, note
from quantlab_tests.adapters.artifact_store.scenes import clean, codes, copied, flip


@pytest.fixture
def store(memory_path: Path, full_lake: Path) -> ParquetStore:
    return copied(full_lake, memory_path / "lake")


def change(store: ParquetStore, statement: str) -> None:
    """Change the manifest behind the program's back."""
    with sqlite3.connect(store.database.path) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(statement).rowcount
    connection.close()


def test_a_sound_lake_has_no_problems(store: ParquetStore) -> None:
    seen: list[tuple[int, int]] = []

    report = audit(store, on_progress=lambda done, total: seen.append((done, total)))

    artifacts = store.list_artifacts().artifacts
    assert report.ok
    assert (report.artifacts, report.files_hashed) == (len(artifacts) + 1, len(artifacts) + 1)
    assert seen[-1] == (report.bytes_hashed, report.bytes_hashed)
    assert report.unreferenced == ()


def test_a_sample_is_the_same_for_a_seed_and_grows_with_the_fraction(store: ParquetStore) -> None:
    some = audit(store, fraction=0.5, seed=1)

    assert 0 < some.files_hashed < some.artifacts
    assert audit(store, fraction=0.5, seed=1) == some
    assert audit(store, fraction=0).files_hashed == 0
    with pytest.raises(ValidationFailed, match="between 0 and 1"):
        audit(store, fraction=1.5)


def test_every_flipped_byte_of_a_file_and_a_sidecar_is_reported(store: ParquetStore) -> None:
    artifact = store.list_artifacts().artifacts[0]
    file = store.files_on_disk.locate(artifact.path)
    flips = 0
    for path, code in ((file, "damaged_file"), (file.with_suffix(".json"), "damaged_sidecar")):
        for position in range(0, path.stat().st_size, 41):
            flip(path, position)
            report = audit(store)
            assert (codes(report), report.problems[0].subject) == ([code], artifact.artifact_id)
            flip(path, position)
            flips += 1
    print(f"{flips} flipped bytes of files and sidecars, all reported")
    assert clean(store)


@pytest.mark.parametrize("flips", [25, pytest.param(1500, marks=pytest.mark.nightly)])
def test_a_flipped_byte_of_the_manifest_is_reported_or_changes_no_answer(
    store: ParquetStore, flips: int
) -> None:
    """SQLite has no page checksums. Whatever says which bytes are an artifact's, and what it is,
    is said twice; words that only the manifest has (reasons, a writer's version) are not."""
    before = answers(store)
    whole = store.database.path.read_bytes()
    drawn = random.Random(7)
    outcomes: Counter[str] = Counter()
    for _ in range(flips):
        data = bytearray(whole)
        data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
        store.database.path.write_bytes(data)
        try:
            damaged = ParquetStore(
                store.files_on_disk, ManifestDatabase.open(store.database.path), TYPES
            )
            if not audit(damaged).ok:
                outcomes["reported by the audit"] += 1
                continue
        except QuantlabError:
            outcomes["refused when opened"] += 1
            continue
        assert answers(damaged) == before
        outcomes["changed nothing that is asked"] += 1
    store.database.path.write_bytes(whole)
    print(f"{flips} flipped bits of the manifest: {dict(outcomes)}")
    assert clean(store)


def answers(store: ParquetStore) -> object:
    """What the lake says of its artifacts, their heads, lineage and raw files."""
    artifacts = [
        one
        for status in ("active", "superseded", "tombstoned")
        for one in store.list_artifacts().artifacts
        if one.status == status
    ]
    identity = [
        (one.artifact_id, one.logical_key, one.status, one.path, one.file_hash, one.row_count)
        for one in artifacts
    ]
    lineage = [store.get_lineage(one.artifact_id).edges for one in artifacts]
    return identity, lineage, store.list_head_partitions("notes")


def test_what_is_missing_or_of_another_size_is_reported(store: ParquetStore) -> None:
    one, two, three = store.list_artifacts().artifacts[:3]
    store.files_on_disk.locate(one.path).unlink()
    store.files_on_disk.locate(sidecar_path(two.path)).unlink()
    cut = store.files_on_disk.locate(three.path)
    cut.chmod(0o644)
    cut.write_bytes(cut.read_bytes()[:-1])

    report = audit(store, fraction=0)

    found = {(problem.code, problem.subject) for problem in report.problems}
    assert found == {
        ("missing_file", one.artifact_id),
        ("missing_sidecar", two.artifact_id),
        ("wrong_size", three.artifact_id),
    }


def test_files_that_no_row_names_are_counted_and_no_problem(store: ParquetStore) -> None:
    artifact = store.list_artifacts().artifacts[0]
    stray = artifact.path.replace(artifact.artifact_id, artifact.artifact_id[:2] + "0" * 30)
    store.files_on_disk.locate(stray).write_bytes(b"left by a crash")

    report = audit(store)

    assert (report.ok, report.unreferenced) == (True, (stray,))


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE artifacts SET row_count = row_count + 1 WHERE sequence = 1", "sidecar_differs"),
        ("UPDATE artifacts SET content_hash = 'sha256:00' WHERE sequence = 1", "row_differs"),
        ("UPDATE artifacts SET path = '../../etc/passwd' WHERE sequence = 1", "row_differs"),
        ("UPDATE artifacts SET logical_key = 'x' WHERE sequence = 1", "row_differs"),
        ("DELETE FROM tombstones", "tombstone_differs"),
        ("DELETE FROM publications WHERE publication_id = 1", "broken_reference"),
        ("UPDATE publications SET deduped = 1 WHERE publication_id = 2", "publication_order"),
        (
            "UPDATE publications SET params_json = '{' WHERE publication_id = 2",
            "damaged_publication",
        ),
        ("UPDATE lineage SET publication_id = 1", "lineage_order"),
        ("DELETE FROM input_set_members WHERE rowid = 1", "input_set_differs"),
        ("INSERT INTO partition_heads VALUES ('notes', '2025-05-01', NULL)", "head_contradicts"),
        (
            "UPDATE partition_heads SET artifact_id ="
            " (SELECT artifact_id FROM tombstones) WHERE rowid = 2",
            "head_tombstoned",
        ),
        ("UPDATE artifacts SET status = 'bctive' WHERE sequence = 1", "damaged_manifest"),
    ],
)
def test_rows_that_contradict_each_other_are_reported(
    store: ParquetStore, statement: str, code: str
) -> None:
    change(store, statement)

    assert code in codes(audit(store))


def test_repair_moves_damage_aside_and_writes_sidecars_again(
    store: ParquetStore, memory_path: Path
) -> None:
    one, two, *_ = store.list_artifacts().artifacts
    for path in (one.path, sidecar_path(two.path)):
        flip(store.files_on_disk.locate(path), 99)
    bad = store.files_on_disk.locate(one.path).read_bytes()

    done = repair(store, audit(store), quarantine=memory_path / "quarantine")

    moved = [Path(each.moved_to) for each in done if each.moved_to is not None]
    assert [path.suffix for path in sorted(moved, key=str)] == [".parquet", ".json"] or len(
        moved
    ) == 2
    assert bad in [path.read_bytes() for path in moved]
    assert codes(audit(store)) == ["missing_file"]
    with store.database.reading() as connection:
        recorded = connection.exec_driver_sql("SELECT count(*) FROM quarantined_files").scalar_one()
    assert recorded == 2
    with pytest.raises(IntegrityError, match="lost its file"):
        store.verify_artifacts([one.artifact_id])
    assert store.publish_artifact(note(14, "newer")).deduped
    assert clean(store)
    assert repair(store, audit(store), quarantine=memory_path / "quarantine") == ()

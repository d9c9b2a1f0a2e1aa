"""What the store leaves on the disk, in which order, and what it does about damage."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.adapters.objects import parquet
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.records import LineageInput, PublishRequest
from quantlab_assets.domain.errors import Conflict, IntegrityError, NotFound, StoreUnavailable
from quantlab_tests.adapters.artifact_store.lakes import (
    NOTES,
    RAW,
    first_batch,
    note,
    open_lake,
    stepwise_lake,
)


@pytest.fixture
def store(tmp_path: Path) -> ParquetStore:
    return open_lake(tmp_path, create=True)


def file_of(store: ParquetStore, artifact_id: str) -> Path:
    return store.files([artifact_id], verify=False)[0]


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_what_is_synced_before_what(tmp_path: Path, store: ParquetStore) -> None:
    steps: list[str] = []
    requests, heads = first_batch()

    stepwise_lake(tmp_path, steps.append).publish_many(requests, heads=heads)

    staged = ["create", "write", "write", "make_readable", "sync_file"]
    files = [step for step in steps if not step.startswith("sql")]
    assert [step for step in files if step != "write"] == [
        *[step for step in 2 * staged if step != "write"],
        "link.parquet",
        "make_folder",
        "link.parquet",
        "link.json",
        "remove",
        "remove",
        *4 * ["sync_folder"],
        "commit",
    ]
    first_statement = next(i for i, step in enumerate(steps) if step.startswith("sql"))
    assert "sync_folder" not in steps[first_statement:]
    assert steps[-1] == "commit"


def test_every_folder_up_to_the_root_is_synced_once_for_a_batch(
    tmp_path: Path, store: ParquetStore
) -> None:
    steps: list[str] = []

    results = stepwise_lake(tmp_path, steps.append).publish_many(
        [note(chat, "gm") for chat in range(20)]
    )

    leaves = {one.artifact_id[:2] for one in results}
    assert steps.count("sync_folder") == len(leaves) + 3
    assert steps.count("commit") == 1


def test_a_dedupe_hit_writes_no_file(tmp_path: Path, store: ParquetStore) -> None:
    store.publish_artifact(note(1, "gm"))
    steps: list[str] = []

    stepwise_lake(tmp_path, steps.append).publish_artifact(note(1, "gm"))

    assert all(step.startswith(("sql", "commit")) for step in steps)


def test_files_are_read_only_under_names_made_of_type_version_and_hex(
    tmp_path: Path, store: ParquetStore
) -> None:
    before = os.umask(0o077)
    try:
        artifact = store.publish_artifact(note(1, "gm")).artifact
    finally:
        os.umask(before)

    name = artifact.artifact_id
    assert artifact.path == f"notes/v1/{name[:2]}/{name}.parquet"
    for path in (file_of(store, name), file_of(store, name).with_suffix(".json")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_parquet_file_says_what_it_is(store: ParquetStore) -> None:
    artifact = store.publish_artifact(note(1, "gm", "wen")).artifact

    file = pq.ParquetFile(file_of(store, artifact.artifact_id), page_checksum_verification=True)

    assert file.metadata.metadata == {
        b"quantlab.artifact_type": b"notes",
        b"quantlab.schema_version": b"1",
        b"quantlab.content_hash": artifact.content_hash.encode(),
    }
    assert content_hash(file.read()) == artifact.content_hash
    columns = [file.metadata.row_group(0).column(i) for i in range(2)]
    assert {one.compression for one in columns} == {"ZSTD"}
    assert "RLE_DICTIONARY" not in columns[0].encodings
    assert "RLE_DICTIONARY" in columns[1].encodings
    assert file.schema_arrow.remove_metadata().equals(NOTES.schema)


def test_the_same_content_is_the_same_bytes_in_every_lake(tmp_path: Path) -> None:
    one, other = (
        open_lake(tmp_path / name, create=True).publish_artifact(note(1, "gm", "wen")).artifact
        for name in ("one", "other")
    )

    assert (one.artifact_id, one.file_hash) == (other.artifact_id, other.file_hash)


def test_a_sidecar_carries_all_that_was_known(store: ParquetStore) -> None:
    base = store.publish_artifact(note(1, "gm")).artifact_id
    frozen = store.freeze_inputs([base])
    request = note(2, "gm")
    inputs = (LineageInput(artifact_id=base, role="declared"), LineageInput(input_set_id=frozen))
    more = PublishRequest(
        "notes",
        request.logical_key,
        request.table,
        request.provenance,
        tags={"chat": "2"},
        inputs=inputs,
        sources=(RAW,),
    )

    artifact = store.publish_artifact(more).artifact

    sidecar = json.loads(file_of(store, artifact.artifact_id).with_suffix(".json").read_bytes())
    assert sidecar["artifactId"] == artifact.artifact_id
    assert sidecar["fileHash"] == artifact.file_hash
    assert sidecar["logicalKey"] == artifact.logical_key
    assert sidecar["tags"] == {"chat": "2"}
    assert sidecar["inputs"] == [
        {"artifactId": base, "role": "declared"},
        {"inputSetId": frozen, "role": "loaded"},
    ]
    assert sidecar["inputSets"] == {frozen: [base]}
    assert sidecar["sources"][0]["sha256"] == RAW.sha256
    assert sidecar["createdAt"].endswith("Z")


def test_a_batch_carries_a_frozen_set_once(store: ParquetStore) -> None:
    frozen = store.freeze_inputs([store.publish_artifact(note(1, "gm")).artifact_id])
    requests = [
        PublishRequest(
            "notes",
            one.logical_key,
            one.table,
            one.provenance,
            inputs=(LineageInput(input_set_id=frozen),),
        )
        for one in (note(2, "a"), note(3, "b"))
    ]

    results = store.publish_many(requests)

    sidecars = [file_of(store, one.artifact_id).with_suffix(".json") for one in results]
    carried = [list(json.loads(path.read_bytes())["inputSets"]) for path in sidecars]
    assert carried == [[frozen], []]


def test_a_file_is_found_by_its_bytes_without_decoding_it(
    store: ParquetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = store.publish_artifact(note(1, "gm")).artifact
    path = file_of(store, artifact.artifact_id)

    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(parquet, "decode", refuse)

    again = store.publish_artifact(replace(note(1, "gm"), table=path))
    assert (again.deduped, again.artifact.content_hash) == (True, artifact.content_hash)
    with pytest.raises(AssertionError, match="decoded"):  # these bytes, under a key without them
        store.publish_artifact(replace(note(2, "gm"), table=path))


# Damage


def test_every_flipped_byte_is_found_before_anything_decodes_it(store: ParquetStore) -> None:
    artifact = store.publish_artifact(note(1, "gm", "wen")).artifact
    path = file_of(store, artifact.artifact_id)
    good = path.read_bytes()

    for at in range(0, len(good), 7):
        overwrite(path, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(IntegrityError, match=artifact.artifact_id):
            store.open(artifact.artifact_id, verify=True)
        with pytest.raises(IntegrityError, match="damaged"):
            store.verify_artifacts([artifact.artifact_id])

    overwrite(path, good)
    store.verify_artifacts([artifact.artifact_id])


def test_a_file_of_another_size_is_never_opened(store: ParquetStore) -> None:
    artifact = store.publish_artifact(note(1, "gm")).artifact
    path = file_of(store, artifact.artifact_id)
    overwrite(path, path.read_bytes()[:-1])

    with pytest.raises(IntegrityError, match="bytes, not"):
        store.open(artifact.artifact_id)
    with pytest.raises(IntegrityError, match=r"move .* away and publish again"):
        store.publish_artifact(note(1, "gm"))


def test_all_that_is_damaged_is_counted(store: ParquetStore) -> None:
    ids = [one.artifact_id for one in store.publish_many([note(i, "gm") for i in range(4)])]
    for one in ids[1:]:
        file_of(store, one).unlink()

    with pytest.raises(IntegrityError, match=rf"{ids[1]}.*lost its file.*; 2 more are damaged"):
        store.verify_artifacts(ids)
    with pytest.raises(NotFound, match="0000"):
        store.files([ids[0], "0" * 32], verify=True)


def test_a_lost_file_comes_back_when_its_content_is_published_again(store: ParquetStore) -> None:
    artifact = store.publish_artifact(note(1, "gm")).artifact
    file_of(store, artifact.artifact_id).unlink()

    again = store.publish_artifact(note(1, "gm"))

    assert again.deduped
    store.verify_artifacts([artifact.artifact_id])


def test_purged_bytes_come_back_when_their_content_is_published_again(
    store: ParquetStore,
) -> None:
    artifact = store.publish_artifact(note(1, "gm")).artifact
    file_of(store, artifact.artifact_id).unlink()
    with store.database.writing() as connection:
        connection.exec_driver_sql("UPDATE artifacts SET purged_at = 1, file_hash = 'sha256:old'")
    with pytest.raises(NotFound, match="purged"):
        store.open(artifact.artifact_id)

    again = store.publish_artifact(note(1, "gm"))

    assert again.artifact.purged_at is None
    store.verify_artifacts([artifact.artifact_id])


def test_a_name_taken_by_something_else_is_an_error_and_stays(
    tmp_path: Path, store: ParquetStore
) -> None:
    artifact = store.publish_artifact(note(1, "gm")).artifact
    other = open_lake(tmp_path / "other", create=True)
    taken = tmp_path / "other" / "artifacts" / artifact.path
    taken.parent.mkdir(parents=True)

    rival = file_of(store, store.publish_artifact(note(1, "x")).artifact_id)
    for content in (b"not Parquet", rival.read_bytes()):
        taken.write_bytes(content)
        with pytest.raises(IntegrityError, match="move it away"):
            other.publish_artifact(note(1, "gm"))
        assert taken.read_bytes() == content

    assert other.list_artifacts().artifacts == ()


def test_a_sidecar_of_another_file_is_replaced(tmp_path: Path, store: ParquetStore) -> None:
    artifact = store.publish_artifact(note(1, "gm")).artifact
    other = open_lake(tmp_path / "other", create=True)
    sidecar = (tmp_path / "other" / "artifacts" / artifact.path).with_suffix(".json")
    sidecar.parent.mkdir(parents=True)
    sidecar.write_bytes(b'{"artifactId": "somebody else"}')

    other.publish_artifact(note(1, "gm"))

    assert json.loads(sidecar.read_bytes())["artifactId"] == artifact.artifact_id


def test_a_path_of_another_shape_in_the_manifest_is_not_followed(store: ParquetStore) -> None:
    artifact = store.publish_artifact(note(1, "gm")).artifact
    with store.database.writing() as connection:
        connection.exec_driver_sql("UPDATE artifacts SET path = '../../etc/passwd'")

    with pytest.raises(IntegrityError, match="impossible path"):
        store.open(artifact.artifact_id)


# The manifest


def test_a_lake_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="quantlab init"):
        open_lake(tmp_path / "nowhere")
    open_lake(tmp_path, create=True)
    (tmp_path / "manifest" / "manifest.sqlite").unlink()
    with pytest.raises(StoreUnavailable, match="quantlab init"):
        open_lake(tmp_path)


def test_a_manifest_newer_than_the_program_is_refused(tmp_path: Path, store: ParquetStore) -> None:
    with store.database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO schema_migrations VALUES (99, 0)")

    with pytest.raises(StoreUnavailable, match=r"version 99.*upgrade quantlab"):
        open_lake(tmp_path)


def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, store: ParquetStore) -> None:
    manifest = tmp_path / "manifest" / "manifest.sqlite"
    manifest.write_bytes(b"something else, and long enough for a header" * 100)
    with pytest.raises(IntegrityError, match="damaged"):
        open_lake(tmp_path)

    manifest.unlink()
    connection = sqlite3.connect(manifest)
    connection.execute("CREATE TABLE other (a)")
    connection.close()
    with pytest.raises(IntegrityError, match="something else"):
        open_lake(tmp_path)


def test_foreign_keys_and_durability_are_on(store: ParquetStore) -> None:
    with store.database.reading() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("foreign_keys", "synchronous", "busy_timeout", "journal_mode")
        }

    safe_wal = sqlite3.sqlite_version_info >= (3, 51, 3)
    assert settings == {
        "foreign_keys": 1,
        "synchronous": 2,
        "busy_timeout": 30_000,
        "journal_mode": "wal" if safe_wal else "truncate",
    }


def test_at_most_one_artifact_of_a_key_is_active_whatever_the_program_does(
    store: ParquetStore,
) -> None:
    store.publish_artifact(note(1, "a"))
    store.publish_artifact(note(1, "b"))

    with (
        pytest.raises(Exception, match="UNIQUE"),
        store.database.writing() as connection,
    ):
        connection.exec_driver_sql("UPDATE artifacts SET status = 'active'")


def test_a_write_that_fails_leaves_nothing(store: ParquetStore) -> None:
    def fail() -> None:
        with store.database.writing() as connection:
            connection.exec_driver_sql("INSERT INTO input_sets VALUES ('x', 0)")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()

    with store.database.reading() as connection:
        assert not connection.exec_driver_sql("SELECT count(*) FROM input_sets").scalar_one()


def test_an_experiment_pins_its_inputs(store: ParquetStore) -> None:
    artifact = store.publish_artifact(note(1, "gm")).artifact_id
    frozen = store.freeze_inputs([artifact])
    with store.database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO experiments (experiment_id, name, status, definition_json, alert_set_id,"
            " slice_set_id, input_set_id, engine_version, created_at)"
            " VALUES ('exp-1', 'x', 'completed', '{}', ?, ?, ?, '1', 0)",
            (frozen, frozen, frozen),
        )

    with pytest.raises(Conflict, match="exp-1"):
        store.tombstone(artifact, "no longer wanted")


def test_a_prefix_of_an_id_is_enough(store: ParquetStore) -> None:
    artifact = store.publish_artifact(note(1, "gm")).artifact_id
    with store.database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO artifact_aliases VALUES (?, ?)", ("11111111-aaaa", artifact)
        )

    assert store.resolve_id(artifact[:8]) == artifact
    assert store.resolve_id(artifact.upper()) == artifact
    assert store.resolve_id("11111111-aaaa") == artifact
    assert store.get_artifact("11111111-aaaa").artifact_id == artifact
    with pytest.raises(NotFound, match="0" * 32):
        store.resolve_id("0" * 32)
    for bad in ("", artifact[:7], "../../etc/passwd", "zzzzzzzz", "%" * 8):
        with pytest.raises(Exception, match="no artifact id"):
            store.resolve_id(bad)


def test_the_manifest_is_all_that_a_listing_imports(tmp_path: Path, store: ParquetStore) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from quantlab_assets.adapters.artifact_store import ParquetStore;"
        "from quantlab_assets.domain.artifacts.registry import TypeRegistry;"
        f"lake = Path({str(tmp_path)!r});"
        "store = ParquetStore.at(artifacts_root=lake / 'artifacts', staging=lake / 'staging',"
        " manifest=lake / 'manifest' / 'manifest.sqlite', types=TypeRegistry());"
        "store.list_artifacts();"
        "heavy = {'polars', 'pandera', 'dagster', 'duckdb', 'pandas', 'pyarrow.parquet',"
        " 'pyarrow.dataset'} & set(sys.modules);"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")

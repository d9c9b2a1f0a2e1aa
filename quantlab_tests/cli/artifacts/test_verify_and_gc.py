"""`quantlab artifacts verify|gc|rebuild-manifest`."""

import csv
import io
import os
import time
from pathlib import Path

import pytest

from quantlab_tests.cli.in_front import Shell

GM = "2025-05-01T12:00:00Z,gm,0.5,1,true,"
WEN = "2025-05-01T12:01:00Z,wen,,,false,"


def parquet_of(shell: Shell, artifact_id: str) -> Path:
    return Path(shell("artifacts", "get", artifact_id, "--format", "json").json["pathParquet"])


def damage(path: Path) -> None:
    """One flipped bit in the middle."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def leave_behind(shell: Shell, *, days_old: float) -> Path:
    """A file that no row names, as a crashed publisher leaves it."""
    path = shell.lake / "artifacts" / "notes" / "v3" / "00" / f"{'0' * 32}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half a file")
    then = time.time() - days_old * 86_400
    os.utime(path, (then, then))
    return path


# verify


def test_verify_of_a_sound_lake(shell: Shell) -> None:
    made = shell.publish(1, GM)
    done = shell("artifacts", "verify", "--format", "json")
    assert done.code == 0
    assert done.json == {
        "ok": True,
        "artifacts": 1,
        "purged": 0,
        "filesHashed": 1,
        "bytesHashed": parquet_of(shell, made).stat().st_size,
        "unreferenced": [],
        "problems": [],
        "repairs": [],
    }
    table = shell("artifacts", "verify")
    assert (table.code, table.out) == (0, "")
    assert "1 artifact, 1 file hashed" in table.err
    assert "Nothing is wrong." in table.err


def test_verify_reports_a_flipped_bit_and_ends_with_4(shell: Shell) -> None:
    made = shell.publish(1, GM)
    shell.publish(2, GM)
    damage(parquet_of(shell, made))
    done = shell("artifacts", "verify", "--format", "json")
    assert done.code == 4
    assert not done.json["ok"]
    (problem,) = done.json["problems"]
    assert (problem["code"], problem["subject"]) == ("damaged_file", made)
    assert set(problem) == {"code", "subject", "detail"}
    assert done.json["repairs"] == []
    table = shell("artifacts", "verify")
    assert table.code == 4
    assert made in table.out
    assert "--repair" in table.err
    (row,) = csv.DictReader(io.StringIO(shell("artifacts", "verify", "--format", "csv").out))
    assert row["subject"] == made


def test_repair_moves_the_damaged_file_and_deletes_nothing(shell: Shell) -> None:
    made = shell.publish(1, GM)
    path = parquet_of(shell, made)
    damage(path)
    bad = path.read_bytes()
    done = shell("artifacts", "verify", "--repair", "--format", "json")
    assert done.code == 4
    (repair,) = done.json["repairs"]
    assert repair["artifactId"] == made
    moved = [one for one in (shell.lake / "quarantine").rglob("*") if one.is_file()]
    assert [one.read_bytes() for one in moved] == [bad]
    assert not path.exists()
    shell.publish(1, GM)
    assert shell("artifacts", "verify").code == 0


def test_repair_writes_a_damaged_sidecar_again(shell: Shell) -> None:
    made = shell.publish(1, GM)
    sidecar = parquet_of(shell, made).with_suffix(".json")
    sidecar.chmod(0o644)
    sidecar.write_text("{}")
    shell.refuses("artifacts", "verify", "--repair", code=4, says="written from the manifest")
    assert shell("artifacts", "verify").code == 0


def test_verify_of_a_share_of_the_files(shell: Shell) -> None:
    for day in range(1, 9):
        shell.publish(day, GM)
    hashed = [
        shell(*f"artifacts verify --fraction 0.5 --seed {seed} --format json".split()).json[
            "filesHashed"
        ]
        for seed in (1, 1, 2, 3)
    ]
    assert hashed[0] == hashed[1]
    assert 0 < sum(hashed) / len(hashed) < 8
    shell.refuses("artifacts", "verify", "--fraction", "1.5", code=2, says="'--fraction'")


def test_a_bar_shows_where_a_person_is_watching(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.publish(1, GM)
    assert "checking" not in shell("artifacts", "verify").err
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = shell("artifacts", "verify", "--format", "json")
    assert "checking" in done.err
    assert done.json["ok"]


def test_verify_of_a_damaged_manifest(shell: Shell) -> None:
    for day in range(1, 9):
        shell.publish(day, GM)
    manifest = shell.lake / "manifest" / "manifest.sqlite"
    data = bytearray(manifest.read_bytes())
    data[4096 * 3 : 4096 * 20] = b"\xa5" * (4096 * 17)
    manifest.write_bytes(data)
    done = shell("artifacts", "verify")
    assert done.code == 4
    assert "Traceback" not in done.err


# gc


def test_gc_only_tells_what_it_would_take(shell: Shell) -> None:
    shell.publish(1, GM)
    left = leave_behind(shell, days_old=2)
    done = shell("artifacts", "gc", "--format", "json")
    assert done.code == 0
    assert done.json == {
        "dryRun": True,
        "files": [
            {
                "path": str(left.relative_to(shell.lake / "artifacts")),
                "bytes": 11,
                "reason": "unreferenced",
            }
        ],
        "purged": [],
        "tooYoung": 0,
        "bytes": 11,
    }
    assert "Add --yes" in done.err
    assert left.exists()


@pytest.mark.parametrize("yes", ["--yes", "--delete"])
def test_gc_moves_to_the_trash_and_later_empties_it(yes: str, shell: Shell) -> None:
    made = shell.publish(1, GM)
    left = leave_behind(shell, days_old=2)
    table = shell("artifacts", "gc", yes)
    assert "1 file taken, 11 B" in table.err
    assert not left.exists()
    (trashed,) = [one for one in (shell.lake / "trash").rglob("*") if one.is_file()]
    assert trashed.read_bytes() == b"half a file"
    assert shell("artifacts", "gc", yes, "--empty-trash-after", "0s").code == 0
    assert not [one for one in (shell.lake / "trash").rglob("*") if one.is_file()]
    assert parquet_of(shell, made).exists()


def test_gc_leaves_young_files_to_their_publisher(shell: Shell) -> None:
    shell.publish(1, GM)
    left = leave_behind(shell, days_old=0)
    done = shell("artifacts", "gc", "--yes")
    assert left.exists()
    assert "1 file too young" in done.err
    shell("artifacts", "gc", "--yes", "--grace", "0s")
    assert not left.exists()


def test_gc_purges_bytes_only_by_an_explicit_policy(shell: Shell) -> None:
    old, new = shell.publish(1, GM), shell.publish(1, WEN)
    pinned = shell.publish(2, GM, more=("--tag", "pin=paper"))
    shell.publish(2, WEN)
    shell("artifacts", "gc", "--yes")
    assert parquet_of(shell, old).exists()
    told = shell("artifacts", "gc", "--purge-superseded-after", "0s", "--format", "json")
    assert told.json["purged"] == [old]
    shell("artifacts", "gc", "--yes", "--purge-superseded-after", "0s")
    assert not parquet_of(shell, old).exists()
    assert parquet_of(shell, new).exists()
    assert parquet_of(shell, pinned).exists()
    assert shell("artifacts", "verify").code == 0
    shell.refuses("artifacts", "cat", old, code=3, says="its bytes were purged on")


@pytest.mark.parametrize("span", ["7", "d", "-1d", "1w", "99999999d", "1.5h", "", "١d"])
def test_a_span_of_time_that_is_none(span: str, shell: Shell) -> None:
    done = shell("artifacts", "gc", f"--grace={span}")
    assert done.code == 2
    assert "span of time" in done.err


# rebuild-manifest


def test_a_lost_manifest_is_made_again_from_sidecars(shell: Shell) -> None:
    first = shell.publish(1, GM, more=("--tag", "by=me"))
    second = shell.publish(2, GM, more=("--input", first))
    before = shell("artifacts", "list", "--format", "json").json
    manifest = shell.lake / "manifest" / "manifest.sqlite"
    manifest.unlink()
    done = shell("artifacts", "rebuild-manifest", "--format", "json")
    assert done.code == 0
    assert done.json == {
        "manifest": str(manifest),
        "fromBackup": 0,
        "fromSidecars": 2,
        "problems": [],
    }
    assert shell("artifacts", "list", "--format", "json").json == before
    lineage = shell("artifacts", "lineage", second, "--format", "json").json
    assert [one["inputId"] for one in lineage["edges"]] == [first]
    assert shell("artifacts", "verify").code == 0


def test_a_backup_tells_what_came_later(shell: Shell) -> None:
    hidden = shell.publish(1, GM)
    shell("artifacts", "tombstone", hidden, "--reason", "asked for")
    assert shell("backup", "backup.sqlite").code == 0
    newer = shell.publish(2, GM)
    (shell.lake / "manifest" / "manifest.sqlite").unlink()
    done = shell("artifacts", "rebuild-manifest", "--backup", "backup.sqlite")
    assert "from sidecars  1" in done.out
    assert shell("artifacts", "get", hidden, "--format", "json").json["status"] == "tombstoned"
    assert [one["artifactId"] for one in shell("artifacts", "list", "--format", "json").json] == [
        newer
    ]


def test_a_manifest_that_is_there_is_not_overwritten(shell: Shell) -> None:
    shell.publish(1, GM)
    shell.refuses("artifacts", "rebuild-manifest", code=1, says="manifest.sqlite is there already")
    assert shell("artifacts", "rebuild-manifest", "--out", "elsewhere.sqlite").code == 0
    assert Path("elsewhere.sqlite").exists()

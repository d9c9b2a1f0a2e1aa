"""`quantlab backup|restore|du|doctor`."""

import csv
import io
from pathlib import Path

from quantlab_assets import open_lake
from quantlab_assets.ports.projection_builder import ProjectionRequest, ProjectionTable
from quantlab_tests.cli.in_front import Shell

GM = "2025-05-01T12:00:00Z,gm,0.5,1,true,"


def test_a_backup_can_be_restored(shell: Shell) -> None:
    first = shell.publish(1, GM)
    done = shell("backup", "copy.sqlite", "--format", "json")
    assert done.code == 0
    assert done.json == {
        "path": str(Path("copy.sqlite").absolute()),
        "bytes": Path("copy.sqlite").stat().st_size,
        "artifacts": 1,
        "patches": 0,
        "replaced": None,
    }
    shell.publish(2, GM)
    back = shell("restore", "copy.sqlite", "--format", "json")
    assert back.code == 0
    assert (back.json["path"], back.json["artifacts"]) == (
        str(shell.lake / "manifest" / "manifest.sqlite"),
        1,
    )
    assert Path(back.json["replaced"]).is_file()
    listed = shell("artifacts", "list", "--format", "json").json
    assert [one["artifactId"] for one in listed] == [first]


def test_a_lost_manifest_is_restored(shell: Shell) -> None:
    shell.publish(1, GM)
    shell("backup", "copy.sqlite")
    (shell.lake / "manifest" / "manifest.sqlite").unlink()
    done = shell("restore", "copy.sqlite")
    assert done.code == 0
    assert "replaced   -" in done.out
    assert shell("artifacts", "verify").code == 0


def test_backups_overwrite_nothing_and_say_what_is_missing(shell: Shell, tmp_path: Path) -> None:
    Path("mine.sqlite").write_text("mine")
    shell.refuses("backup", "mine.sqlite", code=1, says="mine.sqlite is there already")
    assert Path("mine.sqlite").read_text() == "mine"
    shell.refuses("restore", "missing.sqlite", code=3, says="no backup at")
    shell.refuses("restore", "mine.sqlite", code=4, says="is damaged: file is not a database")
    shell.refuses("backup", "x.sqlite", code=3, says="quantlab init", lake=tmp_path / "nowhere")
    assert shell("artifacts", "list").code == 0


def test_du_shows_every_part(shell: Shell) -> None:
    made = shell.publish(1, GM)
    parts = {one["part"]: one for one in shell("du", "--format", "json").json}
    stored = shell("artifacts", "get", made, "--format", "json").json["pathParquet"]
    assert parts["notes (active)"] == {
        "part": "notes (active)",
        "files": 1,
        "bytes": Path(stored).stat().st_size,
    }
    manifest = shell.lake / "manifest" / "manifest.sqlite"
    assert parts["manifest"]["bytes"] == manifest.stat().st_size
    assert {"cache", "staging", "trash", "telegram inbox", "candle inbox"} <= set(parts)
    table = shell("du")
    assert "notes (active)" in table.out
    assert "in all" in table.err
    rows = csv.DictReader(io.StringIO(shell("du", "--format", "csv").out))
    assert {row["part"] for row in rows} == set(parts)


def test_doctor_finds_nothing_wrong_with_a_new_lake(shell: Shell) -> None:
    done = shell("doctor", "--format", "json")
    assert done.code == 0, done.out
    assert {frozenset(one) for one in done.json} == {frozenset({"level", "what", "do"})}
    assert "error" not in {one["level"] for one in done.json}
    assert any("SQLite" in one["what"] for one in done.json)


def test_doctor_says_what_to_do(shell: Shell, tmp_path: Path) -> None:
    (shell.lake / "manifest" / "manifest.sqlite").write_bytes(b"no database" * 1000)
    done = shell("doctor")
    assert done.code == 1
    assert "error" in done.out
    nowhere = shell("doctor", "--format", "json", lake=tmp_path / "nowhere")
    assert nowhere.code == 1
    assert any("quantlab init" in one["do"] for one in nowhere.json)
    assert not (tmp_path / "nowhere").exists()


def test_doctor_names_projections_of_what_was_replaced(shell: Shell) -> None:
    made = shell.publish(1, GM)
    lake = open_lake(shell.lake)
    tables = (ProjectionTable("notes", "notes", (made,)),)
    built = lake.projections.build(ProjectionRequest(tables=tables))
    assert not any("stale" in one["what"] for one in shell("doctor", "--format", "json").json)
    lake.store.tombstone(made, "wrong")
    done = shell("doctor", "--format", "json")
    assert done.code == 0
    (found,) = [one for one in done.json if "stale" in one["what"]]
    assert built.projection_id in found["what"]
    assert (found["level"], str(built.path) in found["do"]) == ("warning", True)

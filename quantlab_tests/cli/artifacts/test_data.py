"""`quantlab artifacts publish|cat|export|import`: rows in, rows out, and from lake to lake."""

import csv
import io
import json
import math
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantlab_tests.cli.in_front import Done, Shell
from quantlab_tests.cli.own_types import NOTES

GM = "2025-05-01T12:00:00Z,gm,0.5,1,true,"
WEN = "2025-05-01T12:01:00Z,wen,,,false,"
KEY = "book=lab/day=2025-05-01"
NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)


def notes(*texts: str | None, score: float | None = None, mark: bytes | None = None) -> pa.Table:
    count = len(texts)
    columns = [[NOON] * count, list(texts), [score] * count, [7] * count, [True] * count]
    return pa.table([*columns, [mark] * count], schema=NOTES.schema)


def publish(shell: Shell, data: Path | str, *more: str) -> Done:
    return shell(
        *("artifacts", "publish", "--type", "notes", "--key", KEY, "--data", str(data)),
        *("--format", "json", *more),
    )


def publish_table(shell: Shell, table: pa.Table) -> str:
    path = shell.lake.parent / "notes.parquet"
    pq.write_table(table, path)
    done = publish(shell, path)
    assert done.code == 0, done.err
    return str(done.json["artifactId"])


# publish


def test_publish_answers_with_the_artifact_whether_new_or_not(shell: Shell) -> None:
    data = Path("notes.csv")
    data.write_text(f"at,text,score,count,seen,mark\n{GM}\n")
    new, again = publish(shell, data), publish(shell, data)
    made = new.json["artifactId"]
    folder = shell.lake / "artifacts" / "notes" / "v3" / made[:2]
    paths = {
        "pathParquet": str(folder / f"{made}.parquet"),
        "pathSidecar": str(folder / f"{made}.json"),
    }
    assert new.json == {
        "success": True,
        "deduped": False,
        "mode": None,
        "artifactId": made,
        "existingArtifactId": None,
        **paths,
    }
    assert again.json == {
        "success": True,
        "deduped": True,
        "mode": "content_hash",
        "artifactId": made,
        "existingArtifactId": made,
        **paths,
    }
    assert "there already" in again.err


def test_a_file_of_the_lake_is_known_by_its_bytes(shell: Shell) -> None:
    made = publish_table(shell, notes("gm"))
    stored = shell("artifacts", "get", made, "--format", "json").json["pathParquet"]
    assert publish(shell, stored).json["mode"] == "file_hash"


def test_publish_tells_what_it_superseded(shell: Shell) -> None:
    old = publish_table(shell, notes("gm"))
    pq.write_table(notes("edited"), "new.parquet")
    assert f"{old[:12]} is superseded" in publish(shell, "new.parquet").err


def test_csv_is_read_by_declared_types_and_never_guessed(shell: Shell) -> None:
    data = Path("notes.csv")
    data.write_text('text,count,at,score,seen,mark\n007,,2025-05-01T12:00:00Z,,,\n"",1,1,,,\n')
    made = publish(shell, data).json["artifactId"]
    rows = shell("artifacts", "cat", made, "--format", "json").json
    assert [(row["text"], row["count"]) for row in rows] == [("", 1), ("007", None)]


@pytest.mark.parametrize(
    ("name", "text", "code", "says"),
    [
        ("n.csv", "at,text\n", 1, "lacks"),
        ("n.csv", "at,text,score,count,seen,mark\n2025-05-01T12:00:00Z,x,1,1.5,,\n", 1, "count"),
        ("n.parquet", "no parquet", 1, "n.parquet"),
        ("n.xlsx", "x", 1, ".csv or .parquet"),
        ("missing.csv", None, 3, "no file"),
    ],
)
def test_a_file_that_cannot_be_published_is_named(
    name: str, text: str | None, code: int, says: str, shell: Shell
) -> None:
    if text is not None:
        Path(name).write_text(text)
    done = publish(shell, name)
    assert (done.code, done.out) == (code, "")
    assert done.err.count("\n") == 1
    assert says in done.err
    assert shell("artifacts", "list", "--format", "json").json == []


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--version", "4"], 1, "version 4"),
        (["--key", "../../x"], 1, "does not match"),
        (["--key", "book=lab/day=2025-05-01\n"], 1, "does not match"),
        (["--key", "x" * 10_000], 1, "does not match"),
        (["--key", "book=\udcff/day=2025-05-01"], 2, "UTF-8"),
        (["--type", "../notes"], 3, "unknown artifact type"),
        (["--input", "0" * 32], 3, "0" * 32),
        (["--input", "zz"], 1, "8 to 32"),
    ],
)
def test_what_is_refused_leaves_nothing(
    words: list[str], code: int, says: str, shell: Shell
) -> None:
    pq.write_table(notes("gm"), "n.parquet")
    done = publish(shell, "n.parquet", *words)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert not list((shell.lake / "artifacts").rglob("*.parquet"))


def test_publish_only_if_the_expected_one_is_active(shell: Shell) -> None:
    pq.write_table(notes("gm"), "1.parquet")
    pq.write_table(notes("wen"), "2.parquet")
    first = publish(shell, "1.parquet", "--expected-active", "none").json["artifactId"]
    lost = publish(shell, "2.parquet", "--expected-active", "none")
    assert lost.code == 1
    assert first in lost.err
    assert publish(shell, "2.parquet", "--expected-active", first[:8]).code == 0


# cat


def test_cat_prints_rows_with_their_own_names(shell: Shell) -> None:
    made = publish_table(shell, notes("gm\n", None, score=math.nan, mark=b"\x00\xff"))
    rows = [
        {
            "at": "2025-05-01T12:00:00.000000Z",
            "text": text,
            "score": None,
            "count": 7,
            "seen": True,
            "mark": "00ff",
        }
        for text in (None, "gm\n")
    ]
    assert shell("artifacts", "cat", made[:8], "--format", "json").json == rows
    assert shell("artifacts", "cat", made, "--format", "jsonl").lines == rows
    table = shell("artifacts", "cat", made).out
    assert "00ff" in table


def test_cat_says_when_a_limit_cut(shell: Shell) -> None:
    made = publish_table(shell, notes("a", "b", "c"))
    cut = shell("artifacts", "cat", made, "--limit", "2", "--format", "jsonl")
    assert [row["text"] for row in cut.lines] == ["a", "b"]
    assert "2 of 3 rows" in cut.err
    assert shell("artifacts", "cat", made, "--limit", "3").err == ""
    assert shell("artifacts", "cat", made, "--limit", "0", "--format", "json").json == []
    assert shell("artifacts", "cat", made, "--limit", "0", "--format", "jsonl").out == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_csv_cell_of_text_begins_like_a_formula(start: str, shell: Shell) -> None:
    made = publish_table(shell, notes(f"{start}1+1", score=-0.5))
    out = shell("artifacts", "cat", made, "--format", "csv").out
    header, row = csv.reader(io.StringIO(out, newline=""))
    assert header == NOTES.schema.names
    assert row[1:3] == [f"'{start}1+1", "-0.5"]


def test_what_cat_prints_as_csv_can_be_published_again(shell: Shell) -> None:
    made = publish_table(shell, notes("gm", "", None, 'a "b", c\n', score=1e-300))
    Path("copy.csv").write_text(shell("artifacts", "cat", made, "--format", "csv").out)
    assert publish(shell, "copy.csv").json["existingArtifactId"] == made


def test_cat_of_an_artifact_without_rows(shell: Shell) -> None:
    made = publish_table(shell, notes())
    assert shell("artifacts", "cat", made, "--format", "json").json == []
    assert shell("artifacts", "cat", made, "--format", "csv").out.count("\n") == 1


def test_cat_shows_no_byte_of_a_damaged_file(shell: Shell) -> None:
    made = publish_table(shell, notes("gm"))
    path = Path(shell("artifacts", "get", made, "--format", "json").json["pathParquet"])
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = shell("artifacts", "cat", made)
    assert (done.code, done.out) == (4, "")
    assert made in done.err


# export, import


@pytest.fixture
def other(shell: Shell, tmp_path: Path) -> Path:
    """A second, empty lake."""
    assert shell("init", lake=tmp_path / "other").code == 0
    return tmp_path / "other"


def carried(done: Done) -> Any:
    assert done.code == 0, done.err
    return done.json


def test_a_bundle_carries_artifacts_and_what_they_were_made_from(shell: Shell, other: Path) -> None:
    first = shell.publish(1, GM, WEN, more=("--tag", "by=me"))
    made = shell.publish(2, GM, more=("--input", first))
    out = carried(shell("artifacts", "export", made[:8], "b.tar", "--format", "json"))
    assert 0 < out.pop("bytes") < Path("b.tar").stat().st_size
    assert out == {
        "path": str(Path("b.tar").absolute()),
        "artifacts": [first, made],
        "extra": [],
    }
    taken = carried(shell("artifacts", "import", "b.tar", "--format", "json", lake=other))
    assert taken == {"added": [first, made], "present": [], "publications": 2, "extra": {}}
    again = carried(shell("artifacts", "import", "b.tar", "--format", "json", lake=other))
    assert again == {"added": [], "present": [first, made], "publications": 0, "extra": {}}
    here = shell("artifacts", "lineage", made, "--format", "json").json
    there = shell("artifacts", "lineage", made, "--format", "json", lake=other).json
    assert [one["inputId"] for one in there["edges"]] == [first]
    assert here["sources"] == there["sources"]
    rows = shell("artifacts", "cat", first, "--format", "json", lake=other)
    assert [row["text"] for row in rows.json] == ["gm", "wen"]


def test_export_by_key_and_without_lineage(shell: Shell) -> None:
    first = shell.publish(1, GM)
    made = shell.publish(2, GM, more=("--input", first))
    key = ("--type", "notes", "--key", "book=lab/day=2025-05-02")
    out = carried(shell("artifacts", "export", *key, "b.tar", "--format", "json"))
    assert out["artifacts"] == [first, made]
    alone = shell("artifacts", "export", *key, "--no-lineage", "c.tar", "--format", "json")
    assert carried(alone)["artifacts"] == [made]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["b.tar"], 2),
        (["--key", KEY, "b.tar"], 2),
        (["--type", "notes", "b.tar"], 2),
        (["00000000", "b.tar"], 3),
        (["--type", "notes", "--key", KEY, "b.tar"], 3),
        (["--type", "notes", "--key", "x", "b.tar"], 1),
        (["--experiment", "exp-0123456789abcdef", "b.tar"], 3),
    ],
)
def test_export_of_nothing_makes_no_file(words: list[str], code: int, shell: Shell) -> None:
    done = shell("artifacts", "export", *words)
    assert (done.code, done.out) == (code, "")
    assert not Path("b.tar").exists()


def test_export_overwrites_nothing(shell: Shell) -> None:
    made = shell.publish(1, GM)
    Path("b.tar").write_text("mine")
    shell.refuses("artifacts", "export", made, "b.tar", code=1, says="b.tar is there already")
    assert Path("b.tar").read_text() == "mine"


def test_a_bundle_that_was_touched_is_refused_whole(shell: Shell, other: Path) -> None:
    made = shell.publish(1, GM)
    assert shell("artifacts", "export", made, "b.tar").code == 0
    data = bytearray(Path("b.tar").read_bytes())
    data[data.index(b"PAR1") + 9] ^= 1
    Path("b.tar").write_bytes(data)
    done = shell("artifacts", "import", "b.tar", lake=other)
    assert (done.code, done.out) == (4, "")
    assert shell("artifacts", "list", "--format", "json", lake=other).json == []


def test_a_tar_of_something_else_is_refused(shell: Shell, tmp_path: Path) -> None:
    with tarfile.open("evil.tar", "w") as tar:
        member = tarfile.TarInfo("../../escaped")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    shell.refuses("artifacts", "import", "evil.tar", code=4, says="evil.tar")
    assert not (tmp_path.parent / "escaped").exists()
    shell.refuses("artifacts", "import", "missing.tar", code=3, says="no bundle at")


def test_the_ways_to_print_an_import(shell: Shell, other: Path) -> None:
    made = shell.publish(1, GM)
    assert json.loads(shell("artifacts", "export", made, "b.tar", "--format", "jsonl").out)
    done = shell("artifacts", "import", "b.tar", "--format", "csv", lake=other)
    assert list(csv.DictReader(io.StringIO(done.out))) == [{"artifactId": made, "state": "added"}]
    assert "1 added, 0 were there already" in done.err

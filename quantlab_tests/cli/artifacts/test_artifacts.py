"""`quantlab artifacts list|get|find|types|lineage|downstream|supersede|tombstone`."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from quantlab_tests.cli.in_front import Done, Shell

GM = "2025-05-01T12:00:00Z,gm,0.5,1,true,"
WEN = "2025-05-01T12:01:00Z,wen,,,false,"

FIELDS = [
    "artifactId",
    "artifactType",
    "schemaVersion",
    "logicalKey",
    "status",
    "pathParquet",
    "pathSidecar",
    "fileHash",
    "contentHash",
    "rowCount",
    "minTs",
    "maxTs",
    "createdAt",
    "tags",
]
# What notes of these rows are, on whatever machine they are published.
GOLDEN_ID = "c3a5733d9cc2f3c8c50fc84a5bff4805"
GOLDEN_HASH = "sha256:b9a8bbef46612b7401e149a30353a253b12d07bdb95165a7c1e81c33134319f1"


def plain(found: Any, shell: Shell) -> Any:
    """What a command printed, without what differs from run to run and machine to machine."""
    if isinstance(found, dict):
        fixed = {name: plain(value, shell) for name, value in found.items()}
        for name, mark in (("createdAt", "<time>"), ("fileHash", "<hash>")):
            if name in fixed:
                fixed[name] = mark
        return fixed
    if isinstance(found, list):
        return [plain(one, shell) for one in found]
    return found.replace(str(shell.lake), "<lake>") if isinstance(found, str) else found


def record(artifact_id: str, content_hash: str, **differing: Any) -> dict[str, Any]:
    """The artifact of `GM` and `WEN` as programs get it."""
    folder = f"<lake>/artifacts/notes/v3/{artifact_id[:2]}/{artifact_id}"
    return {
        "artifactId": artifact_id,
        "artifactType": "notes",
        "schemaVersion": 3,
        "logicalKey": "book=lab/day=2025-05-01",
        "status": "active",
        "pathParquet": f"{folder}.parquet",
        "pathSidecar": f"{folder}.json",
        "fileHash": "<hash>",
        "contentHash": content_hash,
        "rowCount": 2,
        "minTs": "2025-05-01T12:00:00Z",
        "maxTs": "2025-05-01T12:01:00Z",
        "createdAt": "<time>",
        "tags": {},
    } | differing


# list


def test_list_gives_programs_every_field_in_the_agreed_order(shell: Shell) -> None:
    shell.publish(1, GM, WEN, more=("--tag", "token_chain=a=b"))
    done = shell("artifacts", "list", "--format", "json")
    assert [list(one) for one in done.json] == [FIELDS]
    assert plain(done.json, shell) == [record(GOLDEN_ID, GOLDEN_HASH, tags={"token_chain": "a=b"})]
    assert Path(done.json[0]["pathParquet"]).is_file()
    assert Path(done.json[0]["pathSidecar"]).is_file()


def test_list_shows_people_ids_that_can_be_typed_back(shell: Shell) -> None:
    made = shell.publish(1, GM, more=("--tag", "by=me"))
    done = shell("artifacts", "list")
    (row,) = [line for line in done.out.splitlines() if "book=lab" in line]
    short = row.split()[0]
    assert made.startswith(short)
    assert "by=me" in row
    assert shell("artifacts", "get", short, "--format", "json").json["artifactId"] == made


def test_list_is_newest_first_and_complete_unless_it_is_limited(shell: Shell) -> None:
    ids = [shell.publish(day, GM) for day in range(1, 6)]
    done = shell("artifacts", "list", "--format", "jsonl")
    assert [one["artifactId"] for one in done.lines] == ids[::-1]
    assert done.err == ""


def test_a_limit_that_cuts_says_so_and_how_to_go_on(shell: Shell) -> None:
    ids = [shell.publish(day, GM) for day in range(1, 6)]
    seen: list[str] = []
    more: list[str] = []
    while True:
        done = shell("artifacts", "list", "--limit", "2", "--format", "jsonl", *more)
        seen += [one["artifactId"] for one in done.lines]
        if not done.err:
            break
        assert "more than these 2" in done.err
        more = re.findall(r"--cursor \d+", done.err)[0].split()
    assert seen == ids[::-1]


def test_a_limit_that_cuts_nothing_says_nothing(shell: Shell) -> None:
    shell.publish(1, GM)
    assert shell("artifacts", "list", "--limit", "1").err == ""
    assert shell("artifacts", "list", "--limit", "9" * 30).err == ""


def listed(shell: Shell, *words: str) -> list[str]:
    done = shell("artifacts", "list", "--format", "jsonl", *words)
    assert done.code == 0, done.err
    return [one["artifactId"] for one in done.lines]


def test_filters_join(shell: Shell) -> None:
    first = shell.publish(1, GM, more=("--tag", "by=me", "--tag", "of=a"))
    second = shell.publish(2, GM, more=("--tag", "by=me", "--tag", "of=b"))
    third = shell.publish(3, GM, book="other")
    newer = shell.publish(1, WEN)
    assert listed(shell, "--tag", "by=me") == [second, first]
    assert listed(shell, "--tag", "by=me", "--tag", "of=b") == [second]
    assert listed(shell, "--key-prefix", "book=other/") == [third]
    assert listed(shell, "--status", "superseded") == [first]
    assert listed(shell, "--type", "notes", "--status", "active") == [newer, third, second]
    assert listed(shell, "--type", "alerts_v1") == []
    assert listed(shell, "--created-from", "2100-01-01") == []
    assert listed(shell, "--created-to", "2001-01-01T00:00:00+02:00") == []
    assert len(listed(shell, "--created-from", "2001-01-01", "--created-to", "2100-01-01")) == 4


def test_a_tag_given_again_has_its_new_value(shell: Shell) -> None:
    made = shell.publish(1, GM, more=("--tag", "by=me", "--tag", "mood=good"))
    assert shell.publish(1, GM, more=("--tag", "mood=bad")) == made
    tags = shell("artifacts", "get", made, "--format", "json").json["tags"]
    assert tags == {"by": "me", "mood": "bad"}
    assert listed(shell, "--tag", "mood=good") == []


def test_a_day_as_an_end_means_all_of_that_day(shell: Shell) -> None:
    made = shell.publish(1, GM)
    day = shell("artifacts", "get", made, "--format", "json").json["createdAt"][:10]
    assert listed(shell, "--created-from", day, "--created-to", day) == [made]


@pytest.mark.parametrize(
    "words",
    [
        ["--created-from", "2025-11-07T12:00:00"],
        ["--created-from", "yesterday"],
        ["--created-to", "9999-12-31T23:59:59-12:00"],
        ["--tag", "no-value"],
        ["--tag", "=nameless"],
        ["--tag", "a=1", "--tag", "a=2"],
        ["--tag", "a=\udcff"],
        ["--tag", "a=\0"],
        ["--key-prefix", "\ud800"],
        ["--limit", "0"],
        ["--limit", "-5"],
        ["--status", "lost"],
    ],
)
def test_a_filter_that_means_nothing_is_wrong_usage(words: list[str], shell: Shell) -> None:
    done = shell("artifacts", "list", *words)
    assert (done.code, done.out) == (2, "")
    assert "Error: Invalid value" in done.err


def test_a_type_that_is_not_known_is_named(shell: Shell) -> None:
    done = shell("artifacts", "list", "--type", "alert_v1")
    assert done.code == 3
    assert "'alert_v1'" in done.err
    assert "alerts_v1" in done.err


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 40, "1e3", "١"])
def test_a_cursor_that_is_none_is_refused(cursor: str, shell: Shell) -> None:
    done = shell("artifacts", "list", "--cursor", cursor)
    assert done.code == 1
    assert "no cursor" in done.err


HOSTILE = [
    "../../etc/passwd",
    "'; DROP TABLE artifacts; --",
    '"quoted"',
    "%_*?[a-z]",
    "\u202egnp.exe",
    "\x1b[2J",
    "x" * 10_000,
    "=cmd|' /C calc'!A1",
    "[red]markup[/red]",
    "-x",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_only_text(text: str, shell: Shell) -> None:
    made = shell.publish(1, GM, more=("--tag", f"name={text}"))
    assert listed(shell, "--tag", f"name={text}") == [made]
    assert listed(shell, f"--key-prefix={text}") == []
    found = shell("artifacts", "get", made, "--format", "json").json
    assert found["tags"] == {"name": text}
    table = shell("artifacts", "list").out + shell("artifacts", "get", made).out
    assert not set(table) & {"\x1b", "\u202e", "\0"}
    assert [path.name for path in shell.lake.parent.iterdir() if path.is_dir()] == ["lake"]
    for words in (["find", "--type", "notes", f"--key={text}"], ["get", "--", text]):
        done = shell("artifacts", *words)
        assert done.code in (1, 3)
        assert done.err.count("\n") == 1
        assert len(done.err) < 500
        assert not set(done.err) & {"\x1b", "\u202e", "\0"}


def test_csv_cells_of_a_list_are_no_formulas(shell: Shell) -> None:
    shell.publish(1, GM, more=("--tag", "sum==1+1"))
    done = shell("artifacts", "list", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(done.out))
    assert list(row) == FIELDS
    assert not any(value.startswith(("=", "+", "-", "@")) for value in row.values())


# get, find, types


def test_get_shows_one_artifact(shell: Shell) -> None:
    made = shell.publish(1, GM, WEN)
    done = shell("artifacts", "get", made[:8], "--format", "json")
    assert list(done.json) == FIELDS
    assert plain(done.json, shell) == record(GOLDEN_ID, GOLDEN_HASH)
    table = shell("artifacts", "get", made).out
    assert f"artifact id     {made}" in table
    (row,) = csv.DictReader(io.StringIO(shell("artifacts", "get", made, "--format", "csv").out))
    assert row["artifactId"] == made


def test_get_tells_every_time_it_was_published(shell: Shell) -> None:
    made = shell.publish(1, GM, more=("--writer", "first", "--writer-version", "9"))
    shell.publish(1, GM, more=("--writer", "again"))
    done = shell("artifacts", "get", made, "--publications", "--format", "json")
    events = [
        (one["writerName"], one["writerVersion"], one["deduped"])
        for one in done.json["publications"]
    ]
    assert events[0] == ("first", "9", False)
    assert (events[1][0], events[1][2]) == ("again", True)
    assert "again" in shell("artifacts", "get", made, "--publications").out
    assert shell("artifacts", "get", made, "--publications", "--format", "csv").code == 2


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ("0" * 32, 3, "no artifact"),
        ("00000000", 3, "no artifact"),
        ("0000000", 1, "8 to 32"),
        ("not-hexadecimal", 1, "8 to 32"),
        ("0" * 33, 1, "8 to 32"),
    ],
)
def test_an_id_that_names_nothing(given: str, code: int, says: str, shell: Shell) -> None:
    done = shell("artifacts", "get", given)
    assert (done.code, done.out) == (code, "")
    assert says in done.err


def test_find_has_the_active_one_first(shell: Shell) -> None:
    ids = [shell.publish(1, row) for row in (GM, WEN)]
    shell.publish(1, GM)
    done = shell(
        *("artifacts", "find", "--type", "notes", "--key", "book=lab/day=2025-05-01"),
        *("--format", "json"),
    )
    assert [(one["artifactId"], one["status"]) for one in done.json] == [
        (ids[0], "active"),
        (ids[1], "superseded"),
    ]
    assert list(done.json[0]) == FIELDS


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--type", "notes", "--key", "book=lab/day=2025-05-09"], 3, "nothing was published"),
        (["--type", "notes", "--key", "day=2025-05-09"], 1, "does not match"),
        (["--type", "note", "--key", "day=2025-05-09"], 3, "unknown artifact type"),
        (["--type", "notes"], 2, "--key"),
    ],
)
def test_find_says_what_is_wrong_with_the_question(
    words: list[str], code: int, says: str, shell: Shell
) -> None:
    done = shell("artifacts", "find", *words)
    assert (done.code, done.out) == (code, "")
    assert says in done.err


def test_types_lists_the_seed_types_and_the_users_own(shell: Shell) -> None:
    found = {
        one["artifactType"]: one for one in shell("artifacts", "types", "--format", "json").json
    }
    alerts = found["alerts_v1"]
    assert (alerts["origin"], alerts["schemaVersion"], alerts["earlierVersions"]) == (
        "seed",
        2,
        [1],
    )
    assert found["notes"] == {
        "artifactType": "notes",
        "schemaVersion": 3,
        "earlierVersions": [],
        "origin": "user",
        "keys": ["book={book}/day={day}"],
        "columns": [
            {"name": "at", "type": "timestamp[us, tz=UTC]", "nullable": False},
            {"name": "text", "type": "string", "nullable": True},
            {"name": "score", "type": "double", "nullable": True},
            {"name": "count", "type": "int64", "nullable": True},
            {"name": "seen", "type": "bool", "nullable": True},
            {"name": "mark", "type": "binary", "nullable": True},
        ],
        "sortKeys": ["at"],
        "timeColumn": "at",
        "keepsMany": False,
        "description": "",
    }
    assert "book={book}/day={day}" in shell("artifacts", "types").out


def test_types_needs_no_lake(shell: Shell, tmp_path: Path) -> None:
    assert shell("artifacts", "types", lake=tmp_path / "nowhere").code == 0


@pytest.mark.parametrize(
    ("module", "says"),
    [("no.such.module", "cannot import"), ("json", "must have ARTIFACT_TYPES")],
)
def test_a_types_module_that_is_none_is_named(
    module: str, says: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTLAB_TYPES_MODULE", module)
    done = shell("artifacts", "types")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "QUANTLAB_TYPES_MODULE" in done.err
    assert says in done.err


def test_without_a_lake_the_way_to_one_is_shown(shell: Shell, tmp_path: Path) -> None:
    done = shell("artifacts", "list", lake=tmp_path / "nowhere")
    assert done.code == 3
    assert "quantlab init" in done.err


# lineage, downstream


@pytest.fixture
def chain(shell: Shell) -> list[str]:
    """Three artifacts, each made from the ones before it."""
    ids = [shell.publish(1, GM)]
    ids.append(shell.publish(2, GM, more=("--input", ids[0][:9])))
    ids.append(shell.publish(3, GM, more=("--input", ids[0], "--input", ids[1])))
    return ids


def edges(done: Done) -> set[tuple[str, str, int]]:
    return {(one["artifactId"], one["inputId"], one["depth"]) for one in done.json["edges"]}


def test_lineage_goes_down_to_the_raw_files(shell: Shell, chain: Sequence[str]) -> None:
    first, second, third = chain
    done = shell("artifacts", "lineage", third[:8], "--format", "json")
    assert list(done.json) == ["root", "artifacts", "edges", "sources"]
    assert done.json["root"] == third
    assert [list(one) for one in done.json["artifacts"]] == [FIELDS] * 3
    assert edges(done) == {(third, first, 1), (third, second, 1), (second, first, 2)}
    assert done.json["edges"][0] == {
        "artifactId": third,
        "inputId": min(first, second),
        "role": "loaded",
        "publicationId": 3,
        "depth": 1,
    }
    (raw,) = [one for one in done.json["sources"] if one["artifactId"] == first]
    assert (raw["name"], raw["kind"]) == ("notes.csv", "csv")
    assert raw["size"] == len(Path("notes.csv").read_bytes())


def test_lineage_as_deep_as_asked(shell: Shell, chain: Sequence[str]) -> None:
    done = shell("artifacts", "lineage", chain[2], "--depth", "1", "--format", "json")
    assert {one[2] for one in edges(done)} == {1}
    shell.refuses("artifacts", "lineage", chain[2], "--depth", "0", code=2, says="'--depth'")
    deep = shell("artifacts", "lineage", chain[2], "--depth", "9" * 30, "--format", "json")
    assert {one[2] for one in edges(deep)} == {1, 2}


def test_lineage_as_a_tree(shell: Shell, chain: Sequence[str]) -> None:
    done = shell("artifacts", "lineage", chain[2])
    lines = done.out.splitlines()
    assert lines[0].startswith(chain[2][:12])
    assert sum(chain[0][:12] in line for line in lines) == 2
    assert sum("(see above)" in line for line in lines) == 1
    assert any("raw file notes.csv (csv, " in line for line in lines)
    assert "2 artifacts, 1 raw file" in done.err


def test_lineage_by_another_publication(shell: Shell) -> None:
    first, other = shell.publish(1, GM), shell.publish(4, GM)
    made = shell.publish(2, GM, more=("--input", first))
    shell.publish(2, GM, more=("--input", other))
    created = shell("artifacts", "lineage", made, "--format", "json")
    every = shell("artifacts", "lineage", made, "--all-publications", "--format", "json")
    assert {one[1] for one in edges(created)} == {first}
    assert {one[1] for one in edges(every)} == {first, other}


def test_downstream_is_what_was_made_of_it(shell: Shell, chain: Sequence[str]) -> None:
    first, second, third = chain
    done = shell("artifacts", "downstream", first, "--format", "json")
    assert edges(done) == {(second, first, 1), (third, first, 1), (third, second, 2)}
    assert third[:12] in shell("artifacts", "downstream", first).out
    rows = list(
        csv.DictReader(io.StringIO(shell("artifacts", "downstream", first, "--format", "csv").out))
    )
    assert {(row["artifactId"], row["inputId"]) for row in rows} == {
        (second, first),
        (third, first),
        (third, second),
    }
    assert shell("artifacts", "downstream", third, "--format", "jsonl").out == ""


# supersede, tombstone


def test_supersede_says_what_takes_whose_place(shell: Shell) -> None:
    old, new = shell.publish(1, GM), shell.publish(2, GM)
    done = shell("artifacts", "supersede", new[:8], old[:8], "--reason", "better")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"{new[:12]} replaces {old[:12]}\n"
    assert listed(shell, "--status", "superseded") == [old]
    again = ("artifacts", "supersede", new, old)
    shell.refuses(*again, "--reason", "better", code=1, says=f"{old} is superseded, not active")
    shell.refuses(*again, code=2, says="Missing option '--reason'")


def test_tombstone_hides_and_keeps(shell: Shell) -> None:
    made = shell.publish(1, GM)
    assert shell("artifacts", "tombstone", made[:8], "--reason", "asked for").code == 0
    assert listed(shell) == []
    assert listed(shell, "--status", "tombstoned") == [made]
    assert shell("artifacts", "get", made, "--format", "json").json["status"] == "tombstoned"


def test_what_is_pinned_is_not_tombstoned(shell: Shell) -> None:
    made = shell.publish(1, GM, more=("--tag", "pin=paper"))
    shell.refuses("artifacts", "tombstone", made, "--reason", "x", code=1, says="the tag 'pin'")
    assert listed(shell) == [made]


def test_the_ways_to_print_agree(shell: Shell) -> None:
    shell.publish(1, GM)
    form: Callable[[str], Done] = lambda name: shell("artifacts", "list", "--format", name)  # noqa: E731
    assert form("jsonl").lines == form("json").json
    (row,) = csv.DictReader(io.StringIO(form("csv").out))
    assert row["artifactId"] == form("json").json[0]["artifactId"]

"""Types of several schema versions on the command line."""

from pathlib import Path

import pytest

from quantlab_tests.cli.in_front import Shell

FIRST = "at,who,old\n2025-05-01T12:00:00Z,Zoe,4\n"
SECOND = "at,who,old,handle,note\n2025-05-01T12:00:00Z,Zoe,4,zoe,new\n"
KEY = "book=atlas/day=2025-05-01"


@pytest.fixture
def shell(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The command, in front of an empty lake that knows the type `marks`."""
    monkeypatch.setenv("QUANTLAB_TYPES_MODULE", "quantlab_tests.contracts.versioned_type")
    return shell


def publish(shell: Shell, version: int, csv: str) -> tuple[dict[str, object], str]:
    Path("rows.csv").write_text(csv)
    done = shell(
        *("artifacts", "publish", "--type", "marks", "--version", str(version), "--key", KEY),
        *("--data", "rows.csv", "--format", "json"),
    )
    assert done.code == 0, done.err
    return done.json, done.err


def test_rows_are_shown_as_the_newest_version_or_as_they_are_stored(shell: Shell) -> None:
    old = str(publish(shell, 1, FIRST)[0]["artifactId"])

    shown = shell("artifacts", "cat", old, "--format", "csv")
    stored = shell("artifacts", "cat", old, "--as-stored", "--format", "csv")

    assert shown.out.splitlines() == [
        '"weight","at","author","handle","note"',
        '2.0,"2025-05-01T12:00:00.000000Z","Zoe","zoe",',
    ]
    assert stored.out.splitlines() == [
        '"at","who","old"',
        '"2025-05-01T12:00:00.000000Z","Zoe",4',
    ]


def test_an_earlier_version_says_that_it_is_not_the_active_one(shell: Shell) -> None:
    new, _ = publish(shell, 2, SECOND)
    old, said = publish(shell, 1, FIRST)

    assert old["supersededBy"] == new["artifactId"]
    assert "supersededBy" not in new
    assert f"{str(new['artifactId'])[:12]} of a newer schema version is" in said
    found = shell("artifacts", "find", "--type", "marks", "--key", KEY, "--format", "json").json
    assert [(one["schemaVersion"], one["status"]) for one in found] == [
        (2, "active"),
        (1, "superseded"),
    ]


def test_keys_of_every_version_can_be_asked_for(shell: Shell) -> None:
    for key in (KEY, "day=2025-05-01/shelf=a"):
        done = shell("artifacts", "find", "--type", "marks", "--key", key)
        assert (done.code, "nothing was published" in done.err) == (3, True)
    wrong = shell("artifacts", "find", "--type", "marks", "--key", "day=2025-05-01")
    assert (wrong.code, "does not match day={day}/shelf={shelf}" in wrong.err) == (1, True)


def test_types_say_which_versions_they_have(shell: Shell) -> None:
    types = shell("artifacts", "types", "--format", "json").json
    (marks,) = [one for one in types if one["artifactType"] == "marks"]
    assert (marks["schemaVersion"], marks["earlierVersions"]) == (3, [2, 1])

"""`quantlab ops`: JSON in, JSON out, for programs in other languages."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quantlab_tests.cli.in_front import Done, Shell

GM = "2025-05-01T12:00:00Z,gm,0.5,1,true,"
KEY = "book=lab/day=2025-05-01"


@dataclass(frozen=True)
class Ops:
    """Asks `quantlab ops` at a shell."""

    shell: Shell

    def __call__(self, operation: str, **fields: Any) -> Done:
        request = json.dumps({"operation": operation, **fields}).encode()
        return self.shell("ops", stdin=request)

    def answer(self, operation: str, **fields: Any) -> Any:
        done = self(operation, **fields)
        assert (done.code, done.err) == (0, ""), done.err
        assert done.out.count("\n") == 1
        return done.json

    def error(self, operation: str, **fields: Any) -> tuple[int, str, str]:
        """Exit code, type and message; the error is on stderr and nothing on stdout."""
        done = self(operation, **fields)
        assert done.out == ""
        found = json.loads(done.err)
        assert set(found) == {"error", "type"}
        return done.code, found["type"], found["error"]


@pytest.fixture
def ops(shell: Shell) -> Ops:
    return Ops(shell)


def as_listed(shell: Shell, artifact_id: str) -> Any:
    return shell("artifacts", "get", artifact_id, "--format", "json").json


# The operations


def test_get_artifact(ops: Ops, shell: Shell) -> None:
    made = shell.publish(1, GM, more=("--tag", "token_chain=bsc"))
    found = ops.answer("get_artifact", artifact_id=made)
    assert found == as_listed(shell, made)
    assert found["tags"] == {"token_chain": "bsc"}
    assert ops.answer("get_artifact", artifact_id=made[:8]) == found
    assert ops.error("get_artifact", artifact_id="0" * 32)[:2] == (3, "NotFound")


def test_get_artifacts_keeps_the_order_asked_for(ops: Ops, shell: Shell) -> None:
    ids = [shell.publish(day, GM) for day in (1, 2, 3)]
    found = ops.answer("get_artifacts", artifact_ids=[ids[2], ids[0]])
    assert [one["artifactId"] for one in found] == [ids[2], ids[0]]
    assert ops.answer("get_artifacts", artifact_ids=[]) == []
    code, kind, message = ops.error("get_artifacts", artifact_ids=[ids[0], "f" * 32])
    assert (code, kind) == (3, "NotFound")
    assert "f" * 32 in message


def test_list_artifacts_without_a_hidden_limit(ops: Ops, shell: Shell) -> None:
    first = shell.publish(1, GM, more=("--tag", "by=me"))
    second = shell.publish(2, GM)

    def listed(**where: Any) -> list[str]:
        return [one["artifactId"] for one in ops.answer("list_artifacts", filter=where)]

    assert [one["artifactId"] for one in ops.answer("list_artifacts")] == [second, first]
    assert listed() == [second, first]
    assert listed(tags={"by": "me"}) == [first]
    assert listed(artifactType="notes", status="active", limit=1) == [second]
    assert listed(minCreatedAt="2100-01-01") == []
    assert listed(maxCreatedAt="2001-01-01T00:00:00Z") == []
    assert listed(minCreatedAt="2001-01-01", maxCreatedAt="2100-01-01") == [second, first]


def test_find_by_logical_key(ops: Ops, shell: Shell) -> None:
    made = shell.publish(1, GM)
    found = ops.answer("find_by_logical_key", artifact_type="notes", logical_key=KEY)
    assert found == [as_listed(shell, made)]
    nothing = ops.answer("find_by_logical_key", artifact_type="notes", logical_key="'; --")
    assert nothing == []


def test_publish_artifact_always_says_the_id(ops: Ops, shell: Shell) -> None:
    source = shell.publish(2, GM)
    Path("notes.csv").write_text(f"at,text,score,count,seen,mark\n{GM}\n")
    fields: dict[str, Any] = {
        "artifact_type": "notes",
        "schema_version": 3,
        "logical_key": KEY,
        "data_path": "notes.csv",
        "tags": {"by": "me"},
        "input_artifact_ids": [source],
        "writer_name": "quantbot",
        "writer_version": "2.1",
        "git_commit": "abc123",
        "git_dirty": True,
        "params": {"some_window": [1, 2.5, None]},
        "manifest_sql": "ignored",
        "filename_hint": "../ignored",
    }
    new = ops.answer("publish_artifact", **fields)
    again = ops.answer("publish_artifact", **fields)
    made = new["artifactId"]
    stored = as_listed(shell, made)
    paths = {name: stored[name] for name in ("pathParquet", "pathSidecar")}
    assert new == {
        "success": True,
        "deduped": False,
        "mode": None,
        "artifactId": made,
        "existingArtifactId": None,
        **paths,
    }
    assert again == {
        "success": True,
        "deduped": True,
        "mode": "content_hash",
        "artifactId": made,
        "existingArtifactId": made,
        **paths,
    }
    told = shell("artifacts", "get", made, "--publications", "--format", "json").json
    (event, _) = told["publications"]
    assert (event["writerName"], event["writerVersion"]) == ("quantbot", "2.1")
    assert (event["gitCommit"], event["gitDirty"]) == ("abc123", True)
    assert event["params"] == {"some_window": [1, 2.5, None]}
    assert told["tags"] == {"by": "me"}
    lineage = ops.answer("get_lineage", artifact_id=made)
    assert [one["inputId"] for one in lineage["edges"]] == [source]


def test_lineage_both_ways_is_that_of_the_commands(ops: Ops, shell: Shell) -> None:
    first = shell.publish(1, GM)
    made = shell.publish(2, GM, more=("--input", first))
    up = ops.answer("get_lineage", artifact_id=made)
    down = ops.answer("get_downstream", artifact_id=first, depth=1)
    assert up == shell("artifacts", "lineage", made, "--format", "json").json
    assert down == shell("artifacts", "downstream", first, "--format", "json").json


def test_supersede_and_tombstone(ops: Ops, shell: Shell) -> None:
    old, new = shell.publish(1, GM), shell.publish(2, GM)
    assert ops.answer("supersede", new_artifact_id=new, old_artifact_id=old) == {
        "success": True,
        "newArtifactId": new,
        "oldArtifactId": old,
    }
    assert as_listed(shell, old)["status"] == "superseded"
    assert ops.error("supersede", new_artifact_id=new, old_artifact_id=old)[:2] == (1, "Conflict")
    assert ops.answer("tombstone", artifact_id=old) == {"success": True, "artifactId": old}
    assert as_listed(shell, old)["status"] == "tombstoned"


def test_health_check(ops: Ops, shell: Shell) -> None:
    found = ops.answer("health_check")
    assert found.pop("version")
    assert found == {
        "success": True,
        "manifestDb": str(shell.lake / "manifest" / "manifest.sqlite"),
        "artifactsRoot": str(shell.lake / "artifacts"),
    }


def test_a_request_can_name_another_lake(ops: Ops, shell: Shell, tmp_path: Path) -> None:
    made = shell.publish(1, GM)
    place = {
        "manifest_db": str(shell.lake / "manifest" / "manifest.sqlite"),
        "artifacts_root": str(shell.lake / "artifacts"),
    }
    elsewhere = tmp_path / "elsewhere"
    request = json.dumps({"operation": "get_artifact", "artifact_id": made, **place})
    done = shell("ops", stdin=request.encode(), lake=elsewhere)
    assert done.json["artifactId"] == made
    assert not elsewhere.exists()
    assert ops.error("health_check", manifest_db=str(elsewhere / "m"))[:2] == (3, "NotFound")


# What is no request

BAD = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[1]",
    "two": b"{} {}",
    "NaN": b'{"operation": NaN}',
    "no UTF-8": b'{"operation": "\xff"}',
    "twice": b'{"operation": "health_check", "operation": "tombstone"}',
    "deep": b"[" * 200_000,
    "digits": b'{"operation": ' + b"9" * 10_000 + b"}",
    "no operation": b"{}",
    "unknown": b'{"operation": "drop_everything"}',
    "number": b'{"operation": 1}',
    "misspelt": b'{"operation": "get_artifact", "artifactId": "x"}',
    "missing": b'{"operation": "get_artifact"}',
    "null": b'{"operation": "get_artifact", "artifact_id": null}',
    "list": b'{"operation": "get_artifact", "artifact_id": ["x"]}',
    "surrogate": b'{"operation": "get_artifact", "artifact_id": "\\ud800"}',
    "NUL": b'{"operation": "get_artifact", "artifact_id": "a\\u0000"}',
    "ids": b'{"operation": "get_artifacts", "artifact_ids": "x"}',
    "limit": b'{"operation": "list_artifacts", "filter": {"limit": 0}}',
    "true": b'{"operation": "list_artifacts", "filter": {"limit": true}}',
    "status": b'{"operation": "list_artifacts", "filter": {"status": "lost"}}',
    "time": b'{"operation": "list_artifacts", "filter": {"minCreatedAt": "2025-01-01T00:00"}}',
    "field": b'{"operation": "list_artifacts", "filter": {"min_created_at": "2025-01-01"}}',
    "tags": b'{"operation": "list_artifacts", "filter": {"tags": {"a": 1}}}',
    "place": b'{"operation": "health_check", "manifest_db": "a\\u0000b"}',
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_request_is_wrong_usage(text: bytes, shell: Shell) -> None:
    done = shell("ops", stdin=text)
    assert (done.code, done.out) == (2, "")
    error = json.loads(done.err)
    assert error["type"] == "BadRequest"
    assert len(error["error"]) < 400
    assert done.err.isascii()


WRONG = [
    ("get_artifact", {}, "artifact_id is missing"),
    ("get_artifact", {"artifact_id": None}, "artifact_id is missing"),
    ("get_artifact", {"artifact_id": 1}, "artifact_id must be text"),
    ("get_artifact", {"artifact_id": "\0"}, "artifact_id has a NUL in it or is not UTF-8 text"),
    ("get_artifact", {"artifactId": "x", "artifact_id": "x"}, "get_artifact: unknown field 'artif"),
    ("get_artifacts", {"artifact_ids": "x"}, "artifact_ids must be a list of texts"),
    ("get_artifacts", {"artifact_ids": ["x", 1]}, "artifact_ids[1] must be text"),
    ("get_artifacts", {"artifact_ids": [None]}, "artifact_ids[0] must be text"),
    ("list_artifacts", {"filter": []}, "filter must be an object"),
    ("list_artifacts", {"filter": {"limit": 0}}, "filter.limit must be 1 or more"),
    ("list_artifacts", {"filter": {"limit": 1.0}}, "filter.limit must be a whole number"),
    ("list_artifacts", {"filter": {"limit": "1"}}, "filter.limit must be a whole number"),
    ("list_artifacts", {"filter": {"limit": True}}, "filter.limit must be a whole number"),
    (
        "list_artifacts",
        {"filter": {"status": "lost"}},
        "filter.status must be one of active, superseded, tombstoned",
    ),
    ("list_artifacts", {"filter": {"status": 1}}, "filter.status must be text"),
    ("list_artifacts", {"filter": {"tags": []}}, "filter.tags must be an object"),
    ("list_artifacts", {"filter": {"tags": {"a": "b", "c": 1}}}, "filter.tags.c must be text"),
    ("list_artifacts", {"filter": {"tags": {"a": "\0"}}}, "filter.tags.a has a NUL in it or"),
    ("list_artifacts", {"filter": {"tags": {"x" * 999: 1}}}, "filter.tags.xxxx"),
    ("list_artifacts", {"filter": {"min_created_at": "x"}}, "filter: unknown field 'min_created_"),
    ("list_artifacts", {"filter": {"minCreatedAt": 1}}, "filter.minCreatedAt must be text"),
    ("list_artifacts", {"filter": {"maxCreatedAt": "x"}}, "filter.maxCreatedAt: 'x' is no time"),
    ("publish_artifact", {"schema_version": "1"}, "schema_version must be a whole number"),
    ("publish_artifact", {"schema_version": 1 << 63}, "schema_version is too large a number"),
    ("publish_artifact", {"git_dirty": 1}, "git_dirty must be true or false"),
    ("publish_artifact", {"params": [1]}, "params must be an object"),
    ("publish_artifact", {"tags": {"a": None}}, "tags.a must be text"),
    ("publish_artifact", {"input_artifact_ids": {"a": 1}}, "input_artifact_ids must be a list of"),
    ("get_lineage", {"artifact_id": "x", "depth": -1}, "depth must be 1 or more"),
    ("health_check", {"manifest_db": 1}, "manifest_db must be text"),
]


@pytest.mark.parametrize(("operation", "fields", "message"), WRONG)
def test_what_is_wrong_is_said_of_the_field_as_it_was_written(
    operation: str, fields: dict[str, Any], message: str, shell: Shell
) -> None:
    from quantlab_assets.cli.ops import Operations
    from quantlab_assets.cli.session import Session

    named = {"artifact_type": "notes", "logical_key": KEY, "data_path": "notes.csv"}
    given = {"operation": operation, **(named if operation == "publish_artifact" else {}), **fields}
    answer, code = Operations(Session(lake=shell.lake)).answer(json.dumps(given).encode(), 10_000)
    assert (code, answer["type"]) == (2, "BadRequest")
    assert answer["error"].startswith(message)
    assert len(answer["error"]) < 200


def test_a_null_is_an_absent_field(ops: Ops, shell: Shell) -> None:
    made = shell.publish(1, GM)
    nothing: dict[str, Any] = dict.fromkeys(("artifactType", "status", "tags", "limit"))
    for where in (None, {}, nothing):
        (artifact,) = ops.answer("list_artifacts", filter=where, manifest_db=None)
        assert artifact["artifactId"] == made


def test_publish_of_a_file_that_is_not_there(ops: Ops) -> None:
    fields = {"artifact_type": "notes", "logical_key": KEY, "data_path": "nowhere.csv"}
    assert ops.error("publish_artifact", **fields)[:2] == (3, "NotFound")
    wrong = fields | {"artifact_type": "nonsense"}
    assert ops.error("publish_artifact", **wrong)[:2] == (3, "NotFound")


def test_a_damaged_manifest_is_code_4(ops: Ops, shell: Shell) -> None:
    (shell.lake / "manifest" / "manifest.sqlite").write_bytes(b"no database" * 1000)
    assert ops.error("list_artifacts")[:2] == (4, "IntegrityError")


# --serve


def test_serve_answers_line_by_line_until_stdin_ends(shell: Shell) -> None:
    made = shell.publish(1, GM)
    requests = [
        b'{"operation": "get_artifact", "artifact_id": "%s"}' % made.encode(),
        b"",
        b'{"operation": "list_artifacts"}\r',
        b'{"operation": "health_check"}',
    ]
    done = shell("ops", "--serve", stdin=b"\n".join(requests))
    assert (done.code, done.err) == (0, "")
    one, several, health = done.lines
    assert one["artifactId"] == made
    assert several == [one]
    assert health["success"]


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_serve_survives_what_is_no_request(text: bytes, shell: Shell) -> None:
    done = shell("ops", "--serve", stdin=text + b'\n{"operation": "health_check"}\n')
    assert (done.code, done.err) == (0, "")
    *errors, health = done.lines
    assert health["success"]
    assert [(one["type"], one["exitCode"]) for one in errors] == [("BadRequest", 2)] * bool(text)


def test_serve_skips_a_line_that_is_too_long(shell: Shell) -> None:
    long = b'{"operation": "' + b"x" * 1_000_000 + b'"}\n'
    exact = b'{"operation": "health_check"}'.ljust(1000) + b"\n"
    words = ("ops", "--serve", "--max-request-bytes", "1000")
    error, health = shell(*words, stdin=long + exact).lines
    assert "longer than 1000 bytes" in error["error"]
    assert health["success"]
    (last,) = shell(*words, stdin=long.rstrip(b"\n")).lines
    assert last["exitCode"] == 2
    done = shell("ops", "--max-request-bytes", "1000", stdin=long)
    assert (done.code, "longer than 1000 bytes" in done.err + done.out) == (2, True)


def test_serve_goes_on_after_an_error_of_the_store(shell: Shell) -> None:
    lines = shell(
        *("ops", "--serve"),
        stdin=b'{"operation": "get_artifact", "artifact_id": "00000000"}\n'
        b'{"operation": "health_check"}',
    ).lines
    assert set(lines[0]) == {"error", "type", "exitCode"}
    assert (lines[0]["type"], lines[0]["exitCode"]) == ("NotFound", 3)
    assert lines[1]["success"]


def test_serve_sees_what_others_publish_meanwhile(shell: Shell) -> None:
    from quantlab_assets.cli.ops import Operations
    from quantlab_assets.cli.session import Session

    served = Operations(Session(lake=shell.lake))
    assert served.answer(b'{"operation": "list_artifacts"}', 1000) == ([], 0)
    shell.publish(1, GM)
    assert len(served.answer(b'{"operation": "list_artifacts"}', 1000)[0]) == 1


def test_an_end_without_requests_is_clean(shell: Shell) -> None:
    done = shell("ops", "--serve", stdin=b"")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_a_number_that_no_table_could_hold_is_refused_by_name(ops: Ops) -> None:
    for number in (10**30, -(10**30)):
        code, kind, message = ops.error("list_artifacts", filter={"limit": number})
        assert (code, kind) == (2, "BadRequest")
        assert "filter.limit is too large" in message

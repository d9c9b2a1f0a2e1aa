"""The ledger in the manifest: what it writes, who may run an experiment, what it costs."""

import hashlib
import json
import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.adapters.code_provenance import CodeState, state_of
from quantlab_assets.adapters.duckdb.ledger_file import project_ledger
from quantlab_assets.adapters.manifest.ledger import ExperimentLedger, tracker
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.errors import Conflict, IntegrityError, NotFound, ValidationFailed
from quantlab_assets.domain.experiments.records import ExperimentDefinition
from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_tests.handlers.experiments.lab import (
    RUNNER,
    T0,
    Call,
    Lab,
    line,
    publish_alerts,
    publish_candles,
    real_lab,
)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return real_lab(tmp_path)


@pytest.fixture
def definition(lab: Lab) -> ExperimentDefinition:
    return ExperimentDefinition(
        name="first",
        alert_artifact_ids=(publish_alerts(lab.store, Call(RUNNER, T0)),),
        slice_artifact_ids=(publish_candles(lab.store, RUNNER, line(1, 3)),),
        strategy=Strategy(),
        engine_version="1+abc",
    )


def query(root: Path, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(root / "manifest" / "manifest.sqlite") as connection:
        return connection.execute(sql).fetchall()


def again(lab: Lab, clock: Callable[[], datetime]) -> ExperimentLedger:
    return ExperimentLedger(lab.store.database, lab.store, clock=clock)


def test_every_change_of_status_leaves_an_event(
    lab: Lab, definition: ExperimentDefinition, tmp_path: Path
) -> None:
    moments = iter(datetime(2025, 11, 7, tzinfo=UTC) + timedelta(seconds=n) for n in range(99))
    ledger = again(lab, lambda: next(moments))
    experiment_id = ledger.create(definition)[0].experiment_id
    ledger.update_status(experiment_id, "running")
    ledger.update_status(experiment_id, "failed", error="disk full")
    ledger.update_status(experiment_id, "running")
    with pytest.raises(Conflict, match="is running and cannot become pending"):
        ledger.update_status(experiment_id, "pending")
    ledger.store_results(experiment_id, {"trades": definition.alert_artifact_ids[0]})

    events = query(
        tmp_path,
        "SELECT old_status, new_status, detail FROM experiment_events"
        " WHERE new_status <> 'running' ORDER BY event_id",
    )
    assert events == [
        (None, "pending", None),
        ("running", "failed", "disk full"),
        ("running", "completed", None),
    ]
    seen = ledger.events(experiment_id)
    assert [(event.old_status, event.new_status) for event in seen] == [
        (None, "pending"),
        ("pending", "running"),
        ("running", "failed"),
        ("failed", "running"),
        ("running", "completed"),
    ]
    assert seen[1].details["pid"] == os.getpid()
    assert seen[2].error == "disk full"


def test_ids_of_inputs_are_kept_once_however_many_experiments_share_them(
    lab: Lab, definition: ExperimentDefinition, tmp_path: Path
) -> None:
    for number in range(5):
        lab.tracker.create(
            ExperimentDefinition(
                name=f"n{number}",
                alert_artifact_ids=definition.alert_artifact_ids,
                slice_artifact_ids=definition.slice_artifact_ids,
                strategy=definition.strategy,
                engine_version="1+abc",
                params={"n": number},
            )
        )
    assert query(tmp_path, "SELECT count(*) FROM experiments") == [(5,)]
    assert query(tmp_path, "SELECT count(*) FROM input_sets") == [(3,)]
    (row,) = query(tmp_path, "SELECT definition_json FROM experiments LIMIT 1")
    assert definition.slice_artifact_ids[0] not in row[0]


def test_one_of_many_starts_an_experiment(
    lab: Lab, definition: ExperimentDefinition, tmp_path: Path
) -> None:
    experiment_id = lab.tracker.create(definition)[0].experiment_id
    ready = threading.Barrier(6)

    def start(_: int) -> bool:
        store = ParquetStore.at(
            artifacts_root=tmp_path / "artifacts",
            manifest=tmp_path / "manifest" / "manifest.sqlite",
            staging=tmp_path / "staging",
            types=TypeRegistry(),
        )
        ledger = ExperimentLedger(store.database, store)
        ready.wait()
        try:
            ledger.update_status(experiment_id, "running")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(start, range(6))) == [False] * 5 + [True]


def test_many_create_the_same_experiment_once(lab: Lab, definition: ExperimentDefinition) -> None:
    with ThreadPoolExecutor(6) as pool:
        created = [new for _, new in pool.map(lambda _: lab.tracker.create(definition), range(6))]
    assert sorted(created) == [False] * 5 + [True]


def test_a_frozen_input_cannot_be_tombstoned(lab: Lab, definition: ExperimentDefinition) -> None:
    lab.tracker.create(definition)
    with pytest.raises(Conflict, match="what an experiment used is kept"):
        lab.store.tombstone(definition.slice_artifact_ids[0], "wrong prices")


def completed(lab: Lab, definition: ExperimentDefinition) -> str:
    experiment_id = lab.tracker.create(definition)[0].experiment_id
    lab.tracker.update_status(experiment_id, "running", details={"seed": 1})
    lab.tracker.store_results(experiment_id, {"trades": definition.alert_artifact_ids[0]})
    return experiment_id


def elsewhere(tmp_path: Path) -> Lab:
    """Another lake with the same inputs."""
    other = real_lab(tmp_path / "other")
    publish_alerts(other.store, Call(RUNNER, T0))
    publish_candles(other.store, RUNNER, line(1, 3))
    return other


def test_an_experiment_moves_to_another_lake(
    lab: Lab, definition: ExperimentDefinition, tmp_path: Path
) -> None:
    name = completed(lab, definition)
    document = json.loads(json.dumps(lab.tracker.to_document(name)))
    other = elsewhere(tmp_path)
    assert other.tracker.adopt(document)
    assert other.tracker.get(name) == lab.tracker.get(name)
    assert other.tracker.events(name) == lab.tracker.events(name)
    assert not other.tracker.adopt(document)


def test_what_was_not_completed_is_pending_in_the_other_lake(
    lab: Lab, definition: ExperimentDefinition, tmp_path: Path
) -> None:
    name = lab.tracker.create(definition)[0].experiment_id
    lab.tracker.update_status(name, "running")
    other = elsewhere(tmp_path)
    assert other.tracker.adopt(lab.tracker.to_document(name))
    assert other.tracker.get(name).status == "pending"


def test_an_altered_document_is_refused(
    lab: Lab, definition: ExperimentDefinition, tmp_path: Path
) -> None:
    document = lab.tracker.to_document(completed(lab, definition))
    other = elsewhere(tmp_path)
    altered = {**document, "definition": {**document["definition"], "params": {"n": 2}}}
    with pytest.raises(IntegrityError, match="altered"):
        other.tracker.adopt(altered)
    for broken, says in (
        ({}, "no experiment of a lake.*'format'"),
        ({**document, "events": 3}, "no experiment of a lake.*not iterable"),
        ({**document, "created_at": "today"}, "whole microseconds"),
    ):
        with pytest.raises(ValidationFailed, match=says):
            other.tracker.adopt(broken)
    with pytest.raises(ValidationFailed, match="upgrade"):
        other.tracker.adopt({**document, "format": 99})
    with pytest.raises(IntegrityError, match=r"code changes sha256:0000.* were altered"):
        other.tracker.adopt({**document, "patches": {f"sha256:{'0' * 64}": "evil"}})
    with pytest.raises(NotFound, match="no artifact"):
        real_lab(tmp_path / "empty").tracker.adopt(document)
    assert list(other.tracker.list()) == []


def test_an_id_may_be_shortened_to_eight_digits(lab: Lab, definition: ExperimentDefinition) -> None:
    name = lab.tracker.create(definition)[0].experiment_id
    for prefix in (name, name[:12], name[4:12], name[:12].upper().replace("EXP", "exp")):
        assert lab.tracker.resolve_id(prefix) == name
    for wrong in ("exp-123", "exp-", "../../etc", name + "0"):
        with pytest.raises(ValidationFailed, match="is no experiment id"):
            lab.tracker.resolve_id(wrong)
    with pytest.raises(NotFound, match="no experiment exp-00000000"):
        lab.tracker.resolve_id("exp-00000000")


def test_a_run_on_another_machine_counts_as_alive_until_it_is_taken_over(
    lab: Lab, definition: ExperimentDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = lab.tracker.create(definition)[0].experiment_id
    with monkeypatch.context() as patch:
        patch.setattr(tracker, "this_process", lambda: {"host": "far", "pid": 1})
        lab.tracker.update_status(name, "running")
    with lab.tracker.hold_run(name) as ours:
        assert not ours
    with lab.tracker.hold_run(name, take_over=True) as ours:
        assert ours


def test_the_changes_to_the_code_are_kept_under_their_hash(
    lab: Lab, definition: ExperimentDefinition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = lab.tracker.create(definition)[0].experiment_id
    digest = hashlib.sha256(b"diff").hexdigest()
    state = CodeState("abc", True, f"sha256:{digest}", b"diff")
    monkeypatch.setattr(tracker, "code_state", lambda: state)
    lab.tracker.update_status(name, "running", details={"git_diff_hash": f"sha256:{digest}"})
    kept = tmp_path / "manifest" / "code" / f"{digest}.patch"
    assert kept.read_bytes() == b"diff"
    other = elsewhere(tmp_path)
    lab.tracker.store_results(name, {})
    assert other.tracker.adopt(lab.tracker.to_document(name))
    assert (tmp_path / "other" / "manifest" / "code" / kept.name).read_bytes() == b"diff"


def test_files_that_git_does_not_know_are_part_of_the_diff(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=x", "-c", "user.email=x@x"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    package = tmp_path / "quantlab_assets"
    package.mkdir()
    (package / "old.py").write_text("a = 1\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "x")
    clean = state_of(tmp_path)
    assert (clean.git_dirty, clean.git_diff_hash) == (False, None)
    (package / "new.py").write_text("b = 2\n")
    (package / "old.py").write_text("a = 3\n")
    dirty = state_of(tmp_path)
    assert dirty.git_commit == clean.git_commit
    assert dirty.diff is not None
    assert b"+b = 2" in dirty.diff
    assert b"+a = 3" in dirty.diff
    assert dirty.git_diff_hash == f"sha256:{hashlib.sha256(dirty.diff).hexdigest()}"
    assert state_of(tmp_path / "nowhere") == CodeState(None, None, None)


def test_the_ledger_as_tables_of_a_projection(
    lab: Lab, definition: ExperimentDefinition, tmp_path: Path
) -> None:
    name = completed(lab, definition)
    path = tmp_path / "cache" / "experiments.duckdb"
    assert project_ledger(lab.store.database, path) == path
    first = path.stat().st_ino

    def ask(sql: str) -> list[tuple[Any, ...]]:
        connection = duckdb.connect(str(path), read_only=True)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    assert ask("SELECT experiment_id, status, stale FROM experiments") == [
        (name, "completed", False)
    ]
    assert ask("SELECT count(*) FROM experiment_inputs") == [(2,)]
    assert ask("SELECT part FROM experiment_outputs") == [("trades",)]
    assert ask("SELECT new_status FROM experiment_events ORDER BY event_id") == [
        ("pending",),
        ("running",),
        ("completed",),
    ]
    project_ledger(lab.store.database, path)
    assert path.stat().st_ino == first
    publish_candles(lab.store, RUNNER, line(1, 2))
    project_ledger(lab.store.database, path)
    assert ask("SELECT stale FROM experiments") == [(True,)]
    path.unlink()
    project_ledger(lab.store.database, path)
    assert ask("SELECT count(*) FROM experiments") == [(1,)]

"""The ledger in the manifest: what it writes, who may run an experiment, what it costs."""

import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from quantlab_assets.adapters.experiment_ledger import ExperimentLedger
from quantlab_assets.adapters.parquet_store import ParquetStore
from quantlab_assets.domain.artifact_types import TypeRegistry
from quantlab_assets.domain.errors import Conflict
from quantlab_assets.domain.experiments import ExperimentDefinition
from quantlab_assets.domain.strategy import Strategy
from quantlab_tests.handlers.experiment_lab import (
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
    with pytest.raises(Conflict):
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
    with pytest.raises(Conflict):
        lab.store.tombstone(definition.slice_artifact_ids[0], "wrong prices")

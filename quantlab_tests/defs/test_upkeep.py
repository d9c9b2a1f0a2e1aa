"""Backups, garbage reports, verification and word of replaced inputs, on a real lake."""

import json
import os
from pathlib import Path

import dagster as dg
import pytest

from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.defs.upkeep import (
    BACKUPS_KEPT,
    garbage_report,
    manifest_backup,
    newly_stale,
    outdated,
    superseded_inputs,
    verify_lake,
)
from quantlab_assets.lake import Lake, open_lake
from quantlab_tests.handlers.experiments.lab import (
    RUNNER,
    T0,
    Call,
    Lab,
    create,
    execute,
    line,
    publish_alerts,
    publish_candles,
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(tmp_path / "lake", create=True)


def run(job: dg.JobDefinition, lake: Lake) -> dg.ExecuteInProcessResult:
    resources = {"lake": LakeResource(root=str(lake.settings.lake))}
    return job.execute_in_process(resources=resources, raise_on_error=False)


def told(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    [output] = [e for e in result.all_events if e.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def test_verification_passes_a_whole_lake_and_fails_naming_the_damage(lake: Lake) -> None:
    artifact = lake.store.get_artifact(publish_alerts(lake.store, Call(RUNNER, T0)))
    assert told(run(verify_lake, lake))["files_hashed"] == 1

    path = lake.settings.artifacts_root / artifact.path
    path.chmod(0o644)
    path.write_bytes(b"x" * artifact.file_size)
    result = run(verify_lake, lake)
    [failure] = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert "1 problems; quantlab artifacts verify --repair" in str(failure.step_failure_data.error)


def test_a_garbage_report_tells_and_takes_nothing(lake: Lake) -> None:
    litter = lake.settings.artifacts_root / "alerts_v1" / "v1" / "00" / f"{'0' * 32}.parquet"
    litter.parent.mkdir(parents=True)
    litter.write_bytes(b"left by a crash")
    os.utime(litter, (0, 0))
    report = told(run(garbage_report, lake))
    assert (report["files"], report["bytes"]) == (1, 15)
    assert litter.exists()


def test_backups_are_whole_and_only_the_newest_are_kept(lake: Lake) -> None:
    publish_alerts(lake.store, Call(RUNNER, T0))
    folder = lake.settings.backups
    folder.mkdir()
    (folder / "my own notes.txt").write_text("kept")
    for day in range(1, BACKUPS_KEPT + 3):
        (folder / f"manifest-202501{day:02}T044500Z.sqlite").touch()
    report = told(run(manifest_backup, lake))
    assert report["artifacts"] == 1
    assert outdated(folder) == []
    kept = sorted(path.name for path in folder.iterdir())
    assert len(kept) == BACKUPS_KEPT + 1
    assert kept[-1] == "my own notes.txt"
    assert kept[0] == "manifest-20250104T044500Z.sqlite"
    assert Path(str(report["path"])).name == kept[-2]


def test_word_of_replaced_inputs_is_given_once_for_each_change(lake: Lake) -> None:
    publish_alerts(lake.store, Call(RUNNER, T0))
    publish_candles(lake.store, RUNNER, line(1.0, 3.0))
    lab = Lab(lake.store, lake.projections, lake.experiments.tracker)
    experiment_id = execute(lab, create(lab)).record.experiment_id
    assert newly_stale(lake.experiments.tracker, {}) == ({}, {})

    old = publish_alerts(lake.store, Call(RUNNER, T0))
    new = publish_alerts(lake.store, Call(RUNNER, T0), Call(RUNNER, T0, message=2))
    news, cursor = newly_stale(lake.experiments.tracker, {})
    assert news == {experiment_id: {old: new}}
    assert newly_stale(lake.experiments.tracker, cursor) == ({}, cursor)

    newest = publish_alerts(lake.store, Call(RUNNER, T0, message=3))
    assert newly_stale(lake.experiments.tracker, cursor)[0] == {experiment_id: {old: newest}}


def test_the_sensor_notes_it_on_the_report_and_starts_nothing(lake: Lake) -> None:
    publish_alerts(lake.store, Call(RUNNER, T0))
    publish_candles(lake.store, RUNNER, line(1.0, 3.0))
    lab = Lab(lake.store, lake.projections, lake.experiments.tracker)
    experiment_id = execute(lab, create(lab)).record.experiment_id
    publish_alerts(lake.store, Call(RUNNER, T0, message=2))
    resources = {"lake": LakeResource(root=str(lake.settings.lake))}
    with dg.build_sensor_context(resources=resources) as context:
        first = superseded_inputs(context)
    assert isinstance(first, dg.SensorResult)
    [observation] = first.asset_events
    assert observation.partition == experiment_id
    assert f"quantlab experiments rerun {experiment_id}" in str(observation.description)
    assert not first.run_requests
    with dg.build_sensor_context(resources=resources, cursor=first.cursor) as context:
        second = superseded_inputs(context)
    assert isinstance(second, dg.SensorResult)
    assert second.asset_events == []
    assert json.loads(second.cursor or "").keys() == {experiment_id}

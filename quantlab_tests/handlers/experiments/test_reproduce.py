"""Reproducing: each verdict, and that nothing is left behind."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quantlab_assets.domain.errors import Conflict, ValidationFailed
from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_assets.handlers.experiments import reproduce as module
from quantlab_assets.handlers.experiments.reproduce import first_difference, reproduce_experiment
from quantlab_assets.handlers.experiments.rerun import rerun_experiment
from quantlab_assets.simulation import SimulationResult, engine_version, simulate
from quantlab_tests.handlers.experiments.lab import (
    DUD,
    RUNNER,
    T0,
    Call,
    Lab,
    create,
    execute,
    line,
    one_win_one_loss,
    publish_alerts,
    publish_candles,
    real_lab,
)


@pytest.fixture
def lab(each_lab: Lab) -> Lab:
    return each_lab


def done(lab: Lab) -> str:
    one_win_one_loss(lab)
    return execute(lab, create(lab)).record.experiment_id


def ten_percent_richer(
    alerts: pl.DataFrame, candles: pl.DataFrame, strategy: Strategy
) -> SimulationResult:
    result = simulate(alerts, candles, strategy)
    return replace(result, trades=result.trades.with_columns(pl.col("net_pnl") * 1.1))


def test_the_same_inputs_and_engine_give_the_same_bytes(lab: Lab) -> None:
    name = done(lab)
    before = [a.artifact_id for a in lab.store.list_artifacts().artifacts]
    events = len(lab.tracker.events(name))
    again = reproduce_experiment(lab.store, lab.tracker, name)
    assert (again.verdict, again.exit_code) == ("IDENTICAL", 0)
    assert [part.part for part in again.parts] == ["trades", "metrics", "curves", "diagnostics"]
    assert all(part.identical for part in again.parts)
    assert again.notes == ()
    assert [a.artifact_id for a in lab.store.list_artifacts().artifacts] == before
    assert len(lab.tracker.events(name)) == events
    assert list(lab.projections.list()) == []


def test_another_result_names_the_first_row_and_column_that_differ(lab: Lab) -> None:
    again = reproduce_experiment(lab.store, lab.tracker, done(lab), simulate=ten_percent_richer)
    assert (again.verdict, again.exit_code) == ("DRIFTED", 1)
    difference = again.difference
    assert difference is not None
    assert (difference.part, difference.row, difference.column) == ("trades", 0, "net_pnl")
    assert difference.reproduced == pytest.approx(difference.recorded * 1.1)
    assert "net_pnl" in again.message


def test_an_edited_engine_is_told_from_a_drift(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    name = done(lab)
    monkeypatch.setattr(module, "engine_version", lambda: "0.1.0+fedcba9876543210")
    again = reproduce_experiment(lab.store, lab.tracker, name)
    assert (again.verdict, again.exit_code) == ("ENGINE-DIFFERS", 1)
    assert "fedcba987654" in again.message
    assert "the same result" in again.message
    other = reproduce_experiment(lab.store, lab.tracker, name, simulate=ten_percent_richer)
    assert other.verdict == "ENGINE-DIFFERS"
    assert other.difference is not None


@pytest.mark.parametrize("damage", ["one bit", "a byte short", "gone"])
def test_a_damaged_or_lost_input_is_named(tmp_path: Path, damage: str) -> None:
    lab = real_lab(tmp_path)
    _, runner, _ = one_win_one_loss(lab)
    name = execute(lab, create(lab)).record.experiment_id
    path = tmp_path / "artifacts" / lab.store.get_artifact(runner).path
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "a byte short" else content)
    again = reproduce_experiment(lab.store, lab.tracker, name)
    if damage == "gone":
        assert (again.verdict, again.exit_code) == ("INPUT-MISSING", 3)
        assert again.missing_inputs == (runner,)
    else:
        assert (again.verdict, again.exit_code) == ("INPUT-CORRUPT", 4)
        assert again.corrupt_inputs == (runner,)
    assert runner in again.message


def test_a_row_of_the_manifest_that_was_altered_is_a_corrupt_input(tmp_path: Path) -> None:
    lab = real_lab(tmp_path)
    _, runner, _ = one_win_one_loss(lab)
    name = execute(lab, create(lab)).record.experiment_id
    with lab.store.database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE artifacts SET content_hash = ? WHERE artifact_id = ?",
            (f"sha256:{'0' * 64}", runner),
        )
    again = reproduce_experiment(lab.store, lab.tracker, name)
    assert (again.verdict, again.corrupt_inputs) == ("INPUT-CORRUPT", (runner,))


def test_a_damaged_result_on_record_is_noted(tmp_path: Path) -> None:
    lab = real_lab(tmp_path)
    name = done(lab)
    trades = lab.store.get_artifact(lab.tracker.get(name).outputs["trades"])
    (tmp_path / "artifacts" / trades.path).unlink()
    again = reproduce_experiment(lab.store, lab.tracker, name)
    assert again.verdict == "IDENTICAL"
    assert "the stored trades cannot be read" in again.notes[0]


def test_superseded_inputs_are_used_as_frozen_and_noted(lab: Lab) -> None:
    name = done(lab)
    publish_candles(lab.store, RUNNER, line(1, 1.1))
    again = reproduce_experiment(lab.store, lab.tracker, name)
    assert again.verdict == "IDENTICAL"
    assert "1 inputs have been superseded" in again.notes[0]


def test_what_was_not_completed_cannot_be_reproduced(lab: Lab) -> None:
    one_win_one_loss(lab)
    with pytest.raises(Conflict, match="execute it first"):
        reproduce_experiment(lab.store, lab.tracker, create(lab).experiment_id)


def frame(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame(columns)


def test_the_first_difference_goes_by_row_then_by_column() -> None:
    recorded = frame(a=[1, 2, 3], b=["x", None, "z"], c=[1.0, float("nan"), 0.0])
    same = frame(a=[1, 2, 3], b=["x", None, "z"], c=[1.0, float("nan"), -0.0])
    assert first_difference("trades", recorded, same) is None
    other = frame(a=[1, 2, 9], b=["x", "y", "z"], c=[1.0, 2.0, 0.0])
    found = first_difference("trades", recorded, other)
    assert found is not None
    assert (found.row, found.column, found.recorded, found.reproduced) == (1, "b", None, "y")
    shorter = first_difference("trades", recorded, same.head(2))
    assert shorter is not None
    assert (shorter.row, shorter.column) == (2, None)
    assert str(shorter) == "trades has 2 rows, not 3"


def test_a_rerun_is_a_child_on_what_took_the_inputs_places(lab: Lab) -> None:
    alerts, runner, dud = one_win_one_loss(lab)
    parent = execute(lab, create(lab)).record
    assert not parent.stale
    better = publish_candles(lab.store, RUNNER, line(1, 1.1))
    assert lab.tracker.get(parent.experiment_id).stale

    child = rerun_experiment(
        lab.store, lab.tracker, parent.experiment_id, engine_version=engine_version()
    )
    assert child.created
    assert child.replaced == {runner: better}
    assert child.record.parent_id == parent.experiment_id
    assert child.record.definition.alert_artifact_ids == (alerts,)
    assert set(child.record.definition.slice_artifact_ids) == {better, dud}
    assert not child.record.stale
    assert lab.tracker.get(parent.experiment_id).outputs == parent.outputs


def test_a_rerun_without_any_change_makes_nothing(lab: Lab) -> None:
    name = done(lab)
    again = rerun_experiment(lab.store, lab.tracker, name, engine_version=engine_version())
    assert again.unchanged
    assert again.record.experiment_id == name


def test_a_rerun_for_another_engine_is_a_child(lab: Lab) -> None:
    name = done(lab)
    child = rerun_experiment(lab.store, lab.tracker, name, engine_version="9+abc")
    assert (child.created, child.engine_changed) == (True, True)
    assert child.record.definition.engine_version == "9+abc"
    assert child.record.parent_id == name


def test_a_rerun_can_choose_its_inputs_anew(lab: Lab) -> None:
    name = done(lab)
    more = publish_alerts(lab.store, Call(DUD, T0, message=7), day="2025-11-08")
    child = rerun_experiment(
        lab.store, lab.tracker, name, engine_version=engine_version(), reselect=True
    )
    assert more in child.record.definition.alert_artifact_ids
    with pytest.raises(ValidationFailed, match="choose anew with --reselect"):
        rerun_experiment(
            _Nothing(lab.store), _Gone(lab.tracker), name, engine_version=engine_version()
        )


class _Nothing:
    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _Gone(_Nothing):
    """A ledger in which nothing took the place of any input."""

    def superseded_inputs(self, experiment_id: str) -> dict[str, None]:
        return dict.fromkeys(self._store.get(experiment_id).definition.input_ids)


def test_what_replaced_an_input_is_found_through_a_chain(lab: Lab) -> None:
    _, runner, dud = one_win_one_loss(lab)
    name = create(lab).experiment_id
    publish_candles(lab.store, RUNNER, line(1, 1.1))
    last = publish_candles(lab.store, RUNNER, line(1, 1.2))
    wider = publish_candles(lab.store, DUD, line(1, 0.1, 90))
    lab.store.supersede(wider, dud)
    assert lab.tracker.superseded_inputs(name) == {runner: last, dud: wider}

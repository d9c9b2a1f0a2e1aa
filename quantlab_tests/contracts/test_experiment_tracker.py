"""What every `ExperimentTracker` does, in memory or in the manifest database."""

from datetime import UTC, datetime
from typing import Any

import pytest

from quantlab_assets.domain.errors import Conflict, NotFound
from quantlab_assets.domain.experiments.records import (
    TRANSITIONS,
    AlertFilters,
    ExperimentDefinition,
    ExperimentFilter,
    ExperimentStatus,
)
from quantlab_assets.domain.experiments.strategy import (
    Costs,
    Entry,
    Exit,
    Strategy,
    TakeProfit,
    Trailing,
)
from quantlab_tests.handlers.experiments.lab import (
    DUD,
    RUNNER,
    T0,
    Call,
    Lab,
    line,
    publish_alerts,
    publish_candles,
)

ROADS: dict[ExperimentStatus, tuple[ExperimentStatus, ...]] = {
    "pending": (),
    "running": ("running",),
    "completed": ("running", "completed"),
    "failed": ("running", "failed"),
    "cancelled": ("cancelled",),
}
"""How an experiment comes to each status."""


@pytest.fixture
def lab(each_lab: Lab) -> Lab:
    return each_lab


@pytest.fixture
def alerts(lab: Lab) -> str:
    return publish_alerts(lab.store, Call(RUNNER, T0))


@pytest.fixture
def slices(lab: Lab) -> tuple[str, str]:
    return (
        publish_candles(lab.store, RUNNER, line(1, 3)),
        publish_candles(lab.store, DUD, line(1, 0.1)),
    )


def definition(alerts: str, slices: tuple[str, ...], **changes: Any) -> ExperimentDefinition:
    values: dict[str, Any] = {
        "name": "first",
        "alert_artifact_ids": (alerts,),
        "slice_artifact_ids": slices,
        "strategy": Strategy(),
        "engine_version": "1+abc",
        **changes,
    }
    return ExperimentDefinition(**values)


def test_a_new_experiment_is_pending_and_says_everything_it_froze(
    lab: Lab, alerts: str, slices: tuple[str, str]
) -> None:
    asked = definition(
        alerts,
        tuple(sorted(slices)),
        strategy=Strategy(
            entry=Entry(mode="limit_dip", dip_pct=0.1, delay_s=5),
            exit=Exit(
                stop_loss_pct=0.3,
                take_profits=(TakeProfit(gain_pct=1.0, fraction=0.5),),
                trailing=Trailing(activation_pct=0.5, distance_pct=0.2),
            ),
            costs=Costs(fee_bps=0.0),
            seed=7,
        ),
        filters=AlertFilters(
            start=datetime(2025, 11, 7, tzinfo=UTC),
            end=datetime(2025, 11, 8, 1, 2, 3, 456789, tzinfo=UTC),
            caller_name_norm="bob",
            chain="solana",
            first_call_only=True,
        ),
        params={"note": "ü", "n": 1.5, "list": [1, None, True]},
        min_coverage=0.8,
    )
    record, created = lab.tracker.create(asked)
    assert created
    assert record.status == "pending"
    assert record.definition == asked
    assert record.experiment_id == asked.experiment_id == record.definition.experiment_id
    assert lab.tracker.get(record.experiment_id) == record
    assert (record.started_at, record.completed_at, record.error) == (None, None, None)
    assert record.outputs == {}


def test_the_same_experiment_is_recorded_once_whatever_its_name(
    lab: Lab, alerts: str, slices: tuple[str, str]
) -> None:
    first, _ = lab.tracker.create(definition(alerts, slices))
    again, created = lab.tracker.create(definition(alerts, slices[::-1], name="second"))
    assert not created
    assert again == first
    assert len(lab.tracker.list()) == 1


def test_inputs_must_exist(lab: Lab, alerts: str) -> None:
    with pytest.raises(NotFound, match="no artifact '0000"):
        lab.tracker.create(definition(alerts, ("0" * 32,)))
    assert list(lab.tracker.list()) == []


def test_an_unknown_experiment_is_not_found(lab: Lab) -> None:
    unknown = "exp-0123456789abcdef"
    with pytest.raises(NotFound, match=f"no experiment {unknown}"):
        lab.tracker.get(unknown)
    with pytest.raises(NotFound, match=f"no experiment {unknown}"):
        lab.tracker.update_status(unknown, "running")
    with pytest.raises(NotFound, match=f"no experiment {unknown}"):
        lab.tracker.store_results(unknown, {})


@pytest.mark.parametrize("old", list(ROADS))
def test_only_allowed_transitions_happen(
    lab: Lab, alerts: str, slices: tuple[str, str], old: ExperimentStatus
) -> None:
    for new in ROADS:
        record, _ = lab.tracker.create(definition(alerts, slices, params={"new": new}))
        for step in ROADS[old]:
            lab.tracker.update_status(record.experiment_id, step)
        if new in TRANSITIONS[old]:
            assert lab.tracker.update_status(record.experiment_id, new).status == new
        else:
            with pytest.raises(Conflict, match=f"and cannot become {new}"):
                lab.tracker.update_status(record.experiment_id, new)
            assert lab.tracker.get(record.experiment_id).status == old


def test_a_failure_keeps_its_error_until_the_experiment_runs_again(
    lab: Lab, alerts: str, slices: tuple[str, str]
) -> None:
    experiment_id = lab.tracker.create(definition(alerts, slices))[0].experiment_id
    started = lab.tracker.update_status(experiment_id, "running")
    assert started.started_at is not None
    failed = lab.tracker.update_status(experiment_id, "failed", error="broke\nhere")
    assert (failed.error, failed.completed_at) == ("broke\nhere", None)
    assert lab.tracker.update_status(experiment_id, "running").error is None


def test_results_complete_a_running_experiment(
    lab: Lab, alerts: str, slices: tuple[str, str]
) -> None:
    experiment_id = lab.tracker.create(definition(alerts, slices))[0].experiment_id
    outputs = {"trades": alerts, "metrics": slices[0]}
    with pytest.raises(Conflict, match="is pending and cannot become completed"):
        lab.tracker.store_results(experiment_id, outputs)
    lab.tracker.update_status(experiment_id, "running")
    record = lab.tracker.store_results(experiment_id, outputs)
    assert (record.status, record.outputs) == ("completed", outputs)
    assert record.completed_at is not None
    assert record.started_at is not None
    assert record.completed_at >= record.started_at


def test_results_must_exist(lab: Lab, alerts: str, slices: tuple[str, str]) -> None:
    experiment_id = lab.tracker.create(definition(alerts, slices))[0].experiment_id
    lab.tracker.update_status(experiment_id, "running")
    with pytest.raises(NotFound, match="no artifact '0000"):
        lab.tracker.store_results(experiment_id, {"trades": "0" * 32})
    assert lab.tracker.get(experiment_id).status == "running"


def test_lists_are_newest_first_and_filter(lab: Lab, alerts: str, slices: tuple[str, str]) -> None:
    ids = [
        lab.tracker.create(definition(alerts, slices, name=name, params={"n": name}))[0]
        for name in ("a", "b", "a2")
    ]
    lab.tracker.update_status(ids[1].experiment_id, "running")

    def names(**where: Any) -> list[str]:
        return [r.definition.name for r in lab.tracker.list(ExperimentFilter(**where))]

    assert names() == ["a2", "b", "a"]
    assert names(status="running") == ["b"]
    assert names(name="a") == ["a"]
    assert names(created_from=ids[1].created_at) == ["a2", "b"]
    assert names(created_to=ids[1].created_at) == ["b", "a"]


def test_experiments_are_found_by_what_they_froze(
    lab: Lab, alerts: str, slices: tuple[str, str]
) -> None:
    one, two = slices
    small = lab.tracker.create(definition(alerts, (one,), name="small"))[0].experiment_id
    large = lab.tracker.create(definition(alerts, (one, two), name="large"))[0].experiment_id

    def found(ids: list[str], match: Any) -> list[str]:
        return [r.experiment_id for r in lab.tracker.find_by_input_artifacts(ids, match=match)]

    assert found([alerts], "any") == [large, small]
    assert found([two], "any") == [large]
    assert found([two, "0" * 32], "any") == [large]
    assert found([one, two, two], "all") == [large]
    assert found([alerts, one], "all") == [large, small]
    assert found([two, "0" * 32], "all") == []
    assert found([], "any") == found([], "all") == []

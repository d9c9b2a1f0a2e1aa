"""Creating an experiment: what is selected, what is frozen, what is refused."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from quantlab_assets.domain.artifacts.records import ArtifactFilter
from quantlab_assets.domain.errors import Conflict, NotFound, ValidationFailed
from quantlab_assets.domain.experiments.records import AlertFilters, ExperimentRecord
from quantlab_assets.domain.experiments.strategy import Entry, Exit
from quantlab_assets.domain.slices.key import SliceKey
from quantlab_assets.domain.tokens.token import Token
from quantlab_assets.handlers.experiments.create import create_experiment
from quantlab_tests.handlers.experiments.lab import (
    DOUBLE_OR_NOTHING,
    DUD,
    EVM,
    MINUTE,
    RUNNER,
    T0,
    Call,
    Lab,
    candle_request,
    line,
    memory_lab,
    publish_alerts,
    publish_candles,
    real_lab,
)

DAY = timedelta(days=1)


@pytest.fixture
def lab() -> Lab:
    return memory_lab()


def create(lab: Lab, **changes: Any) -> ExperimentRecord:
    return created(lab, **changes)[0]


def created(lab: Lab, **changes: Any) -> tuple[ExperimentRecord, bool]:
    asked: dict[str, Any] = {
        "name": "test",
        "strategy": DOUBLE_OR_NOTHING,
        "alerts": "all",
        "slices": "auto",
        "engine_version": "1+abc",
        **changes,
    }
    return create_experiment(lab.store, lab.tracker, **asked)


def test_all_and_auto_freeze_every_alert_and_the_slices_of_their_tokens(lab: Lab) -> None:
    alerts = publish_alerts(lab.store, Call(RUNNER, T0))
    mine = publish_candles(lab.store, RUNNER, line(1, 3))
    publish_candles(lab.store, DUD, line(1, 3))
    record = create(lab)
    assert record.status == "pending"
    assert record.definition.alert_artifact_ids == (alerts,)
    assert record.definition.slice_artifact_ids == (mine,)


def test_a_date_range_takes_the_artifacts_that_meet_it(lab: Lab) -> None:
    days = [publish_alerts(lab.store, Call(RUNNER, T0 + n * DAY, message=n + 1)) for n in range(3)]
    publish_candles(lab.store, RUNNER, line(1, 3), start=T0 + 2 * DAY)
    within = create(lab, filters=AlertFilters(start=T0 + DAY, end=T0 + DAY + MINUTE))
    assert within.definition.alert_artifact_ids == (days[1],)
    assert set(create(lab).definition.alert_artifact_ids) == set(days)
    edge = create(lab, filters=AlertFilters(start=T0 + 2 * DAY, end=T0 + 2 * DAY))
    assert edge.definition.alert_artifact_ids == (days[2],)


def test_nothing_is_capped_and_files_freeze_what_memory_does(tmp_path: Path) -> None:
    requests = [candle_request(RUNNER, [1.0], start=T0 + n * MINUTE) for n in range(150)]
    records = []
    for lab in (memory_lab(), real_lab(tmp_path)):
        publish_alerts(lab.store, Call(RUNNER, T0))
        lab.store.publish_many(requests)
        records.append(create(lab))
        assert lab.tracker.get(records[-1].experiment_id) == records[-1]
    assert records[0].definition == records[1].definition
    assert len(records[0].definition.slice_artifact_ids) == 150


def test_auto_takes_only_slices_of_the_call_and_what_a_trade_could_see(lab: Lab) -> None:
    publish_alerts(lab.store, Call(RUNNER, T0, known_after=30 * MINUTE))
    publish_candles(lab.store, RUNNER, line(1, 3, 30), start=T0 - 30 * MINUTE)
    called = publish_candles(lab.store, RUNNER, line(1, 3, 30), start=T0)  # tells its network
    across = publish_candles(lab.store, RUNNER, line(1, 3, 31), start=T0)
    late = publish_candles(lab.store, RUNNER, line(1, 3), start=T0 + 30 * MINUTE + 150 * MINUTE)
    beyond = publish_candles(lab.store, RUNNER, line(1, 3), start=T0 + 30 * MINUTE + 151 * MINUTE)

    open_ended = create(lab)
    assert set(open_ended.definition.slice_artifact_ids) == {called, across, late, beyond}
    held = DOUBLE_OR_NOTHING.model_copy(
        update={
            "entry": Entry(delay_s=1800, max_wait_s=3600),
            "exit": Exit(max_hold_s=3600),
        }
    )
    limited = create(lab, strategy=held)
    assert set(limited.definition.slice_artifact_ids) == {called, across, late}


def test_auto_takes_the_network_that_each_call_takes(lab: Lab) -> None:
    publish_alerts(lab.store, Call(EVM, T0, network="bsc"))
    bsc = publish_candles(lab.store, EVM, line(1, 3), network="bsc")
    publish_candles(lab.store, EVM, line(1, 3), network="base")
    unknown = publish_candles(lab.store, EVM, line(1, 3))
    assert set(create(lab).definition.slice_artifact_ids) == {bsc}
    publish_alerts(
        lab.store, Call(EVM, T0, network="bsc"), Call(EVM, T0, network="blast", message=2)
    )
    assert set(create(lab).definition.slice_artifact_ids) == {bsc, unknown}


def test_auto_judges_networks_by_the_slices_that_calls_can_see(lab: Lab) -> None:
    publish_alerts(lab.store, Call(EVM, T0, network="bsc"))
    publish_candles(lab.store, EVM, line(1, 3), network="bsc", start=T0 - DAY)
    unknown = publish_candles(lab.store, EVM, line(1, 3))
    assert set(create(lab).definition.slice_artifact_ids) == {unknown}


def test_auto_takes_every_network_of_a_call_that_names_none(lab: Lab) -> None:
    publish_alerts(lab.store, Call(EVM, T0))
    bsc = publish_candles(lab.store, EVM, line(1, 3), network="bsc")
    base = publish_candles(lab.store, EVM, line(1, 3), network="base")
    assert set(create(lab).definition.slice_artifact_ids) == {bsc, base}


def test_filters_decide_which_tokens_need_slices(lab: Lab) -> None:
    publish_alerts(lab.store, Call(RUNNER, T0), Call(DUD, T0, caller="eve", message=2))
    publish_candles(lab.store, RUNNER, line(1, 3))
    dud = publish_candles(lab.store, DUD, line(1, 3))
    record = create(lab, filters=AlertFilters(caller_name_norm="eve"))
    assert record.definition.slice_artifact_ids == (dud,)


def test_superseded_artifacts_are_not_selected_but_may_be_named(lab: Lab) -> None:
    alerts = publish_alerts(lab.store, Call(RUNNER, T0))
    old = publish_candles(lab.store, RUNNER, line(1, 3))
    new = publish_candles(lab.store, RUNNER, line(1, 4))
    assert create(lab).definition.slice_artifact_ids == (new,)
    named = create(lab, alerts=[alerts], slices=[old, old])
    assert named.definition.slice_artifact_ids == (old,)


def test_the_same_experiment_is_created_once(lab: Lab) -> None:
    publish_alerts(lab.store, Call(RUNNER, T0))
    publish_candles(lab.store, RUNNER, line(1, 3))
    first, new = created(lab, name="one")
    again, new_again = created(lab, name="two")
    assert (new, new_again) == (True, False)
    assert again == first
    (artifact,) = lab.store.list_artifacts(ArtifactFilter("experiment_definition")).artifacts
    assert len(lab.store.get_publications(artifact.artifact_id)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": DOUBLE_OR_NOTHING.model_copy(update={"seed": 1})},
        {"filters": AlertFilters(first_call_only=True)},
        {"params": {"note": 1}},
        {"min_coverage": 0.5},
        {"engine_version": "2+abc"},
    ],
)
def test_whatever_decides_the_result_decides_the_id(lab: Lab, change: dict[str, Any]) -> None:
    publish_alerts(lab.store, Call(RUNNER, T0))
    publish_candles(lab.store, RUNNER, line(1, 3))
    assert create(lab).experiment_id != create(lab, **change).experiment_id


def test_one_moment_has_one_spelling(lab: Lab) -> None:
    publish_alerts(lab.store, Call(RUNNER, T0))
    publish_candles(lab.store, RUNNER, line(1, 3))
    in_sydney = T0.astimezone(timezone(timedelta(hours=11)))
    utc = create(lab, filters=AlertFilters(start=T0))
    assert create(lab, filters=AlertFilters(start=in_sydney)) == utc


def test_the_definition_is_an_artifact_made_from_the_inputs(lab: Lab) -> None:
    alerts = publish_alerts(lab.store, Call(RUNNER, T0))
    candles = publish_candles(lab.store, RUNNER, line(1, 3))
    record = create(lab, params={"note": "ü"})
    (artifact,) = lab.store.list_artifacts(ArtifactFilter("experiment_definition")).artifacts
    assert artifact.logical_key == f"experiment={record.experiment_id}/definition"
    (row,) = lab.store.open(artifact.artifact_id).to_table().to_pylist()
    assert json.loads(row["definition_json"]) == record.definition.canonical()
    lineage = lab.store.get_lineage(artifact.artifact_id)
    assert {edge.input_id for edge in lineage.edges} == {alerts, candles}


def test_empty_selections_are_refused_with_what_to_do(lab: Lab) -> None:
    with pytest.raises(ValidationFailed, match="ingest"):
        create(lab)
    alerts = publish_alerts(lab.store, Call(RUNNER, T0))
    with pytest.raises(ValidationFailed, match="export slices"):
        create(lab)
    slices = publish_candles(lab.store, RUNNER, line(1, 3))
    for change, says in (
        ({"filters": AlertFilters(start=T0 + DAY)}, "no alerts in the filters' range"),
        ({"filters": AlertFilters(caller_name_norm="nobody")}, "no alert passes the filters"),
        ({"alerts": []}, "no alerts are named"),
        ({"slices": []}, "no slices are named"),
        (
            {"alerts": [alerts], "slices": [slices], "filters": AlertFilters(chain="evm")},
            "no alert passes the filters",
        ),
    ):
        with pytest.raises(ValidationFailed, match=says):
            create(lab, **change)
    assert list(lab.tracker.list()) == []


def test_named_inputs_must_exist_be_of_their_type_and_not_be_tombstoned(lab: Lab) -> None:
    alerts = publish_alerts(lab.store, Call(RUNNER, T0))
    slices = publish_candles(lab.store, RUNNER, line(1, 3))
    with pytest.raises(NotFound, match="0" * 32):
        create(lab, alerts=["0" * 32])
    with pytest.raises(ValidationFailed, match=slices):
        create(lab, alerts=[alerts, slices])
    with pytest.raises(ValidationFailed, match=alerts):
        create(lab, slices=[slices, alerts])
    lab.store.tombstone(slices, "wrong prices")
    with pytest.raises(Conflict, match=slices):
        create(lab, slices=[slices])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": ""}, "experiment name ''"),
        ({"name": "a\nb"}, "printable characters"),
        ({"name": "x" * 201}, "use 1 to 200"),
        ({"min_coverage": 1.5}, "min_coverage is a fraction from 0 to 1, not 1.5"),
        ({"min_coverage": -0.1}, "min_coverage is a fraction from 0 to 1, not -0.1"),
        ({"min_coverage": float("nan")}, "min_coverage is a fraction from 0 to 1, not nan"),
        ({"filters": AlertFilters(start=datetime(2025, 11, 7))}, "has no time zone"),
        ({"filters": AlertFilters(start=T0, end=T0 - MINUTE)}, "start .* after they end"),
        ({"filters": AlertFilters(chain="bsc")}, "chain 'bsc': filter by"),
        ({"params": {"x": float("inf")}}, "params are no plain JSON"),
        ({"params": {"x": object()}}, "params are no plain JSON"),
        ({"params": {"x": 2**60}}, "params are no plain JSON"),
    ],
)
def test_nonsense_is_refused(lab: Lab, change: dict[str, Any], says: str) -> None:
    publish_alerts(lab.store, Call(RUNNER, T0))
    publish_candles(lab.store, RUNNER, line(1, 3))
    with pytest.raises(ValidationFailed, match=says):
        create(lab, **change)
    assert list(lab.tracker.list()) == []


def test_a_creation_killed_before_it_was_recorded_is_completed_by_the_next(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_alerts(lab.store, Call(RUNNER, T0))
    publish_candles(lab.store, RUNNER, line(1, 3))

    def die(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lab.tracker, "create", die)
        with pytest.raises(KeyboardInterrupt):
            create(lab)
    record, new = created(lab)
    assert new
    assert replace(record.definition, name="x").experiment_id == record.experiment_id
    assert record.created_at.tzinfo == UTC


def test_twenty_thousand_slices_are_selected_without_a_cap(lab: Lab) -> None:
    """Their rows are not read, so that one artifact's record can stand for each of them."""
    publish_alerts(lab.store, Call(RUNNER, T0))
    one = lab.store.get_artifact(publish_candles(lab.store, RUNNER, line(1, 3)))
    many = {}
    for n in range(20_000):
        key = SliceKey(
            Token("solana", RUNNER, None), 60, T0, T0 + DAY + timedelta(seconds=n)
        ).format()
        many[f"{n:032x}"] = replace(one, artifact_id=f"{n:032x}", logical_key=key)
    lab.store._state.artifacts.update(many)
    frozen = create(lab).definition.slice_artifact_ids
    assert set(many) < set(frozen)
    assert len(frozen) == 20_001

"""Executing an experiment: what is computed, what is published, and what happens when it breaks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quantlab_assets.domain.artifacts.records import ArtifactFilter
from quantlab_assets.domain.errors import (
    Conflict,
    IntegrityError,
    NotFound,
    ValidationFailed,
)
from quantlab_assets.domain.experiments.records import AlertFilters
from quantlab_assets.domain.experiments.strategy import Exit
from quantlab_assets.handlers.experiments.dead_runs import settle_dead_runs
from quantlab_assets.handlers.experiments.execute import (
    RESULT_TYPES,
    ExecutedExperiment,
    execute_experiment,
    projection_of,
)
from quantlab_assets.simulation import engine_version
from quantlab_tests.handlers.experiments.lab import (
    DOUBLE_OR_NOTHING,
    DUD,
    EVM,
    MINUTE,
    PROVENANCE,
    RUNNER,
    T0,
    Call,
    Lab,
    create,
    execute,
    line,
    memory_lab,
    one_win_one_loss,
    publish_alerts,
    publish_candles,
    real_lab,
)


@pytest.fixture
def lab() -> Lab:
    return memory_lab()


def output(lab: Lab, executed: ExecutedExperiment, part: str) -> pl.DataFrame:
    table = lab.store.open(executed.record.outputs[part]).to_table()
    return pl.DataFrame(pl.from_arrow(table))


def ambiguous(lab: Lab) -> None:
    publish_candles(lab.store, EVM, line(1, 3), network="bsc")
    publish_candles(lab.store, EVM, line(1, 0.1), network="base")


def test_an_experiment_is_simulated_and_its_four_results_published(each_lab: Lab) -> None:
    lab = each_lab
    inputs = one_win_one_loss(lab)
    executed = execute(lab, create(lab))

    assert executed.record.status == "completed"
    assert not executed.already_completed
    assert not executed.stale
    assert set(executed.results) == set(executed.record.outputs) == set(RESULT_TYPES)
    trades = output(lab, executed, "trades")
    assert dict(trades.select("mint", "exit_reason").iter_rows()) == {
        RUNNER: "take_profit",
        DUD: "stop_loss",
    }
    totals = output(lab, executed, "metrics").filter(
        (pl.col("scope") == "all") & (pl.col("metric_name") == "total_trades")
    )
    assert totals["metric_value"].to_list() == [2.0]
    assert output(lab, executed, "curves").height > 0
    assert output(lab, executed, "diagnostics").height == 0
    for part, result in executed.results.items():
        key = f"experiment={executed.record.experiment_id}/{part}"
        assert result.artifact.logical_key == key
        lineage = lab.store.get_lineage(result.artifact_id)
        assert {edge.input_id for edge in lineage.edges} == set(inputs)
        assert {edge.role for edge in lineage.edges} == {"loaded"}


def test_the_run_is_on_record(lab: Lab) -> None:
    one_win_one_loss(lab)
    record = create(lab, params={"note": "x"})
    executed = execute(lab, record)
    (publication,) = lab.store.get_publications(executed.record.outputs["trades"])
    params = publication.provenance.params
    assert params["experiment_id"] == record.experiment_id
    assert params["engine_version"] == engine_version()
    assert params["seed"] == record.definition.seed
    assert params["params"] == {"note": "x"}
    assert params["inputs"]["artifacts"] == 3
    assert params["inputs"]["content_digest"].startswith("sha256:")

    begun, ended = lab.tracker.events(record.experiment_id)[1:]
    assert begun.details["seed"] == record.definition.seed
    assert {"host", "pid", "git_commit", "git_diff_hash", "environment"} <= begun.details.keys()
    assert ended.details["inputs"] == params["inputs"]


def test_every_stage_is_announced(lab: Lab) -> None:
    one_win_one_loss(lab)
    stages: list[str] = []
    execute(lab, create(lab), on_progress=stages.append)
    assert stages == ["check inputs", "read inputs", "simulate", "publish results", "done"]


def test_a_completed_experiment_is_not_run_again(each_lab: Lab) -> None:
    lab = each_lab
    one_win_one_loss(lab)
    record = create(lab)
    first = execute(lab, record)
    stages: list[str] = []
    again = execute(lab, record, on_progress=stages.append)
    assert again.already_completed
    assert again.record == first.record
    assert {part: r.artifact for part, r in again.results.items()} == {
        part: r.artifact for part, r in first.results.items()
    }
    assert stages == []


def test_memory_and_files_compute_the_same_bytes(tmp_path: Path) -> None:
    hashes = []
    for lab in (memory_lab(), real_lab(tmp_path)):
        one_win_one_loss(lab)
        executed = execute(lab, create(lab))
        hashes.append({p: r.artifact.content_hash for p, r in executed.results.items()})
    assert hashes[0] == hashes[1]


def test_the_projection_is_disposed_of_unless_kept(each_lab: Lab) -> None:
    lab = each_lab
    one_win_one_loss(lab)
    executed = execute(lab, create(lab))
    assert executed.projection_id is None
    assert list(lab.projections.list()) == []

    kept = execute(lab, create(lab, params={"second": True}), keep_projection=True)
    assert kept.projection_id == projection_of(kept.record.experiment_id)
    with lab.projections.connect(kept.projection_id) as connection:
        assert connection.execute("SELECT count(*) FROM ohlcv_slices").fetchall() == [(120,)]


def test_filters_choose_the_calls(lab: Lab) -> None:
    publish_alerts(
        lab.store,
        Call(RUNNER, T0, caller="bob"),
        Call(RUNNER, T0 + 5 * MINUTE, caller="eve", message=2),
        Call(DUD, T0 + 10 * MINUTE, caller="eve", message=3),
        Call(DUD, T0 + 20 * MINUTE, caller="eve", message=4),
    )
    publish_candles(lab.store, RUNNER, line(1, 3))
    publish_candles(lab.store, DUD, line(1, 0.1))

    def traded(filters: AlertFilters) -> list[int]:
        executed = execute(lab, create(lab, filters=filters))
        seen = output(lab, executed, "trades")["alert_id"].to_list()
        return sorted(int(alert_id.split(":")[1]) for alert_id in seen)

    assert traded(AlertFilters()) == [1, 2, 3, 4]
    assert traded(AlertFilters(start=T0 + 5 * MINUTE, end=T0 + 10 * MINUTE)) == [2, 3]
    assert traded(AlertFilters(caller_name_norm="eve")) == [2, 3, 4]
    assert traded(AlertFilters(first_call_only=True)) == [1, 3]
    assert traded(AlertFilters(caller_name_norm="eve", first_call_only=True)) == [2, 3]
    assert traded(AlertFilters(chain="solana")) == [1, 2, 3, 4]


def test_an_alert_in_two_artifacts_trades_once(lab: Lab) -> None:
    old = publish_alerts(lab.store, Call(RUNNER, T0))
    new = publish_alerts(lab.store, Call(RUNNER, T0), Call(RUNNER, T0, message=2))
    publish_candles(lab.store, RUNNER, line(1, 3))
    executed = execute(lab, create(lab, alerts=[old, new]))
    assert output(lab, executed, "trades").height == 2


def test_a_call_without_candles_is_explained(lab: Lab) -> None:
    publish_alerts(lab.store, Call(RUNNER, T0), Call(DUD, T0, message=2))
    publish_candles(lab.store, RUNNER, line(1, 3))
    diagnostics = output(lab, execute(lab, create(lab)), "diagnostics")
    assert diagnostics["code"].to_list() == ["no_candles"]
    assert diagnostics["alert_id"].to_list() == [f"-100:2:{DUD}"]


def test_a_call_of_a_network_trades_on_that_network(lab: Lab) -> None:
    publish_alerts(
        lab.store,
        Call(EVM, T0, network="bsc"),
        Call(EVM, T0, network="base", message=2),
    )
    ambiguous(lab)
    trades = output(lab, execute(lab, create(lab)), "trades")
    reasons = dict(trades.select("alert_id", "exit_reason").iter_rows())
    assert reasons == {f"-100:1:{EVM}": "take_profit", f"-100:2:{EVM}": "stop_loss"}
    assert set(trades["mint"]) == {EVM}


def test_a_call_that_names_no_network_takes_the_only_one(lab: Lab) -> None:
    publish_alerts(lab.store, Call(EVM, T0))
    publish_candles(lab.store, EVM, line(1, 3), network="bsc")
    assert output(lab, execute(lab, create(lab)), "trades").height == 1


def test_a_call_whose_network_is_ambiguous_does_not_trade(lab: Lab) -> None:
    publish_alerts(lab.store, Call(EVM, T0))
    ambiguous(lab)
    executed = execute(lab, create(lab))
    assert output(lab, executed, "trades").height == 0
    diagnostics = output(lab, executed, "diagnostics")
    assert diagnostics["code"].to_list() == ["ambiguous_network"]
    seen = output(lab, executed, "metrics").filter(
        (pl.col("scope") == "all") & (pl.col("metric_name") == "alerts_seen")
    )
    assert seen["metric_value"].to_list() == [1.0]


def test_another_networks_candles_are_never_used(lab: Lab) -> None:
    alerts = publish_alerts(lab.store, Call(EVM, T0, network="bsc"))
    base = publish_candles(lab.store, EVM, line(1, 3), network="base")
    executed = execute(lab, create(lab, alerts=[alerts], slices=[base]))
    assert output(lab, executed, "diagnostics")["code"].to_list() == ["no_candles"]


def test_a_superseded_input_is_used_as_frozen_and_named(each_lab: Lab) -> None:
    lab = each_lab
    _, runner, _ = one_win_one_loss(lab)
    record = create(lab)
    better = publish_candles(lab.store, RUNNER, line(1, 1.1))
    executed = execute(lab, record)
    assert executed.stale
    assert executed.superseded == {runner: better}
    reasons = set(output(lab, executed, "trades")["exit_reason"])
    assert reasons == {"take_profit", "stop_loss"}
    assert execute(lab, record).superseded == {runner: better}


def test_a_tombstoned_input_refuses(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    _, runner, _ = one_win_one_loss(lab)
    record = create(lab)
    real = lab.store.get_artifacts

    def with_tombstone(ids: Any) -> Any:
        return [
            replace(a, status="tombstoned") if a.artifact_id == runner else a for a in real(ids)
        ]

    with monkeypatch.context() as patch:
        patch.setattr(lab.store, "get_artifacts", with_tombstone)
        with pytest.raises(Conflict, match=runner):
            execute(lab, record)
    assert lab.tracker.get(record.experiment_id).status == "failed"


def test_an_under_covered_slice_refuses_and_is_named(lab: Lab) -> None:
    publish_alerts(lab.store, Call(RUNNER, T0))
    holey = publish_candles(lab.store, RUNNER, line(1, 3, 60), window=100)
    strict = create(lab, min_coverage=0.61)
    with pytest.raises(ValidationFailed, match=f"{holey}.*60.0%"):
        execute(lab, strict)
    assert lab.tracker.get(strict.experiment_id).status == "failed"
    assert execute(lab, create(lab, min_coverage=0.6)).record.status == "completed"


def test_another_engine_refuses_before_anything_happens(lab: Lab) -> None:
    one_win_one_loss(lab)
    record = create(lab, engine_version="0+other")
    with pytest.raises(Conflict, match="experiments rerun"):
        execute(lab, record)
    assert lab.tracker.get(record.experiment_id).status == "pending"


def test_an_unknown_experiment_is_not_found(lab: Lab) -> None:
    with pytest.raises(NotFound, match="no experiment exp-0000000000000000"):
        execute_experiment(
            lab.store,
            lab.projections,
            lab.tracker,
            "exp-0000000000000000",
            provenance=PROVENANCE,
        )


@pytest.mark.parametrize("step", ["get_artifacts", "publish_many", "store_results"])
@pytest.mark.parametrize(
    ("error", "status"), [(OSError, "failed"), (KeyboardInterrupt, "cancelled")]
)
def test_a_run_that_breaks_says_why_leaves_nothing_and_can_be_resumed(
    each_lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: type[BaseException],
    status: str,
) -> None:
    lab = each_lab
    one_win_one_loss(lab)
    record = create(lab)

    def die(*_: Any, **__: Any) -> Any:
        raise error("the plug was pulled")

    with monkeypatch.context() as patch:
        patch.setattr(lab.tracker if step == "store_results" else lab.store, step, die)
        with pytest.raises(error, match="the plug was pulled"):
            execute(lab, record)
    held = lab.tracker.get(record.experiment_id)
    assert held.status == status
    assert held.error is not None
    assert held.error.startswith(f"{error.__name__}: the plug was pulled")
    assert "Traceback" in held.error
    assert list(lab.projections.list()) == []

    resumed = execute(lab, record)
    assert resumed.record.status == "completed"
    assert resumed.record.error is None
    assert len(lab.store.list_artifacts(ArtifactFilter("experiment_trades")).artifacts) == 1


def test_a_running_experiment_is_left_alone_while_its_run_lives(lab: Lab) -> None:
    one_win_one_loss(lab)
    record = create(lab)
    with lab.tracker.hold_run(record.experiment_id):
        lab.tracker.update_status(record.experiment_id, "running")
        with pytest.raises(Conflict, match="running already"):
            execute(lab, record)
    assert lab.tracker.get(record.experiment_id).status == "running"


def test_a_run_that_died_is_recorded_as_failed_and_the_experiment_resumed(each_lab: Lab) -> None:
    lab = each_lab
    one_win_one_loss(lab)
    record = create(lab)
    lab.tracker.update_status(record.experiment_id, "running")
    assert execute(lab, record).record.status == "completed"
    moves = [event.new_status for event in lab.tracker.events(record.experiment_id)]
    assert moves == ["pending", "running", "failed", "running", "completed"]
    died = lab.tracker.events(record.experiment_id)[2].error
    assert died is not None
    assert died.startswith("the run died (process ")


def test_dead_runs_are_settled_and_living_ones_left_alone(each_lab: Lab) -> None:
    lab = each_lab
    one_win_one_loss(lab)
    dead, alive = create(lab), create(lab, params={"n": 2})
    for record in (dead, alive):
        lab.tracker.update_status(record.experiment_id, "running")
    with lab.tracker.hold_run(alive.experiment_id):
        assert settle_dead_runs(lab.tracker) == (dead.experiment_id,)
    assert lab.tracker.get(dead.experiment_id).status == "failed"
    assert lab.tracker.get(alive.experiment_id).status == "running"


def test_a_run_cancelled_from_outside_publishes_nothing(each_lab: Lab) -> None:
    lab = each_lab
    one_win_one_loss(lab)
    record = create(lab)

    def cancel(stage: str) -> None:
        if stage == "simulate":
            lab.tracker.update_status(record.experiment_id, "cancelled")

    with pytest.raises(Conflict, match="cancelled while it ran"):
        execute(lab, record, on_progress=cancel)
    assert lab.tracker.get(record.experiment_id).status == "cancelled"
    assert lab.store.list_artifacts(ArtifactFilter("experiment_trades")).artifacts == ()
    assert execute(lab, record).record.status == "completed"


def test_a_strategy_that_never_trades_gives_empty_results(lab: Lab) -> None:
    publish_alerts(lab.store, Call(RUNNER, T0 + 2000 * MINUTE))
    candles = publish_candles(lab.store, RUNNER, line(1, 3))
    record = create(
        lab,
        slices=[candles],
        strategy=DOUBLE_OR_NOTHING.model_copy(update={"exit": Exit(max_hold_s=60)}),
    )
    executed = execute(lab, record)
    assert output(lab, executed, "trades").height == 0
    assert output(lab, executed, "diagnostics")["code"].to_list() == ["no_entry_candle"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_input_refuses_before_it_is_decoded(tmp_path: Path, damage: str) -> None:
    lab = real_lab(tmp_path)
    _, runner, _ = one_win_one_loss(lab)
    record = create(lab)
    path = tmp_path / "artifacts" / lab.store.get_artifact(runner).path
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "truncate" else content)

    with pytest.raises(IntegrityError, match=runner):
        execute(lab, record)
    held = lab.tracker.get(record.experiment_id)
    assert held.status == "failed"
    assert list(lab.projections.list()) == []

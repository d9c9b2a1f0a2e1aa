"""Experiments and the research database over alerts of an earlier schema version and a newer."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from quantlab_assets.domain.artifacts.records import PublishRequest
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.seed_types import ALERTS, SEED_TYPES
from quantlab_assets.domain.artifacts.type import ArtifactType, Upgrade
from quantlab_assets.handlers.experiments.create import create_experiment
from quantlab_assets.handlers.experiments.execute import execute_experiment
from quantlab_assets.handlers.experiments.rerun import rerun_experiment
from quantlab_assets.handlers.projections import build_research
from quantlab_assets.simulation import engine_version
from quantlab_tests.handlers.experiments.lab import (
    DOUBLE_OR_NOTHING,
    PROVENANCE,
    RUNNER,
    T0,
    Call,
    Lab,
    alerts_table,
    line,
    memory_lab,
    publish_alerts,
    publish_candles,
    real_lab,
)

NEXT_ALERTS = ArtifactType(
    name=ALERTS.name,
    schema_version=ALERTS.schema_version + 1,
    schema=pa.schema([*ALERTS.schema, pa.field("mood", pa.string(), nullable=False)]),
    sort_keys=ALERTS.sort_keys,
    keys=ALERTS.keys,
    time_column=ALERTS.time_column,
    upgrade=Upgrade(ALERTS, columns={"mood": pl.col("caller_name_norm") + "?"}),
)
NEWER = TypeRegistry([NEXT_ALERTS, *(one for one in SEED_TYPES if one is not ALERTS)])
CALL = Call(RUNNER, T0)
KEY = ALERTS.key(day=f"{T0:%Y-%m-%d}", chain="solana")


def next_table(*moods: str) -> pa.Table:
    table = alerts_table([CALL])
    return pa.table([*table.columns, pa.array(moods, pa.string())], schema=NEXT_ALERTS.schema)


@pytest.fixture(params=["in memory", "files"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    """A lab of the newer program, with alerts that the older one published."""
    lab = memory_lab(NEWER) if request.param == "in memory" else real_lab(tmp_path, NEWER)
    request_of_old = PublishRequest(
        ALERTS.name, KEY, alerts_table([CALL]), PROVENANCE, ALERTS.schema_version
    )
    lab.store.publish_artifact(request_of_old)
    publish_candles(lab.store, RUNNER, line(1, 3))
    return lab


def run(lab: Lab, experiment_id: str) -> pa.Table:
    execute_experiment(
        lab.store, lab.projections, lab.tracker, experiment_id, provenance=PROVENANCE
    )
    outputs = lab.tracker.get(experiment_id).outputs
    return lab.store.open(outputs["trades"], verify=True).to_table()


def test_a_newer_version_of_an_input_makes_it_stale_and_rerun_takes_it(lab: Lab) -> None:
    (old,) = lab.store.find_by_logical_key(ALERTS.name, KEY)
    record, _ = create_experiment(
        lab.store,
        lab.tracker,
        name="old",
        strategy=DOUBLE_OR_NOTHING,
        alerts="all",
        slices="auto",
        engine_version=engine_version(),
    )
    trades = run(lab, record.experiment_id)
    assert trades.num_rows == 1
    assert not lab.tracker.get(record.experiment_id).stale

    new = lab.store.publish_artifact(
        PublishRequest(ALERTS.name, KEY, next_table("glad"), PROVENANCE)
    )

    assert lab.tracker.get(record.experiment_id).stale
    assert lab.tracker.superseded_inputs(record.experiment_id) == {old.artifact_id: new.artifact_id}
    child = rerun_experiment(
        lab.store, lab.tracker, record.experiment_id, engine_version=engine_version()
    )
    assert child.record.definition.alert_artifact_ids == (new.artifact_id,)
    assert run(lab, child.record.experiment_id).equals(trades)


def test_the_research_database_has_alerts_of_both_versions(tmp_path: Path) -> None:
    before = real_lab(tmp_path)
    publish_alerts(before.store, CALL)
    publish_candles(before.store, RUNNER, line(1, 3))
    build_research(before.projections)
    # A newer program finds the database of the older one, and nothing published since.
    lab = real_lab(tmp_path, NEWER)

    def moods() -> list[tuple[str]]:
        name = build_research(lab.projections).projection_id
        with lab.projections.connect(name) as connection:
            return connection.execute("SELECT mood FROM alerts ORDER BY alert_ts_utc").fetchall()

    assert moods() == [("bob?",)]
    tomorrow = KEY.replace(f"{T0:%Y-%m-%d}", "2025-11-09")
    lab.store.publish_artifact(
        PublishRequest(ALERTS.name, tomorrow, next_table("glad"), PROVENANCE)
    )
    assert sorted(moods()) == [("bob?",), ("glad",)]

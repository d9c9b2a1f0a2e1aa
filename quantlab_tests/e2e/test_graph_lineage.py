"""From an experiment's trades down to the raw files, as the graph recorded it."""

import hashlib
import shutil
from pathlib import Path

import dagster as dg

from quantlab_assets import open_lake
from quantlab_assets.definitions import build_defs
from quantlab_assets.domain.artifacts.records import ArtifactFilter
from quantlab_assets.sample import sample_path

PARTS = ("trades", "metrics", "curves", "diagnostics")


def sha256(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_trades_lead_down_to_the_hashes_of_the_raw_files(
    demo_lake: Path, demo_answer: dict[str, object]
):
    lake = open_lake(demo_lake)
    trades = lake.experiments.tracker.get(str(demo_answer["experimentId"])).outputs["trades"]
    lineage = lake.store.get_lineage(trades)
    raw = {edge.source.sha256 for edge in lineage.sources}
    sample = sample_path()
    assert sha256(sample / "telegram" / "result.json") in raw
    traded = {
        f"{row['chain']} {row['mint']}"
        for row in lake.trades(str(demo_answer["experimentId"])).to_dicts()
    }
    assert traded
    candles = {sha256(file) for file in (sample / "candles").glob("*.csv")}
    assert raw - {sha256(sample / "telegram" / "result.json")} <= candles
    assert raw & candles
    types = {artifact.artifact_type for artifact in lineage.artifacts.values()}
    assert {"alerts_v1", "ohlcv_slice_v2", "telegram_messages"} <= types


def test_an_experiment_in_the_graph_depends_on_what_it_froze_and_on_nothing_newer(
    demo_lake: Path, demo_answer: dict[str, object], tmp_path: Path
):
    shutil.copytree(demo_lake, tmp_path / "lake")
    lake = open_lake(tmp_path / "lake")
    experiment = str(demo_answer["experimentId"])
    record = lake.experiments.tracker.get(experiment)
    frozen = {
        artifact.artifact_id
        for kind in ("alerts_v1", "ohlcv_slice_v2")
        for artifact in lake.store.list_artifacts(ArtifactFilter(artifact_type=kind)).artifacts
    }
    # The days move on: the alerts of one are gone from the lake's present.
    shutil.rmtree(lake.settings.telegram_inbox)
    lake.settings.telegram_inbox.mkdir()
    (day,) = [d for d in lake.store.list_head_partitions("alerts") if d == "2025-11-07"]
    superseded = lake.store.get_heads("alerts", [day])[day]
    assert superseded
    drop_alerts(tmp_path / "lake", day)
    assert lake.store.get_heads("alerts", [day])[day] == ()

    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("experiments", [experiment])
        result = (
            build_defs(lake.settings)
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(f"experiment_{part}") for part in PARTS],
                partition_key=experiment,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
        )
    assert result.success
    for part in PARTS:
        made = record.outputs[part]
        assert lake.store.get_artifact(made).status == "active"
        edges = lake.store.get_lineage(made, depth=1).edges
        inputs = {edge.input_id for edge in edges}
        assert {artifact.artifact_id for artifact in superseded} <= inputs
        assert inputs <= frozen


def drop_alerts(root: Path, day: str) -> None:
    """Publish a day of no alerts, as a change of rules might."""
    from quantlab_assets.domain.artifacts.records import PartitionOutput, PartitionRef, Provenance
    from quantlab_assets.handlers.publish_partition import publish_partition

    publish_partition(
        open_lake(root).store,
        PartitionRef("alerts", day),
        PartitionOutput(()),
        inputs=lambda: (),
        provenance=Provenance("test", "1"),
    )

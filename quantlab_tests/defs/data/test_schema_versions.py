"""Assets read partitions of whichever schema version as the newest, and write the newest."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from quantlab_assets.defs.data.io_managers import ArtifactIOManager, artifact_metadata
from quantlab_assets.defs.data.read_ledger import PartitionFrames
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.records import (
    ArtifactDraft,
    HeadReplacement,
    PartitionOutput,
    PartitionRef,
    Provenance,
    PublishRequest,
)
from quantlab_tests.contracts.versioned_type import MARKS_3, marks_1, marks_3
from quantlab_tests.defs.data.toy_graph import PARTITIONED

ROWS = [(0, "Zoe", 4), (1, "Ann", None)]


def test_an_asset_reads_an_older_version_as_the_newest_and_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
):
    monkeypatch.setenv("QUANTLAB_TYPES_MODULE", "quantlab_tests.contracts.versioned_type")
    lake = LakeResource(root=str(tmp_path / "lake"))
    store = lake.lake.store
    head = PartitionRef("marks", "2025-05-01")
    request = PublishRequest(
        "marks", "book=atlas/day=2025-05-01", marks_1(ROWS), Provenance("old", "1"), 1, head=head
    )
    (old,) = store.publish_many([request], heads=[HeadReplacement(head)])
    handed: list[pl.DataFrame] = []

    @dg.asset(metadata=artifact_metadata(MARKS_3), **PARTITIONED)
    def marks(context: dg.AssetExecutionContext):
        draft = ArtifactDraft("marks", "day=2025-05-01/shelf=a", marks_3(ROWS))
        return dg.MaterializeResult(value=[(context.partition_key, PartitionOutput((draft,)))])

    @dg.asset(metadata=artifact_metadata(MARKS_3), **PARTITIONED)
    def copies(context: dg.AssetExecutionContext, marks: PartitionFrames):
        handed.extend([marks.read(marks), marks["2025-05-01"].collect()])
        return dg.MaterializeResult(value=[(context.partition_key, PartitionOutput(()))])

    def run(asset: str) -> None:
        dg.Definitions(
            assets=[marks, copies],
            resources={"lake": lake, "io_manager": ArtifactIOManager(lake=lake)},
            executor=dg.in_process_executor,
        ).resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(asset)],
            partition_key="2025-05-01",
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    run("copies")
    run("marks")
    run("copies")

    wanted = pl.DataFrame(pl.from_arrow(marks_3(ROWS))).sort("author")
    assert len(handed) == 4
    for frame in handed:
        assert frame.equals(wanted)
    (new,) = store.get_heads("marks", ["2025-05-01"])["2025-05-01"] or ()
    assert (new.schema_version, new.logical_key) == (3, "day=2025-05-01/shelf=a")
    assert store.get_artifact(old.artifact_id).status == "superseded"
    with store.database.reading() as connection:
        rows = connection.exec_driver_sql("SELECT old_id, new_id, reason FROM supersedes").all()
    assert rows == [(old.artifact_id, new.artifact_id, "republished")]

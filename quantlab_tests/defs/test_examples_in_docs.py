"""The worked example of docs/graph.md does what the page says."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from quantlab_assets.defs.data.io_managers import ArtifactIOManager
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.records import (
    ArtifactDraft,
    PartitionOutput,
    PartitionRef,
    Provenance,
)
from quantlab_assets.domain.artifacts.seed_types import COVERAGE_GAPS
from quantlab_assets.handlers.publish_partition import publish_partition
from quantlab_tests.defs.test_definitions import ROOT

DAY = "2025-11-07"


def example() -> str:
    page = (ROOT / "docs" / "graph.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    return code


def gap(kind: str, minute: int) -> dict[str, Any]:
    return {
        "mint": "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump",
        "chain": "solana",
        "interval_s": 60,
        "gap_start": f"{DAY}T12:{minute:02}:00+00:00",
        "gap_end": f"{DAY}T12:{minute + 1:02}:00+00:00",
        "missing_candles": 1,
        "kind": kind,
    }


def test_the_worked_example_publishes_with_lineage(tmp_path: Path, instance: dg.DagsterInstance):
    lake = LakeResource(root=str(tmp_path / "lake"))
    store = lake.lake.store
    schema = pl.DataFrame(COVERAGE_GAPS.empty()).schema
    gaps = pl.DataFrame([gap("head", 1), gap("inner", 5)]).with_columns(
        pl.col("gap_start", "gap_end").str.to_datetime(time_unit="us", time_zone="UTC")
    )
    upstream = publish_partition(
        store,
        PartitionRef("coverage_gaps", DAY),
        PartitionOutput(
            (ArtifactDraft("coverage_gaps", f"day={DAY}", gaps.cast(schema).to_arrow()),)
        ),
        inputs=lambda: (),
        provenance=Provenance("test", "1"),
    )
    namespace: dict[str, Any] = {}
    exec(compile(example(), "docs/graph.md", "exec"), namespace)
    coverage_gaps = dg.AssetSpec(
        "coverage_gaps",
        partitions_def=namespace["DAYS"],
        metadata=namespace["artifact_metadata"](COVERAGE_GAPS),
    )
    result = dg.materialize(
        [namespace["inner_gaps"], coverage_gaps],
        selection=["inner_gaps"],
        partition_key=DAY,
        instance=instance,
        resources={"lake": lake, "io_manager": ArtifactIOManager(lake=lake)},
    )
    assert result.success
    head = store.get_heads("inner_gaps", [DAY])[DAY]
    assert head is not None
    (made,) = head
    assert store.open(made.artifact_id).to_table()["kind"].to_pylist() == ["inner"]
    (edge,) = store.get_lineage(made.artifact_id, depth=1).edges
    assert (edge.input_id, edge.role) == (upstream.artifacts[0].artifact_id, "loaded")

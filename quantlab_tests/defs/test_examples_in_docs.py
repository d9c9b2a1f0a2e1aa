"""The worked example of docs/graph.md does what the page says."""

import re
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from quantlab_assets.definitions import build_defs
from quantlab_assets.domain.artifacts.records import (
    ArtifactDraft,
    PartitionOutput,
    PartitionRef,
    Provenance,
)
from quantlab_assets.domain.artifacts.seed_types import COVERAGE_GAPS
from quantlab_assets.handlers.publish_partition import publish_partition
from quantlab_assets.lake import open_lake
from quantlab_assets.settings import Settings
from quantlab_tests.conftest import ROOT

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


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake that is told of the example's module."""
    (tmp_path / "my_lab.py").write_text(example(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_lab", raising=False)
    monkeypatch.setenv("QUANTLAB_TYPES_MODULE", "my_lab")
    return Settings.from_environment(tmp_path / "lake")


def test_the_worked_example_publishes_with_lineage(
    settings: Settings, instance: dg.DagsterInstance
):
    store = open_lake(settings, create=True).store
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
    graph = build_defs(settings).resolve_implicit_global_asset_job_def()
    result = graph.execute_in_process(
        partition_key=DAY, asset_selection=[dg.AssetKey("inner_gaps")], instance=instance
    )
    assert result.success
    head = store.get_heads("inner_gaps", [DAY])[DAY]
    assert head is not None
    (made,) = head
    assert store.open(made.artifact_id).to_table()["kind"].to_pylist() == ["inner"]
    (edge,) = store.get_lineage(made.artifact_id, depth=1).edges
    assert (edge.input_id, edge.role) == (upstream.artifacts[0].artifact_id, "loaded")
    assert open_lake(settings).sql("select kind from inner_gaps")["kind"].to_list() == ["inner"]


def test_the_worked_example_has_its_place_in_the_graph(settings: Settings):
    repository = build_defs(settings).get_repository_def()
    node = repository.asset_graph.get(dg.AssetKey("inner_gaps"))
    assert (node.group_name, node.metadata["artifact_type"]) == ("coverage", "inner_gaps")
    job = repository.get_job("slices_and_coverage")
    assert dg.AssetKey("inner_gaps") in job.asset_layer.selected_asset_keys


def test_the_pages_table_names_every_asset_and_its_type():
    from quantlab_assets.domain.assets import ASSETS

    page = (ROOT / "docs" / "graph.md").read_text("utf-8")
    for asset in ASSETS:
        named = asset.name.removeprefix("experiment")
        assert f"`{asset.name}`" in page or f"`{named}`" in page, asset.name
        if asset.artifact_type is not None and not asset.artifact_type.startswith("experiment_"):
            same = asset.artifact_type == asset.name
            assert same or f"`{asset.artifact_type}`" in page, asset.artifact_type

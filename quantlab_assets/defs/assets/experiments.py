"""Experiments: one partition an experiment id, executed by the same handler as everywhere.

Here are what the graph shows of the results, and the report. Creating and judging experiments is no
asset (`lake.experiments`); execution is in `handlers.experiments.execute`.
"""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from quantlab_assets.defs.asset_rows import described, lab_asset
from quantlab_assets.defs.data.metadata import table_value
from quantlab_assets.defs.data.read_ledger import PartitionFrames
from quantlab_assets.defs.partitions import EXPERIMENTS
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.identity import content_digest
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.assets import ALERTS, REPORT, SLICES, TRADES
from quantlab_assets.handlers.experiments.execute import RESULT_TYPES, execute_experiment


def _result(artifact_type: ArtifactType) -> dg.AssetSpec:
    # Only arrows: what an experiment reads is what it froze, whatever the days hold now.
    arrows = [
        dg.AssetDep(upstream, partition_mapping=dg.AllPartitionMapping())
        for upstream in (ALERTS, SLICES)
    ]
    return dg.AssetSpec(
        artifact_type.name,
        description=artifact_type.description,
        deps=arrows,
        **described(artifact_type.name, kinds=frozenset({"parquet", "numba"})),
    )


@dg.multi_asset(
    name="experiment_execution",
    specs=[_result(artifact_type) for artifact_type in RESULT_TYPES.values()],
    partitions_def=EXPERIMENTS,
)
def experiment_execution(
    context: dg.AssetExecutionContext, lake: LakeResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Execute the experiment; its four results are published in one transaction.

    Lineage comes from the frozen artifact ids, not from the graph. A completed experiment is not
    run again: its results are named once more.
    """
    opened = lake.lake
    executed = execute_experiment(
        opened.store,
        opened.projections,
        opened.experiments.tracker,
        context.partition_key,
        provenance=lake.provenance(context, TRADES),
    )
    artifacts = {
        part: opened.store.get_artifact(executed.record.outputs[part]) for part in RESULT_TYPES
    }
    for part, artifact_type in RESULT_TYPES.items():
        artifact = artifacts[part]
        yield dg.MaterializeResult(
            asset_key=artifact_type.name,
            metadata={
                "experiment": executed.record.definition.name,
                "artifact_id": artifact.artifact_id,
                "content_hash": artifact.content_hash,
                "dagster/row_count": artifact.row_count,
                "dagster/uri": f"{opened.settings.artifacts_root}/{artifact.path}",
            },
            data_version=dg.DataVersion(content_digest([artifact.content_hash])),
        )


@lab_asset(REPORT, kinds=frozenset({"polars"}), partitions_def=EXPERIMENTS)
def experiment_report(
    context: dg.AssetExecutionContext,
    experiment_trades: PartitionFrames,
    experiment_metrics: PartitionFrames,
    experiment_curves: PartitionFrames,
    experiment_diagnostics: PartitionFrames,
) -> dg.MaterializeResult[None]:
    """The experiment at a glance: metrics, results by caller, equity, what did not trade."""
    key = context.partition_key
    metrics = experiment_metrics.require(key).collect()
    overall = metrics.filter(pl.col("scope") == "all").select("metric_name", "metric_value")
    by_caller = (
        metrics.filter(
            (pl.col("scope") == "caller")
            & pl.col("metric_name").is_in(["total_trades", "win_rate", "total_net_pnl"])
        )
        .pivot("metric_name", index="scope_value", values="metric_value")
        .sort("scope_value")
    )
    trades = experiment_trades.require(key).collect().sort("entry_ts", "alert_id")
    untraded = (
        experiment_diagnostics.require(key).group_by("code").len("alerts").sort("code").collect()
    )
    curve = experiment_curves.require(key).select("ts", "equity").sort("ts").collect()
    return dg.MaterializeResult(
        metadata={
            "metrics": table_value(overall),
            "by_caller": table_value(by_caller),
            "trades": table_value(trades.head(50)),
            "untraded": table_value(untraded),
            "equity": table_value(curve.gather_every(max(1, curve.height // 48))),
            "dagster/row_count": trades.height,
        }
    )

"""Candle slices around the calls of a day."""

from datetime import date
from functools import partial
from typing import Any

import dagster as dg

from quantlab_assets.defs.data.io_managers import artifact_metadata
from quantlab_assets.defs.data.read_ledger import PartitionFrames
from quantlab_assets.defs.partitions import DAYS, ONE_RUN
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.records import PartitionOutput
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.handlers.slices.export import slices_of_day

candle_files = dg.AssetSpec(
    "candle_files",
    description="Candle files in the inbox: raw files, named by their hash in lineage.",
    group_name="sources",
    kinds={"csv"},
    owners=["team:quantlab"],
)


@dg.asset(
    deps=[candle_files],
    partitions_def=DAYS,
    backfill_policy=ONE_RUN,
    group_name="candles",
    kinds={"parquet", "polars"},
    owners=["team:quantlab"],
    code_version="1",
    pool="candle_source",
    metadata=artifact_metadata(OHLCV_SLICE),
)
def ohlcv_slices(
    context: dg.AssetExecutionContext, alerts: PartitionFrames, lake: LakeResource
) -> dg.MaterializeResult[Any]:
    """Candles of every token called on a day, from before its first call to after its last.

    One artifact a token, network, interval and window. Candles that no backtest may see are refused
    with a reason; the grade of each slice is a tag.
    """
    source = lake.candle_source()
    window, grading = lake.lake.slice_window, lake.lake.grading

    def slices(day: str) -> PartitionOutput:
        called = alerts.require(day)
        return slices_of_day(date.fromisoformat(day), called, source, window, grading)

    return dg.MaterializeResult(
        value=((day, partial(slices, day)) for day in sorted(context.partition_keys))
    )

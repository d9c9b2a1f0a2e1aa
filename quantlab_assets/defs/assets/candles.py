"""Candle slices around the calls of a day, and the candle files they come from.

Which source is asked stands in `lake.sources`, how far slices reach and how they are graded in
`lake.measures`; the cutting itself is in `handlers.slices.export`.
"""

from datetime import date
from typing import Any

import dagster as dg

from quantlab_assets.defs.asset_rows import daily_asset, day_by_day, raw_files
from quantlab_assets.defs.data.read_ledger import PartitionFrames
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.records import PartitionOutput
from quantlab_assets.domain.assets import SLICES
from quantlab_assets.handlers.slices.export import slices_of_day

candle_files = raw_files(
    "candle_files",
    "csv",
    "Candle files in the inbox: raw files, named by their hash in lineage.",
)


@daily_asset(SLICES, deps=[candle_files], pool="candle_source")
def ohlcv_slices(
    context: dg.AssetExecutionContext, alerts: PartitionFrames, lake: LakeResource
) -> dg.MaterializeResult[Any]:
    """Candles of every token called on a day, from before its first call to after its last.

    One artifact a token, network, interval and window. Candles that no backtest may see are refused
    with a reason; the grade of each slice is a tag.
    """
    source = lake.candle_source()
    measures = lake.lake.measures
    window, grading = measures.slice_window, measures.grading

    def slices(day: date) -> PartitionOutput:
        return slices_of_day(day, alerts.require(day.isoformat()), source, window, grading)

    return day_by_day(context, slices)

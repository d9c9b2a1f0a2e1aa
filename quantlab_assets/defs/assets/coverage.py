"""How much of the time after each call the candles cover: by alert, as gaps, and in sum.

Analysis and sums are in `handlers.coverage.analyse`; how the heat map is drawn is in
`defs.coverage_heat_map`.
"""

from collections.abc import Iterator
from datetime import date, datetime
from functools import cache
from typing import Any

import dagster as dg
import polars as pl

from quantlab_assets.defs.asset_rows import lab_asset, outs, selected_outputs
from quantlab_assets.defs.coverage_heat_map import heat_map_markdown
from quantlab_assets.defs.data.read_ledger import PartitionFrames
from quantlab_assets.defs.partitions import DAYS, ONE_RUN
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.records import PartitionOutput
from quantlab_assets.domain.assets import (
    ALERTS,
    COVERAGE_SUMMARY,
    FORWARD_COVERAGE,
    GAPS,
    SLICES,
)
from quantlab_assets.domain.coverage.by_month import heat_map
from quantlab_assets.domain.coverage.counts import HEAT_MAP_HORIZON_H
from quantlab_assets.domain.slices.grades import Grading
from quantlab_assets.domain.slices.windows import windows_of
from quantlab_assets.handlers.coverage.analyse import (
    DayCoverage,
    coverage_of_day,
    summarise_coverage,
)
from quantlab_assets.handlers.slices.export import newest_ts_of
from quantlab_assets.ports.artifact_store import ArtifactStore


@dg.multi_asset(
    name="coverage_analysis",
    outs=outs(FORWARD_COVERAGE, GAPS),
    ins={ALERTS: dg.AssetIn(), SLICES: dg.AssetIn()},
    partitions_def=DAYS,
    backfill_policy=ONE_RUN,
    can_subset=True,
)
def coverage_analysis(
    context: dg.AssetExecutionContext,
    alerts: PartitionFrames,
    ohlcv_slices: PartitionFrames,
    lake: LakeResource,
) -> Iterator[dg.MaterializeResult[Any]]:
    """Analyse each day once, however many of the two outputs are wanted."""
    store = lake.lake.store

    @cache
    def analysed(day: date) -> DayCoverage:
        name = day.isoformat()
        slices = ohlcv_slices.require(name)
        return coverage_of_day(
            day,
            alerts.require(name),
            slices,
            _newest(store, ohlcv_slices, name),
            windows=windows_of(a.logical_key for a in ohlcv_slices.artifacts(name)),
            horizons=lake.lake.measures.horizons,
            grading=lake.lake.measures.grading,
        )

    yield from selected_outputs(
        context,
        {
            FORWARD_COVERAGE: lambda day: analysed(day).forward,
            GAPS: lambda day: analysed(day).gaps,
        },
    )


@lab_asset(COVERAGE_SUMMARY)
def coverage_summary(
    alert_forward_coverage: PartitionFrames,
    lake: LakeResource,
) -> dg.MaterializeResult[PartitionOutput]:
    """Coverage counted by day, chain, caller and horizon, over all days there are.

    The heat map shows it by caller and month, the worst covered caller first.
    """
    output = summarise_coverage(alert_forward_coverage)
    return dg.MaterializeResult(
        value=output, metadata=_heat_map(output, lake.lake.measures.grading)
    )


def _heat_map(output: PartitionOutput, grading: Grading) -> dict[str, dg.MarkdownMetadataValue]:
    if not output.drafts:
        return {}
    summary = pl.DataFrame(output.drafts[0].table)
    measured = set(summary["horizon_h"])
    horizon = HEAT_MAP_HORIZON_H if HEAT_MAP_HORIZON_H in measured else max(measured)
    text = heat_map_markdown(heat_map(summary, horizon), grading)
    return {"heat_map": dg.MetadataValue.md(text)}


def _newest(store: ArtifactStore, slices: PartitionFrames, day: str) -> datetime | None:
    publications = store.latest_publications([a.artifact_id for a in slices.artifacts(day)])
    return newest_ts_of(publication.provenance.params for publication in publications.values())

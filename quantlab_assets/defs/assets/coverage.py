"""How much of the time after each call the candles cover."""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from functools import cache, partial
from typing import Any

import dagster as dg
import polars as pl

from quantlab_assets.defs.coverage_heat_map import heat_map_markdown
from quantlab_assets.defs.data.io_managers import artifact_metadata, artifact_out
from quantlab_assets.defs.data.read_ledger import PartitionFrames
from quantlab_assets.defs.partitions import DAYS, ONE_RUN
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.records import PartitionOutput
from quantlab_assets.domain.artifacts.seed_types import (
    ALERT_FORWARD_COVERAGE,
    COVERAGE_GAPS,
    COVERAGE_SUMMARY,
)
from quantlab_assets.domain.coverage.by_month import HEAT_MAP_HORIZON_H, heat_map
from quantlab_assets.domain.slices.slices import windows_of
from quantlab_assets.handlers.coverage.analyse import (
    DayCoverage,
    coverage_of_day,
    summarise_coverage,
)
from quantlab_assets.handlers.slices.export import newest_ts_of
from quantlab_assets.ports.artifact_store import ArtifactStore


@dg.multi_asset(
    name="coverage_analysis",
    outs={
        "alert_forward_coverage": artifact_out(
            "alert_forward_coverage",
            ALERT_FORWARD_COVERAGE,
            "coverage",
            "For each call of the day and each horizon in hours: candles expected, there, and "
            "traded; "
            "the grade, and the reason where it is not covered.",
        ),
        "coverage_gaps": artifact_out(
            "coverage_gaps",
            COVERAGE_GAPS,
            "coverage",
            "Holes in the candles of the tokens called on the day: at the head, inside, at the "
            "tail.",
        ),
    },
    ins={"alerts": dg.AssetIn(), "ohlcv_slices": dg.AssetIn()},
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
    def analysed(day: str) -> DayCoverage:
        slices = ohlcv_slices.require(day)
        return coverage_of_day(
            date.fromisoformat(day),
            alerts.require(day),
            slices,
            _newest(store, ohlcv_slices, day),
            windows=windows_of(a.logical_key for a in ohlcv_slices.artifacts(day)),
            horizons=lake.lake.coverage_horizons,
            grading=lake.lake.grading,
        )

    days = sorted(context.partition_keys)
    outputs: dict[str, Callable[[str], PartitionOutput]] = {
        "alert_forward_coverage": lambda day: analysed(day).forward,
        "coverage_gaps": lambda day: analysed(day).gaps,
    }
    for name, output in outputs.items():
        key = dg.AssetKey(name)
        if key in context.selected_asset_keys:
            value = [(day, partial(output, day)) for day in days]
            yield dg.MaterializeResult(asset_key=key, value=value)


@dg.asset(
    group_name="coverage",
    kinds={"parquet", "polars"},
    owners=["team:quantlab"],
    code_version="1",
    metadata=artifact_metadata(COVERAGE_SUMMARY),
)
def coverage_summary(
    alert_forward_coverage: PartitionFrames,
) -> dg.MaterializeResult[PartitionOutput]:
    """Coverage counted by day, chain, caller and horizon, over all days there are.

    The heat map shows it by caller and month, the worst covered caller first.
    """
    output = summarise_coverage(alert_forward_coverage)
    return dg.MaterializeResult(value=output, metadata=_heat_map(output))


def _heat_map(output: PartitionOutput) -> dict[str, dg.MarkdownMetadataValue]:
    if not output.drafts:
        return {}
    summary = pl.DataFrame(output.drafts[0].table)
    measured = set(summary["horizon_h"])
    horizon = HEAT_MAP_HORIZON_H if HEAT_MAP_HORIZON_H in measured else max(measured)
    return {"heat_map": dg.MetadataValue.md(heat_map_markdown(heat_map(summary, horizon)))}


def _newest(store: ArtifactStore, slices: PartitionFrames, day: str) -> datetime | None:
    publications = store.latest_publications([a.artifact_id for a in slices.artifacts(day)])
    return newest_ts_of(publication.provenance.params for publication in publications.values())

"""Asset checks: how good the data is, one check an asset, over all of its partitions.

Thin shells around `handlers.data_quality`. They warn and stop nothing: a broken contract has raised
before anything was written. Checks know no partitions, so each names the failing ones in a table.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import dagster as dg
import polars as pl

from quantlab_assets.defs.data.metadata import table_value
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain import assets
from quantlab_assets.handlers.data_quality import (
    ACCOUNTS,
    Quality,
    accounting,
    counted_days,
    coverage,
    duplicates,
    freshness,
    poor_slices,
    quarantine_share,
)

FAILING_SHOWN = 100
EVENTS_READ = 10_000
"""How far back the event log is searched for what was told of each day."""

Told = dict[str, Mapping[str, int]]


def utc_now() -> datetime:
    """The wall clock, which only freshness asks."""
    return datetime.now(UTC)


def quality_checks(clock: Callable[[], datetime] = utc_now) -> list[dg.AssetChecksDefinition]:
    """All checks; `clock` tells freshness the time."""

    @dg.asset_check(asset=assets.MESSAGES)
    def fresh(lake: LakeResource) -> dg.AssetCheckResult:
        """The newest message is at most three days old."""
        return _result(freshness(lake.lake.store, clock()))

    @dg.asset_check(asset=assets.ALERTS)
    def accounted_for(
        context: dg.AssetCheckExecutionContext, lake: LakeResource
    ) -> dg.AssetCheckResult:
        """Every message seen is a service message, ignored, calling or quarantined: exactly one."""
        told = _told(context.instance, dg.AssetKey(assets.ALERTS))
        return _result(accounting(lake.lake.store, told))

    @dg.asset_check(asset=assets.ALERT_EVENTS)
    def events_are_distinct(lake: LakeResource) -> dg.AssetCheckResult:
        """No observation of a call is there twice."""
        key = ["alert_key", "event_kind", "event_ts_utc", "bot_message_id", "mint"]
        return _result(duplicates(lake.lake.store, assets.ALERT_EVENTS, "event_ts_utc", key))

    @dg.asset_check(asset=assets.ALERTS_QUARANTINE)
    def few_are_quarantined(lake: LakeResource) -> dg.AssetCheckResult:
        """On no day is more than a fifth of what looks like a call quarantined."""
        return _result(quarantine_share(lake.lake.store))

    @dg.asset_check(asset=assets.SLICES)
    def few_slices_are_poor(lake: LakeResource) -> dg.AssetCheckResult:
        """On no day are more than half of the slices too full of holes to rely on."""
        return _result(poor_slices(lake.lake.store))

    @dg.asset_check(asset=assets.FORWARD_COVERAGE)
    def calls_are_covered(lake: LakeResource) -> dg.AssetCheckResult:
        """Of each day's calls, four in five have good candles for a day after the call."""
        return _result(coverage(lake.lake.store))

    @dg.asset_check(asset=assets.COVERAGE_SUMMARY)
    def every_day_is_counted(lake: LakeResource) -> dg.AssetCheckResult:
        """The summary counts the calls of every day that has coverage, as they are now."""
        return _result(counted_days(lake.lake.store))

    return [
        fresh,
        accounted_for,
        events_are_distinct,
        few_are_quarantined,
        few_slices_are_poor,
        calls_are_covered,
        every_day_is_counted,
    ]


def _result(quality: Quality) -> dg.AssetCheckResult:
    """Shown as a warning: the data is what it is; the run that brought it did not fail."""
    failing = [
        {"partition": finding.partition, **finding.figures}
        for finding in quality.failing[:FAILING_SHOWN]
    ]
    table = {"failing": table_value(pl.DataFrame(failing, infer_schema_length=None))}
    return dg.AssetCheckResult(
        passed=quality.passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "failing_partitions": len(quality.failing),
            **quality.figures,
            **(table if failing else {}),
        },
    )


def _told(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Told:
    """What the newest materialization of each day told of its messages."""
    told: Told = {}
    for record in instance.fetch_materializations(asset, limit=EVENTS_READ).records:
        materialization = record.asset_materialization
        if materialization is None or materialization.partition is None:
            continue
        values = {name: materialization.metadata.get(name) for name in ACCOUNTS}
        numbers = {name: entry.value for name, entry in values.items() if entry is not None}
        if len(numbers) == len(ACCOUNTS):
            told.setdefault(
                materialization.partition,
                {name: int(str(value)) for name, value in numbers.items()},
            )
    return told

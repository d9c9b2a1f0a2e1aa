"""What the demo has to tell, read back from the published artifacts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from quantlab_assets.domain.artifacts.records import Artifact, ArtifactFilter
from quantlab_assets.domain.assets import (
    ALERTS,
    ALERTS_QUARANTINE,
    ASSETS,
    COVERAGE_SUMMARY,
    MESSAGES,
    SLICES,
)
from quantlab_assets.domain.coverage.counts import HEAT_MAP_HORIZON_H

if TYPE_CHECKING:
    import polars as pl

    from quantlab_assets.lake import Lake
    from quantlab_assets.settings import Settings

Record = dict[str, Any]

TEXT_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run of the demo found. Records are plain rows, in the order to print them.

    `ingested`: type, artifacts, rows. `callers` and `overall`: results in the experiment.
    `coverage`: by caller at 24 h. `untraded`: why alerts did not trade. `refused_messages`,
    `refused_candles`: the quarantine. `new_artifacts`: how many of `artifacts` this run added.
    """

    settings: "Settings"
    days: Sequence[date]
    artifacts: Sequence[Artifact]
    new_artifacts: int
    experiment_id: str
    ingested: Sequence[Record]
    callers: Sequence[Record]
    overall: Record
    coverage: Sequence[Record]
    untraded: Sequence[Record]
    refused_messages: Sequence[Record]
    refused_candles: Sequence[Record]


def findings_of(
    lake: "Lake", days: Sequence[date], experiment_id: str, before: set[str]
) -> Findings:
    """Read what the lake holds now. `before`: the artifact ids there were before the run."""
    artifacts = sorted(
        lake.store.list_artifacts().artifacts,
        key=lambda a: (a.artifact_type, a.logical_key, a.artifact_id),
    )
    metrics = lake.metrics(experiment_id)
    return Findings(
        settings=lake.settings,
        days=days,
        artifacts=artifacts,
        new_artifacts=sum(artifact.artifact_id not in before for artifact in artifacts),
        experiment_id=experiment_id,
        ingested=_ingested(artifacts),
        callers=_results(metrics, "caller"),
        overall=_results(metrics, "all")[0],
        coverage=_coverage(lake),
        untraded=_untraded(lake, experiment_id),
        refused_messages=_refused_messages(lake),
        refused_candles=_refused_candles(lake),
    )


def _ingested(artifacts: Sequence[Artifact]) -> list[Record]:
    shown = {MESSAGES: "messages", ALERTS: "calls", SLICES: "candles"}
    return [
        {
            "artifact_type": name,
            "what": what,
            "artifacts": len(mine),
            "rows": sum(artifact.row_count for artifact in mine),
        }
        for asset, what in shown.items()
        for name in [ASSETS.type_of(asset)]
        for mine in [[a for a in artifacts if a.artifact_type == name and a.status == "active"]]
    ]


def _results(metrics: "pl.DataFrame", scope: str) -> list[Record]:
    """One record a value of the scope, with a field a metric."""
    import polars as pl

    return (
        metrics.filter(pl.col("scope") == scope)
        .pivot("metric_name", index="scope_value", values="metric_value")
        .sort("scope_value")
        .to_dicts()
    )


def _coverage(lake: "Lake") -> list[Record]:
    import polars as pl

    from quantlab_assets.domain.coverage.by_month import coverage_by_caller

    summary = _active(lake, ASSETS.type_of(COVERAGE_SUMMARY))
    of_a_day = summary.filter(pl.col("horizon_h") == HEAT_MAP_HORIZON_H)
    return coverage_by_caller(of_a_day).drop("horizon_h").to_dicts()


def _untraded(lake: "Lake", experiment_id: str) -> list[Record]:
    import polars as pl

    record = lake.experiments.get(experiment_id)
    table = lake.store.open(record.outputs["diagnostics"]).to_table()
    return (
        pl.DataFrame(pl.from_arrow(table))
        .group_by("code")
        .agg(pl.len().alias("alerts"), pl.col("message").min())
        .sort("code")
        .to_dicts()
    )


def _refused_messages(lake: "Lake") -> list[Record]:
    import polars as pl

    return (
        _active(lake, ASSETS.type_of(ALERTS_QUARANTINE))
        .sort("ts_utc", "chat_id", "message_id", "error_code")
        .select(
            "ts_utc",
            "message_id",
            "sender_name",
            "error_code",
            "error_reason",
            pl.col("text").str.slice(0, TEXT_SHOWN).alias("text"),
        )
        .to_dicts()
    )


def _refused_candles(lake: "Lake") -> list[Record]:
    """Rows refused in the candle inbox, by file and reason; a file refused as a whole is one row.

    The files of tokens that nobody called are among them, which no slice's quarantine names.
    """
    import polars as pl

    return [
        {"file": refused.source.name, **row}
        for refused in lake.ingestion.candle_source.rejects()
        for row in refused.rows.group_by("error_code")
        .agg(pl.len().alias("rows"), pl.col("error_reason").min())
        .sort("error_code")
        .to_dicts()
    ]


def _artifacts(lake: "Lake", kind: str) -> list[Artifact]:
    """The active artifacts of a type, by logical key."""
    listed = lake.store.list_artifacts(ArtifactFilter(artifact_type=kind, status="active"))
    return sorted(listed.artifacts, key=lambda artifact: artifact.logical_key)


def _active(lake: "Lake", kind: str) -> "pl.DataFrame":
    """All rows of the active artifacts of a type."""
    import polars as pl

    ids = [artifact.artifact_id for artifact in _artifacts(lake, kind)]
    table = lake.store.open_many(ids).to_table() if ids else lake.types.get(kind).empty()
    return pl.DataFrame(pl.from_arrow(table))

"""Read the coverage summary of the lake: whose calls, of which days."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from quantlab_assets.domain.artifacts.records import ArtifactFilter
from quantlab_assets.domain.artifacts.seed_types import COVERAGE_SUMMARY
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.ports.artifact_store import ArtifactStore


@dataclass(frozen=True, slots=True)
class CoverageFilter:
    """Which rows of the summary: `caller` is a `caller_name_norm`, days are UTC, both included."""

    caller: str | None = None
    chain: str | None = None
    horizon_h: int | None = None
    first: date | None = None
    last: date | None = None


def read_coverage(store: ArtifactStore, where: CoverageFilter) -> pl.DataFrame:
    """The rows of `coverage_summary` that match. Raises `NotFound` if coverage was never built."""
    listed = store.list_artifacts(
        ArtifactFilter(artifact_type=COVERAGE_SUMMARY.name, status="active")
    ).artifacts
    if not listed:
        raise NotFound("this lake has no coverage yet; build it with: quantlab coverage build")
    summary = store.read_verified([artifact.artifact_id for artifact in listed])
    wanted = {
        "caller_name_norm": where.caller,
        "chain": where.chain,
        "horizon_h": where.horizon_h,
    }
    conditions = [pl.col(name) == value for name, value in wanted.items() if value is not None]
    if where.first is not None:
        conditions.append(pl.col("day") >= where.first)
    if where.last is not None:
        conditions.append(pl.col("day") <= where.last)
    return summary.filter(*conditions) if conditions else summary

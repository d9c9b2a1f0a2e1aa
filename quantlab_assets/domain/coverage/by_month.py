"""Coverage summed up by caller, and by caller and month: what commands print and maps colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from quantlab_assets.domain.coverage.counts import COUNTS, HEAT_MAP_HORIZON_H

_AT: Final = ("caller_name_norm", "month", "horizon_h")


@dataclass(frozen=True, slots=True)
class Cell:
    """The calls of one caller in one month: how many, how many are covered, their mean ratio."""

    alerts: int
    covered: int
    mean_ratio: float


@dataclass(frozen=True, slots=True)
class CallerRow:
    """One caller: all calls, their mean ratio, and a cell a month (None without a call)."""

    caller: str
    alerts: int
    mean_ratio: float
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Callers, worst covered first, by month (`YYYY-MM`, ascending), at one horizon in hours."""

    horizon_h: int
    months: tuple[str, ...]
    rows: tuple[CallerRow, ...]


def coverage_by_month(summary: pl.DataFrame) -> pl.DataFrame:
    """Sum rows of the type `coverage_summary` up by caller, month and horizon, over days and
    chains; the least covered first, of equally covered the one with more calls.

    Columns: caller_name_norm, month (`YYYY-MM`), horizon_h, alerts, covered, partial, poor, none,
    mean_ratio (of calls, not of days).
    """
    monthly = summary.with_columns(pl.col("day").dt.strftime("%Y-%m").alias("month"))
    return _summed(monthly, _AT).sort(
        "mean_ratio", "alerts", *_AT, descending=[False, True, False, False, False]
    )


def coverage_by_caller(summary: pl.DataFrame) -> pl.DataFrame:
    """Sum rows of the type `coverage_summary` up by caller and horizon, in the order of these.

    Columns: caller_name_norm, horizon_h, alerts, covered, partial, poor, none, mean_ratio (of
    calls, not of days).
    """
    return _summed(summary, ("caller_name_norm", "horizon_h"))


def _summed(summary: pl.DataFrame, at: Sequence[str]) -> pl.DataFrame:
    """The counts of rows that have these columns in common, and the mean ratio of their calls."""
    return (
        summary.with_columns((pl.col("mean_ratio") * pl.col("alerts")).alias("weighted"))
        # Floats are summed in this order, whatever order the rows came in.
        .sort(*at, "day", "chain", "weighted")
        .group_by(at, maintain_order=True)
        .agg(pl.col(*COUNTS).sum(), pl.col("weighted").sum())
        .with_columns((pl.col("weighted") / pl.col("alerts")).alias("mean_ratio"))
        .select(*at, *COUNTS, "mean_ratio")
    )


def heat_map(summary: pl.DataFrame, horizon_h: int = HEAT_MAP_HORIZON_H) -> HeatMap:
    """Arrange rows of the type `coverage_summary` as a map of one horizon."""
    monthly = coverage_by_month(summary.filter(pl.col("horizon_h") == horizon_h))
    months = tuple(monthly["month"].unique().sort())
    cells: dict[str, dict[str, Cell]] = {}
    for row in monthly.iter_rows(named=True):
        cells.setdefault(row["caller_name_norm"], {})[row["month"]] = Cell(
            row["alerts"], row["covered"], row["mean_ratio"]
        )
    rows = [_row(caller, months, by_month) for caller, by_month in cells.items()]
    rows.sort(key=lambda row: (row.mean_ratio, -row.alerts, row.caller))
    return HeatMap(horizon_h, months, tuple(rows))


def _row(caller: str, months: tuple[str, ...], by_month: dict[str, Cell]) -> CallerRow:
    there = tuple(by_month.get(month) for month in months)
    alerts = sum(cell.alerts for cell in there if cell is not None)
    weighted = sum(cell.mean_ratio * cell.alerts for cell in there if cell is not None)
    return CallerRow(caller, alerts, weighted / alerts, there)

"""The coverage table as a data frame library or a database would make it, for the benchmark.

Both make the columns of `alert_forward_coverage` for tokens that have one series of minute candles
each, by the rules of docs/candles.md; the benchmark checks every cell of them.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import duckdb
import polars as pl

from quantlab_assets.domain.artifacts.seed_types import ALERT_FORWARD_COVERAGE
from quantlab_tests.benchmarks._markets import Market

STEP_S: Final = 60
STEP: Final = pl.duration(seconds=STEP_S)


class Counted(NamedTuple):
    """Candles ready for as-of joins: with counts up to each, the holes between them, the edges."""

    starts: pl.DataFrame
    ends: pl.DataFrame
    holes: pl.DataFrame
    edges: pl.DataFrame


def by_asof_joins(market: Market, horizons: Sequence[int]) -> pl.DataFrame:
    """Polars: counts up to each candle and two as-of joins; holes are few, and joined apart."""
    counted = count_candles(market.candles)
    measured = look_up(ask(market.alerts, horizons), counted)
    return _judged(measured, counted.edges, market.windows)


def count_candles(candles: pl.DataFrame) -> Counted:
    """What as-of joins need of sorted candles."""
    traded = pl.col("volume") > 0
    active = traded | (pl.col("high") > pl.col("low"))
    rows = candles.select(
        pl.col("token_address").alias("mint"),
        "ts",
        pl.col("ts").shift().over("token_address").alias("before"),
        pl.int_range(pl.len()).alias("row"),
        traded.cast(pl.Int64).cum_sum().alias("traded_to"),
        active.cast(pl.Int64).cum_sum().alias("active_to"),
        traded.alias("traded"),
        active.alias("active"),
    )
    return Counted(
        starts=rows.select(
            "mint",
            pl.col("ts").alias("first"),
            pl.col("row").alias("row_first"),
            (pl.col("traded_to") - pl.col("traded")).alias("traded_before"),
            (pl.col("active_to") - pl.col("active")).alias("active_before"),
        ),
        ends=rows.select("mint", pl.col("ts").alias("last"), "row", "traded_to", "active_to"),
        holes=rows.filter(pl.col("ts") - pl.col("before") > STEP).select("mint", "before", "ts"),
        edges=rows.group_by("mint").agg(
            pl.col("ts").min().alias("series_first"), pl.col("ts").max().alias("series_last")
        ),
    )


def look_up(asked: pl.DataFrame, counted: Counted) -> pl.DataFrame:
    """What each horizon holds."""
    starts = asked.sort("start").join_asof(
        counted.starts,
        left_on="start",
        right_on="first",
        by="mint",
        strategy="forward",
        coalesce=False,
        check_sortedness=False,
    )
    both = starts.sort("end").join_asof(
        counted.ends,
        left_on="end",
        right_on="last",
        by="mint",
        strategy="backward",
        allow_exact_matches=False,
        coalesce=False,
        check_sortedness=False,
    )
    longest = (
        asked.select("question", "mint", "start", "end")
        .join(counted.holes, on="mint")
        .filter(pl.col("before") >= pl.col("start"), pl.col("ts") < pl.col("end"))
        .group_by("question")
        .agg((pl.col("ts") - pl.col("before")).max().dt.total_microseconds().alias("longest"))
    )
    there = pl.col("row") >= pl.col("row_first")
    return both.join(longest, on="question", how="left").with_columns(
        pl.when(there).then(pl.col("row") - pl.col("row_first") + 1).fill_null(0).alias("actual"),
        pl.when(there).then(pl.col("traded_to") - pl.col("traded_before")).alias("traded"),
        pl.when(there).then(pl.col("active_to") - pl.col("active_before")).alias("active"),
    )


def by_range_join(market: Market, horizons: Sequence[int]) -> pl.DataFrame:
    """DuckDB: every candle of every horizon joined to it, and counted."""
    with duckdb.connect() as database:
        database.execute("set TimeZone = 'UTC'")
        database.register("asked", ask(market.alerts, horizons).to_arrow())
        database.register("held", market.candles.to_arrow())
        query = """
            with candles as (
                select token_address as mint, ts, volume > 0 as traded,
                       volume > 0 or high > low as active,
                       lag(ts) over (partition by token_address order by ts) as before
                from held
            )
            select question, count(ts) as actual, count_if(traded) as traded,
                   count_if(active) as active,
                   min(ts) as first, max(ts) as last,
                   max(epoch_us(ts) - epoch_us(before)) filter (
                       before >= "start" and ts - before > interval '60 seconds'
                   ) as longest
            from asked left join candles
                on candles.mint = asked.mint and ts >= "start" and ts < "end"
            group by question
        """
        counted = pl.DataFrame(database.sql(query).to_arrow_table())
        edges = pl.DataFrame(
            database.sql(
                "select token_address as mint, min(ts) as series_first, max(ts) as series_last "
                "from held group by mint"
            ).to_arrow_table()
        )
    measured = ask(market.alerts, horizons).join(counted, on="question", how="left")
    return _judged(measured, edges, market.windows)


def ask(alerts: pl.DataFrame, horizons: Sequence[int]) -> pl.DataFrame:
    """Every alert with every horizon, and when that starts and ends."""
    hours = pl.DataFrame({"horizon_h": list(horizons)}, schema={"horizon_h": pl.Int64})
    edge = pl.col("alert_ts_utc") + pl.duration(hours=pl.col("horizon_h"))
    return (
        alerts.join(hours, how="cross")
        .with_columns(
            pl.min_horizontal("alert_ts_utc", edge).alias("start"),
            pl.max_horizontal("alert_ts_utc", edge).alias("end"),
        )
        .with_row_index("question")
    )


def _judged(measured: pl.DataFrame, edges: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Ratios, gaps, grades and reasons from what was counted."""
    step_us = STEP_S * 1_000_000
    us = {name: pl.col(name).cast(pl.Int64) for name in ("start", "end", "first", "last")}
    point = -(-us["start"] // step_us) * step_us
    expected = (-(-us["end"] // step_us) * step_us - point) // step_us
    counted = (
        measured.join(edges, on="mint", how="left")
        .join(windows.select("mint", "window_start", "window_end"), on="mint", how="left")
        .with_columns(
            (pl.col("actual") > 0).alias("present"),
            point.alias("first_point"),
            expected.alias("expected"),
            (point + (expected - 1) * step_us).alias("last_point"),
        )
        .with_columns(
            pl.when("present").then((us["first"] - pl.col("first_point")) // step_us).alias("head"),
            pl.when("present").then((pl.col("last_point") - us["last"]) // step_us).alias("tail"),
            (pl.col("actual") / pl.col("expected")).alias("ratio"),
        )
        .with_columns(
            (pl.col("expected") - pl.col("actual") - pl.col("head") - pl.col("tail")).alias("in")
        )
    )
    inner_s = (pl.col("longest") // 1_000_000 - STEP_S).fill_null(0)
    edge_s = pl.max_horizontal("head", "tail") * STEP_S
    earlier = pl.col("series_first") < pl.col("start")
    later = pl.col("series_last") >= pl.col("end")
    late = pl.when(earlier).then(0).when("present").then("head").otherwise(later.cast(pl.Int64))
    early = pl.when(later).then(0).when("present").then("tail").otherwise(earlier.cast(pl.Int64))
    holes = (
        pl.when("present")
        .then(pl.col("in") + pl.col("head") + pl.col("tail") - late - early)
        .otherwise(0)
    )
    last = pl.col("last_point")
    beyond = (pl.col("first_point") < pl.col("window_start").cast(pl.Int64)) | (
        last >= pl.col("window_end").cast(pl.Int64)
    )
    dead = pl.col("present") & (pl.col("active") == 0) & (pl.col("ratio") >= 0.8)
    reason = (
        pl.when(dead)
        .then(pl.lit("dead"))
        .when(pl.col("ratio") >= 0.95)
        .then(pl.lit("ok"))
        .when(beyond)
        .then(pl.lit("beyond_window"))
        .when((late >= early) & (late >= holes) & (late > 0))
        .then(pl.lit("starts_late"))
        .when((early >= holes) & (early > 0))
        .then(pl.lit("ends_early"))
        .otherwise(pl.lit("gaps"))
    )
    grade = (
        pl.when(~pl.col("present"))
        .then(pl.lit("none"))
        .when(pl.col("ratio") >= 0.95)
        .then(pl.lit("good"))
        .when(pl.col("ratio") >= 0.8)
        .then(pl.lit("partial"))
        .otherwise(pl.lit("poor"))
    )
    return counted.select(
        "alert_id",
        "chain",
        "mint",
        "caller_name_norm",
        "alert_ts_utc",
        "horizon_h",
        pl.lit(STEP_S, dtype=pl.Int64).alias("interval_s"),
        pl.col("expected").alias("expected_candles"),
        pl.col("actual").alias("actual_candles"),
        pl.col("traded").fill_null(0).alias("traded_candles"),
        pl.col("ratio").alias("coverage_ratio"),
        ((us["first"] - us["start"]) // 1_000_000).alias("first_candle_delay_s"),
        pl.when("present")
        .then(pl.max_horizontal(edge_s, inner_s))
        .otherwise(pl.col("expected") * STEP_S)
        .alias("longest_gap_s"),
        grade.alias("grade"),
        reason.alias("reason"),
    ).select(ALERT_FORWARD_COVERAGE.schema.names)

"""Figures of candles: `python -m quantlab_tests.benchmarks candles [--quick] [--only PART]`.

Variants that are compared do the same work and take turns in one process; a ratio is the median of
the ratios of the rounds.
"""

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from quantlab_assets.domain.coverage.candle_index import CandleIndex
from quantlab_assets.domain.coverage.forward import HORIZONS_H, Ints, forward_coverage
from quantlab_assets.domain.coverage.kernel import measure
from quantlab_tests.benchmarks._coverage_by_joins import (
    ask,
    by_asof_joins,
    by_range_join,
    count_candles,
    look_up,
)
from quantlab_tests.benchmarks._markets import Market, market
from quantlab_tests.benchmarks._slice_export import (
    Bazaar,
    embedded_clickhouse,
    from_clickhouse,
    from_files,
    scan_clickhouse,
    scan_files,
    write_bare,
)
from quantlab_tests.benchmarks._turns import show, take_turns


def coverage(rounds: int, quick: bool) -> None:
    """The coverage table, from frames to a frame, by the kernel and by joins."""
    made = market(tokens=200, minutes=4124, alerts=1_000) if quick else market(2_000, 4_124, 10_000)
    by_kernel(made)  # compiled, or read from the disk, before anything is timed
    _check_equal(made)
    size = (
        f"{made.alerts.height:,} alerts x {len(HORIZONS_H)} horizons over "
        f"{made.candles.height:,} candles"
    )
    timings = take_turns(
        {
            "kernel": lambda: by_kernel(made),
            "Polars, as-of joins": lambda: by_asof_joins(made, HORIZONS_H),
            "DuckDB, range join": lambda: by_range_join(made, HORIZONS_H),
        },
        rounds,
    )
    show(
        f"coverage of {size}, from frames to the table",
        timings,
        {
            "Polars / kernel": ("Polars, as-of joins", "kernel", ">= 20"),
            "DuckDB / kernel": ("DuckDB, range join", "kernel", ">= 20"),
        },
    )
    index, counted = CandleIndex.of(made.candles), count_candles(made.candles)
    asked, questions = _asked(made.alerts, index), ask(made.alerts, HORIZONS_H)
    timings = take_turns(
        {
            "kernel": lambda: measure(*asked, index.rows, index.blocks),
            "Polars, as-of joins": lambda: look_up(questions, counted),
        },
        rounds,
    )
    show(
        "what the horizons hold alone, over sorted arrays and running counts made before",
        timings,
        {"Polars / kernel": ("Polars, as-of joins", "kernel", ">= 20")},
    )


def _asked(alerts: pl.DataFrame, index: CandleIndex) -> tuple[Ints, Ints, Ints, Ints]:
    """Times of the alerts, their tokens' series (one each), and the horizons, for the kernel."""
    called = alerts.join(index.names, on="mint", how="left").sort("series", "alert_ts_utc")
    return (
        called["alert_ts_utc"].cast(pl.Int64).to_numpy(),
        called["series"].to_numpy(),
        np.ones(called.height, np.int64),
        np.array(HORIZONS_H) * 3_600_000_000,
    )


def by_kernel(made: Market) -> pl.DataFrame:
    """The lab's own."""
    return forward_coverage(made.alerts, made.candles, made.windows, None)


def _check_equal(made: Market) -> None:
    """All three make the same table, else the comparison would mean nothing."""
    order = ["alert_id", "horizon_h"]
    wanted = by_kernel(made).sort(order)
    for other in (by_asof_joins, by_range_join):
        found = other(made, HORIZONS_H).cast(wanted.schema).sort(order)  # type: ignore[arg-type]
        if not found.equals(wanted):
            raise AssertionError(f"{other.__name__} makes another table than the kernel")


def exporting(rounds: int, quick: bool, folder: Path) -> None:
    """Exporting slices against reading the same rows and writing them as Parquet files."""
    tokens = 400 if quick else 4_000
    bazaar = Bazaar(folder, tokens, rows=2_000)
    index = folder / "index"
    if from_files(bazaar, index) != tokens:
        raise AssertionError("not every token became a slice")
    scan_csv = partial(scan_files, bazaar)
    title = f"{tokens:,} slices of 2,000 rows from"
    timings = take_turns(
        {
            "read CSV, write Parquet": lambda: write_bare(bazaar, scan_csv, sync=False),
            "read CSV, write Parquet, fsync": lambda: write_bare(bazaar, scan_csv, sync=True),
            "export": lambda: from_files(bazaar, index),
            "export, files never seen before": lambda: from_files(bazaar),
        },
        rounds,
        warm=False,
    )
    bare, synced = "read CSV, write Parquet", "read CSV, write Parquet, fsync"
    show(
        f"{title} {tokens:,} CSV files",
        timings,
        {
            "export / bare": ("export", bare, "<= 2.5"),
            "export / bare, fsync": ("export", synced, "<= 2.5"),
            "export of new files / bare": ("export, files never seen before", bare, "told only"),
        },
    )
    with embedded_clickhouse(folder / "clickhouse") as connection:
        bazaar.put_into(connection)
        if from_clickhouse(bazaar, connection) != tokens:
            raise AssertionError("not every token became a slice")
        select = partial(scan_clickhouse, bazaar, connection)
        timings = take_turns(
            {
                "select, write Parquet": lambda: write_bare(bazaar, select, sync=False),
                "select, write Parquet, fsync": lambda: write_bare(bazaar, select, sync=True),
                "export": lambda: from_clickhouse(bazaar, connection),
            },
            rounds,
            warm=False,
        )
    bare, synced = "select, write Parquet", "select, write Parquet, fsync"
    show(
        f"{title} ClickHouse in this process",
        timings,
        {
            "export / bare": ("export", bare, "<= 2.5"),
            "export / bare, fsync": ("export", synced, "<= 2.5"),
        },
    )


PARTS = ("coverage", "export")


def main(argv: Sequence[str]) -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(prog="python -m quantlab_tests.benchmarks candles")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=PARTS, help="one part of it")
    arguments = parser.parse_args(argv)
    if arguments.only in (None, "coverage"):
        coverage(arguments.rounds, arguments.quick)
    if arguments.only in (None, "export"):
        with tempfile.TemporaryDirectory() as folder:
            exporting(arguments.rounds, arguments.quick, Path(folder))

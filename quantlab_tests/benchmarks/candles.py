"""Figures of candles: `python -m quantlab_tests.benchmarks candles [--quick] [--only PART]`.

Variants that are compared do the same work and take turns in one process; a ratio is the median of
the ratios of the rounds.
"""

import argparse
from collections.abc import Sequence

import polars as pl

from quantlab_assets.domain.coverage import HORIZONS_H, forward_coverage
from quantlab_tests.benchmarks._coverage_by_joins import by_asof_joins, by_range_join
from quantlab_tests.benchmarks._markets import Market, market
from quantlab_tests.benchmarks._turns import show, take_turns


def coverage(rounds: int, quick: bool) -> None:
    """The coverage table, from frames to a frame, by the kernel and by joins."""
    made = market(tokens=200, minutes=4124, alerts=1_000) if quick else market(2_000, 4_124, 10_000)
    by_kernel(made)  # compiled, or read from the disk, before anything is timed
    _check_equal(made)
    timings = take_turns(
        {
            "kernel": lambda: by_kernel(made),
            "Polars, as-of joins": lambda: by_asof_joins(made, HORIZONS_H),
            "DuckDB, range join": lambda: by_range_join(made, HORIZONS_H),
        },
        rounds,
    )
    show(
        f"coverage of {made.alerts.height:,} alerts x {len(HORIZONS_H)} horizons over "
        f"{made.candles.height:,} candles",
        timings,
        {
            "Polars / kernel": ("Polars, as-of joins", "kernel", ">= 20"),
            "DuckDB / kernel": ("DuckDB, range join", "kernel", ">= 20"),
        },
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


def main(argv: Sequence[str]) -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(prog="python -m quantlab_tests.benchmarks candles")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(argv)
    coverage(arguments.rounds, arguments.quick)

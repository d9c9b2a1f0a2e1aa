"""Coverage by caller and month, and the heat map of it."""

from datetime import date

import polars as pl
import pytest

from quantlab_assets.domain.artifacts.seed_types import COVERAGE_SUMMARY
from quantlab_assets.domain.coverage.by_month import Cell, coverage_by_month, heat_map


def summary(*rows: tuple[date, str, str, int, int, int, float]) -> pl.DataFrame:
    """Day, chain, caller, horizon, alerts, covered, mean ratio."""
    return pl.DataFrame(
        [
            (day, chain, caller, horizon, alerts, covered, 0, alerts - covered, 0, ratio)
            for day, chain, caller, horizon, alerts, covered, ratio in rows
        ],
        schema=pl.DataFrame(COVERAGE_SUMMARY.empty()).schema,
        orient="row",
    )


OCTOBER, FIRST, SECOND = date(2025, 10, 31), date(2025, 11, 1), date(2025, 11, 2)
ROWS = summary(
    (OCTOBER, "evm", "a", 24, 1, 0, 0.5),
    (FIRST, "evm", "a", 24, 1, 1, 1.0),
    (FIRST, "solana", "a", 24, 2, 0, 0.25),
    (SECOND, "solana", "a", 24, 1, 0, 0.0),
    (SECOND, "solana", "a", 4, 1, 1, 1.0),
    (SECOND, "evm", "b", 24, 3, 0, 0.125),
)


def test_days_and_chains_are_summed_up_and_every_call_counts_the_same() -> None:
    assert coverage_by_month(ROWS).rows() == [
        ("b", "2025-11", 24, 3, 0, 0, 3, 0, 0.125),
        ("a", "2025-11", 24, 4, 1, 0, 3, 0, 0.375),
        ("a", "2025-10", 24, 1, 0, 0, 1, 0, 0.5),
        ("a", "2025-11", 4, 1, 1, 0, 0, 0, 1.0),
    ]


def test_the_order_of_rows_decides_nothing() -> None:
    assert coverage_by_month(ROWS.reverse()).equals(coverage_by_month(ROWS))
    assert heat_map(ROWS.reverse()) == heat_map(ROWS)


def test_a_map_has_the_worst_caller_first_and_no_cell_where_nothing_was_called() -> None:
    found = heat_map(ROWS)

    assert found.months == ("2025-10", "2025-11")
    assert [(row.caller, row.alerts) for row in found.rows] == [("b", 3), ("a", 5)]
    assert [row.mean_ratio for row in found.rows] == pytest.approx([0.125, 0.4])
    assert found.rows[0].cells == (None, Cell(3, 0, 0.125))
    assert found.rows[1].cells == (Cell(1, 0, 0.5), Cell(4, 1, 0.375))


def test_of_equally_covered_callers_the_one_with_more_calls_comes_first() -> None:
    rows = summary(
        (FIRST, "evm", "a", 24, 1, 0, 0.5),
        (FIRST, "evm", "b", 24, 2, 0, 0.5),
    )

    assert [row.caller for row in heat_map(rows).rows] == ["b", "a"]
    assert coverage_by_month(rows)["caller_name_norm"].to_list() == ["b", "a"]


def test_a_horizon_that_was_not_measured_is_an_empty_map() -> None:
    found = heat_map(ROWS, 12)

    assert (found.months, found.rows) == ((), ())

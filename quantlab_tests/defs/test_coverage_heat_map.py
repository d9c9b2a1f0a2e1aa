"""The heat map in the graph's metadata: Markdown in which names from messages are only names."""

import pytest

from quantlab_assets.defs.coverage_heat_map import CALLERS_SHOWN, escaped, heat_map_markdown
from quantlab_assets.domain.coverage.by_month import CallerRow, Cell, HeatMap
from quantlab_assets.domain.slices.grades import STANDARD_GRADING, Grading


def row(name: str, *ratios: float | None) -> CallerRow:
    cells = tuple(None if ratio is None else Cell(4, 1, ratio) for ratio in ratios)
    return CallerRow(name, 4, 0.96, cells)


def test_a_row_a_caller_and_a_column_a_month() -> None:
    found = HeatMap(
        24, ("2025-10", "2025-11"), (row("caller_01", 0.9499, None), row("b", 0.0, 1.0))
    )

    _, _, head, _, first, second = heat_map_markdown(found, STANDARD_GRADING).splitlines()

    assert head == "| caller | calls | mean | 2025-10 | 2025-11 |"
    assert first == r"| caller\_01 | 4 | 🟩 96 % | 🟨 94 % (4) |  |"
    assert second == "| b | 4 | 🟩 96 % | ⬛ 0 % (4) | 🟩 100 % (4) |"


def test_squares_and_the_legend_follow_the_configured_grades() -> None:
    coverage = HeatMap(24, ("2025-10", "2025-11"), (row("a", 0.3, 0.29), row("b", 0.895, 0.0)))

    said, _, _, _, first, second = heat_map_markdown(coverage, Grading(0.895, 0.3)).splitlines()

    assert said.endswith("🟩 89.5 % and more · 🟨 30 % and more · 🟥 less · ⬛ none")
    assert first.endswith("🟨 30 % (4) | 🟥 29 % (4) |")
    assert second.endswith("🟩 89 % (4) | ⬛ 0 % (4) |")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a|b", r"a\|b"),
        ("<img src=x>", r"\<img src\=x\>"),
        ("[x](http://a.b)", r"\[x\]\(http\:\/\/a\.b\)"),
        ("`code` **b**", r"\`code\` \*\*b\*\*"),
        ("two\nlines\u202e", "two lines"),
        ("", r"\-"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_a_name_is_shown_letter_by_letter(name: str, shown: str) -> None:
    assert escaped(name) == shown


def test_more_callers_than_anyone_reads_are_counted() -> None:
    rows = tuple(row(f"caller{number}", 0.5) for number in range(CALLERS_SHOWN + 3))

    text = heat_map_markdown(HeatMap(24, ("2025-11",), rows), STANDARD_GRADING)

    assert text.count("\n| ") == CALLERS_SHOWN + 1
    assert "3 callers that are better covered are left out." in text

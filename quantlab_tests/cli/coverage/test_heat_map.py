"""The heat map as a page: names from messages stay text, and the page needs nothing else."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from quantlab_assets.cli.coverage.heat_map import CALLERS_SHOWN, heat_map_html
from quantlab_assets.cli.main import main
from quantlab_assets.cli.session import Session
from quantlab_assets.domain.coverage.by_month import CallerRow, Cell, HeatMap
from quantlab_assets.domain.slices.grades import STANDARD_GRADING, Grading

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='javascript:alert(1)'>x</a><b>b</b>",
    "$$\\href{javascript:alert(1)}{x}$$",
    "a\u202eb\x00c",
]


def heat_map(*names: str) -> HeatMap:
    rows = tuple(CallerRow(name, 3, 0.5, (Cell(3, 1, 0.5), None)) for name in names)
    return HeatMap(24, ("2025-10", "2025-11"), rows)


def page_of(*names: str) -> str:
    return heat_map_html(heat_map(*names), STANDARD_GRADING)


class Tags(HTMLParser):
    """The elements of a page, and what they would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_adds_no_element_to_the_page(name: str) -> None:
    harmless, hostile = Tags(), Tags()
    harmless.feed(page_of("caller_01"))

    page = page_of(name)
    hostile.feed(page)

    assert hostile.tags == harmless.tags
    data = page[page.rindex("Plotly.newPlot") :]
    # What the chart would read as markup reaches it escaped, in a script that cannot end early.
    assert not re.search(r"<(script|img|a|b)\b", data.partition("</script>")[0])
    assert not re.search(r"\\u003c(script|img|a|b)\b", data)
    assert "\u202e" not in page
    assert "\\u202e" not in data


def test_the_page_loads_nothing() -> None:
    page = Tags()
    text = page_of("caller_01")
    page.feed(text)

    assert page.loads == []
    assert "default-src 'none'" in text


def test_the_same_coverage_is_the_same_page() -> None:
    assert page_of("a", "b") == page_of("a", "b")


def test_more_callers_than_anyone_reads_are_counted() -> None:
    names = [f"caller_{number:04d}" for number in range(CALLERS_SHOWN + 2)]

    page = page_of(*names)

    assert names[CALLERS_SHOWN - 1] in page
    assert names[CALLERS_SHOWN] not in page
    assert "2 better covered callers are left out" in page


def test_a_page_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    page = tmp_path / "coverage.html"
    page.write_text("old")

    written = heat_map_html(heat_map("caller_01"), STANDARD_GRADING)
    Session().write_whole(page, written.encode())

    assert page.read_text("utf-8").endswith("</html>\n")
    assert list(tmp_path.iterdir()) == [page]


def stops_of(page: str) -> list[float]:
    colours = re.search(r'"colorscale":(\[\[.*?\]\])', page[page.rindex("Plotly.newPlot") :])
    assert colours is not None
    return [share for share, _ in json.loads(colours[1])]


@pytest.mark.parametrize("grading", [Grading(), Grading(0.5, 0.25), Grading(1, 1)])
def test_colours_change_where_a_grade_begins(grading: Grading) -> None:
    stops = stops_of(heat_map_html(heat_map("caller_01"), grading))
    assert stops == [0, grading.partial, grading.partial, grading.good, grading.good, 1]


def test_a_page_is_coloured_by_the_configured_grades(
    demo_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTLAB_SLICE_GRADES", "0.79,0.1")
    page = tmp_path / "coverage.html"
    words = ["--lake", str(demo_lake), "coverage", "show", "--html", str(page)]
    assert main(words) == 0
    assert stops_of(page.read_text("utf-8")) == [0, 0.1, 0.1, 0.79, 0.79, 1]


def test_no_coverage_is_an_empty_map() -> None:
    assert "<html" in heat_map_html(HeatMap(24, (), ()), STANDARD_GRADING)

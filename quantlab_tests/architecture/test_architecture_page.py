"""docs/architecture.md: what it names is there, and its ten questions have one file each."""

import re

from quantlab_tests.architecture.sources import PACKAGE, ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_question_is_answered_by_a_file_that_is_there() -> None:
    rows = re.findall(r"^\| \.\.\. .*? \| `([\w/.]+)`", PAGE, re.MULTILINE)
    assert len(rows) == 10
    assert [name for name in rows if not (PACKAGE / name).is_file()] == []


def test_every_module_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+(?:\.py)?)(?:\.[a-z_]+)?`", PAGE))
    places = {name for name in named if not name.startswith(("quantlab_tests/", "docs/"))}
    missing = {
        name
        for name in places
        if not (PACKAGE / name).exists() and not (PACKAGE / f"{name}.py").exists()
    }
    assert len(places) > 15
    assert missing == set()


def test_every_file_that_the_documentation_names_is_there() -> None:
    tops = "quantlab_assets|quantlab_tests|adapters|cli|defs|domain|handlers|lake|ports|simulation"
    named = {
        (page.name, name)
        for page in [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
        for name in re.findall(rf"`((?:{tops})/[\w/.]*\w)/?`", page.read_text(encoding="utf-8"))
    }
    missing = {
        (page, name)
        for page, name in named
        for places in [[base / name for base in (ROOT, PACKAGE, ROOT / "quantlab_tests")]]
        if not any(place.exists() or place.with_suffix(".py").exists() for place in places)
    }
    assert len(named) > 20
    assert missing == set()

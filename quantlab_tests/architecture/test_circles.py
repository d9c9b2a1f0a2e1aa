"""No file of the package needs, in the end, itself: not inside a function, not to check types."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from quantlab_tests.architecture.sources import PACKAGE, modules, name_of, tree_of

Graph = Mapping[str, Mapping[str, set[str]]]
"""A file, the files it imports, and what it takes from each."""


def dotted(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def base_of(node: ast.ImportFrom, path: Path, root: Path) -> str:
    """The module that `from ... import` names, a relative one from where it stands."""
    if not node.level:
        return node.module or ""
    package = path.parent.relative_to(root).parts
    above = package[: len(package) - (node.level - 1)]
    return ".".join([*above, *filter(None, [node.module])])


def imports(path: Path, root: Path) -> Iterator[tuple[str, str | None]]:
    """Every module that a file imports, wherever in it, and the name it takes of the module."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = base_of(node, path, root)
            yield from ((base, alias.name) for alias in node.names)


def import_graph(package: Path) -> Graph:
    """Who takes what from whom. `from package import module` takes the module, not the package:
    that its `__init__` runs first is so for every file below it, and no circle of anybody's making.
    """
    root = package.parent
    files = {dotted(path, root): path for path in modules(package)}
    graph: dict[str, dict[str, set[str]]] = {}
    for module, path in files.items():
        taken = graph.setdefault(path.relative_to(root).as_posix(), {})
        for base, name in imports(path, root):
            whole = f"{base}.{name}"
            source, what = (whole, "the module") if whole in files else (base, name or "the module")
            if source in files and source != module:
                where = files[source].relative_to(root).as_posix()
                taken.setdefault(where, set()).add(what)
    return graph


def reachable(graph: Graph, start: str) -> set[str]:
    reached: set[str] = set()
    ahead = [start]
    while ahead:
        for file in graph[ahead.pop()].keys() - reached:
            reached.add(file)
            ahead.append(file)
    return reached


def circles(graph: Graph) -> list[list[str]]:
    """The sets of files of which each needs each other, in the order of their names."""
    reach = {file: reachable(graph, file) for file in graph}
    rounds = {
        tuple(sorted(other for other in reach[file] if file in reach[other]))
        for file in graph
        if file in reach[file]
    }
    return [list(files) for files in sorted(rounds)]


def described(graph: Graph, files: list[str]) -> str:
    lines = [
        f"  {file} takes {', '.join(sorted(graph[file][other]))} from {other}"
        for file in files
        for other in files
        if other in graph[file]
    ]
    return "\n".join([f"{len(files)} files need each other:", *lines])


def test_no_files_of_the_package_need_each_other() -> None:
    graph = import_graph(PACKAGE)
    assert name_of(PACKAGE / "cli" / "main.py") in graph
    found = [described(graph, files) for files in circles(graph)]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


@pytest.mark.parametrize(
    "late",
    [
        "from house.door import Door",
        "import house.door",
        "from house import door",
        "from . import door",
        "from .door import Door",
        "def open():\n    from house.door import Door",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.door import Door",
    ],
)
def test_a_circle_is_seen_wherever_the_import_stands(late: str, tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    (house / "__init__.py").write_text("from house.roof import Roof\n")
    (house / "roof.py").write_text("")
    (house / "door.py").write_text("from house import lock\nfrom house.roof import Roof\n")
    (house / "lock.py").write_text(f"{late}\n")
    graph = import_graph(house)
    assert circles(graph) == [["house/door.py", "house/lock.py"]]
    assert "house/door.py takes the module from house/lock.py" in described(
        graph, ["house/door.py", "house/lock.py"]
    )


def test_what_an_init_re_exports_counts(tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    (house / "__init__.py").write_text("from house.roof import Roof\n")
    (house / "roof.py").write_text("from house import Roof\n")
    assert circles(import_graph(house)) == [["house/__init__.py", "house/roof.py"]]

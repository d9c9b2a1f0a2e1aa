"""The dependency direction, and the few modules that alone may touch a thing."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

from quantlab_tests.architecture.sources import (
    PACKAGE,
    ROOT,
    imported_names,
    modules,
    name_of,
    repository_files,
    tree_of,
)

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager2"}


def test_every_import_contract_holds(capsys: pytest.CaptureFixture[str]) -> None:
    code = lint_imports(config_filename=str(ROOT / ".importlinter"), no_cache=True)
    assert code == 0, capsys.readouterr().out


def names_used(path: Path) -> set[str]:
    """Dotted names in code (`os.environ`, `yaml.load`) and in imports."""
    used = set(imported_names(path))
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute):
            used.add(ast.unparse(node))
    return used


def modules_that_use(pattern: str) -> list[str]:
    expression = re.compile(pattern)
    return [
        name_of(path)
        for path in modules()
        if any(expression.match(name) for name in names_used(path))
    ]


def test_only_the_lineage_seam_names_what_dagster_keeps_private() -> None:
    users = modules_that_use(r"(dagster|dg)\._")
    assert set(users) <= {"quantlab_assets/defs/data/lineage.py"}


def test_only_settings_reads_the_environment() -> None:
    users = modules_that_use(r"os\.(environb?|getenvb?|putenv|unsetenv)\b")
    assert users == ["quantlab_assets/settings.py"]


def test_nothing_unpickles_or_loads_yaml_tags() -> None:
    assert modules_that_use(r"(pickle|cPickle|dill|cloudpickle|shelve|marshal)\b") == []
    assert modules_that_use(r"yaml\.(load|load_all|unsafe_load|full_load)\b") == []


def test_dagster_definitions_keep_their_annotations_as_types() -> None:
    # Dagster reads the annotations of assets and resources: as text they mean nothing to it.
    postponed = [
        name_of(path)
        for path in [*modules(PACKAGE / "defs"), PACKAGE / "definitions.py"]
        if "__future__.annotations" in imported_names(path)
    ]
    assert postponed == []


def test_every_module_has_a_name_that_says_something() -> None:
    vague = [
        name_of(path)
        for path in [*modules(), *modules(ROOT / "quantlab_tests")]
        if VAGUE_NAMES & {path.stem, *path.relative_to(ROOT).parent.parts}
    ]
    assert vague == []


def test_the_top_level_is_the_fixed_one() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in repository_files()}
    assert {name for name in top if not name.startswith(".")} == {
        "LICENSE",
        "README.md",
        "dagster.yaml",
        "docs",
        "pyproject.toml",
        "quantlab_assets",
        "quantlab_tests",
        "workspace.yaml",
    }


def test_the_lakes_that_the_readme_makes_stay_out_of_version_control() -> None:
    made = ["lake/manifest/manifest.sqlite", "quantlab-demo/inbox/a.csv", ".dagster/runs.db"]
    ignored = subprocess.run(
        ["git", "check-ignore", *made], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ignored.stdout.split() == made


def functions_that_open_duckdb_to_write() -> set[tuple[str, str]]:
    return {
        (name_of(path), function.name)
        for path in modules()
        for function in ast.walk(tree_of(path))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "duckdb.connect"
        if "read_only=True" not in map(ast.unparse, call.keywords)
    }


def test_duckdb_is_written_by_the_builds_of_projections_only() -> None:
    # Under another name `duckdb.connect` would hide from the search.
    assert [path for path in modules() if "duckdb.connect" in imported_names(path)] == []
    # Its resource opens read-only: quantlab_tests/defs/test_research_database.py.
    assert modules_that_use(r"dagster_duckdb\b") == ["quantlab_assets/defs/resources.py"]
    assert functions_that_open_duckdb_to_write() == {
        ("quantlab_assets/adapters/duckdb/connections.py", "open_for_build"),
        ("quantlab_assets/adapters/duckdb/ledger_file.py", "_write"),
    }
    assert modules_that_use(r".*\.open_for_build$") == ["quantlab_assets/adapters/duckdb/build.py"]


def test_the_repository_stands_alone() -> None:
    # A home folder, a mount or a package index of one machine would break it on every other.
    machine = re.compile(
        r"(?<![\w.~/-])/(?:home|Users|root|work|mnt|srv)/\w"
        r"|--(?:extra-)?index-url|--trusted-host|PIP_(?:EXTRA_)?INDEX_URL"
    )
    here = Path(__file__)
    found = [
        f"{name_of(path)}: {match.group()}"
        for path in repository_files()
        if path != here and path.suffix in {".py", ".md", ".toml", ".yaml", ".yml", ".cfg", ""}
        for match in [machine.search(path.read_text(encoding="utf-8", errors="replace"))]
        if match
    ]
    assert found == []

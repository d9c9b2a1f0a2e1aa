"""What the package needs is what it says: every module loads, and each lower bound is a tested one.

`.ci/lowest.txt` pins the oldest versions that pyproject.toml allows; `.ci/run` tests on them too.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from quantlab_tests.architecture.sources import ROOT

LOWEST = ROOT / ".ci" / "lowest.txt"

IMPORT_ALL = """
import json, pkgutil, sys
from importlib import import_module
import quantlab_assets
names = [found.name for found in
    pkgutil.walk_packages(quantlab_assets.__path__, "quantlab_assets.", onerror=lambda name: None)]
failed = {}
for name in names:
    try:
        import_module(name)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
print(json.dumps({"names": names, "failed": failed}))
"""


def test_every_module_imports(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "QUANTLAB_LAKE": str(tmp_path / "lake"), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert {"quantlab_assets.cli.main", "quantlab_assets.definitions"} <= set(outcome["names"])
    assert outcome["failed"] == {}


def requirements() -> dict[str, SpecifierSet]:
    """The bounds of every dependency, also of the extras, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [project["dependencies"], *project["optional-dependencies"].values()]
    parsed = [Requirement(text) for texts in listed for text in texts]
    return {each.name: each.specifier for each in parsed if each.name != project["name"]}


def lower_bound(bounds: SpecifierSet) -> Version | None:
    """The oldest version that the bounds let in, if they say so."""
    lower = [Version(bound.version) for bound in bounds if bound.operator == ">="]
    return lower[0] if len(lower) == 1 else None


def pins() -> dict[str, Version]:
    """The versions that the lowest environment has, by name."""
    lines = [line.split("#")[0].strip() for line in LOWEST.read_text(encoding="utf-8").splitlines()]
    pinned = [line.split("==") for line in lines if line]
    return {name: Version(version) for name, version in pinned}


def test_the_bounds_of_every_dependency_end_below_a_version_nobody_has_tried() -> None:
    open_ended = [
        name
        for name, bounds in requirements().items()
        if sorted(bound.operator for bound in bounds) != ["<", ">="]
    ]
    assert open_ended == []


def test_the_lowest_environment_has_exactly_the_lower_bounds() -> None:
    lowest = {name: lower_bound(bounds) for name, bounds in requirements().items()}
    pinned = pins()
    assert {name: pinned.get(name) for name in lowest} == lowest, "bring .ci/lowest.txt up to date"

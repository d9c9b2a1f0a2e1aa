"""An experiment is reproduced whatever the machine looks like: time zone, locale, hash seed,
threads, folder, clock."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quantlab_assets.simulation import engine_version
from quantlab_tests.conftest import ROOT
from quantlab_tests.handlers.experiments.lab import create, execute, one_win_one_loss, real_lab

REPRODUCE = """
import sys
from pathlib import Path
from quantlab_assets.handlers.experiments.reproduce import reproduce_experiment
from quantlab_tests.handlers.experiments.lab import real_lab
lab = real_lab(Path(sys.argv[1]))
(record,) = lab.tracker.list()
found = reproduce_experiment(lab.store, lab.tracker, record.experiment_id)
print(found.verdict, found.message)
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lab")
    lab = real_lab(root)
    one_win_one_loss(lab)
    execute(lab, create(lab))
    return root


def reproduce(root: Path, *prefix: str, package: Path = ROOT, **variables: str) -> str:
    path = os.pathsep.join([str(package), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*prefix, sys.executable, "-c", REPRODUCE, str(root)],
        env={**os.environ, "PYTHONPATH": path, **variables},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ELSEWHERE = {
    "TZ": "Australia/Sydney",
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "C",
    "PYTHONHASHSEED": "4711",
    "POLARS_MAX_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


def test_elsewhere_the_result_is_the_same(executed: Path, tmp_path: Path) -> None:
    """All at once: another folder, zone, locale, hash seed, one thread, a clock a year ahead."""
    moved = tmp_path / "wo änders"
    shutil.copytree(executed, moved)
    ahead = ("faketime", "-f", "+365d") if shutil.which("faketime") else ()
    assert reproduce(moved, *ahead, **ELSEWHERE).startswith("IDENTICAL")


@pytest.mark.nightly
@pytest.mark.parametrize("name", ELSEWHERE)
def test_each_circumstance_alone_changes_nothing(executed: Path, name: str) -> None:
    assert reproduce(executed, **{name: ELSEWHERE[name]}).startswith("IDENTICAL")


def test_an_edited_kernel_is_told_from_a_drift(executed: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "quantlab_assets", tmp_path / "quantlab_assets", ignore=_no_caches)
    kernel = tmp_path / "quantlab_assets" / "simulation" / "walk" / "kernel.py"
    kernel.write_text(kernel.read_text() + "\n# an edit\n")
    # Compiling a copy takes longer than all else; a few trades go without.
    said = reproduce(executed, package=tmp_path, NUMBA_DISABLE_JIT="1")
    assert said.startswith("ENGINE-DIFFERS")
    assert engine_version()[:18] in said
    assert "the same result" in said


def _no_caches(_folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name == "__pycache__"}

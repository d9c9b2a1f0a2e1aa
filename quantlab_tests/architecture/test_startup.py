"""Commands that only look at the manifest start fast: they import none of the slow packages.

Judged by what is imported, not by a clock.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = ["dagster", "pandera", "polars", "pandas", "numba", "duckdb"]

PROBE = """
import json, sys
from quantlab_assets.cli.main import main
code = main(json.loads(sys.argv[1]))
slow = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
print(json.dumps({"code": code, "slow": slow}), file=sys.stderr)
"""


def outcome(arguments: list[str], folder: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(arguments), json.dumps(SLOW)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, object] = json.loads(done.stderr.splitlines()[-1])
    return result


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["init"], ["status"]])
def test_a_quick_command_imports_nothing_slow(arguments: list[str], tmp_path: Path) -> None:
    assert outcome(arguments, tmp_path) == {"code": 0, "slow": []}


def test_a_lake_with_an_experiment_in_it_does_not_slow_status_down(
    demo_lake: Path, tmp_path: Path
) -> None:
    assert outcome(["--lake", str(demo_lake), "status"], tmp_path) == {"code": 0, "slow": []}


def test_importing_the_package_is_cheap() -> None:
    probe = (
        "import sys, json, quantlab_assets;"
        "print(json.dumps([n for n in [*json.loads(sys.argv[1]), 'pyarrow', 'numpy', 'sqlalchemy']"
        " if n in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, json.dumps(SLOW)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []

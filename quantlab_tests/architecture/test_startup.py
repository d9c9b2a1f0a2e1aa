"""Commands that only look at the manifest start fast: they import none of the slow packages.

Judged by what is imported, not by a clock.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from quantlab_tests.architecture.startup import SLOW, outcome


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["init"], ["status"]])
def test_a_quick_command_imports_nothing_slow(arguments: list[str], tmp_path: Path) -> None:
    assert outcome(arguments, tmp_path) == {"code": 0, "slow": []}


def test_a_lake_with_an_experiment_in_it_does_not_slow_status_down(
    demo_lake: Path, tmp_path: Path
) -> None:
    assert outcome(["--lake", str(demo_lake), "status"], tmp_path) == {"code": 0, "slow": []}


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--limit", "100"],
        ["list", "--type", "alerts_v1", "--format", "json"],
        ["get", "{id}"],
        ["find", "--type", "experiment_metrics", "--key", "{key}"],
        ["lineage", "{id}"],
        ["downstream", "{id}", "--format", "json"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_questions_to_the_manifest_do_not_even_wait_for_arrow(
    arguments: list[str], demo_lake: Path, tmp_path: Path
) -> None:
    from quantlab_assets import open_lake
    from quantlab_assets.domain.artifacts.records import ArtifactFilter

    where = ArtifactFilter(artifact_type="experiment_metrics")
    (found,) = open_lake(demo_lake).store.list_artifacts(where).artifacts
    words = [one.format(id=found.artifact_id, key=found.logical_key) for one in arguments]
    command = ["--lake", str(demo_lake), "artifacts", *words]
    assert outcome(command, tmp_path, [*SLOW, "pyarrow", "numpy"]) == {"code": 0, "slow": []}


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

"""What tests of several folders share: the `quantlab` command, and a lake the demo has filled."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from quantlab_tests.handlers.experiments.lab import Lab

# A deadline judges how busy the machine is.
settings.register_profile("quantlab", settings(deadline=None))
settings.load_profile("quantlab")

ROOT = Path(__file__).parents[1]

QUANTLAB = (
    # A command that hangs says where before it is given up.
    "import faulthandler; faulthandler.dump_traceback_later(120, exit=True);"
    "from quantlab_assets.cli.main import run; run()"
)

LAKE_VARIABLES = (
    "QUANTLAB_LAKE",
    "ARTIFACT_MANIFEST_DB",
    "ARTIFACTS_ROOT",
    "PROJECTION_CACHE_DIR",
    "EXPERIMENT_DB",
    "QUANTLAB_TELEGRAM_INBOX",
    "QUANTLAB_CANDLES",
    "QUANTLAB_CLICKHOUSE_MAPPING",
    "QUANTLAB_SLICE_WINDOW",
    "QUANTLAB_HORIZONS",
    "QUANTLAB_SLICE_GRADES",
    "QUANTLAB_TYPES_MODULE",
    "QUANTLAB_TELEGRAM_RULES",
    "QUANTLAB_PSEUDONYM_KEY",
    "DAGSTER_HOME",
)

Quantlab = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", autouse=True)
def _nobody_elses_lake() -> None:
    """The tests never meet a lake, or a Dagster instance, of whoever runs them."""
    for name in LAKE_VARIABLES:
        os.environ.pop(name, None)


def run_quantlab(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run the command as a user would: a process of its own, in a folder of its own."""
    variables = {name: value for name, value in os.environ.items() if name not in LAKE_VARIABLES}
    path = os.pathsep.join([str(ROOT), *filter(None, [variables.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", QUANTLAB, *arguments],
        cwd=cwd,
        env={**variables, "PYTHONPATH": path, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def without_settings() -> dict[str, str]:
    """The environment of somebody who has set nothing."""
    dropped = ("QUANTLAB_", "DAGSTER_", "ARTIFACT", "PROJECTION_", "EXPERIMENT_", "PYTHONWARNINGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return kept


@pytest.fixture
def quantlab(tmp_path: Path) -> Quantlab:
    """`quantlab(*arguments)` in an empty folder of the test's own."""

    def run(
        *arguments: str, environment: Mapping[str, str] | None = None, cwd: Path = tmp_path
    ) -> "subprocess.CompletedProcess[str]":
        return run_quantlab(*arguments, cwd=cwd, environment=environment)

    return run


@pytest.fixture(scope="session")
def demo_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that `quantlab demo` has filled, shared by all workers: read it, or copy it.

    What the demo answered stands beside it (`demo_answer`).
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "demo"
    folder.mkdir(exist_ok=True)
    answer = folder / "answer.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not answer.exists():
            done = run_quantlab("demo", "--format", "json", cwd=folder)
            assert done.returncode == 0, done.stderr
            answer.write_text(done.stdout, encoding="utf-8")
    return folder / "quantlab-demo"


@pytest.fixture(scope="session")
def demo_answer(demo_lake: Path) -> dict[str, object]:
    """What `quantlab demo --format json` printed when it made `demo_lake`."""
    answer: dict[str, object] = json.loads((demo_lake.parent / "answer.json").read_text("utf-8"))
    return answer


@pytest.fixture(params=["in memory", "in files"])
def each_lab(request: pytest.FixtureRequest, tmp_path: Path) -> "Lab":
    """A store, a ledger and projections: the ones in memory, and the real ones."""
    from quantlab_tests.handlers.experiments.lab import memory_lab, real_lab

    return memory_lab() if request.param == "in memory" else real_lab(tmp_path)

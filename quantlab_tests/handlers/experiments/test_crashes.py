"""An execution that is killed, at any step: it is resumed, and its results are there as a whole or
not at all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quantlab_assets.domain.artifacts.records import ArtifactFilter
from quantlab_assets.domain.errors import Conflict
from quantlab_assets.handlers.experiments.execute import RESULT_TYPES
from quantlab_assets.handlers.experiments.reproduce import reproduce_experiment
from quantlab_tests.conftest import ROOT
from quantlab_tests.handlers.experiments.lab import Lab, create, execute, one_win_one_loss, real_lab

PYTHONPATH = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def results(lab: Lab) -> set[str]:
    return {
        kind.name
        for kind in RESULT_TYPES.values()
        if lab.store.list_artifacts(ArtifactFilter(kind.name)).artifacts
    }


def killed_lakes(tmp_path: Path, stride: int) -> list[Path]:
    template, folder = tmp_path / "template", tmp_path / "killed"
    lab = real_lab(template)
    one_win_one_loss(lab)
    create(lab)
    folder.mkdir()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "quantlab_tests.handlers.experiments.kills",
            str(template),
            str(folder),
            str(stride),
        ],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        check=True,
        timeout=900,
    )
    return sorted(folder.iterdir())


def check(root: Path) -> tuple[str, ...]:
    """Judge a lake in which a run was killed, resume it, and say what its life was."""
    lab = real_lab(root)
    (record,) = lab.tracker.list()
    assert record.status in ("pending", "running", "completed")
    assert results(lab) in (set(), {kind.name for kind in RESULT_TYPES.values()})
    resumed = execute(lab, record)
    assert resumed.record.status == "completed"
    assert len(results(lab)) == len(RESULT_TYPES)
    lab.store.verify_artifacts(sorted(resumed.record.outputs.values()))
    again = reproduce_experiment(lab.store, lab.tracker, record.experiment_id)
    assert again.verdict == "IDENTICAL"
    return tuple(event.new_status for event in lab.tracker.events(record.experiment_id))


def test_a_run_killed_at_some_of_its_steps_is_resumed(tmp_path: Path) -> None:
    lives = {check(root) for root in killed_lakes(tmp_path, stride=25)}
    assert ("pending", "running", "completed") in lives
    assert ("pending", "running", "failed", "running", "completed") in lives


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_run_killed_at_any_step_is_resumed(tmp_path: Path) -> None:
    roots = killed_lakes(tmp_path, stride=1)
    assert len(roots) > 60
    for root in roots:
        check(root)


SLOW_RUN = """
import sys, time
from pathlib import Path
from quantlab_assets.handlers.experiments.execute import execute_experiment
from quantlab_tests.handlers.experiments.lab import PROVENANCE, real_lab
lab = real_lab(Path(sys.argv[1]))
(record,) = lab.tracker.list()
def linger(stage):
    if stage == "simulate":
        print("simulating", flush=True)
        time.sleep(60)
execute_experiment(lab.store, lab.projections, lab.tracker, record.experiment_id,
                   provenance=PROVENANCE, on_progress=linger)
"""


def test_of_two_processes_one_runs_and_the_other_says_so_until_the_first_is_killed(
    tmp_path: Path,
) -> None:
    lab = real_lab(tmp_path)
    one_win_one_loss(lab)
    record = create(lab)
    first = subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "simulating\n"
        begun = time.monotonic()
        with pytest.raises(Conflict, match=f"running already .process {first.pid} on"):
            execute(lab, record)
        assert time.monotonic() - begun < 5
        assert lab.tracker.get(record.experiment_id).status == "running"
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert first.stdout is not None
    first.stdout.close()
    assert execute(lab, record).record.status == "completed"

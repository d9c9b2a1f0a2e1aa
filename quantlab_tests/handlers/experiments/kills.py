"""Executes an experiment again and again, each time killed one step later.

`python -m quantlab_tests.handlers.experiments.kills TEMPLATE FOLDER STRIDE` leaves, for every
STRIDEth step of an execution and for the last, a copy of the lake TEMPLATE in FOLDER in which the
process was killed before that step. A step is a call of the store or of the ledger, or one
operation on the disk. Processes are forked off one that has imported everything and started no
thread.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from quantlab_assets.handlers.experiments.execute import execute_experiment
from quantlab_tests.handlers.experiments.lab import PROVENANCE, Lab, real_lab

LEDGER = ("get", "hold_run", "update_status", "store_results", "superseded_inputs", "_move")
STORE = ("get_artifacts", "read_verified", "freeze_inputs", "publish_many")
DISK = ("create", "write", "make_readable", "sync", "link", "remove", "make_folder")


class Countdown:
    """Kills the process before the step of that number."""

    def __init__(self, fatal: int) -> None:
        self.steps = 0
        self._fatal = fatal

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def step(*arguments: Any, **options: Any) -> Any:
            self.tick()
            return call(*arguments, **options)

        return step

    def tick(self) -> None:
        if self.steps == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps += 1


def arm(lab: Lab, countdown: Countdown) -> None:
    disk = lab.store.files_on_disk._disk
    for owner, names in ((lab.tracker, LEDGER), (lab.store, STORE), (disk, DISK)):
        for name in names:
            setattr(owner, name, countdown.counted(getattr(owner, name)))


def run(root: Path, fatal: int) -> int:
    """Execute the only experiment of the lake; the number of steps, if it got through."""
    lab = real_lab(root)
    (record,) = lab.tracker.list()
    countdown = Countdown(fatal)
    arm(lab, countdown)
    execute_experiment(
        lab.store,
        lab.projections,
        lab.tracker,
        record.experiment_id,
        provenance=PROVENANCE,
        on_progress=lambda _: countdown.tick(),
    )
    return countdown.steps


def killed_at(template: Path, folder: Path, step: int) -> bool:
    """Whether a process that executes a copy of the lake was killed before the step."""
    root = folder / f"{step:04d}"
    shutil.copytree(template, root)
    child = os.fork()
    if child == 0:
        run(root, step)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status != 0:
        raise SystemExit(f"step {step}: the execution failed by itself")
    shutil.rmtree(root)
    return False


def main(template: Path, folder: Path, stride: int) -> None:
    step = 0
    while killed_at(template, folder, step):
        step += stride
    while stride > 1 and not killed_at(template, folder, step - 1):
        step -= 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

"""Does an operation once for each of its steps, dead before that step. Run as a module:

`crash_loop FOLDER OPERATION STRIDE` copies the lake `FOLDER/before` to `FOLDER/0`, `FOLDER/1`, ...
and works in a forked process each time: at every step, or with a stride at every so-manieth and at
the last ones. Prints the steps. A process of its own, because a fork is safe only where no library
has started a thread yet.
"""

import os
import shutil
import sys
import traceback
from pathlib import Path

import pyarrow.parquet  # noqa: F401  # once here, not in every child

import quantlab_assets.domain.artifacts.value_rules  # noqa: F401
from quantlab_tests.adapters.artifact_store.operations import CRASHED, run_until


def crash_at(folder: Path, operation: str, step: int) -> int:
    """The exit code of a process that was to die at that step."""
    shutil.copytree(folder / "before", folder / str(step))
    child = os.fork()
    if child == 0:
        try:
            run_until(folder / str(step), operation, step)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def main(folder: Path, operation: str, stride: int) -> int:
    steps = []
    step = 0
    while (code := crash_at(folder, operation, step)) == CRASHED:
        steps.append(step)
        step += stride
    last = max(steps, default=-1)
    for between in range(last + 1, step):
        code = code or (0 if crash_at(folder, operation, between) in (0, CRASHED) else 1)
        steps.append(between)
    print(*steps, step)
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))

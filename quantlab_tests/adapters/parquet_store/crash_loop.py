"""Publishes a batch once for each of its steps, dead before that step. Run as a module:

`crash_loop FOLDER BATCH` copies the lake `FOLDER/before` to `FOLDER/0`, `FOLDER/1`, ... and
publishes in a forked process each time. Prints the number of crashes. A process of its own,
because a fork is safe only where no library has started a thread yet.
"""

import os
import shutil
import sys
import traceback
from pathlib import Path

import pyarrow.parquet  # noqa: F401  # once here, not in every child

import quantlab_assets.domain.value_rules  # noqa: F401
from quantlab_tests.adapters.parquet_store.lakes import CRASHED, publish_until


def main(folder: Path, batch: int) -> int:
    for step in range(1000):
        shutil.copytree(folder / "before", folder / str(step))
        child = os.fork()
        if child == 0:
            try:
                publish_until(folder / str(step), batch, step)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code != CRASHED:
            print(step)
            return code
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))

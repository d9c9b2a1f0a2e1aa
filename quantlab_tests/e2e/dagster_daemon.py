"""A real daemon over a lake and an instance of its own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from quantlab_tests.conftest import ROOT, without_settings

STOP_S = 30


@dataclass(frozen=True)
class Daemon:
    """A running daemon: its lake, its `DAGSTER_HOME`, what it printed so far."""

    lake: Path
    home: Path
    log: Path

    def runs(self) -> list[dg.DagsterRun]:
        """Every run there is, oldest first."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            return list(reversed(instance.get_runs()))

    def ticks(self, sensor: str) -> int:
        """How many looks a sensor has taken."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            return sum(
                len(instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1000))
                for state in instance.all_instigator_state()
                if state.instigator_name == sensor
            )

    def wait_for(self, condition: Callable[[], object], seconds: float = 90) -> None:
        """Wait until the condition holds; fails with the daemon's log if it does not in time."""
        stop = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < stop, self.log.read_text()[-6000:]
            time.sleep(0.5)

    def wait_for_runs(self, count: int) -> list[dg.DagsterRun]:
        """Wait until at least `count` runs have finished, and none is under way."""

        def finished() -> bool:
            runs = self.runs()
            return len(runs) >= count and all(run.is_finished for run in runs)

        self.wait_for(finished)
        return self.runs()


@contextmanager
def running_daemon(folder: Path, lake: Path, module: str) -> Iterator[Daemon]:
    """`dagster-daemon run` over the definitions of `module`, ended with everything it started."""
    home = folder / "dagster"
    home.mkdir()
    settings = (
        (ROOT / "dagster.yaml").read_text().replace("base_dir: .dagster", f"base_dir: {home}")
    )
    (home / "dagster.yaml").write_text(settings)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs()  # Makes the databases: two processes that do so at once are in trouble.
        instance.all_instigator_state()
    environment = {
        **without_settings(),
        "DAGSTER_HOME": str(home),
        "QUANTLAB_LAKE": str(lake),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    log = folder / "daemon.log"
    program = shutil.which("dagster-daemon", path=str(Path(sys.executable).parent))
    assert program is not None
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "run", "-m", module],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Daemon(lake, home, log)
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            # The code server is a child of its own: the whole session goes.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

"""`quantlab ui`: reachable from this machine only, and gone when it is told to stop."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from quantlab_tests.conftest import LAKE_VARIABLES, ROOT

START = "from quantlab_assets.cli.main import run; run()"
PATIENCE_S = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5) as page:
            return page.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.nightly
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_this_machine_until_it_is_told_to_stop(
    ending: signal.Signals, tmp_path: Path
) -> None:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name not in LAKE_VARIABLES}
    with (tmp_path / "log").open("w") as log:
        ui = subprocess.Popen(
            [sys.executable, "-c", START, "ui", "--port", str(port)],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=subprocess.STDOUT,
            # As in a shell's background job, which is told to ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not answers(port):
                assert ui.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.5)
            ui.send_signal(ending)
            assert ui.wait(timeout=PATIENCE_S) == 0
        finally:
            ui.kill()
    assert not answers(port)
    printed = (tmp_path / "log").read_text()
    assert f"http://127.0.0.1:{port}" in printed
    assert "no login" in printed
    assert "Traceback" not in printed
    assert (tmp_path / "lake" / "dagster" / "dagster.yaml").is_file()

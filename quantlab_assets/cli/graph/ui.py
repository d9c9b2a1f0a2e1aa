"""`quantlab ui`: Dagster's web UI on the lake and on the instance that the shell uses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import click

from quantlab_assets.cli.graph.instance import instance_home
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.output import say
from quantlab_assets.domain.errors import QuantlabError
from quantlab_assets.settings import child_environment

LOOPBACK = "127.0.0.1"
STOP_AFTER_S = 60


@quantlab_command(
    "ui",
    examples="""
    quantlab ui
    quantlab ui --lake quantlab-demo --port 3100
    """,
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=3000,
    show_default=True,
    help=f"The port on {LOOPBACK}.",
)
@pass_session
def ui(session: Session, port: int) -> int:
    """Open the asset graph in the browser: `dagster dev` on this lake, until Ctrl-C.

    It has no login, so it listens on this machine only.
    """
    settings = session.settings
    settings.create_folders()
    home = instance_home(settings, Path.cwd())
    say(f"The lake {settings.lake} at http://{LOOPBACK}:{port}")
    say("There is no login: anyone on this machine can use it. Ctrl-C ends it.")
    # Dagster would rather be called `dg`, which is another package.
    command = [sys.executable, "-W", "ignore:Function `dev_command` is superseded"]
    command += ["-m", "dagster", "dev", "-m", "quantlab_assets.definitions"]
    command += ["-h", LOOPBACK, "-p", str(port)]
    # Also where a shell started this in the background, and with that told it to ignore Ctrl-C:
    # the child would inherit that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    # In a group of its own, so that Ctrl-C reaches it once, from here, and not twice.
    child = subprocess.Popen(  # noqa: S603
        command, env=child_environment(settings, home), start_new_session=True
    )
    try:
        code = child.wait()
    except KeyboardInterrupt:
        say("Stopping ...")
        _stop(child)
        return 0
    if code != 0:
        raise QuantlabError(
            f"the web UI ended with exit code {code}; what it printed above says why "
            f"(is port {port} in use? try --port)"
        )
    return 0


def _stop(child: "subprocess.Popen[bytes]") -> None:
    child.send_signal(signal.SIGINT)
    try:
        child.wait(timeout=STOP_AFTER_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()

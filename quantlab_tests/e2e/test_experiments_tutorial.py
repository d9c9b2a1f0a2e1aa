"""The tutorial of docs/experiments.md, command by command, and what else a user at the shell
meets."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quantlab_assets import Strategy, open_lake
from quantlab_assets.cli.main import main
from quantlab_tests.architecture.startup import outcome
from quantlab_tests.conftest import ROOT, Quantlab

PAGE = ROOT / "docs" / "experiments.md"
BLOCKS = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
COMMANDS = [
    line.removeprefix("$ ")
    for block in BLOCKS
    for line in block.splitlines()
    if line.startswith("$ ")
]

SAID = {
    "strategies list": ["double-or-half"],
    "experiments list": ["november", "pending"],
    "experiments execute november": ["completed", "total_trades"],
    "experiments get november": ['"note": "tutorial"', '"newStatus": "completed"'],
    "experiments reproduce november": ["IDENTICAL"],
    "experiments check-lookahead": ["CLEAN", "Not covered:"],
    "experiments reproduce --lake theirs": ["IDENTICAL"],
    "experiments project": ["experiments.duckdb"],
    "experiments rerun": ["nothing has changed"],
}
"""What the output of a command that begins so must hold."""


@pytest.fixture
def folder(demo_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo has just been run: running it again would add nothing."""
    shutil.copytree(demo_lake, tmp_path / "quantlab-demo")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(command: str, capfd: pytest.CaptureFixture[str]) -> str:
    """What a command prints; those of quantlab run in this process, which spares their start."""
    if command.startswith("quantlab "):
        assert main(shlex.split(command)[1:]) == 0, f"{command}\n{capfd.readouterr().err}"
    else:
        subprocess.run(["bash", "-c", command], check=True)
    printed = capfd.readouterr()
    return printed.out + printed.err


def test_every_command_does_what_the_page_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    checked = set()
    for command in COMMANDS:
        if command == "quantlab demo":
            continue
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            monkeypatch.setenv(name, value)
            continue
        said = typed(command, capfd)
        for begin, expected in SAID.items():
            if command.startswith(f"quantlab {begin}") and begin not in checked:
                checked.add(begin)
                for text in expected:
                    assert text in said, command
    assert checked == set(SAID)


def test_one_flipped_bit_is_told_to_whom_reproduces(
    demo_lake: Path, quantlab: Quantlab, tmp_path: Path
) -> None:
    shutil.copytree(demo_lake, tmp_path / "lake")
    path = next((tmp_path / "lake" / "artifacts" / "ohlcv_slice_v2").rglob("*.parquet"))
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = quantlab("experiments", "reproduce", "demo", "--format", "json")
    assert done.returncode == 4
    answer = json.loads(done.stdout)
    assert answer["verdict"] == "INPUT-CORRUPT"
    assert answer["corruptInputs"] == [path.stem]


def test_looking_into_the_ledger_is_quick_and_wrong_names_are_one_line(
    demo_lake: Path, quantlab: Quantlab, tmp_path: Path
) -> None:
    (tmp_path / "lake").symlink_to(demo_lake)
    for arguments in (["list"], ["get", "demo"]):
        assert outcome(["experiments", *arguments], tmp_path) == {"code": 0, "slow": []}
    assert outcome(["strategies", "list"], tmp_path) == {"code": 0, "slow": []}
    done = quantlab("experiments", "get", "exp-00000000")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)


def test_ctrl_c_cancels_and_the_same_command_resumes(demo_lake: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_lake, tmp_path / "lake")
    lake = open_lake(tmp_path / "lake")
    record = lake.experiments.create("again", Strategy(), params={"n": 1})
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "QUANTLAB_LAKE": str(tmp_path / "lake")}
    run = subprocess.Popen(
        [sys.executable, "-c", SLOW_ENGINE, "experiments", "execute", record.experiment_id],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    while "simulating" not in run.stderr.readline():
        assert run.poll() is None
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=120)[1]
    assert run.returncode == 130, said
    assert "interrupted; run the same command again" in said
    assert lake.experiments.get("again").status == "cancelled"
    assert lake.experiments.execute("again").record.status == "completed"


SLOW_ENGINE = """
import sys, time
from quantlab_assets.handlers.experiments import execute as module
real = module.compute
def slow(*arguments):
    print("simulating", file=sys.stderr, flush=True)
    for _ in range(600):
        time.sleep(0.1)
    return real(*arguments)
module.compute = slow
from quantlab_assets.cli.main import run
run()
"""

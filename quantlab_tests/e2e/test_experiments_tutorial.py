"""The tutorial of docs/experiments.md, command by command, as a user types it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quantlab_tests.conftest import LAKE_VARIABLES, QUANTLAB, ROOT

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
def folder(demo_lake: Path, tmp_path: Path) -> Path:
    """Where the demo has just been run: running it again would add nothing."""
    shutil.copytree(demo_lake, tmp_path / "quantlab-demo")
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "quantlab"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{QUANTLAB}" "$@"\n')
    program.chmod(0o755)
    return tmp_path


def test_every_command_does_what_the_page_says(folder: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in LAKE_VARIABLES}
    paths = {
        "PATH": f"{folder / 'bin'}{os.pathsep}{kept['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")])),
    }
    exported = {}
    checked = set()
    for command in COMMANDS:
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            exported[name] = value
            continue
        if command == "quantlab demo":
            continue
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env={**kept, **paths, **exported},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        for begin, expected in SAID.items():
            if command.startswith(f"quantlab {begin}") and begin not in checked:
                checked.add(begin)
                for text in expected:
                    assert text in done.stdout + done.stderr, command
    assert checked == set(SAID)
    assert "--experiment november" in " ".join(COMMANDS)

"""What README.md and docs/ say is true: commands parse, blocks run, links lead somewhere."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from quantlab_assets.cli.main import quantlab as command_line
from quantlab_tests.conftest import LAKE_VARIABLES, ROOT, Quantlab

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SAMPLE_PAGE = ROOT / "quantlab_assets" / "sample" / "README.md"

FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, language, whether it is marked `runnable`, and its text."""

    page: str
    language: str
    runnable: bool
    text: str

    @property
    def commands(self) -> list[str]:
        """What is typed after each `$`."""
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]


BLOCKS = [
    Block(page.name, language, "runnable" in info.split(), text)
    for page in PAGES
    for language, info, text in FENCE.findall(page.read_text(encoding="utf-8"))
]
COMMANDS = [
    (block.page, command)
    for block in BLOCKS
    if block.language == "console"
    for line in block.commands
    for command in line.split(" && ")
    if command.startswith("quantlab ")
]
RUNNABLE = [block for block in BLOCKS if block.runnable and block.page == "README.md"]


@pytest.fixture(scope="module")
def folder(demo_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the demo has just been run."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(demo_lake, folder / "quantlab-demo")
    return folder


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda value: str(value)[:60])
def test_a_command_shown_exists_with_its_options(page: str, command: str) -> None:
    words = shlex.split(command.partition(" > ")[0], comments=True)[1:]
    found: click.Command = command_line
    while isinstance(found, click.Group):
        with found.make_context("quantlab", list(words), resilient_parsing=True) as context:
            name, sub, words = found.resolve_command(
                context, [*context._protected_args, *context.args]
            )
        assert sub is not None, f"{page}: {name}"
        found = sub
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(found, "callback", lambda **_: None)
        found.make_context("quantlab", words)


@pytest.mark.parametrize("block", RUNNABLE, ids=lambda block: block.text.split("\n")[0][:60])
def test_a_runnable_block_of_the_readme_runs(
    block: Block, folder: Path, quantlab: Quantlab
) -> None:
    if block.language == "console":
        for command in block.commands:
            done = quantlab(*shlex.split(command)[1:], cwd=folder)
            assert done.returncode == 0, done.stderr
        return
    assert block.language == "python"
    environment = {name: value for name, value in os.environ.items() if name not in LAKE_VARIABLES}
    ran = subprocess.run(
        [sys.executable, "-c", block.text],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_readme_shows_something_that_runs_at_the_shell_and_in_python() -> None:
    assert {block.language for block in RUNNABLE} == {"console", "python"}


@pytest.mark.parametrize("page", [*PAGES, SAMPLE_PAGE], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("https://", "http://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_assets_named_on_a_dagster_command_line_exist() -> None:
    from quantlab_assets.definitions import defs

    known = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    lines = [line for block in BLOCKS for line in block.commands if "dagster asset" in line]
    selected = [
        name
        for line in lines
        for name in re.findall(r"--select ['\"]?([\w,]+)\b", line)[0].split(",")
    ]
    assert set(selected) <= known
    assert selected


def test_continuous_integration_runs_the_command_of_the_readme() -> None:
    (command,) = [
        line
        for block in BLOCKS
        if block.page == "README.md"
        for line in block.commands
        if "pytest" in line
    ]
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_sample_says_what_is_reconstructed() -> None:
    text = SAMPLE_PAGE.read_text(encoding="utf-8")
    assert "**reconstructed and pseudonymised**" in text
    assert "rows 124 to 511 were inferred" in text
    named = {path.name for path in SAMPLE_PAGE.parent.glob("telegram/*")}
    assert all(f"`{name}`" in text for name in named)

"""What README.md and docs/ say is true: commands parse, blocks run, links lead somewhere."""

import json
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

from quantlab_assets import open_lake
from quantlab_assets.cli.main import quantlab as command_line
from quantlab_assets.ports.projection_builder import ProjectionRequest, ProjectionTable
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


def test_a_type_of_ones_own_gets_a_second_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantlab: Quantlab
) -> None:
    blocks = [b for b in BLOCKS if b.page == "commands.md" and "ARTIFACT_TYPES" in b.text]
    for name, block in zip(("first_portfolios", "second_portfolios"), blocks, strict=True):
        (tmp_path / f"{name}.py").write_text(block.text)

    def publish(module: str, version: int, key: str, csv: str) -> str:
        (tmp_path / "rows.csv").write_text(csv)
        words = f"--type portfolio --version {version} --key {key} --data rows.csv --format json"
        path = os.pathsep.join([str(ROOT), str(tmp_path)])
        done = quantlab(
            "artifacts",
            "publish",
            *words.split(),
            environment={"QUANTLAB_TYPES_MODULE": module, "PYTHONPATH": path},
        )
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["artifactId"])

    assert quantlab("init").returncode == 0
    csv = "mint,weight\nSol,0.5\nBtc,-1\n"
    old = publish("first_portfolios", 1, "portfolio=mine/day=2025-11-07", csv)
    csv = "mint,weight\nSol,1\n"
    older = publish("second_portfolios", 1, "portfolio=mine/day=2025-11-06", csv)
    csv = "token,weight,side,note\nSol,1,long,hi\n"
    new = publish("second_portfolios", 2, "day=2025-11-08/portfolio=mine", csv)

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("QUANTLAB_TYPES_MODULE", "second_portfolios")
    lake = open_lake(tmp_path / "lake")
    keys = (("day", "day"),)
    table = ProjectionTable("portfolios", "portfolio", (old, older, new), key_columns=keys)
    lake.projections.build(ProjectionRequest((table,), "mine"))
    query = "SELECT day, token, side, note FROM portfolios ORDER BY day, token"
    assert lake.sql(query, projection_id="mine").rows() == [
        ("2025-11-06", "Sol", "long", None),
        ("2025-11-07", "Btc", "short", None),
        ("2025-11-07", "Sol", "long", None),
        ("2025-11-08", "Sol", "long", "hi"),
    ]
    assert lake.store.read_verified([old])["token"].to_list() == ["Btc", "Sol"]

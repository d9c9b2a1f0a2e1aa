"""docs/commands.md has every command, each with an example, and no command that is not there."""

import re
from collections.abc import Iterator

import click
import pytest

from quantlab_assets.cli.main import quantlab
from quantlab_assets.cli.ops import OPERATIONS, Request
from quantlab_tests.conftest import ROOT

TEXT = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^### `(quantlab [^`]+)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = dict(SECTION.findall(TEXT))


def leaves(group: click.Group, path: str) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


def test_the_page_has_every_command_and_no_other() -> None:
    assert set(SECTIONS) == set(leaves(quantlab, "quantlab"))


@pytest.mark.parametrize("command", SECTIONS)
def test_a_command_says_what_it_is_for_and_shows_an_example(command: str) -> None:
    words, _, block = SECTIONS[command].partition("```console\n")
    assert len(words.split()) >= 3
    lines = [line for line in block.splitlines() if line.startswith("$ ")]
    assert any(f"{command} " in f"{line} " for line in lines)


def test_the_page_has_every_operation_with_its_fields() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (.*?) \|", TEXT.partition("| `operation` |")[2], re.MULTILINE
    )
    told = {operation: set(re.findall(r"`(\w+)`", fields)) for operation, fields in rows}
    assert set(told) == set(OPERATIONS)
    everywhere = set(Request.__struct_fields__)
    for operation, declaration in OPERATIONS.items():
        fields = set(declaration.__struct_fields__) - everywhere
        assert fields <= told[operation], operation

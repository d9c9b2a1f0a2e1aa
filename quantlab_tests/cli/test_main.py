"""The rules that every command keeps: help, exit codes, one-line errors."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from quantlab_assets import __version__
from quantlab_assets.cli import main as entry
from quantlab_assets.cli.shell.command import LazyGroup, QuantlabCommand
from quantlab_assets.domain.errors import IntegrityError, NotFound, ValidationFailed
from quantlab_tests.conftest import QUANTLAB, ROOT, Quantlab


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(entry.quantlab))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """A command `fail` that raises what is put into the list."""
    errors: list[BaseException] = []

    @click.command("fail", cls=QuantlabCommand, examples="quantlab fail")
    def fail() -> None:
        raise errors.pop()

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: fail)
    return errors


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_says_what_it_does_and_gives_an_example(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.main([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples:" in text
    assert f"quantlab {' '.join(path)}" in text
    assert ALL[path].get_short_help_str()


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_is_explained(path: tuple[str, ...]) -> None:
    for parameter in ALL[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_a_list_of_commands_cuts_no_sentence_off(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["--help"]) == 0
    assert "..." not in capsys.readouterr().out.split("Commands:")[1]


def test_the_demo_says_which_lake_it_makes() -> None:
    (lake,) = (option for option in ALL[("demo",)].params if option.name == "lake")
    assert isinstance(lake, click.Option)
    assert lake.help == "The lake to work on (default: ./quantlab-demo)."


def test_an_example_parses(capsys: pytest.CaptureFixture[str]) -> None:
    for path, command in ALL.items():
        assert isinstance(command, QuantlabCommand | LazyGroup)
        for line in command.examples.strip().splitlines():
            stages = line.partition(" > ")[0].split(" | ")
            words = shlex.split(next(one for one in stages if "quantlab" in one))
            assert words[0] == "quantlab"
            assert tuple(words[1 : 1 + len(path)]) == path
            command.make_context("example", words[1 + len(path) :])


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["--version"]) == 0
    assert capsys.readouterr().out == f"quantlab {__version__}\n"


@pytest.mark.parametrize("arguments", [["bogus"], ["--bogus"], ["status", "--format", "xml"], []])
def test_wrong_usage_is_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(arguments) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [(ValidationFailed("x"), 1), (NotFound("x"), 3), (IntegrityError("x"), 4)],
)
def test_an_error_is_one_line_and_its_code(
    error: Exception,
    code: int,
    failing: list[BaseException],
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing.append(error)
    assert entry.main(["fail"]) == code
    assert capsys.readouterr().err == "quantlab: x\n"


def test_an_error_with_hostile_text_stays_one_harmless_line(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing.append(ValidationFailed("bad \x1b[31mname\nsecond line\u202e"))
    entry.main(["fail"])
    assert capsys.readouterr().err == "quantlab: bad  [31mname second line\n"


def test_a_bug_is_called_one_and_shows_its_traceback_only_when_asked(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing.append(ZeroDivisionError("division by zero"))
    assert entry.main(["fail"]) == 1
    quiet = capsys.readouterr().err
    assert quiet.count("\n") == 1
    assert "bug" in quiet
    assert "--debug" in quiet

    failing.append(ZeroDivisionError("division by zero"))
    assert entry.main(["fail", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interruption_is_code_130(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing.append(KeyboardInterrupt())
    assert entry.main(["fail"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error_on_the_terminal() -> None:
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" --help | true', sys.executable, QUANTLAB],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_a_shell(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.main(["completion", shell]) == 0
    assert "_QUANTLAB_COMPLETE" in capsys.readouterr().out


def test_completion_knows_the_commands(quantlab: Quantlab) -> None:
    done = quantlab(
        environment={
            "_QUANTLAB_COMPLETE": "bash_complete",
            "COMP_WORDS": "quantlab stat",
            "COMP_CWORD": "1",
        }
    )
    assert done.stdout.split() == ["plain,status"]

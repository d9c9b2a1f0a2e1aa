"""What every `quantlab` command has in common: `--lake`, `--debug`, and a help with an example.

Which commands there are stands in `cli.commands`; what a command opens, in `cli.session`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click


@dataclass
class Invocation:
    """What the shared options said: which lake, and how loud to fail."""

    lake: Path | None = None
    debug: bool = False


@dataclass(frozen=True, slots=True)
class CommandGroup:
    """A group of commands as the table of commands has it.

    `commands` maps a command's name to the `module:attribute` that holds it, or to a group.
    """

    help: str
    examples: str
    commands: "Mapping[str, str | CommandGroup]"


def _remember_lake(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(Invocation).lake = value


def _remember_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Invocation).debug = True


ANY_LAKE: Final = "$QUANTLAB_LAKE, else ./lake"
WHOLE_SENTENCE: Final = 400
"""Characters of a command's first sentence in a list of commands, which wraps its lines."""


def _shared_options(default_lake: str = ANY_LAKE) -> list[click.Parameter]:
    return [
        click.Option(
            ["--lake"],
            type=click.Path(path_type=Path),
            metavar="DIR",
            expose_value=False,
            callback=_remember_lake,
            help=f"The lake to work on (default: {default_lake}).",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_remember_debug,
            help="Show the traceback of an error.",
        ),
    ]


class QuantlabCommand(click.Command):
    """A command that takes the shared options, before or after its own, and shows examples.

    `default_lake` says in the help where it works without `--lake`, if not where the others do.
    """

    def __init__(
        self, name: str | None, *, examples: str, default_lake: str = ANY_LAKE, **attributes: Any
    ) -> None:
        super().__init__(name, **attributes)
        self.examples = examples
        self.params.extend(_shared_options(default_lake))

    def get_short_help_str(self, limit: int = WHOLE_SENTENCE) -> str:
        """The first sentence, never cut off in the middle."""
        return super().get_short_help_str(max(limit, WHOLE_SENTENCE))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples below the options, line by line as they are."""
        write_examples(self.examples, formatter)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used, or when help lists them."""

    def __init__(self, name: str, group: CommandGroup) -> None:
        super().__init__(name, help=group.help)
        self.commands_at = group.commands
        self.examples = group.examples
        self.params.extend(_shared_options())

    def get_short_help_str(self, limit: int = WHOLE_SENTENCE) -> str:
        """The first sentence, never cut off in the middle."""
        return super().get_short_help_str(max(limit, WHOLE_SENTENCE))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which a newcomer meets them."""
        return list(self.commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None if there is none of that name."""
        where = self.commands_at.get(cmd_name)
        if where is None:
            return None
        if isinstance(where, CommandGroup):
            return LazyGroup(cmd_name, where)
        module, attribute = where.split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples below the list of commands."""
        write_examples(self.examples, formatter)


def write_examples(examples: str, formatter: click.HelpFormatter) -> None:
    """A section `Examples:` of command lines."""
    with formatter.section("Examples"):
        for line in examples.strip().splitlines():
            formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")


def quantlab_command(
    name: str, *, examples: str, **attributes: Any
) -> Callable[[Callable[..., Any]], QuantlabCommand]:
    """Make a function a `quantlab` command; its docstring is the help."""

    def decorate(function: Callable[..., Any]) -> QuantlabCommand:
        return click.command(name, cls=QuantlabCommand, examples=examples, **attributes)(function)

    return decorate

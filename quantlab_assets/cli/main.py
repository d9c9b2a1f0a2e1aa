"""The entry point: dispatches to the commands and turns what goes wrong into a line and a code.

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 not found, 4 stored bytes are damaged, 130 interrupted.
"""

import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from quantlab_assets import __version__
from quantlab_assets.cli.command import LazyGroup
from quantlab_assets.cli.context import Session
from quantlab_assets.cli.output import discard_stdout, printable
from quantlab_assets.domain.errors import QuantlabError

INTERRUPTED = 130

COMMANDS = {
    "demo": "quantlab_assets.cli.demo:demo",
    "init": "quantlab_assets.cli.init:init",
    "status": "quantlab_assets.cli.status:status",
    "ingest": "quantlab_assets.cli.ingest:ingest",
    "alerts": "quantlab_assets.cli.alerts:alerts",
    "quarantine": "quantlab_assets.cli.quarantine:quarantine",
    "ui": "quantlab_assets.cli.ui:ui",
    "artifacts": "quantlab_assets.cli.artifacts:artifacts",
    "slices": "quantlab_assets.cli.slices:slices",
    "coverage": "quantlab_assets.cli.coverage:coverage",
    "projections": "quantlab_assets.cli.projections:projections",
    "backup": "quantlab_assets.cli.maintenance:backup",
    "restore": "quantlab_assets.cli.maintenance:restore",
    "du": "quantlab_assets.cli.maintenance:du",
    "doctor": "quantlab_assets.cli.maintenance:doctor",
    "ops": "quantlab_assets.cli.ops:ops",
    "strategies": "quantlab_assets.cli.strategies:strategies",
    "experiments": "quantlab_assets.cli.experiments:experiments",
    "completion": "quantlab_assets.cli.completion:completion",
}


@click.group(
    "quantlab",
    cls=LazyGroup,
    commands_at=COMMANDS,
    examples="""
    quantlab demo
    quantlab --lake quantlab-demo status --format json
    """,
)
@click.version_option(__version__, prog_name="quantlab", message="%(prog)s %(version)s")
def quantlab() -> None:
    """A research lab for crypto token calls: from Telegram exports and candles to reproducible
    experiments."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Nothing but the interpreter's exit escapes."""
    session = Session()
    try:
        result: Any = quantlab.main(
            args=arguments, prog_name="quantlab", standalone_mode=False, obj=session
        )
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        return 1
    except click.Abort:
        click.echo("quantlab: interrupted; run the same command again to go on", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        return _report(error, debug=session.debug)
    return result if isinstance(result, int) else 0


def _report(error: Exception, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    if isinstance(error, QuantlabError):
        message, code = str(error), error.exit_code
    elif isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        message, code = f"{where}{error.strerror}", 1
    else:
        hint = "" if debug else "; run it again with --debug and report what it prints"
        message = f"{type(error).__name__}: {error}: this is a bug in quantlab{hint}"
        code = 1
    click.echo(f"quantlab: {printable(message).strip()}", err=True)
    return code


def run() -> NoReturn:
    """The `quantlab` command."""
    sys.exit(main())

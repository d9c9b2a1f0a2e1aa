"""The entry point: dispatches to the commands and turns what goes wrong into a line and a code.

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 not found, 4 stored bytes are damaged, 130 interrupted.
"""

import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from quantlab_assets.cli.commands import QUANTLAB
from quantlab_assets.cli.session import Session
from quantlab_assets.cli.shell.command import LazyGroup
from quantlab_assets.cli.shell.output import discard_stdout, printable
from quantlab_assets.domain.errors import QuantlabError
from quantlab_assets.version import __version__

INTERRUPTED = 130

quantlab = click.version_option(__version__, prog_name="quantlab", message="%(prog)s %(version)s")(
    LazyGroup("quantlab", QUANTLAB)
)


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

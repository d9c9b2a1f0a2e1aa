"""The prompt of `quantlab projections sql`: queries over several lines, history, completion."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quantlab_assets.cli.projections.results import write_result
from quantlab_assets.cli.shell.output import Format, plural, printable, say
from quantlab_assets.domain.errors import QuantlabError
from quantlab_assets.settings import state_folder

if TYPE_CHECKING:
    from quantlab_assets.adapters.duckdb.query import QueryResult, QuerySession

FIRST: Final = "quantlab> "
NEXT: Final = "     ...> "
KEPT_LINES: Final = 1000
"""Lines of history that are read; the file is cut to them when it has twice as many."""

COMMANDS: Final = (
    ".tables",
    ".views",
    ".macros",
    ".schema",
    ".format",
    ".limit",
    ".help",
    ".exit",
)
HELP: Final = """\
A query ends with ; and may go over several lines.
.tables           tables, with their rows
.views            views
.macros           macros, with their parameters
.schema TABLE     columns of a table or view
.format FORM      how to print results: table, json, jsonl or csv
.limit N          how many rows a result shows; `.limit all` for all
.help             this
.exit             leave; so does Ctrl-D
Ctrl-C cancels what is typed, or the query that runs. Tab completes names and keywords."""


def talk(session: "QuerySession", name: str, output_format: Format, limit: int | None) -> None:
    """Ask and answer until somebody has had enough.

    `name` is the projection's. The history goes to `sql_history` in the user's state folder.
    """
    # A program that was started in the background ignores Ctrl-C: here somebody types it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    history = History(state_folder() / "sql_history")
    history.open(session.words)
    say(f"{name}, as it is now; .help says what there is, history is kept in {history.path}")
    prompt = Prompt(session, output_format, limit)
    while True:
        try:
            text = _read_statement(session.is_complete)
            if text.strip():
                history.add(text)
                if prompt.answer(text):
                    return
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            say("cancelled")
        except EOFError:
            sys.stderr.write("\n")
            return
        except QuantlabError as error:
            say(str(error))


class Prompt:
    """What is set for the conversation, and what each thing that is typed does."""

    def __init__(self, session: "QuerySession", output_format: Format, limit: int | None) -> None:
        self._session = session
        self._format = output_format
        self._limit = limit
        self._commands: dict[str, Callable[[str], None]] = {
            ".tables": lambda _: self._print(session.tables()),
            ".views": lambda _: self._print(session.views()),
            ".macros": lambda _: self._print(session.macros()),
            ".schema": self._schema,
            ".format": self._set_format,
            ".limit": self._set_limit,
            ".help": lambda _: say_lines(HELP),
        }

    def answer(self, text: str) -> bool:
        """Do what was typed; True to leave. Raises `QuantlabError`."""
        if text.lstrip().startswith("."):
            return self._command(text.strip())
        for statement in self._session.statements(text):
            began = time.monotonic()
            count = write_result(self._session.ask(statement), self._format, self._limit)
            say(f"{plural(count, 'row')} in {time.monotonic() - began:.3f} s")
        return False

    def _command(self, text: str) -> bool:
        name, _, rest = text.partition(" ")
        if name in (".exit", ".quit"):
            return True
        command = self._commands.get(name)
        if command is None:
            say(f"there is no {name}; .help says what there is")
        else:
            command(rest.strip().rstrip(";").strip('"'))
        return False

    def _print(self, result: "QueryResult") -> None:
        write_result(result, self._format, self._limit)

    def _schema(self, table: str) -> None:
        if not table:
            say("which table? .schema TABLE")
            return
        names = {name.lower() for name in self._session.names()}
        if table.lower() not in names:
            say(f"there is no table {table}: {self._session.suggestion(table)}")
            return
        self._print(self._session.columns(table))

    def _set_format(self, name: str) -> None:
        known = [form.value for form in Format]
        if name in known:
            self._format = Format(name)
        else:
            say(f"a format is one of {', '.join(known)}")

    def _set_limit(self, count: str) -> None:
        if count == "all":
            self._limit = sys.maxsize
        elif count.isascii() and count.isdigit():
            self._limit = int(count)
        else:
            say("a limit is a number of rows, or all")


class History:
    """What was typed, in a file that only this user can read.

    Without readline, or where the file cannot be written, there is a prompt all the same.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._readline: Any = None

    def open(self, words: Callable[[], tuple[str, ...]]) -> None:
        """Offer what was typed before, and complete `words` on Tab."""
        try:
            import readline
        except ImportError:
            return
        self._readline = readline
        readline.set_auto_history(False)
        for line in self._lines():
            readline.add_history(line)
        completion = Completion(words)
        readline.set_completer(completion.complete)
        readline.set_completer_delims(" \t\n\"'`@$><=;:|&{}()[],+-*/%!?\\")
        edited = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if edited else "tab: complete")

    def add(self, text: str) -> None:
        """Keep what was typed: as one line, unless comments in it end with theirs."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        kept = lines if any("--" in line for line in lines) else [" ".join(lines)]
        if self._readline is not None:
            for line in kept:
                self._readline.add_history(line)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
            with os.fdopen(os.open(self.path, flags, 0o600), "a", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o600)
                file.writelines(f"{printable(line)}\n" for line in kept)
        except (OSError, UnicodeEncodeError):
            return

    def _lines(self) -> list[str]:
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
            if len(lines) > 2 * KEPT_LINES:
                fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}")
                descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.writelines(f"{line}\n" for line in lines[-KEPT_LINES:])
                fresh.replace(self.path)
        except OSError:
            return []
        return lines[-KEPT_LINES:]


class Completion:
    """Completes names and keywords; they are looked up when Tab is first pressed."""

    def __init__(self, words: Callable[[], tuple[str, ...]]) -> None:
        self._words = words
        self._known: tuple[str, ...] | None = None
        self._found: list[str] = []

    def complete(self, text: str, state: int) -> str | None:
        """The completion number `state` of what is typed, as readline asks for it."""
        if state == 0:
            self._found = self._matching(text)
        return self._found[state] if state < len(self._found) else None

    def _matching(self, text: str) -> list[str]:
        if self._known is None:
            try:
                self._known = self._words()
            except QuantlabError:
                self._known = ()
        before, dot, begun = text.rpartition(".")
        if dot and not before:
            return [name for name in COMMANDS if name.startswith(text)]
        small = begun.islower()
        return [
            f"{before}{dot}{word.lower() if small else word}"
            for word in self._known
            if word.lower().startswith(begun.lower())
        ]


def say_lines(text: str) -> None:
    """Several lines for the person at the terminal."""
    for line in text.splitlines():
        say(line)


def _read_statement(is_complete: Callable[[str], bool]) -> str:
    """What is typed until a query is complete, or a line that is a command."""
    lines: list[str] = []
    while True:
        line = input(NEXT if lines else FIRST)
        if not lines and (not line.strip() or line.lstrip().startswith(".")):
            return line
        lines.append(line)
        text = "\n".join(lines)
        if is_complete(text):
            return text

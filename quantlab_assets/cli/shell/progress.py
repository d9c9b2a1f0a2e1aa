"""What is being done, on stderr, while it is done; nothing where no person is watching.

A bar for work that knows how much of it there is, a line for steps of which nobody knows how many.
What a command found is printed by `output`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quantlab_assets.cli.shell.output import console

if TYPE_CHECKING:
    from rich.status import Status


@contextmanager
def progress_bar(what: str, *, in_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Gives a function to call with how much is done and how much there is; gone at the end.

    The bar of work that tells neither only moves.
    """
    from rich import progress

    target = console(stderr=True)
    amount = progress.DownloadColumn() if in_bytes else progress.MofNCompleteColumn()
    what_it_is, left = progress.TextColumn("{task.description}"), progress.TimeRemainingColumn()
    columns = (what_it_is, progress.BarColumn(), amount, left)
    with progress.Progress(
        *columns, console=target, transient=True, disable=not target.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class Progress:
    """A line that says what is being done, with a spinner. Use `show_progress`."""

    def __init__(self, status: "Status") -> None:
        self._status = status
        self._done = 0

    def say(self, what: str) -> None:
        """Show what comes next."""
        self._status.update(f"{self._done} steps done, {what}")

    def steps(self, where: str) -> Callable[[str], None]:
        """A listener for the steps of one run: shows each as it starts."""

        def show(step: str) -> None:
            self.say(f"{where}: {step.replace('_', ' ')}")
            self._done += 1

        return show


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A progress line on stderr, gone at the end."""
    with console(stderr=True).status("starting") as status:
        yield Progress(status)

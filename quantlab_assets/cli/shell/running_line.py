"""What the demo is doing, on stderr, while it does it; nothing where no person is watching."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quantlab_assets.cli.shell.output import console

if TYPE_CHECKING:
    from rich.status import Status


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

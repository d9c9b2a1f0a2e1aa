"""A bar for work that takes its time: on stderr, and only where a person is watching."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from quantlab_assets.cli.shell.output import console


@contextmanager
def progress_bar(what: str, *, in_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Gives a function to call with how much is done and how much there is; gone at the end.

    The bar of work that tells neither only moves.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    target = console(stderr=True)
    amount = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(
        *columns, console=target, transient=True, disable=not target.is_terminal
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)

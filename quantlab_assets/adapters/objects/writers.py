"""Threads that write beside the caller's.

What they write is up to the caller; file operations are in `local_disk`.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Final, ParamSpec, Self, TypeVar

PARALLEL: Final = 8
"""Threads that write and sync: a disk commits several syncs in the time of one."""

P = ParamSpec("P")
R = TypeVar("R")

_PENDING: Final = 32


class Writers:
    """Threads for file work beside the caller's, which runs at most `_PENDING` pieces ahead.

    One piece of work alone is done at once, without a thread. Leaving the context waits for all.
    """

    def __init__(self, expected: int, threads: int = PARALLEL) -> None:
        self._executor = ThreadPoolExecutor(min(threads, expected)) if expected > 1 else None
        self._room = BoundedSemaphore(_PENDING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=failure is not None)

    def submit(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Start the work, waiting while too much of it is under way."""
        if self._executor is None:
            done: Future[R] = Future()
            done.set_result(work(*args, **kwargs))
            return done
        self._room.acquire()
        future = self._executor.submit(work, *args, **kwargs)
        future.add_done_callback(lambda _: self._room.release())
        return future

"""Runs compiled loops over slices of the work on a few threads.

The loops release the interpreter lock and write only to their own slice, so results cannot depend
on the number of threads. numba's own parallel loops are not used: their thread pool is not safe to
enter from several Python threads at once, which an orchestrator does.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

SMALLEST_SLICE = 256
"""Fewer items than this are not worth a thread."""


def available_threads() -> int:
    """Return the number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_slices(
    loop: Callable[[int, int], None],
    items: int,
    threads: int | None = None,
    smallest: int = SMALLEST_SLICE,
) -> None:
    """Call `loop(start, stop)` for slices that together cover `range(items)`.

    Slices are several a thread, so that a slow one does not leave the others waiting.
    """
    if threads is None:
        threads = available_threads()
    if threads <= 1 or items < 2 * smallest:
        loop(0, items)
        return
    size = max(smallest, -(-items // (threads * 8)))
    starts = range(0, items, size)
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(loop, start, min(start + size, items)) for start in starts]:
            done.result()

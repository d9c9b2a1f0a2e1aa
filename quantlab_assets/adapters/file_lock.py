"""One holder at a time, across threads and processes: of a projection being built, of a run.

A lock is a file under `flock`: the system drops it when its holder dies, so nobody has to judge
whether a lock is stale.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock while inside; its file is gone afterwards. False: held by another (no wait)."""
    descriptor = _acquire(path, wait=wait)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        # Unlinked while still held: whoever waits on this inode sees that the name has moved on.
        path.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock together with others while inside; the last one removes its file."""
    descriptor = _acquire(path, wait=True, kind=fcntl.LOCK_SH)
    assert descriptor is not None
    try:
        yield
    finally:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)


def _acquire(path: Path, *, wait: bool, kind: int = fcntl.LOCK_EX) -> int | None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, kind | (0 if wait else fcntl.LOCK_NB))
            if _is_still(path, descriptor):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        at_path = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (at_path.st_ino, at_path.st_dev) == (opened.st_ino, opened.st_dev)

"""How much memory and disk projections may take, and who sees to it while a projection is built."""

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from quantlab_assets.domain.errors import StoreUnavailable, ValidationFailed

_SIZE: Final = re.compile(r"(\d{1,12}(?:\.\d{1,3})?) ?([KMGT]i?)?B", re.IGNORECASE)
_UNITS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
LOOK_EVERY_S: Final = 0.2

_SIZE_OF_PARQUET: Final = 1.6
"""A DuckDB file over the Parquet files it is made of: 1.2 was measured for candles."""

_SIZE_OF_INDEXED: Final = 4.0
"""The same with an index on a token and a time: 3.1 was measured."""


@dataclass(frozen=True, slots=True)
class ProjectionLimits:
    """How much a build or a query may take. Sizes as DuckDB writes them, such as `4GB`.

    `size` is the most that one projection may have, `cache` what all together may have before the
    least recently used is disposed of; a build stops before the disk has less than `free_disk`
    left. `threads` None takes all cores. Content never depends on it: rows are put in a total
    order.
    """

    memory: str = "4GB"
    temporary_disk: str = "50GB"
    threads: int | None = None
    size: str = "100GB"
    cache: str = "100GB"
    free_disk: str = "256MB"

    def __post_init__(self) -> None:
        for text in (self.size, self.cache, self.free_disk):
            size_in_bytes(text)


def size_in_bytes(text: str) -> int:
    """The bytes of a size such as `4GB` or `512MiB`. Raises `ValidationFailed`."""
    size = _SIZE.fullmatch(text.strip())
    if size is None:
        raise ValidationFailed(f"{text[:40]!r} is no size; write one such as 500MB or 20GB")
    prefix = (size[2] or "").lower()
    return int(float(size[1]) * (1024 if prefix.endswith("i") else 1000) ** _UNITS[prefix[:1]])


def expected_size(parquet_bytes: int, *, indexed: bool) -> int:
    """About how many bytes a table of so much Parquet takes."""
    return int(parquet_bytes * (_SIZE_OF_INDEXED if indexed else _SIZE_OF_PARQUET))


def check_room(
    name: str, needed: int, folder: Path, limits: ProjectionLimits, *, there: int = 0
) -> None:
    """Raise `StoreUnavailable` if a projection that takes `needed` bytes would be too large.

    `there` is how many of them are on the disk already.
    """
    if needed > size_in_bytes(limits.size):
        raise StoreUnavailable(
            f"projection {name} would take about {_shown(needed)}, and {limits.size} is the limit:"
            " select less, or raise the limits"
        )
    free = shutil.disk_usage(folder).free
    if needed - there + size_in_bytes(limits.free_disk) > free:
        raise StoreUnavailable(
            f"projection {name} would take about {_shown(needed)}, and the disk of {folder} has"
            f" {_shown(free)} left, {limits.free_disk} of which are kept free: free disk space,"
            " dispose of projections, or select less"
        )


@contextmanager
def watched(
    name: str, connection: duckdb.DuckDBPyConnection, work: Path, limits: ProjectionLimits
) -> Iterator[None]:
    """Stop what the connection does once the files in `work` or the disk reach their limits.

    Raises `StoreUnavailable` if it did.
    """
    most, least = size_in_bytes(limits.size), size_in_bytes(limits.free_disk)
    done, faults = threading.Event(), list[str]()

    def look() -> None:
        taken = sum(path.stat().st_size for path in work.iterdir() if path.is_file())
        if taken > most:
            faults.append(f"it takes more than {limits.size}, which is the limit")
        elif shutil.disk_usage(work).free < least:
            faults.append(f"the disk has less than {limits.free_disk} left")

    def watch() -> None:
        while not done.wait(LOOK_EVERY_S):
            if not faults:
                with suppress(OSError):  # A file that is gone again.
                    look()
            if faults:
                connection.interrupt()

    watcher = threading.Thread(target=watch, name=f"watch {name}", daemon=True)
    watcher.start()
    fault: Exception | None = None
    try:
        yield
        look()
    except duckdb.InterruptException as error:
        if not faults:
            raise
        fault = error
    finally:
        done.set()
        watcher.join()
    if faults:
        raise StoreUnavailable(
            f"projection {name} cannot be built: {faults[0]}; free disk space, select less, or"
            " raise the limits"
        ) from fault


def _shown(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"

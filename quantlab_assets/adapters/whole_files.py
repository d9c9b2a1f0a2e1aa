"""Files that are whole or not there: written beside, hidden and synced, and only then named."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from quantlab_assets.domain.errors import Conflict

_CHUNK: Final = 1 << 20


@contextmanager
def written(
    folder: Path,
    write: Callable[[BinaryIO], object],
    *,
    mode: int = 0o644,
    durable: bool = True,
) -> Iterator[Path]:
    """A hidden file in `folder` with what `write` puts into it, synced; to be linked to its name,
    or to replace what has it. What is left of it goes at the end.

    Not `durable` is for caches, which are made again where a machine lost power.
    """
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        part.chmod(mode)
        yield part
    finally:
        part.unlink(missing_ok=True)


def copy_checked(path: Path, sha256: str, target: BinaryIO) -> None:
    """Copy a file of which the hash is known. Raises `Conflict` if it has changed since."""
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            target.write(chunk)
    if f"sha256:{digest.hexdigest()}" != sha256:
        raise Conflict(f"{path.name}: changed while it was copied; try again")


def sha256_of_file(path: Path) -> str:
    """`sha256:<hex>` of a file's bytes; empty if the file is gone."""
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except FileNotFoundError:
        return ""


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

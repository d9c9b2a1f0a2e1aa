"""The single steps that change a disk, so that a test can count them and break each one.

In which order they are taken is said in `local_disk`.
"""

import errno
import os
import shutil
from pathlib import Path


class Disk:
    """The steps that change a disk, one method each. They raise OSError."""

    def create(self, path: Path) -> int:
        """A descriptor of a new, empty, read-only file."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, 0o444)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write some of the data, and say how much."""
        return os.write(descriptor, data)

    def make_readable(self, descriptor: int) -> None:
        """Mode 0444, whatever the umask."""
        os.fchmod(descriptor, 0o444)

    def sync(self, descriptor: int) -> None:
        """Make a file's content, or a folder's names, survive a power cut."""
        os.fsync(descriptor)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a further name; the name must be free."""
        os.link(source, target)

    def replace(self, source: Path, target: Path) -> None:
        """Rename over whatever has the name."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Take a name away."""
        path.unlink()

    def move(self, source: Path, target: Path) -> None:
        """Give a file another name, on another file system too; nothing else may be using it."""
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.copy2(source, target)
            descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            source.unlink()

    def remove_folder(self, path: Path) -> None:
        """Take an empty folder away."""
        path.rmdir()

    def make_folder(self, path: Path) -> None:
        """Make a folder and the ones above it."""
        path.mkdir(parents=True, exist_ok=True)

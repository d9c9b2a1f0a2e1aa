"""What lies in an inbox folder, without opening a file."""

from collections.abc import Collection
from pathlib import Path

from quantlab_assets.ports.inbox import InboxFile


def files_in(folder: Path, suffixes: Collection[str]) -> list[InboxFile]:
    """The files below `folder` with one of the suffixes (lower case, with dot), by path.

    Hidden files and folders are left out: that is how a writer keeps a half-written file back. So
    is a link that leads nowhere or to itself. A folder that does not exist is empty.
    """
    files = []
    for path in folder.rglob("*"):
        below = path.relative_to(folder)
        if path.suffix.lower() not in suffixes or any(p.startswith(".") for p in below.parts):
            continue
        try:
            status = path.stat()
        except OSError:  # gone since the look at the folder, or a link that cannot be followed
            continue
        if path.is_file():
            files.append(InboxFile(below.as_posix(), status.st_size, status.st_mtime_ns))
    return sorted(files, key=lambda file: file.path)

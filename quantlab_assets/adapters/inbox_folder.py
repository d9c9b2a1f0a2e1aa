"""What lies in an inbox folder, without opening a file."""

from collections.abc import Collection
from pathlib import Path

from quantlab_assets.ports.inbox import InboxFile


def files_in(folder: Path, suffixes: Collection[str]) -> list[InboxFile]:
    """The files below `folder` with one of the suffixes (lower case, with dot), by path.

    Hidden files and folders are left out: that is how a writer keeps a half-written file back. So
    is a link that leads nowhere, to itself, or out of the folder: one in a folder unpacked from an
    archive could point anywhere. A folder that does not exist is empty.
    """
    files = []
    for path in folder.rglob("*"):
        below = path.relative_to(folder)
        if path.suffix.lower() not in suffixes or any(p.startswith(".") for p in below.parts):
            continue
        if leads_outside(folder, path):
            continue
        try:
            status = path.stat()
        except OSError:  # gone since the look at the folder, or a link that cannot be followed
            continue
        if path.is_file():
            files.append(InboxFile(below.as_posix(), status.st_size, status.st_mtime_ns))
    return sorted(files, key=lambda file: file.path)


def links_outside(folder: Path) -> list[str]:
    """The links below `folder`, to files or folders, that lead out of it: left alone, by path."""
    paths = (path for path in folder.rglob("*") if path.is_symlink())
    return sorted(path.relative_to(folder).as_posix() for path in paths if _leads(path, folder))


def leads_outside(folder: Path, path: Path) -> bool:
    """Whether a path below `folder` is a link, or lies behind one, that leads out of it."""
    below = path.relative_to(folder).parts
    steps = (folder.joinpath(*below[: n + 1]) for n in range(len(below)))
    return any(step.is_symlink() for step in steps) and _leads(path, folder)


def _leads(path: Path, folder: Path) -> bool:
    try:
        return not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a link to itself
        return True

"""All file operations of the store. Nothing else of it opens, writes, links or deletes a file.

A file comes into being in the staging folder, is synced, and is then linked to its name, which
fails if the name is taken: no half file is ever seen under a final name and nothing is
overwritten. Paths are relative to the artifacts root and have the shape that `layout` gives them.
`disk` has the single steps, so that a test can break each one of them.
"""

import contextlib
import errno
import hashlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

from quantlab_assets.adapters.objects.disk import Disk
from quantlab_assets.adapters.objects.layout import artifact_id_in, is_staged, sidecar_path
from quantlab_assets.adapters.objects.writers import Writers
from quantlab_assets.domain.errors import IntegrityError, NotFound, StoreUnavailable

R = TypeVar("R")

_WHOLE_FILE: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class FileFound:
    """A file met while looking through a folder: its path in there, bytes, and time of change."""

    path: str
    size: int
    changed: float


class LocalFiles:
    """The artifacts root and the staging folder of one lake, on one local file system."""

    def __init__(self, root: Path, staging: Path, disk: Disk | None = None) -> None:
        self.root = root.absolute()
        self._prefix = f"{self.root}{os.sep}"
        self.staging = staging.absolute()
        self._disk = disk or Disk()

    def create_folders(self) -> None:
        """Make the root and the staging folder. Raises `StoreUnavailable`."""
        with _translated(f"cannot create {self.root} and {self.staging}"):
            self._disk.make_folder(self.root)
            self._disk.make_folder(self.staging)

    def check_folders(self) -> None:
        """Raise `StoreUnavailable` unless the artifacts root is there."""
        if not self.root.is_dir():
            raise StoreUnavailable(
                f"no artifacts at {self.root}: run `quantlab init`, or name the lake"
            )

    def writable(self) -> bool:
        """Whether new files could be written now."""
        return all(os.access(folder, os.W_OK | os.X_OK) for folder in (self.root, self.staging))

    def locate(self, path: str) -> Path:
        """The file's absolute path. Raises `IntegrityError` for a path of another shape."""
        if artifact_id_in(path) is None:
            raise IntegrityError(f"the manifest names an impossible path {path[:120]!r}")
        return self.root / path

    def put(self, files: Sequence[tuple[str, bytes]]) -> list[bool]:
        """Write files that belong together: all are synced before the first gets its name.

        The names are given in order, up to the first that is taken; says which were given. The
        folders still have to be synced (`sync_folders`). Raises `StoreUnavailable`.
        """
        staged: list[Path] = []
        placed = [False] * len(files)
        with _translated("cannot write"):
            try:
                for _, data in files:
                    staged.append(self._stage(data))
                for i, (path, _) in enumerate(files):
                    if not self._name(staged[i], self.locate(path)):
                        break
                    placed[i] = True
            finally:
                self._discard(staged)
        return placed

    def replace(self, path: str, data: bytes) -> None:
        """Write a file in the place of whatever has its name: for sidecars that describe no file.

        Raises `StoreUnavailable`.
        """
        with _translated("cannot write"):
            staged = self._stage(data)
            try:
                self._disk.replace(staged, self.locate(path))
            except OSError:
                self._discard([staged])
                raise

    def sync_folders(self, paths: Iterable[str]) -> None:
        """Make the names of these files, and of the folders they are in, survive a power cut.

        Raises `StoreUnavailable`.
        """
        folders = {parent for path in paths for parent in PurePosixPath(path).parents}
        # The deepest first: a folder's own name is of use only once what it holds is safe.
        ordered = sorted(folders, key=lambda folder: (-len(folder.parts), str(folder)))
        leaves = [folder for folder in ordered if len(folder.parts) == 3]
        with _translated("cannot sync"), Writers(len(leaves)) as pool:
            for done in [pool.submit(self._sync_folder, self.root / leaf) for leaf in leaves]:
                done.result()
            for folder in ordered[len(leaves) :]:
                self._sync_folder(self.root / folder)

    def delete(self, path: str) -> None:
        """Take a file away; no error if it is gone. Raises `StoreUnavailable`."""
        with _translated("cannot delete"), contextlib.suppress(FileNotFoundError):
            self._disk.remove(self.locate(path))

    def size(self, path: str) -> int | None:
        """The file's size in bytes, None if it is not there."""
        try:
            return self.locate(path).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable("cannot read", error) from error

    def changed(self, path: str) -> float | None:
        """When the file was last changed, in seconds since 1970; None if it is not there."""
        try:
            return self.locate(path).stat().st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable("cannot read", error) from error

    def read(self, path: str) -> bytes:
        """The file's bytes. Raises `NotFound`, `StoreUnavailable`."""
        return self._read_from(path, _read_all)

    def sha256(self, path: str) -> str:
        """`sha256:<hex>` of the file's bytes. Raises `NotFound`, `StoreUnavailable`."""
        return self.digest(path)[1]

    def digest(self, path: str) -> tuple[int, str]:
        """How many bytes the file has, and their `sha256:<hex>`.

        Raises `NotFound`, `StoreUnavailable`.
        """
        return self._read_from(path, _digest)

    def whole(self, path: str, size: int) -> bool:
        """Whether an artifact's file (of that size) and its sidecar are both there."""
        return self.size(path) == size and self.size(sidecar_path(path)) is not None

    def scan(self) -> Iterator[FileFound]:
        """All files under the root that have the shape of an artifact's, in no particular order.

        Raises `StoreUnavailable`.
        """
        with _translated("cannot read"):
            for file in _scan(self.root, self.root):
                if artifact_id_in(file.path) is not None:
                    yield file

    def scan_staging(self) -> Iterator[FileFound]:
        """The files in the staging folder that this store could have put there."""
        with _translated("cannot read"):
            if self.staging.is_dir():
                for file in _scan(self.staging, self.staging):
                    if is_staged(file.path):
                        yield file

    def move_away(self, path: str, folder: Path) -> Path:
        """Move an artifact's file into `folder`, under the same path there; says where it is.

        Raises `StoreUnavailable`.
        """
        return self._move(self.locate(path), folder / path)

    def move_staged_away(self, name: str, folder: Path) -> bool:
        """Move a file of the staging folder into `folder`; False if it has gone since.

        Raises `StoreUnavailable`.
        """
        if not is_staged(name):
            raise IntegrityError(f"no file of the staging folder has the name {name[:120]!r}")
        with _translated("cannot move"):
            target = folder / "staging" / name
            self._disk.make_folder(target.parent)
            try:
                self._disk.move(self.staging / name, target)
            except FileNotFoundError:
                return False
        return True

    def empty_folder(self, folder: Path) -> None:
        """Delete all in a folder of the trash, and the folder; links are not followed.

        Somebody else may be doing the same. Raises `StoreUnavailable`.
        """
        with _translated("cannot delete"):
            for inside, folders, names in os.walk(folder, topdown=False):
                for path in (Path(inside, name) for name in (*names, *folders)):
                    with contextlib.suppress(FileNotFoundError):
                        if path.is_dir() and not path.is_symlink():
                            self._disk.remove_folder(path)
                        else:
                            self._disk.remove(path)
            with contextlib.suppress(FileNotFoundError):
                self._disk.remove_folder(folder)

    def _read_from(self, path: str, how: Callable[[int, int], R]) -> R:
        """What `how` reads from a descriptor of the file, given its size too."""
        if artifact_id_in(path) is None:
            self.locate(path)
        try:
            # Not by `Path`: audits open very many files.
            descriptor = os.open(f"{self._prefix}{path}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                return how(descriptor, os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)
        except FileNotFoundError as error:
            raise NotFound(f"no file {path}") from error
        except OSError as error:
            raise _unavailable("cannot read", error) from error

    def _move(self, source: Path, target: Path) -> Path:
        with _translated("cannot move"):
            self._disk.make_folder(target.parent)
            self._disk.move(source, target)
        return target

    def _stage(self, data: bytes) -> Path:
        path = self.staging / uuid.uuid4().hex
        descriptor = self._disk.create(path)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._disk.write(descriptor, rest) :]
            self._disk.make_readable(descriptor)
            self._disk.sync(descriptor)
        except OSError:
            self._discard([path])
            raise
        finally:
            os.close(descriptor)
        return path

    def _name(self, staged: Path, target: Path) -> bool:
        try:
            try:
                self._disk.link(staged, target)
            except FileNotFoundError:
                self._disk.make_folder(target.parent)
                self._disk.link(staged, target)
        except FileExistsError:
            return False
        return True

    def _discard(self, staged: Iterable[Path]) -> None:
        for path in staged:
            # What cannot be removed now is left to garbage collection.
            with contextlib.suppress(OSError):
                self._disk.remove(path)

    def _sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._disk.sync(descriptor)
        finally:
            os.close(descriptor)


def _read_all(descriptor: int, size: int) -> bytes:
    data = os.read(descriptor, size + 1)
    if len(data) == size:
        return data
    parts = [data]
    while part := os.read(descriptor, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _digest(descriptor: int, size: int) -> tuple[int, str]:
    if size <= _WHOLE_FILE:
        data = _read_all(descriptor, size)
        return len(data), sha256_of(data)
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        return size, f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def read_file(path: Path) -> bytes:
    """The bytes of a user's file. Raises `NotFound`, `StoreUnavailable`."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"no file {path}") from error
    except OSError as error:
        raise _unavailable("cannot read", error) from error


def scan_folder(folder: Path) -> list[FileFound]:
    """All regular files under a folder, none if it is not there. Raises `StoreUnavailable`."""
    with _translated("cannot read"):
        return list(_scan(folder, folder)) if folder.is_dir() else []


def sha256_of(data: bytes) -> str:
    """`sha256:<hex>` of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _scan(folder: Path, root: Path) -> Iterator[FileFound]:
    start = len(os.fspath(root)) + 1
    waiting = [os.fspath(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:  # gone since: a publisher's staging file, the trash
                        continue
                    yield FileFound(entry.path[start:], status.st_size, status.st_mtime)


@contextlib.contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unavailable(doing, error) from error


def _unavailable(doing: str, error: OSError) -> StoreUnavailable:
    where = f" {error.filename}" if error.filename else ""
    if error.errno == errno.EXDEV:
        return StoreUnavailable("the staging folder must be on the file system of the artifacts")
    return StoreUnavailable(f"{doing}{where}: {error.strerror or error}")

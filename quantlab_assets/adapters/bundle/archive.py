"""The tar files of bundles: plain regular files only, written reproducibly, read with suspicion.

The reader knows one kind of member. Links, devices, long-name and extended headers, sparse files
and compression are not skipped but refused, so there is nothing in it that could be tricked. What
the files of a bundle mean is said in `contents`.
"""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from quantlab_assets.domain.errors import IntegrityError, NotFound, StoreUnavailable

_BLOCK: Final = 512
_MAGIC: Final = (b"ustar\x0000", b"ustar  \x00")


class ArchiveWriter:
    """Adds members one after the other; the same members make the same bytes."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.bytes = 0

    def add(self, name: str, data: bytes) -> None:
        """Add a file."""
        member = tarfile.TarInfo(name)
        member.size = len(data)
        member.mode = 0o444
        self._out.write(member.tobuf(tarfile.USTAR_FORMAT))
        self._out.write(data)
        self._out.write(bytes(-len(data) % _BLOCK))
        self.bytes += len(data)

    def close(self) -> None:
        """Write the end of the archive."""
        self._out.write(bytes(2 * _BLOCK))


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: its name, and where its bytes are."""

    name: str
    offset: int
    size: int


class Archive:
    """A tar file opened for reading. A context manager; `members` are read once, when opened."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("rb")
        except FileNotFoundError as error:
            raise NotFound(f"no bundle at {path}") from error
        except OSError as error:
            raise StoreUnavailable(f"cannot read {path}: {error.strerror}") from error
        self.path = path

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def members(self, *, most: int) -> Iterator[Member]:
        """All members in order, at most so many. Raises `IntegrityError` for anything unusual."""
        size = self._file.seek(0, io.SEEK_END)
        offset = 0
        for _ in range(most + 1):
            header = self._read(offset, _BLOCK)
            if header == bytes(_BLOCK):
                return
            member = self._member(header, offset + _BLOCK)
            offset = member.offset + -(-member.size // _BLOCK) * _BLOCK
            if offset > size:
                raise self._refused(f"{member.name} is cut short")
            yield member
        raise self._refused(f"it has more than {most} files")

    def read(self, member: Member) -> bytes:
        """The bytes of a member."""
        return self._read(member.offset, member.size)

    def _member(self, header: bytes, offset: int) -> Member:
        if header[257:265] not in _MAGIC:
            raise self._refused("it is no tar file")
        summed = sum(header) - sum(header[148:156]) + 8 * 0x20
        if _octal(header[148:156]) != summed:
            raise self._refused("a header is damaged")
        if header[156:157] not in (b"0", b"\0"):
            raise self._refused(f"it has a member of type {header[156:157]!r}, no regular file")
        size = _octal(header[124:136])
        if size is None:
            raise self._refused("a size is no number")
        prefix, name = header[345:500].rstrip(b"\0"), header[:100].rstrip(b"\0")
        whole = b"/".join([prefix, name]) if prefix else name
        if not whole.isascii():
            raise self._refused("a name is not ASCII")
        return Member(whole.decode(), offset, size)

    def _read(self, offset: int, size: int) -> bytes:
        try:
            self._file.seek(offset)
            data = self._file.read(size)
        except OSError as error:
            raise StoreUnavailable(f"cannot read {self.path}: {error.strerror}") from error
        if len(data) != size:
            raise self._refused("it is cut short")
        return data

    def _refused(self, why: str) -> IntegrityError:
        return IntegrityError(f"bundle {self.path} is refused: {why}")


def _octal(digits: bytes) -> int | None:
    text = digits.rstrip(b"\0 ")
    if not text or set(text) - set(b"01234567"):
        return None
    return int(text, 8)

"""Puts exports into the inbox: each content once, under a name of its own, whole or not at all."""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from quantlab_assets.adapters.inbox_folder import files_in
from quantlab_assets.adapters.telegram.inbox import SUFFIXES
from quantlab_assets.domain.artifacts import SourceFile
from quantlab_assets.domain.errors import Conflict, StoreUnavailable

_CHUNK: Final = 1 << 20
_STEM_LENGTH: Final = 60
_HASH_LENGTH: Final = 16


class Intake:
    """The way into an inbox folder. Nothing there is ever overwritten."""

    def __init__(self, inbox: Path) -> None:
        self._inbox = inbox

    def find(self, export: SourceFile) -> str | None:
        """The file with exactly this content, by its path below the inbox; None if there is none.

        What the inbox does not show (hidden files) does not count.
        """
        for file in files_in(self._inbox, SUFFIXES):
            if file.size == export.size and _sha256(self._inbox / file.path) == export.sha256:
                return file.path
        return None

    def take(self, path: Path, export: SourceFile) -> str:
        """Copy a file whose content is `export`; its name below the inbox. Does nothing if the
        content is there already.

        Raises `Conflict` if the file has changed since, `StoreUnavailable` if it cannot be copied.
        """
        there = self.find(export)
        if there is not None:
            return there

        def copy(target: BinaryIO) -> None:
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    target.write(chunk)
            if f"sha256:{digest.hexdigest()}" != export.sha256:
                raise Conflict(f"{path.name}: changed while it was copied; try again")

        return self._put(_name(path.stem, export.sha256), copy)

    def put(self, stem: str, content: bytes) -> str:
        """Write content as an export of its own; its name below the inbox."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"

        def write(target: BinaryIO) -> None:
            target.write(content)

        return self._put(_name(stem, digest), write)

    def _put(self, name: str, write: Callable[[BinaryIO], None]) -> str:
        """Write beside, hidden, then link: a file that the inbox shows is whole."""
        try:
            self._inbox.mkdir(parents=True, exist_ok=True)
            descriptor, part = tempfile.mkstemp(prefix=".", suffix=".part", dir=self._inbox)
            try:
                with os.fdopen(descriptor, "wb") as target:
                    write(target)
                    target.flush()
                    os.fsync(target.fileno())
                Path(part).chmod(0o644)
                # The name holds the content's hash: who was faster has put the same there.
                if not (self._inbox / name).exists():
                    os.link(part, self._inbox / name)
            except FileExistsError:
                pass
            finally:
                Path(part).unlink()
        except OSError as error:
            raise StoreUnavailable(
                f"{self._inbox}: cannot take in {name}: {error.strerror}"
            ) from error
        return name


def _name(stem: str, sha256: str) -> str:
    """`result-0123456789abcdef.json`: what is safe of the stem, and the content's hash."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:_STEM_LENGTH] or "export"
    return f"{safe}-{sha256.removeprefix('sha256:')[:_HASH_LENGTH]}.json"


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except FileNotFoundError:  # gone since the look at the folder
        return ""

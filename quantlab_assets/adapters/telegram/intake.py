"""Puts exports into the inbox: each content once, under a name of its own, whole or not at all."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from quantlab_assets.adapters.telegram.export_folder import (
    PAGES_OPTIONS,
    ReadingOptions,
    export_files,
    exports_among,
    group_of,
    page_number,
    read_options,
)
from quantlab_assets.adapters.whole_files import copy_checked, sha256_of_file, written
from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.errors import StoreUnavailable

_STEM_LENGTH: Final = 60
_HASH_LENGTH: Final = 16


class Intake:
    """The way into an inbox folder. No export there is ever overwritten."""

    def __init__(self, inbox: Path) -> None:
        self._inbox = inbox

    def find(self, files: Sequence[SourceFile]) -> str | None:
        """The export with exactly these files, pages in their order: the path of its (first) file
        below the inbox. None if there is none; what the inbox does not show (hidden files) does not
        count.
        """
        sizes = {file.path: file.size for file in export_files(self._inbox)}
        wanted = [file.size for file in files]
        for export in exports_among(sizes):
            if [sizes[path] for path in export.paths] == wanted and all(
                sha256_of_file(self._inbox / path) == file.sha256
                for path, file in zip(export.paths, files, strict=True)
            ):
                return export.name
        return None

    def options(self, name: str) -> ReadingOptions | None:
        """How an export of the inbox is to be read, if that was told. See `read_options`."""
        return read_options(self._inbox / group_of(name))

    def tell(self, name: str, options: ReadingOptions) -> bool:
        """Write down how an export of the inbox is to be read; whether that is news."""
        if self.options(name) == options:
            return False
        path = self._inbox / group_of(name)
        try:
            with written(path.parent, lambda to: to.write(options.toml().encode())) as part:
                part.replace(path)
        except OSError as error:
            raise StoreUnavailable(
                f"{self._inbox}: cannot write {path.name}: {error.strerror}"
            ) from error
        return True

    def take(
        self,
        paths: Sequence[Path],
        files: Sequence[SourceFile],
        options: ReadingOptions | None = None,
        *,
        pages: bool = False,
    ) -> str:
        """Copy an export, whose files have the contents `files`; the path of its (first) file below
        the inbox. Copies nothing if the content is there already. `options` are written beside it;
        None leaves what is there.

        Raises `Conflict` if a file has changed since, `StoreUnavailable` if it cannot be copied.
        """
        name = self.find(files)
        if name is None:
            if pages:
                return self._take_pages(paths, files, options)
            [path], [file] = paths, files
            name = self._put(
                _name(path.stem, file.sha256), lambda to: copy_checked(path, file.sha256, to)
            )
        if options is not None:
            self.tell(name, options)
        return name

    def _take_pages(
        self, paths: Sequence[Path], files: Sequence[SourceFile], options: ReadingOptions | None
    ) -> str:
        """Copy pages into a folder of their own, which the inbox shows when it is whole."""
        listed = hashlib.sha256("\n".join(file.sha256 for file in files).encode()).hexdigest()
        folder = self._inbox / f"{_safe(paths[0].absolute().parent.name)}-{listed[:_HASH_LENGTH]}"
        names = [f"messages{'' if n == 1 else n}.html" for n in _numbers(paths)]
        try:
            self._inbox.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=self._inbox))
            try:
                part.chmod(0o755)
                for path, file, name in zip(paths, files, names, strict=True):
                    with (part / name).open("wb") as target:
                        copy_checked(path, file.sha256, target)
                        target.flush()
                        os.fsync(target.fileno())
                if options is not None:
                    (part / PAGES_OPTIONS).write_bytes(options.toml().encode())
                part.rename(folder)
            except OSError:
                # Who was faster has put the same there.
                if not folder.is_dir():
                    raise
            finally:
                shutil.rmtree(part, ignore_errors=True)
        except OSError as error:
            raise StoreUnavailable(
                f"{self._inbox}: cannot take in {folder.name}: {error.strerror}"
            ) from error
        return f"{folder.name}/{names[0]}"

    def put(self, stem: str, content: bytes) -> str:
        """Write content as an export of its own; its name below the inbox."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return self._put(_name(stem, digest), lambda to: to.write(content))

    def put_page(self, stem: str, content: bytes, options: ReadingOptions) -> str:
        """Write a page as an export of its own, read by `options`; its name below the inbox."""
        digest = hashlib.sha256(content).hexdigest()
        source = SourceFile(f"sha256:{digest}", f"{stem}.html", len(content), "telegram_html")
        with tempfile.TemporaryDirectory(prefix="quantlab-") as folder:
            page = Path(folder) / stem / "messages.html"
            page.parent.mkdir()
            page.write_bytes(content)
            return self.take([page], [source], options, pages=True)

    def _put(self, name: str, write: Callable[[BinaryIO], object]) -> str:
        """Write beside, hidden, then link: a file that the inbox shows is whole."""
        try:
            self._inbox.mkdir(parents=True, exist_ok=True)
            with written(self._inbox, write) as part, suppress(FileExistsError):
                # The name holds the content's hash: who was faster has put the same there.
                if not (self._inbox / name).exists():
                    os.link(part, self._inbox / name)
        except OSError as error:
            raise StoreUnavailable(
                f"{self._inbox}: cannot take in {name}: {error.strerror}"
            ) from error
        return name


def _numbers(paths: Sequence[Path]) -> list[int]:
    """The pages' own numbers; if a file is not called like a page, they are counted."""
    numbers = [page_number(path.name) for path in paths]
    own = [number for number in numbers if number is not None]
    if len(set(own)) == len(paths):
        return own
    return list(range(1, len(paths) + 1))


def _name(stem: str, sha256: str) -> str:
    """`result-0123456789abcdef.json`: what is safe of the stem, and the content's hash."""
    return f"{_safe(stem)}-{sha256.removeprefix('sha256:')[:_HASH_LENGTH]}.json"


def _safe(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:_STEM_LENGTH] or "export"

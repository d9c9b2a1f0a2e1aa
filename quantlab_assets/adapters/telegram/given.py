"""Exports that a user names by paths: which there are, and how each is to be read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from quantlab_assets.adapters.telegram.export_folder import (
    JSON_SUFFIX,
    PAGE_SUFFIXES,
    PAGES_OPTIONS,
    ExportFiles,
    ReadingOptions,
    export_files,
    exports_among,
    group_of,
    in_page_order,
    page_number,
    read_options,
)
from quantlab_assets.adapters.telegram.inbox import source_file
from quantlab_assets.adapters.telegram.intake import Intake
from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.domain.telegram.clock.times import AUTO, LABEL
from quantlab_assets.ports.alert_source import AlertSource, Export

_NO_OFFSET: Final = r"has no (?:UTC )?offset"
"""What both readers say of a time that a zone would make readable."""


@dataclass(frozen=True, slots=True)
class GivenFiles:
    """One export as it was named: its files below `folder`, and what the user should know."""

    folder: Path
    files: ExportFiles
    shown: Path
    note: str | None = None

    @property
    def paths(self) -> list[Path]:
        """The files, pages in their order."""
        return [self.folder / path for path in self.files.paths]

    @property
    def is_html(self) -> bool:
        """Whether it is an HTML export."""
        return self.files.form == "html"


@dataclass(frozen=True, slots=True)
class GivenExport:
    """An export that was read. `held_as` is its (first) file in the inbox if it is there already;
    `told` what is to be written beside it there, None if nothing is."""

    given: GivenFiles
    export: Export
    source: AlertSource
    held_as: str | None
    told: ReadingOptions | None

    @property
    def without_offset(self) -> int:
        """How many records could not be read only since their times have no offset, and the zone
        of their clock is not known."""
        if not self.export.unreadable:
            return 0
        rows = self.source.unreadable(self.export.source)
        reasons = rows.filter(pl.col("error_code") == "bad_date")["error_reason"]
        return int(reasons.str.contains(_NO_OFFSET).sum())

    def take(self, intake: Intake) -> str:
        """Put it into the inbox; the path of its (first) file there."""
        pages = self.given.is_html
        return intake.take(self.given.paths, self.export.files, self.told, pages=pages)


def given_exports(paths: Iterable[Path]) -> list[GivenFiles]:
    """The exports in the files and folders named; hidden ones in folders are left alone.

    Pages named one by one are one export for each folder they are in. Raises `NotFound`.
    """
    found: list[GivenFiles] = []
    pages: dict[Path, list[Path]] = {}
    for path in paths:
        if path.is_dir():
            inside = exports_among(file.path for file in export_files(path))
            if not inside:
                raise NotFound(f"{path}: no *.json file and no messages.html in this folder")
            found += [GivenFiles(path, files, _shown(path, files)) for files in inside]
        elif not path.is_file():
            raise NotFound(f"{path}: no such file or folder")
        elif path.suffix.lower() in PAGE_SUFFIXES:
            pages.setdefault(path.parent, []).append(path)
        else:
            files = ExportFiles("json", (path.name,), group_of(path.with_suffix(JSON_SUFFIX).name))
            found.append(GivenFiles(path.parent, files, path))
    found += [_of_pages(folder, named) for folder, named in pages.items()]
    return list(dict.fromkeys(found))


def read_given(
    given: GivenFiles,
    intake: Intake,
    open_source: Callable[[ExportFiles, ReadingOptions | None], AlertSource],
    *,
    default: ReadingOptions,
    timezone: str | None = None,
    chat_id: int | None = None,
) -> GivenExport:
    """Read an export as it would be read from the inbox.

    What is asked for now wins, then what was told of it in the inbox, then what stands beside it,
    then `default`. Of JSON only an IANA zone matters, and no chat's id.
    """
    held_as = intake.find([_source(path, given) for path in given.paths])
    before = None if held_as is None else intake.options(held_as)
    told = before or read_options(given.folder / given.files.options)
    wanted = told
    if timezone is not None and (given.is_html or timezone not in (AUTO, LABEL)):
        wanted = replace(wanted or default, timezone=timezone)
    if chat_id is not None and given.is_html:
        wanted = replace(wanted or default, chat_id=chat_id)
    source = open_source(given.files, wanted)
    [export] = source.exports()
    return GivenExport(given, export, source, held_as, wanted)


def _source(path: Path, given: GivenFiles) -> SourceFile:
    return source_file(path, given.files.form)


def _of_pages(folder: Path, named: list[Path]) -> GivenFiles:
    paths = in_page_order(list(dict.fromkeys(named)))
    files = ExportFiles("html", tuple(path.name for path in paths), PAGES_OPTIONS)
    others = {
        file.name
        for file in folder.iterdir()
        if page_number(file.name) is not None and file.name not in files.paths
    }
    note = None
    if others and all(page_number(path.name) is not None for path in paths):
        note = (
            f"{paths[0]}: {len(others)} other pages of its folder are left out; give the folder "
            "to ingest all of them as one chat"
        )
    return GivenFiles(folder, files, paths[0] if len(paths) == 1 else folder, note)


def _shown(folder: Path, files: ExportFiles) -> Path:
    first = folder / files.name
    return first.parent if files.form == "html" and len(files.paths) > 1 else first

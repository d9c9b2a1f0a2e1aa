"""Exports that a user names by paths: which there are, and how each is to be read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from quantlab_assets.adapters.inbox_folder import links_outside
from quantlab_assets.adapters.telegram.export_folder import (
    JSON_SUFFIX,
    OPTIONS_SUFFIX,
    PAGE_SUFFIXES,
    PAGES_OPTIONS,
    ExportFiles,
    ReadingOptions,
    among_attachments,
    export_files,
    exports_among,
    group_of,
    in_page_order,
    looks_like_page,
    missing_pages,
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
    notes: tuple[str, ...] = ()

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
            found += _in_folder(path)
        elif not path.is_file():
            raise NotFound(f"{path}: no such file or folder")
        elif path.suffix.lower() in PAGE_SUFFIXES:
            pages.setdefault(path.parent, []).append(path)
        else:
            files = ExportFiles("json", (path.name,), group_of(path.with_suffix(JSON_SUFFIX).name))
            found.append(GivenFiles(path.parent, files, path))
    found += [_of_pages(folder, named) for folder, named in pages.items()]
    return list(dict.fromkeys(found))


def _in_folder(folder: Path) -> list[GivenFiles]:
    """The exports in a folder, without what was sent in their chats. What is left out is said with
    the first of them."""
    paths = [file.path for file in export_files(folder)]
    sent = {path for path in paths if among_attachments(path, paths)}
    inside = exports_among(path for path in paths if path not in sent)
    exported = {path for files in inside for path in files.paths}
    folders = {(folder / path).parent for path in exported}
    lookalikes = sorted(
        path.relative_to(folder).as_posix()
        for each in folders | {folder}
        for path in each.iterdir()
        if looks_like_page(path.name)
    )
    notes = [
        f"{folder / path}: left out, an attachment of the export beside it"
        for path in sorted(sent)
        if not path.endswith(OPTIONS_SUFFIX)
    ]
    notes += [
        f"{folder / path}: left out, its name is no page's; rename it to messages<N>.html if it is "
        "one of this export"
        for path in lookalikes
    ]
    notes += [
        f"{folder / path}: left alone, the link leads out of the folder"
        for path in links_outside(folder)
    ]
    if not inside:
        said = f"{folder}: no *.json file and no messages.html in this folder"
        raise NotFound("; ".join([said, *notes[:3]]))
    found = []
    for files in inside:
        told = (*notes, *_missing(folder, files))
        found.append(GivenFiles(folder, files, _shown(folder, files), told))
        notes = []
    return found


def _missing(folder: Path, files: ExportFiles) -> list[str]:
    """What to say of pages that are not there."""
    missing = missing_pages(files.paths) if files.form == "html" else []
    if not missing:
        return []
    shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
    pages = "page" if len(missing) == 1 else "pages"
    return [f"{(folder / files.name).parent}: {pages} {shown} of the export missing; read without"]


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
    notes: tuple[str, ...] = ()
    if others and all(page_number(path.name) is not None for path in paths):
        notes = (
            f"{paths[0]}: {len(others)} other pages of its folder are left out; give the folder "
            "to ingest all of them as one chat",
        )
    return GivenFiles(folder, files, paths[0] if len(paths) == 1 else folder, notes)


def _shown(folder: Path, files: ExportFiles) -> Path:
    first = folder / files.name
    return first.parent if files.form == "html" and len(files.paths) > 1 else first

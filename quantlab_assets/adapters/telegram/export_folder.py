"""What counts as an export in a folder, and what was told about it.

An export is a JSON file, or all pages of an HTML export (`messages.html`, `messages2.html`, ...) in
one folder. Beside it may stand a TOML that says what it does not say itself: of `result.json` the
file `result.toml`, of pages `messages.toml`.
"""

import re
import tomllib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from quantlab_assets.adapters.inbox_folder import files_in
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.chats import chat_id_of
from quantlab_assets.domain.telegram.clock.times import AUTO, check_timezone
from quantlab_assets.ports.inbox import InboxFile

JSON_SUFFIX: Final = ".json"
PAGE_SUFFIXES: Final = (".html", ".htm")
OPTIONS_SUFFIX: Final = ".toml"
PAGES_OPTIONS: Final = "messages.toml"
ATTACHMENTS: Final = frozenset(
    {
        "files",
        "photos",
        "video_files",
        "voice_messages",
        "round_video_messages",
        "stickers",
        "contacts",
        "stories",
        "profile_pictures",
        "css",
        "images",
        "js",
    }
)
"""The folders that Telegram Desktop keeps beside an export, for what was sent."""
_PAGE: Final = re.compile(r"messages(\d{0,9})\.html?", re.IGNORECASE)

Form = Literal["json", "html"]


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How to read an export that does not say it itself: `timezone` (`auto`, `label` or an IANA
    zone), and `chat_id` of pages, which have none (None: found in their links)."""

    timezone: str = AUTO
    chat_id: int | None = None

    def toml(self) -> str:
        """As the file beside an export has it."""
        lines = [f'timezone = "{self.timezone}"']
        if self.chat_id is not None:
            lines.append(f"chat_id = {self.chat_id}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class ExportFiles:
    """The files of one export, pages in their order, by their paths below the folder looked at;
    and where its options would be."""

    form: Form
    paths: tuple[str, ...]
    options: str

    @property
    def name(self) -> str:
        """What the export goes by: its file, or the first of its pages."""
        return self.paths[0]


def page_number(name: str) -> int | None:
    """1 of `messages.html`, 46 of `messages46.html`; None if it is no page."""
    found = _PAGE.fullmatch(name)
    if found is None:
        return None
    return int(found[1]) if found[1] else 1


def looks_like_page(name: str) -> bool:
    """Whether a file that is no page by its name is one by what the name begins with."""
    lower = name.lower()
    named = lower.startswith("messages") and lower.endswith(PAGE_SUFFIXES)
    return named and page_number(name) is None


def among_attachments(path: str, beside: Collection[str]) -> bool:
    """Whether a file, by its path below a folder, was sent in a chat: it lies in a folder of
    attachments, and an export stands beside that. `beside` are the paths of all exports' files."""
    below = PurePosixPath(path)
    parents = {PurePosixPath(each).parent for each in beside}
    return any(folder.name in ATTACHMENTS and folder.parent in parents for folder in below.parents)


def missing_pages(paths: Sequence[str]) -> list[int]:
    """The numbers of the pages that are not there, of those up to the last."""
    numbers = {page_number(PurePosixPath(path).name) for path in paths} - {None}
    last = max((number for number in numbers if number is not None), default=0)
    return sorted(set(range(1, min(last, 100_000) + 1)) - numbers)


def export_files(folder: Path) -> list[InboxFile]:
    """The files below `folder` that are part of an export, or tell of one, by path."""
    suffixes = (JSON_SUFFIX, *PAGE_SUFFIXES, OPTIONS_SUFFIX)
    return [file for file in files_in(folder, suffixes) if _counts(file.path)]


def group_of(path: str) -> str:
    """What the files of one export share: its options' path."""
    below = PurePosixPath(path)
    if page_number(below.name) is not None:
        return str(below.with_name(PAGES_OPTIONS))
    return str(below.with_suffix(OPTIONS_SUFFIX))


def exports_among(paths: Iterable[str]) -> list[ExportFiles]:
    """The exports that files make, by the path of their first file."""
    groups: dict[tuple[Form, str], list[str]] = {}
    for path in sorted(paths):
        name = PurePosixPath(path).name
        if page_number(name) is not None:
            groups.setdefault(("html", group_of(path)), []).append(path)
        elif name.lower().endswith(JSON_SUFFIX):
            groups.setdefault(("json", path), []).append(path)
    found = [
        ExportFiles(form, tuple(sorted(members, key=_page_order)), group_of(members[0]))
        for (form, _), members in groups.items()
    ]
    return sorted(found, key=lambda export: export.name)


def read_options(path: Path) -> ReadingOptions | None:
    """What a TOML beside an export says; None if there is none.

    Raises `ValidationFailed` naming what is wrong with it.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValidationFailed(f"{path.name}: cannot be read: {error}") from error
    unknown = sorted(set(data) - {"timezone", "chat_id"})
    if unknown:
        raise ValidationFailed(f"{path.name}: unknown {unknown[0]!r}; known: chat_id, timezone")
    timezone, chat_id = data.get("timezone", AUTO), data.get("chat_id")
    if not isinstance(timezone, str):
        raise ValidationFailed(f"{path.name}: timezone is no text")
    if chat_id is not None and (chat_id := chat_id_of(chat_id)) is None:
        raise ValidationFailed(f"{path.name}: chat_id is no whole number")
    try:
        return ReadingOptions(check_timezone(timezone), chat_id)
    except ValidationFailed as error:
        raise ValidationFailed(f"{path.name}: {error}") from error


def _counts(path: str) -> bool:
    name = PurePosixPath(path).name.lower()
    return not name.endswith(PAGE_SUFFIXES) or page_number(name) is not None


def _page_order(path: str) -> tuple[int, str]:
    return page_number(PurePosixPath(path).name) or 0, path


def in_page_order(paths: Sequence[Path]) -> list[Path]:
    """Pages by their numbers; those of other names first, by name."""
    return sorted(paths, key=lambda path: _page_order(path.as_posix()))

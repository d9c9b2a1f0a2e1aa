"""What an inbox sensor does at a tick: which files to read, which days to run, what to remember.

Pure: files, contents and days go in, a decision comes out. Looking at the folder, reading files and
asking the lake are the caller's.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Final, Literal

from quantlab_assets.domain.days import contiguous, with_day_before
from quantlab_assets.ports.inbox import InboxFile

FORMAT: Final = 1

Verdict = Literal["settling", "taken", "refused"]


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as an earlier tick saw it. `content` names what it holds once it was read."""

    size: int
    mtime_ns: int
    verdict: Verdict = "settling"
    content: str | None = None


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A settled file that was read: what its content is called, and the days it changes."""

    file: InboxFile
    content: str
    days: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A settled file that cannot be used, and why."""

    file: InboxFile
    reason: str


@dataclass(frozen=True, slots=True)
class DayRange:
    """Contiguous days, both ends included, to run at once; `run_key` is the same for the same
    contents, times of writing, and days."""

    first: date
    last: date
    run_key: str


@dataclass(frozen=True, slots=True)
class InboxDecision:
    """What to run, what to put on record as refused, and what to remember for the next tick.

    `left_out` are the days with something new that are no partitions.
    """

    ranges: tuple[DayRange, ...]
    refused: tuple[RefusedFile, ...]
    memory: Mapping[str, KnownFile]
    left_out: tuple[date, ...] = ()


def settled_files(
    memory: Mapping[str, KnownFile],
    listing: Iterable[InboxFile],
    group_of: Callable[[str], str] = str,
) -> tuple[InboxFile, ...]:
    """The files to read now: as they were at the last tick, and not judged yet.

    A file that is still growing, or was seen for the first time, is left for the next tick, and
    with it all files of its group: those for whose paths `group_of` gives the same.
    """
    files = sorted(listing, key=lambda file: file.path)
    moving = {
        group_of(file.path)
        for file in files
        if (known := memory.get(file.path)) is None or not _same(known, file)
    }
    return tuple(
        file
        for file in files
        if group_of(file.path) not in moving and memory[file.path].verdict == "settling"
    )


def decide(
    memory: Mapping[str, KnownFile],
    listing: Sequence[InboxFile],
    read: Sequence[ReadFile],
    refused: Sequence[RefusedFile],
    *,
    span: tuple[date, date],
    day_before: bool,
) -> InboxDecision:
    """The outcome of a tick, from what it found.

    A content that was taken before, under whatever name, causes no run. With `day_before` each
    changed day also runs the day before it (`domain.days` says why). Days outside `span`, first and
    last day included, are no partitions and are left out.
    The time of writing is in the run key, so that a content that comes back runs again. Settled
    files in neither `read` nor `refused` wait for another tick; files that are gone are forgotten.
    """
    taken = {known.content for known in memory.values() if known.verdict == "taken"}
    fresh: dict[str, ReadFile] = {}
    for exported in read:
        if exported.content not in taken:
            fresh.setdefault(exported.content, exported)
    days = {day for export in fresh.values() for day in export.days}
    left_out = sorted(day for day in days if not span[0] <= day <= span[1])
    if day_before:
        days = with_day_before(days)
    days = {day for day in days if span[0] <= day <= span[1]}
    contents = sorted(
        f"{export.content} {export.file.mtime_ns}" for export in fresh.values() if export.days
    )
    ranges = tuple(
        DayRange(first, last, _run_key(contents, first, last)) for first, last in contiguous(days)
    )
    verdicts: dict[str, tuple[Verdict, str | None]] = {
        **{export.file.path: ("taken", export.content) for export in read},
        **{file.file.path: ("refused", None) for file in refused},
    }
    return InboxDecision(
        ranges,
        tuple(refused),
        {file.path: _remembered(memory.get(file.path), file, verdicts) for file in listing},
        tuple(left_out),
    )


def reconsidered(memory: Mapping[str, KnownFile]) -> dict[str, KnownFile]:
    """The memory with nothing refused: what decides about refusal has changed."""
    return {
        path: KnownFile(known.size, known.mtime_ns) if known.verdict == "refused" else known
        for path, known in memory.items()
    }


def to_cursor(memory: Mapping[str, KnownFile]) -> str:
    """The memory as text."""
    files = {path: asdict(memory[path]) for path in sorted(memory)}
    return json.dumps({"format": FORMAT, "files": files}, separators=(",", ":"))


def from_cursor(cursor: str | None) -> dict[str, KnownFile]:
    """The memory a cursor holds; empty for no cursor, or one of another program version.

    Forgetting is harmless: files are read again, and what the lake holds already causes no run.
    """
    try:
        document = json.loads(cursor or "{}")
        if document.get("format") != FORMAT:
            return {}
        return {path: KnownFile(**known) for path, known in document["files"].items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _same(known: KnownFile, file: InboxFile) -> bool:
    return (known.size, known.mtime_ns) == (file.size, file.mtime_ns)


def _remembered(
    known: KnownFile | None, file: InboxFile, verdicts: Mapping[str, tuple[Verdict, str | None]]
) -> KnownFile:
    if file.path in verdicts:
        verdict, content = verdicts[file.path]
        return KnownFile(file.size, file.mtime_ns, verdict, content)
    if known is not None and _same(known, file):
        return known
    return KnownFile(file.size, file.mtime_ns)


def _run_key(contents: Sequence[str], first: date, last: date) -> str:
    digest = hashlib.sha256("\n".join(contents).encode()).hexdigest()
    return f"{digest[:32]}:{first}..{last}"

"""What is in a bundle: its names and sizes, its rows by table, where its files are.

Each row is looked at by itself here; what rows say of one another and of files is in `checks`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from quantlab_assets.adapters.bundle.archive import Archive, Member
from quantlab_assets.adapters.manifest.carried import CARRIED, Row, checked_row
from quantlab_assets.adapters.objects.layout import sidecar_path
from quantlab_assets.domain.errors import IntegrityError, ValidationFailed

FORMAT: Final = 1
HEADER: Final = "bundle.json"
MANIFEST: Final = "manifest.jsonl"
EXTRA: Final = "extra/"
FILES: Final = "artifacts/"

_MOST_FILES: Final = 2_000_000
_MANIFEST_BYTES: Final = 1 << 30
_DOCUMENT_BYTES: Final = 64 << 20


@dataclass
class Contents:
    """A bundle's rows by table, where its files are, and its documents."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in CARRIED})
    files: dict[str, Member] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def of(self, table: str) -> list[Row]:
        """The rows of a table, in the order of the bundle."""
        return self.rows[table]


def read_contents(archive: Archive, max_file_bytes: int) -> Contents:
    """All that a bundle holds but the bytes of artifacts' files, of which none is larger.

    Raises `IntegrityError`, `ValidationFailed`.
    """
    bundle = Contents()
    members = archive.members(most=_MOST_FILES)
    header = parsed(_expect(archive, members, HEADER, 4096), HEADER)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValidationFailed(f"{archive.path} is a bundle of another format: upgrade quantlab")
    for line in _expect(archive, members, MANIFEST, _MANIFEST_BYTES).splitlines():
        entry = parsed(line, MANIFEST)
        named = entry.get("table") if isinstance(entry, dict) else None
        if named not in CARRIED or set(entry) != {"row", "table"}:
            raise IntegrityError(f"bundle {archive.path} is refused: {MANIFEST} has a foreign line")
        bundle.of(named).append(checked_row(named, entry["row"]))
    for member in members:
        name = member.name
        if name in bundle.files:
            raise IntegrityError(f"bundle {archive.path} is refused: {name[:200]!r} is in it twice")
        bundle.files[name] = member
        if name.startswith(EXTRA) and name.endswith(".json"):
            if member.size > _DOCUMENT_BYTES:
                raise IntegrityError(f"bundle {archive.path} is refused: {name[:200]!r} is too big")
            document = name.removeprefix(EXTRA).removesuffix(".json")
            bundle.extra[document] = parsed(archive.read(member), name)
        elif member.size > max_file_bytes:
            raise IntegrityError(
                f"bundle {archive.path} is refused: {name[:200]!r} has {member.size} bytes, more"
                f" than {max_file_bytes}"
            )
    _check_names(archive, bundle)
    return bundle


def _check_names(archive: Archive, bundle: Contents) -> None:
    """The files are just those of the bundle's artifacts."""
    wanted = {f"{FILES}{sidecar_path(row['path'])}" for row in bundle.of("artifacts")} | {
        f"{FILES}{row['path']}" for row in bundle.of("artifacts") if row["purged_at"] is None
    }
    given = {name for name in bundle.files if not name.startswith(EXTRA)}
    if wanted != given:
        odd = min(wanted ^ given)
        what = "is missing" if odd in wanted else "belongs to none of its artifacts"
        raise IntegrityError(f"bundle {archive.path} is refused: {odd[:200]!r} {what}")


def _expect(archive: Archive, members: Iterator[Member], name: str, most: int) -> bytes:
    member = next(members, None)
    if member is None or member.name != name or member.size > most:
        raise IntegrityError(f"{archive.path} is no bundle: {name} is not where it belongs")
    return archive.read(member)


def parsed(data: bytes, name: str) -> Any:
    """The JSON value of a part of the bundle. Raises `IntegrityError`."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{name[:200]!r} of the bundle is no JSON") from error

"""Taking in a bundle: everything in it is verified first, then all of it becomes visible at once.

A bundle may come from anybody. Its rows are checked column by column and against one another, its
files against the rows, their content against its hash and the type's rules; nothing in it is run,
and no name in it becomes a path that was not derived here. What this lake says of an artifact that
it has already (its status, its tags) stays as it is.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Boolean, Connection, Integer, Table, func, select, update

from quantlab_assets.adapters.artifact_store.store import ParquetStore
from quantlab_assets.adapters.bundle.archive import Archive, Member
from quantlab_assets.adapters.manifest.engine import (
    in_lists,
    insert_missing,
)
from quantlab_assets.adapters.manifest.rows import (
    artifacts_by_id,
    existing_ids,
    existing_input_sets,
)
from quantlab_assets.adapters.manifest.tables import (
    artifact_tags,
    artifacts,
    input_set_members,
    input_sets,
    lineage,
    publication_sources,
    publications,
    sources,
    supersedes,
    tombstones,
)
from quantlab_assets.adapters.objects import parquet as parquet_format
from quantlab_assets.adapters.objects import sidecar
from quantlab_assets.adapters.objects.layout import parquet_path, sidecar_path
from quantlab_assets.adapters.objects.local_disk import sha256_of
from quantlab_assets.domain.artifacts.canonical_order import in_canonical_order
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.identity import artifact_id_of, input_set_id_of
from quantlab_assets.domain.artifacts.records import SHA256, Artifact
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import Conflict, IntegrityError, NotFound, ValidationFailed
from quantlab_assets.domain.time_us import from_us

FORMAT: Final = 1
HEADER: Final = "bundle.json"
MANIFEST: Final = "manifest.jsonl"
EXTRA: Final = "extra/"
FILES: Final = "artifacts/"

_TABLES: Final[Mapping[str, Table]] = {
    table.name: table
    for table in (
        artifacts,
        artifact_tags,
        publications,
        input_set_members,
        lineage,
        sources,
        publication_sources,
        supersedes,
        tombstones,
    )
}
_MOST_FILES: Final = 2_000_000
_MANIFEST_BYTES: Final = 1 << 30
_DOCUMENT_BYTES: Final = 64 << 20
_TEXT: Final = 1 << 24
_CHECKED_TOGETHER: Final = 64 << 20
_ATTEMPTS: Final = 5

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import came to: the artifacts that are new here, those that were here, how many
    publications were added, and the bundle's further documents by name, as they were exported."""

    added: tuple[str, ...]
    present: tuple[str, ...]
    publications: int
    extra: Mapping[str, Any]


@dataclass
class _Bundle:
    """A bundle's rows by table, where its files are, and its documents."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in _TABLES})
    files: dict[str, Member] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def of(self, table: Table) -> list[Row]:
        """The rows of a table, in the order of the bundle."""
        return self.rows[table.name]


def import_bundle(
    store: ParquetStore, source: Path, *, max_file_bytes: int = 2 << 30
) -> ImportReport:
    """Take in a bundle, as a whole or not at all; importing it again changes nothing.

    An artifact that is new here keeps its status, except that it does not displace what is active
    here under its key: then it comes as superseded. Events, lineage, sources and tags that are not
    known here are added.

    Raises `NotFound` (no such file, or an input that neither the bundle nor the lake has),
    `IntegrityError` if anything in the bundle is damaged or contradicts itself, `ValidationFailed`
    for artifacts of unknown types or broken rules, `Conflict`, `StoreUnavailable`.
    """
    with Archive(source) as archive:
        bundle = _read(archive, max_file_bytes)
        made = [_artifact(store, row, source) for row in bundle.of(artifacts)]
        _check_relations(store, bundle, made)
        _check_files(store, archive, bundle, made)
        for _ in range(_ATTEMPTS):
            try:
                placed = _place(store, archive, bundle, made)
            except NotFound:
                continue  # collected just before it was to be adopted
            with store.database.writing() as connection:
                there = artifacts_by_id(connection, (one.artifact_id for one in made))
                if all(_has_bytes(store, there.get(one.artifact_id), placed, one) for one in made):
                    return _record(connection, bundle, made, placed, there)
    raise Conflict("files of this bundle are being collected at the same time: import it again")


def _read(archive: Archive, max_file_bytes: int) -> _Bundle:
    bundle = _Bundle()
    members = archive.members(most=_MOST_FILES)
    header = _json(_expect(archive, members, HEADER, 4096), HEADER)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValidationFailed(f"{archive.path} is a bundle of another format: upgrade quantlab")
    for line in _expect(archive, members, MANIFEST, _MANIFEST_BYTES).splitlines():
        entry = _json(line, MANIFEST)
        named = entry.get("table") if isinstance(entry, dict) else None
        table = _TABLES.get(named) if isinstance(named, str) else None
        if table is None or set(entry) != {"row", "table"}:
            raise IntegrityError(f"bundle {archive.path} is refused: {MANIFEST} has a foreign line")
        bundle.of(table).append(_checked_row(table, entry["row"]))
    for member in members:
        name = member.name
        if name in bundle.files:
            raise IntegrityError(f"bundle {archive.path} is refused: {name[:200]!r} is in it twice")
        bundle.files[name] = member
        if name.startswith(EXTRA) and name.endswith(".json"):
            if member.size > _DOCUMENT_BYTES:
                raise IntegrityError(f"bundle {archive.path} is refused: {name[:200]!r} is too big")
            document = name.removeprefix(EXTRA).removesuffix(".json")
            bundle.extra[document] = _json(archive.read(member), name)
        elif member.size > max_file_bytes:
            raise IntegrityError(
                f"bundle {archive.path} is refused: {name[:200]!r} has {member.size} bytes, more"
                f" than {max_file_bytes}"
            )
    wanted = {f"{FILES}{sidecar_path(row['path'])}" for row in bundle.of(artifacts)} | {
        f"{FILES}{row['path']}" for row in bundle.of(artifacts) if row["purged_at"] is None
    }
    given = {name for name in bundle.files if not name.startswith(EXTRA)}
    if wanted != given:
        odd = min(wanted ^ given)
        what = "is missing" if odd in wanted else "belongs to none of its artifacts"
        raise IntegrityError(f"bundle {archive.path} is refused: {odd[:200]!r} {what}")
    return bundle


def _expect(archive: Archive, members: Iterator[Member], name: str, most: int) -> bytes:
    member = next(members, None)
    if member is None or member.name != name or member.size > most:
        raise IntegrityError(f"{archive.path} is no bundle: {name} is not where it belongs")
    return archive.read(member)


def _json(data: bytes, name: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{name[:200]!r} of the bundle is no JSON") from error


def _checked_row(table: Table, row: Any) -> Row:
    """The row, if it has exactly the table's columns and their types."""
    columns = {column.name: column for column in table.columns}
    if not isinstance(row, dict) or set(row) != set(columns):
        raise IntegrityError(f"the bundle has a row that is none of {table.name}")
    for name, column in columns.items():
        value = row[name]
        if value is None:
            fits = bool(column.nullable)
        elif isinstance(column.type, Boolean):
            fits = isinstance(value, bool)
        elif isinstance(column.type, Integer):
            fits = type(value) is int and -(2**53) <= value <= 2**53
        else:
            fits = isinstance(value, str) and len(value) <= _TEXT and _encodes(value)
        if not fits:
            raise IntegrityError(f"the bundle has an impossible {table.name}.{name}")
    return row


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _artifact(store: ParquetStore, row: Row, source: Path) -> Artifact:
    """The artifact of a row, if all in it follows from its type, key and content."""
    artifact_type = store.types.get(row["artifact_type"], row["schema_version"])
    artifact_type.parse_key(row["logical_key"])
    name, version = artifact_type.name, artifact_type.schema_version
    expected = artifact_id_of(name, version, row["logical_key"], row["content_hash"])
    sound = (
        row["artifact_id"] == expected
        and row["path"] == parquet_path(name, version, expected)
        and row["keeps_many"] == artifact_type.keeps_many
        and row["status"] in ("active", "superseded", "tombstoned")
        and SHA256.fullmatch(row["content_hash"])
        and SHA256.fullmatch(row["file_hash"])
        and row["file_size"] >= 0
    )
    if not sound:
        raise IntegrityError(
            f"bundle {source}: the row of {row['artifact_id'][:64]!r} is not sound"
        )
    times = {
        key: None if row[key] is None else from_us(row[key])
        for key in ("min_ts", "max_ts", "created_at", "purged_at")
    }
    kept = {key: value for key, value in row.items() if key != "sequence"}
    return Artifact(**{**kept, **times})


def _check_relations(store: ParquetStore, bundle: _Bundle, made: Sequence[Artifact]) -> None:
    """Every row refers to something in the bundle or here, and inputs came before their uses."""
    ids = {one.artifact_id for one in made}
    if len(ids) != len(made):
        raise IntegrityError("the bundle has an artifact twice")
    events = bundle.of(publications)
    numbers = [row["publication_id"] for row in events]
    if numbers != sorted(set(numbers)):
        raise IntegrityError("the publications of the bundle are not in order")
    first: dict[str, int] = {}
    for row in events:
        if row["deduped"] == (
            first.setdefault(row["artifact_id"], row["publication_id"]) == row["publication_id"]
        ):
            raise IntegrityError("the bundle contradicts itself on which publications were first")
        for name in ("params_json", "environment_json"):
            if not isinstance(_json(row[name].encode(), name), dict):
                raise IntegrityError(f"the bundle has an impossible publications.{name}")
    _require_equal(first, ids, "publications")
    members = _sets(bundle)
    inside = {one for several in members.values() for one in several}
    used = {row["input_artifact_id"] for row in bundle.of(lineage)} - {None}
    with store.database.reading() as connection:
        absent = (used | inside) - ids
        absent -= existing_ids(connection, absent)
        named = {row["input_set_id"] for row in bundle.of(lineage)} - {None}
        unknown = named - set(members)
        unknown -= existing_input_sets(connection, unknown)
    if absent or unknown:
        raise NotFound(
            f"the bundle needs {min(absent or unknown)[:64]!r}"
            f" ({len(absent) + len(unknown)} inputs in all), which neither it nor this lake has:"
            " export it with its lineage"
        )
    of_event = {row["publication_id"]: row["artifact_id"] for row in events}
    for row in bundle.of(lineage):
        if row["role"] not in ("loaded", "declared") or row["publication_id"] not in of_event:
            raise IntegrityError("the bundle has lineage of nothing")
        if (row["input_artifact_id"] is None) == (row["input_set_id"] is None):
            raise IntegrityError("the bundle has lineage to nothing")
        inputs = (
            [row["input_artifact_id"]]
            if row["input_set_id"] is None
            else members.get(row["input_set_id"], [])
        )
        if any(first.get(one, -1) >= row["publication_id"] for one in inputs):
            raise IntegrityError("the bundle has an artifact that was made from a later one")
    raw = {row["sha256"] for row in bundle.of(sources)}
    if not all(SHA256.fullmatch(one) for one in raw):
        raise IntegrityError("the bundle has a source without a hash")
    for row in bundle.of(publication_sources):
        if row["publication_id"] not in of_event or row["sha256"] not in raw:
            raise IntegrityError("the bundle has a source of nothing")
    for table, column in (
        (artifact_tags, "artifact_id"),
        (supersedes, "old_id"),
        (tombstones, "artifact_id"),
    ):
        if not {row[column] for row in bundle.of(table)} <= ids:
            raise IntegrityError(f"the bundle has {table.name} of artifacts that are not in it")
    dead = {one.artifact_id for one in made if one.status == "tombstoned"}
    _require_equal({row["artifact_id"]: 0 for row in bundle.of(tombstones)}, dead, "tombstones")


def _require_equal(found: Mapping[str, int], wanted: set[str], what: str) -> None:
    if set(found) != wanted:
        raise IntegrityError(f"the bundle's {what} are not those of its artifacts")


def _sets(bundle: _Bundle) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for row in bundle.of(input_set_members):
        members.setdefault(row["input_set_id"], []).append(row["artifact_id"])
    empty = input_set_id_of([])
    if any(row["input_set_id"] == empty for row in bundle.of(lineage)):
        members.setdefault(empty, [])
    for name, ids in members.items():
        if input_set_id_of(ids) != name or len(set(ids)) != len(ids):
            raise IntegrityError(f"the bundle's input set {name[:64]!r} is not what it is named by")
    return members


def _check_files(
    store: ParquetStore, archive: Archive, bundle: _Bundle, made: Sequence[Artifact]
) -> None:
    """Every file has its hash, its rows their content hash, order and values."""
    from quantlab_assets.domain.artifacts.value_rules import check_values

    waiting: dict[str, list[pa.Table]] = {}
    for one in made:
        beside = archive.read(bundle.files[f"{FILES}{sidecar_path(one.path)}"])
        told = sidecar.unseal(beside, one.path)
        if any(told.get(name) != value for name, value in sidecar.identity(one).items()):
            raise IntegrityError(
                f"the bundle's sidecar of {one.artifact_id} describes another file"
            )
        if one.purged_at is not None:
            continue
        data = _bytes_of(archive, bundle, one)
        kind = store.types.get(one.artifact_type)
        table = _table_of(data, one, kind)
        several = waiting.setdefault(kind.name, [])
        several.append(table)
        if sum(each.nbytes for each in several) > _CHECKED_TOGETHER:
            check_values(pa.concat_tables(several), kind)
            several.clear()
    for name, several in waiting.items():
        if several:
            check_values(pa.concat_tables(several), store.types.get(name))


def _bytes_of(archive: Archive, bundle: _Bundle, one: Artifact) -> bytes:
    data = archive.read(bundle.files[f"{FILES}{one.path}"])
    if len(data) != one.file_size or sha256_of(data) != one.file_hash:
        raise IntegrityError(f"the bundle's file of {one.artifact_id} does not match its hash")
    return data


def _table_of(data: bytes, one: Artifact, kind: ArtifactType) -> pa.Table:
    try:
        table = parquet_format.decode(data, one.path).replace_schema_metadata(None)
    except ValidationFailed as error:
        raise IntegrityError(str(error)) from error
    plain = pa.schema([item.remove_metadata() for item in table.schema])
    if plain != kind.schema.remove_metadata():
        raise ValidationFailed(f"the bundle's {one.artifact_id} has other columns than {kind.name}")
    extremes = (None, None)
    if kind.time_column is not None:
        both = pc.min_max(table.column(kind.time_column))
        extremes = (both["min"].as_py(), both["max"].as_py())
    if (
        content_hash(table) != one.content_hash
        or not in_canonical_order(table, kind)
        or (table.num_rows, *extremes) != (one.row_count, one.min_ts, one.max_ts)
    ):
        raise IntegrityError(
            f"the bundle's {one.artifact_id} holds other content than its row says"
        )
    return table


def _place(
    store: ParquetStore, archive: Archive, bundle: _Bundle, made: Sequence[Artifact]
) -> dict[str, Artifact]:
    """Put the files that are not here, safely on disk; the artifacts as their files are."""
    files = store.files_on_disk
    with store.database.reading() as connection:
        there = artifacts_by_id(connection, (one.artifact_id for one in made))
    placed: dict[str, Artifact] = {}
    for one in made:
        known = there.get(one.artifact_id)
        if known is not None and known.purged_at is None and files.size(known.path) is not None:
            continue
        if known is not None and one.purged_at is not None:
            continue
        beside = archive.read(bundle.files[f"{FILES}{sidecar_path(one.path)}"])
        if one.purged_at is not None:
            files.put([(sidecar_path(one.path), beside)])
            placed[one.artifact_id] = one
            continue
        data = _bytes_of(archive, bundle, one)
        if not files.put([(one.path, data)])[0]:
            data = files.read(one.path)
            if sha256_of(data) != one.file_hash:
                parquet_format.check_content(data, one.content_hash, one.path)
        stored = replace(one, file_hash=sha256_of(data), file_size=len(data))
        path = sidecar_path(one.path)
        if stored != one:
            told = {**sidecar.unseal(beside, path), **sidecar.identity(stored)}
            beside = sidecar.seal(told)
        if not files.put([(path, beside)])[0] and not sidecar.describes(files.read(path), stored):
            files.replace(path, beside)
        placed[one.artifact_id] = stored
    files.sync_folders(
        path for one in placed.values() for path in (one.path, sidecar_path(one.path))
    )
    return placed


def _has_bytes(
    store: ParquetStore, known: Artifact | None, placed: Mapping[str, Artifact], one: Artifact
) -> bool:
    """Whether nothing was collected or purged since: asked under the write lock."""
    stored = placed.get(one.artifact_id)
    if stored is not None:
        if stored.purged_at is not None:
            return store.files_on_disk.size(sidecar_path(stored.path)) is not None
        return store.files_on_disk.whole(stored.path, stored.file_size)
    return known is not None and (known.purged_at is None or one.purged_at is not None)


def _record(
    connection: Connection,
    bundle: _Bundle,
    made: Sequence[Artifact],
    placed: Mapping[str, Artifact],
    there: Mapping[str, Artifact],
) -> ImportReport:
    new = [one for one in made if one.artifact_id not in there]
    statuses = _insert_artifacts(connection, bundle, [placed[one.artifact_id] for one in new])
    for one in made:
        stored = placed.get(one.artifact_id)
        if stored is not None and one.artifact_id in there and stored.purged_at is None:
            connection.execute(
                update(artifacts)
                .where(artifacts.c.artifact_id == one.artifact_id)
                .values(file_hash=stored.file_hash, file_size=stored.file_size, purged_at=None)
            )
    numbers = _insert_publications(connection, bundle, set(there))
    _insert_inputs(connection, bundle, numbers)
    _insert(connection, artifact_tags, bundle.of(artifact_tags))
    fresh = {one.artifact_id for one in new}
    _insert(
        connection,
        tombstones,
        [row for row in bundle.of(tombstones) if statuses.get(row["artifact_id"]) == "tombstoned"],
    )
    _insert_supersedes(connection, bundle, fresh)
    return ImportReport(
        added=tuple(one.artifact_id for one in new),
        present=tuple(one.artifact_id for one in made if one.artifact_id in there),
        publications=len(numbers),
        extra=dict(bundle.extra),
    )


def _insert_artifacts(
    connection: Connection, bundle: _Bundle, new: Sequence[Artifact]
) -> dict[str, str]:
    """Insert what is new; it displaces nothing that is active. Says what status each came to."""
    if not new:
        return {}
    rows = {row["artifact_id"]: row for row in bundle.of(artifacts)}
    sequence = connection.execute(select(func.max(artifacts.c.sequence))).scalar_one() or 0
    taken: dict[tuple[str, int, str], str] = {}
    for some in in_lists(one.logical_key for one in new):
        for held in connection.execute(
            select(artifacts).where(
                artifacts.c.logical_key.in_(some), artifacts.c.status == "active"
            )
        ):
            taken[held.artifact_type, held.schema_version, held.logical_key] = held.artifact_id
    statuses: dict[str, str] = {}
    displaced: list[Row] = []
    inserted: list[Row] = []
    for one in new:
        row = {
            **rows[one.artifact_id],
            "sequence": sequence + len(inserted) + 1,
            "file_hash": one.file_hash,
            "file_size": one.file_size,
        }
        key = (one.artifact_type, one.schema_version, one.logical_key)
        if one.status == "active" and not one.keeps_many:
            holder = taken.setdefault(key, one.artifact_id)
            if holder != one.artifact_id:
                row["status"] = "superseded"
                displaced.append(
                    {
                        "new_id": holder,
                        "old_id": one.artifact_id,
                        "at": row["created_at"],
                        "reason": "imported",
                    }
                )
        statuses[one.artifact_id] = row["status"]
        inserted.append(row)
    connection.execute(artifacts.insert(), inserted)
    if displaced:
        connection.execute(supersedes.insert(), displaced)
    return statuses


def _insert_publications(
    connection: Connection, bundle: _Bundle, there: set[str]
) -> dict[int, int]:
    """Add the events that are not known here; their new numbers by those in the bundle."""
    events = bundle.of(publications)
    known: Counter[tuple[Any, ...]] = Counter()
    for some in in_lists(row["artifact_id"] for row in events):
        for found in connection.execute(
            select(publications).where(publications.c.artifact_id.in_(some))
        ):
            known[_event(dict(found._mapping))] += 1
    last = connection.execute(select(func.max(publications.c.publication_id))).scalar_one() or 0
    numbers: dict[int, int] = {}
    rows: list[Row] = []
    for row in events:
        if known[_event(row)] > 0:
            known[_event(row)] -= 1
            continue
        numbers[row["publication_id"]] = last + 1 + len(rows)
        rows.append(
            {
                **row,
                "publication_id": numbers[row["publication_id"]],
                "deduped": row["deduped"] or row["artifact_id"] in there,
            }
        )
    if rows:
        connection.execute(publications.insert(), rows)
    return numbers


def _event(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes an event the same event in every lake."""
    return tuple(
        row[column.name]
        for column in publications.columns
        if column.name not in ("publication_id", "deduped")
    )


def _insert_inputs(connection: Connection, bundle: _Bundle, numbers: Mapping[int, int]) -> None:
    """Frozen sets, lineage and sources of the events that were added."""
    members = _sets(bundle)
    known = existing_input_sets(connection, members)
    new = {name: ids for name, ids in members.items() if name not in known}
    at = {row["publication_id"]: row["created_at"] for row in bundle.of(publications)}
    frozen: dict[str, int] = {}
    for row in bundle.of(lineage):
        if row["input_set_id"] in new:
            frozen.setdefault(row["input_set_id"], at[row["publication_id"]])
    _insert(
        connection,
        input_sets,
        [{"input_set_id": name, "created_at": frozen.get(name, 0)} for name in new],
    )
    _insert(
        connection,
        input_set_members,
        [{"input_set_id": name, "artifact_id": one} for name, ids in new.items() for one in ids],
    )
    added = [row for row in bundle.of(lineage) if row["publication_id"] in numbers]
    if added:
        connection.execute(
            lineage.insert(),
            [
                {
                    "publication_id": numbers[row["publication_id"]],
                    "input_artifact_id": row["input_artifact_id"],
                    "input_set_id": row["input_set_id"],
                    "role": row["role"],
                }
                for row in added
            ],
        )
    _insert(connection, sources, bundle.of(sources))
    _insert(
        connection,
        publication_sources,
        [
            {"publication_id": numbers[row["publication_id"]], "sha256": row["sha256"]}
            for row in bundle.of(publication_sources)
            if row["publication_id"] in numbers
        ],
    )


def _insert_supersedes(connection: Connection, bundle: _Bundle, fresh: set[str]) -> None:
    """Why what is new here was superseded; what took its place only if it is known here."""
    rows = [row for row in bundle.of(supersedes) if row["old_id"] in fresh]
    known = existing_ids(connection, [row["new_id"] for row in rows if row["new_id"] is not None])
    if rows:
        connection.execute(
            supersedes.insert(),
            [
                {
                    "new_id": row["new_id"] if row["new_id"] in known else None,
                    "old_id": row["old_id"],
                    "at": row["at"],
                    "reason": row["reason"],
                }
                for row in rows
            ],
        )


def _insert(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    several = list(rows)
    if several:
        connection.execute(insert_missing(table), several)

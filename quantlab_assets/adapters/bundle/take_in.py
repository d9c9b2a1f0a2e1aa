"""Taking in a bundle: everything in it is verified first, then all of it becomes visible at once.

A bundle may come from anybody. Its rows are checked column by column and against one another, its
files against the rows, their content against its hash and the type's rules; nothing in it is run,
and no name in it becomes a path that was not derived here. What this lake says of an artifact that
it has already (its status, its tags) stays as it is.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quantlab_assets.adapters.artifact_store.store import ParquetStore
from quantlab_assets.adapters.bundle.archive import Archive, Member
from quantlab_assets.adapters.manifest.carried import (
    CARRIED,
    Row,
    checked_row,
    event_of,
    unknown_publications,
)
from quantlab_assets.adapters.manifest.changes.insert import (
    Event,
    insert_artifacts,
    insert_input_sets,
    insert_publications,
    insert_tags,
    insert_tombstones,
    set_files,
)
from quantlab_assets.adapters.manifest.changes.succession import (
    Supersession,
    active_by_key,
    decide,
    key_of,
    write_supersessions,
)
from quantlab_assets.adapters.manifest.engine import Transaction
from quantlab_assets.adapters.manifest.rows import (
    artifacts_by_id,
    existing_ids,
    existing_input_sets,
)
from quantlab_assets.adapters.objects import parquet as parquet_format
from quantlab_assets.adapters.objects import sidecar
from quantlab_assets.adapters.objects.layout import parquet_path, sidecar_path
from quantlab_assets.adapters.objects.local_disk import sha256_of
from quantlab_assets.domain.artifacts.canonical_order import in_canonical_order
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.identity import artifact_id_of, input_set_id_of
from quantlab_assets.domain.artifacts.records import SHA256, Artifact, LineageInput, SourceFile
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import IntegrityError, NotFound, ValidationFailed
from quantlab_assets.domain.moving_inputs import FILES_COLLECTED, InputsMoved
from quantlab_assets.domain.time_us import from_us

FORMAT: Final = 1
HEADER: Final = "bundle.json"
MANIFEST: Final = "manifest.jsonl"
EXTRA: Final = "extra/"
FILES: Final = "artifacts/"

_MOST_FILES: Final = 2_000_000
_MANIFEST_BYTES: Final = 1 << 30
_DOCUMENT_BYTES: Final = 64 << 20
_CHECKED_TOGETHER: Final = 64 << 20


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

    rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in CARRIED})
    files: dict[str, Member] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def of(self, table: str) -> list[Row]:
        """The rows of a table, in the order of the bundle."""
        return self.rows[table]


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
        made = [_artifact(store, row, source) for row in bundle.of("artifacts")]
        _check_relations(store, bundle, made)
        _check_files(store, archive, bundle, made)

        def take_in() -> ImportReport:
            try:
                placed = _place(store, archive, bundle, made)
            except NotFound as error:
                raise InputsMoved from error  # collected just before it was to be adopted
            with store.database.writing() as transaction:
                there = artifacts_by_id(transaction, (one.artifact_id for one in made))
                if all(_has_bytes(store, there.get(one.artifact_id), placed, one) for one in made):
                    return _record(transaction, bundle, made, placed, there)
            raise InputsMoved

        return FILES_COLLECTED.run(take_in, f"importing {source}")


def _read(archive: Archive, max_file_bytes: int) -> _Bundle:
    bundle = _Bundle()
    members = archive.members(most=_MOST_FILES)
    header = _json(_expect(archive, members, HEADER, 4096), HEADER)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValidationFailed(f"{archive.path} is a bundle of another format: upgrade quantlab")
    for line in _expect(archive, members, MANIFEST, _MANIFEST_BYTES).splitlines():
        entry = _json(line, MANIFEST)
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
            bundle.extra[document] = _json(archive.read(member), name)
        elif member.size > max_file_bytes:
            raise IntegrityError(
                f"bundle {archive.path} is refused: {name[:200]!r} has {member.size} bytes, more"
                f" than {max_file_bytes}"
            )
    wanted = {f"{FILES}{sidecar_path(row['path'])}" for row in bundle.of("artifacts")} | {
        f"{FILES}{row['path']}" for row in bundle.of("artifacts") if row["purged_at"] is None
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
    events = bundle.of("publications")
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
    used = {row["input_artifact_id"] for row in bundle.of("lineage")} - {None}
    with store.database.reading() as transaction:
        absent = (used | inside) - ids
        absent -= existing_ids(transaction, absent)
        named = {row["input_set_id"] for row in bundle.of("lineage")} - {None}
        unknown = named - set(members)
        unknown -= existing_input_sets(transaction, unknown)
    if absent or unknown:
        raise NotFound(
            f"the bundle needs {min(absent or unknown)[:64]!r}"
            f" ({len(absent) + len(unknown)} inputs in all), which neither it nor this lake has:"
            " export it with its lineage"
        )
    of_event = {row["publication_id"]: row["artifact_id"] for row in events}
    for row in bundle.of("lineage"):
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
    raw = {row["sha256"] for row in bundle.of("sources")}
    if not all(SHA256.fullmatch(one) for one in raw):
        raise IntegrityError("the bundle has a source without a hash")
    for row in bundle.of("publication_sources"):
        if row["publication_id"] not in of_event or row["sha256"] not in raw:
            raise IntegrityError("the bundle has a source of nothing")
    for table, column in (
        ("artifact_tags", "artifact_id"),
        ("supersedes", "old_id"),
        ("tombstones", "artifact_id"),
    ):
        if not {row[column] for row in bundle.of(table)} <= ids:
            raise IntegrityError(f"the bundle has {table} of artifacts that are not in it")
    dead = {one.artifact_id for one in made if one.status == "tombstoned"}
    _require_equal({row["artifact_id"]: 0 for row in bundle.of("tombstones")}, dead, "tombstones")


def _require_equal(found: Mapping[str, int], wanted: set[str], what: str) -> None:
    if set(found) != wanted:
        raise IntegrityError(f"the bundle's {what} are not those of its artifacts")


def _sets(bundle: _Bundle) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for row in bundle.of("input_set_members"):
        members.setdefault(row["input_set_id"], []).append(row["artifact_id"])
    empty = input_set_id_of([])
    if any(row["input_set_id"] == empty for row in bundle.of("lineage")):
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

    waiting: dict[tuple[str, int], list[pa.Table]] = {}
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
        kind = store.types.get(one.artifact_type, one.schema_version)
        table = _table_of(data, one, kind)
        several = waiting.setdefault((kind.name, kind.schema_version), [])
        several.append(table)
        if sum(each.nbytes for each in several) > _CHECKED_TOGETHER:
            check_values(pa.concat_tables(several), kind)
            several.clear()
    for version, several in waiting.items():
        if several:
            check_values(pa.concat_tables(several), store.types.get(*version))


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
    with store.database.reading() as transaction:
        there = artifacts_by_id(transaction, (one.artifact_id for one in made))
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
    transaction: Transaction,
    bundle: _Bundle,
    made: Sequence[Artifact],
    placed: Mapping[str, Artifact],
    there: Mapping[str, Artifact],
) -> ImportReport:
    new = [placed[one.artifact_id] for one in made if one.artifact_id not in there]
    active = active_by_key(transaction, map(key_of, new))
    succession = decide(new, active, displaces=False)
    insert_artifacts(transaction, new, {}, succession, reason="imported", yield_reason="imported")
    refilled = [one for name, one in placed.items() if name in there and one.purged_at is None]
    set_files(transaction, refilled)
    insert_input_sets(transaction, _frozen(bundle))
    events = _events(transaction, bundle, there)
    insert_publications(transaction, events)
    insert_tags(
        transaction,
        ((row["artifact_id"], {row["k"]: row["v"]}) for row in bundle.of("artifact_tags")),
        replace=False,
    )
    fresh = {one.artifact_id for one in new}
    insert_tombstones(
        transaction,
        (
            (row["artifact_id"], from_us(row["at"]), row["reason"])
            for row in bundle.of("tombstones")
            if row["artifact_id"] in fresh
        ),
    )
    write_supersessions(transaction, _supersessions(transaction, bundle, fresh))
    return ImportReport(
        added=tuple(one.artifact_id for one in new),
        present=tuple(one.artifact_id for one in made if one.artifact_id in there),
        publications=len(events),
        extra=dict(bundle.extra),
    )


def _frozen(bundle: _Bundle) -> dict[str, tuple[Sequence[str], datetime]]:
    """The bundle's frozen sets, as old as the first publication in it that was made from them."""
    made_at = {row["publication_id"]: row["created_at"] for row in bundle.of("publications")}
    first: dict[str, int] = {}
    for row in bundle.of("lineage"):
        if row["input_set_id"] is not None:
            first.setdefault(row["input_set_id"], made_at[row["publication_id"]])
    return {name: (members, from_us(first.get(name, 0))) for name, members in _sets(bundle).items()}


def _events(
    transaction: Transaction, bundle: _Bundle, there: Mapping[str, Artifact]
) -> list[Event]:
    """The publications that are not known here, with what they were made from."""
    inputs: dict[int, list[LineageInput]] = {}
    for row in bundle.of("lineage"):
        inputs.setdefault(row["publication_id"], []).append(
            LineageInput(row["input_artifact_id"], row["input_set_id"], row["role"])
        )
    raw = {
        row["sha256"]: SourceFile(row["sha256"], row["name"], row["size"], row["kind"])
        for row in bundle.of("sources")
    }
    named: dict[int, list[SourceFile]] = {}
    for row in bundle.of("publication_sources"):
        named.setdefault(row["publication_id"], []).append(raw[row["sha256"]])
    return [
        event_of(
            row,
            deduped=row["deduped"] or row["artifact_id"] in there,
            inputs=inputs.get(row["publication_id"], ()),
            sources=named.get(row["publication_id"], ()),
        )
        for row in unknown_publications(transaction, bundle.of("publications"))
    ]


def _supersessions(
    transaction: Transaction, bundle: _Bundle, fresh: set[str]
) -> list[Supersession]:
    """Why what is new here was superseded; what took its place only if it is known here."""
    rows = [row for row in bundle.of("supersedes") if row["old_id"] in fresh]
    known = existing_ids(transaction, [row["new_id"] for row in rows if row["new_id"] is not None])
    return [
        Supersession(
            row["old_id"],
            row["new_id"] if row["new_id"] in known else None,
            from_us(row["at"]),
            row["reason"],
        )
        for row in rows
    ]

"""What of a bundle is believed: its rows if they agree with one another and with this lake, its
files if they are what the rows say, their content if it has its hash and keeps the type's rules.

A bundle may come from anybody. Nothing in it is run, and no name in it becomes a path that was not
derived here.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from quantlab_assets.adapters.artifact_store.store import ParquetStore
from quantlab_assets.adapters.bundle.archive import Archive
from quantlab_assets.adapters.bundle.contents import FILES, Contents, parsed
from quantlab_assets.adapters.manifest.carried import (
    Row,
)
from quantlab_assets.adapters.manifest.rows import (
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
from quantlab_assets.domain.artifacts.records import SHA256, Artifact
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import IntegrityError, NotFound, ValidationFailed
from quantlab_assets.domain.time_us import from_us

_CHECKED_TOGETHER: Final = 64 << 20


def checked_artifact(store: ParquetStore, row: Row, source: Path) -> Artifact:
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


def check_relations(store: ParquetStore, bundle: Contents, made: Sequence[Artifact]) -> None:
    """Every row refers to something in the bundle or here, and inputs came before their uses.

    Raises `IntegrityError`, `NotFound` for inputs that neither the bundle nor the lake has.
    """
    ids = {artifact.artifact_id for artifact in made}
    if len(ids) != len(made):
        raise IntegrityError("the bundle has an artifact twice")
    created_by = _creating_publications(bundle)
    _require_equal(created_by, ids, "publications")
    members = frozen_sets(bundle)
    _check_inputs_exist(store, bundle, ids, members)
    _check_lineage(bundle, members, created_by)
    _check_sources(bundle)
    for table, column in (
        ("artifact_tags", "artifact_id"),
        ("supersedes", "old_id"),
        ("tombstones", "artifact_id"),
    ):
        if not {row[column] for row in bundle.of(table)} <= ids:
            raise IntegrityError(f"the bundle has {table} of artifacts that are not in it")
    dead = {artifact.artifact_id for artifact in made if artifact.status == "tombstoned"}
    _require_equal([row["artifact_id"] for row in bundle.of("tombstones")], dead, "tombstones")


def _creating_publications(bundle: Contents) -> dict[str, int]:
    """The publication that created each artifact, if the bundle's publications are in order."""
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
            if not isinstance(parsed(row[name].encode(), name), dict):
                raise IntegrityError(f"the bundle has an impossible publications.{name}")
    return first


def _check_inputs_exist(
    store: ParquetStore, bundle: Contents, ids: set[str], members: Mapping[str, Sequence[str]]
) -> None:
    inside = {member for several in members.values() for member in several}
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


def _check_lineage(
    bundle: Contents, members: Mapping[str, Sequence[str]], created_by: Mapping[str, int]
) -> None:
    numbers = {row["publication_id"] for row in bundle.of("publications")}
    for row in bundle.of("lineage"):
        if row["role"] not in ("loaded", "declared") or row["publication_id"] not in numbers:
            raise IntegrityError("the bundle has lineage of nothing")
        if (row["input_artifact_id"] is None) == (row["input_set_id"] is None):
            raise IntegrityError("the bundle has lineage to nothing")
        inputs = (
            [row["input_artifact_id"]]
            if row["input_set_id"] is None
            else members.get(row["input_set_id"], [])
        )
        if any(created_by.get(made_from, -1) >= row["publication_id"] for made_from in inputs):
            raise IntegrityError("the bundle has an artifact that was made from a later one")


def _check_sources(bundle: Contents) -> None:
    raw = {row["sha256"] for row in bundle.of("sources")}
    if not all(SHA256.fullmatch(sha256) for sha256 in raw):
        raise IntegrityError("the bundle has a source without a hash")
    numbers = {row["publication_id"] for row in bundle.of("publications")}
    for row in bundle.of("publication_sources"):
        if row["publication_id"] not in numbers or row["sha256"] not in raw:
            raise IntegrityError("the bundle has a source of nothing")


def _require_equal(given: Iterable[str], wanted: set[str], what: str) -> None:
    if set(given) != wanted:
        raise IntegrityError(f"the bundle's {what} are not those of its artifacts")


def frozen_sets(bundle: Contents) -> dict[str, list[str]]:
    """The members of the bundle's frozen sets. Raises `IntegrityError` for a wrong name."""
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


def check_files(
    store: ParquetStore, archive: Archive, bundle: Contents, made: Sequence[Artifact]
) -> None:
    """Every file has its hash, its rows their content hash, order and values."""
    from quantlab_assets.domain.artifacts.value_rules import check_values

    waiting: dict[tuple[str, int], list[pa.Table]] = {}
    for artifact in made:
        beside = archive.read(bundle.files[f"{FILES}{sidecar_path(artifact.path)}"])
        document = sidecar.unseal(beside, artifact.path)
        if any(document.get(name) != value for name, value in sidecar.identity(artifact).items()):
            raise IntegrityError(
                f"the bundle's sidecar of {artifact.artifact_id} describes another file"
            )
        if artifact.purged_at is not None:
            continue
        data = bytes_of(archive, bundle, artifact)
        kind = store.types.get(artifact.artifact_type, artifact.schema_version)
        table = _table_of(data, artifact, kind)
        several = waiting.setdefault((kind.name, kind.schema_version), [])
        several.append(table)
        if sum(each.nbytes for each in several) > _CHECKED_TOGETHER:
            check_values(pa.concat_tables(several), kind)
            several.clear()
    for version, several in waiting.items():
        if several:
            check_values(pa.concat_tables(several), store.types.get(*version))


def bytes_of(archive: Archive, bundle: Contents, artifact: Artifact) -> bytes:
    """The bytes of an artifact's file. Raises `IntegrityError` if they do not match its row."""
    data = archive.read(bundle.files[f"{FILES}{artifact.path}"])
    if len(data) != artifact.file_size or sha256_of(data) != artifact.file_hash:
        raise IntegrityError(f"the bundle's file of {artifact.artifact_id} does not match its hash")
    return data


def _table_of(data: bytes, artifact: Artifact, kind: ArtifactType) -> pa.Table:
    try:
        table = parquet_format.decode(data, artifact.path).replace_schema_metadata(None)
    except ValidationFailed as error:
        raise IntegrityError(str(error)) from error
    plain = pa.schema([item.remove_metadata() for item in table.schema])
    if plain != kind.schema.remove_metadata():
        raise ValidationFailed(
            f"the bundle's {artifact.artifact_id} has other columns than {kind.name}"
        )
    extremes = (None, None)
    if kind.time_column is not None:
        both = pc.min_max(table.column(kind.time_column))
        extremes = (both["min"].as_py(), both["max"].as_py())
    if (
        content_hash(table) != artifact.content_hash
        or not in_canonical_order(table, kind)
        or (table.num_rows, *extremes) != (artifact.row_count, artifact.min_ts, artifact.max_ts)
    ):
        raise IntegrityError(
            f"the bundle's {artifact.artifact_id} holds other content than its row says"
        )
    return table

"""Finding artifacts, and reading their rows from files whose size or hash was checked first."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, case, func, select

from quantlab_assets.adapters.manifest.engine import (
    MOST_ROWS,
    ManifestDatabase,
    in_lists,
)
from quantlab_assets.adapters.manifest.rows import (
    resolve,
    sources_of,
    to_artifacts,
    to_publication,
)
from quantlab_assets.adapters.manifest.tables import (
    artifact_aliases,
    artifact_tags,
    artifacts,
    partition_heads,
    publications,
)
from quantlab_assets.adapters.objects.local_disk import PARALLEL, LocalFiles
from quantlab_assets.domain.artifacts.records import (
    Artifact,
    ArtifactFilter,
    ArtifactPage,
    Publication,
    SourceFile,
)
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import (
    Conflict,
    IntegrityError,
    LostFile,
    NotFound,
    QuantlabError,
    ValidationFailed,
)
from quantlab_assets.domain.time_us import to_us

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.dataset as ds


class Reader:
    """Answers from the manifest and the files; changes neither."""

    def __init__(self, files: LocalFiles, database: ManifestDatabase, types: TypeRegistry) -> None:
        self._files = files
        self._database = database
        self._types = types

    def get_artifacts(self, ids: Sequence[str]) -> list[Artifact]:
        """See the port. Older ids (aliases) are answered too."""
        with self._database.reading() as connection:
            found = resolve(connection, ids)
        return [found[asked] for asked in ids]

    def resolve_id(self, prefix: str) -> str:
        """The one artifact id that begins so, given 8 or more digits, or an older id in full.

        Raises `NotFound`, `Conflict` if several begin so, `ValidationFailed` if it is no prefix.
        """
        with self._database.reading() as connection:
            alias = connection.execute(
                select(artifact_aliases.c.artifact_id).where(artifact_aliases.c.alias == prefix)
            ).scalar_one_or_none()
            if alias is not None:
                return str(alias)
            digits = prefix.lower()
            if not 8 <= len(digits) <= 32 or set(digits) - set("0123456789abcdef"):
                raise ValidationFailed(
                    f"{prefix[:64]!r} is no artifact id: give 8 to 32 hex digits of it"
                )
            found = list(
                connection.scalars(
                    select(artifacts.c.artifact_id)
                    .where(
                        artifacts.c.artifact_id >= digits, artifacts.c.artifact_id < f"{digits}g"
                    )
                    .order_by(artifacts.c.artifact_id)
                    .limit(6)
                )
            )
        if not found:
            raise NotFound(f"no artifact {prefix!r}")
        if len(found) > 1:
            raise Conflict(f"{prefix!r} is ambiguous: {', '.join(found)}")
        return str(found[0])

    def list_artifacts(
        self, where: ArtifactFilter, limit: int | None, cursor: str | None
    ) -> ArtifactPage:
        """See the port. Pages follow the order in which artifacts came, not the clock."""
        if limit is not None and limit < 1:
            raise ValidationFailed(f"limit must be 1 or more, not {limit}")
        query = _filtered(select(artifacts), where).order_by(artifacts.c.sequence.desc())
        if cursor is not None:
            query = query.where(artifacts.c.sequence < _sequence(cursor))
        if limit is not None:
            query = query.limit(min(limit, MOST_ROWS) + 1)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
            more = limit is not None and len(rows) > limit
            rows = rows[:limit]
            found = to_artifacts(connection, rows)
        return ArtifactPage(tuple(found), str(rows[-1].sequence) if more else None)

    def find_by_logical_key(self, artifact_type: str, logical_key: str) -> list[Artifact]:
        """See the port."""
        active_first = case((artifacts.c.status == "active", 0), else_=1)
        with self._database.reading() as connection:
            rows = connection.execute(
                select(artifacts)
                .where(
                    artifacts.c.artifact_type == artifact_type,
                    artifacts.c.logical_key == logical_key,
                )
                .order_by(
                    active_first, artifacts.c.schema_version.desc(), artifacts.c.sequence.desc()
                )
            ).all()
            return to_artifacts(connection, rows)

    def get_heads(
        self, asset: str, partitions: Sequence[str]
    ) -> Mapping[str, tuple[Artifact, ...] | None]:
        """See the port."""
        heads: dict[str, tuple[Artifact, ...] | None] = dict.fromkeys(partitions)
        with self._database.reading() as connection:
            for some in in_lists(partitions):
                members = connection.execute(
                    select(partition_heads.c.partition, artifacts)
                    .outerjoin(artifacts, artifacts.c.artifact_id == partition_heads.c.artifact_id)
                    .where(partition_heads.c.asset == asset, partition_heads.c.partition.in_(some))
                    .order_by(artifacts.c.artifact_type, artifacts.c.logical_key)
                ).all()
                held = [row for row in members if row.artifact_id is not None]
                for row in members:
                    heads[row.partition] = ()
                for row, artifact in zip(held, to_artifacts(connection, held), strict=True):
                    heads[row.partition] = (*(heads[row.partition] or ()), artifact)
        return heads

    def list_head_partitions(self, asset: str) -> list[str]:
        """See the port."""
        with self._database.reading() as connection:
            return list(
                connection.scalars(
                    select(partition_heads.c.partition)
                    .where(partition_heads.c.asset == asset)
                    .distinct()
                    .order_by(partition_heads.c.partition)
                )
            )

    def get_sources(self, ids: Sequence[str]) -> Mapping[str, tuple[SourceFile, ...]]:
        """See the port."""
        with self._database.reading() as connection:
            found = resolve(connection, ids)
            sources = sources_of(connection, (one.artifact_id for one in found.values()))
        return {asked: sources.get(found[asked].artifact_id, ()) for asked in ids}

    def get_publications(self, artifact_id: str) -> list[Publication]:
        """See the port."""
        with self._database.reading() as connection:
            artifact = resolve(connection, [artifact_id])[artifact_id]
            rows = connection.execute(
                select(publications)
                .where(publications.c.artifact_id == artifact.artifact_id)
                .order_by(publications.c.publication_id)
            )
            return [to_publication(row) for row in rows]

    def latest_publications(self, ids: Sequence[str]) -> Mapping[str, Publication]:
        """See the port."""
        latest: dict[str, Publication] = {}
        with self._database.reading() as connection:
            found = resolve(connection, ids)
            for some in in_lists(one.artifact_id for one in found.values()):
                newest = (
                    select(func.max(publications.c.publication_id))
                    .where(publications.c.artifact_id.in_(some))
                    .group_by(publications.c.artifact_id)
                )
                for row in connection.execute(
                    select(publications).where(publications.c.publication_id.in_(newest))
                ):
                    latest[row.artifact_id] = to_publication(row)
        return {asked: latest[found[asked].artifact_id] for asked in ids}

    def open_many(self, ids: Sequence[str], *, verify: bool, as_stored: bool) -> "ds.Dataset":
        """See the port."""
        from quantlab_assets.adapters.objects.parquet import dataset

        found = self.get_artifacts(ids)
        name = _one_type(found)
        if as_stored:
            _one_version(found)
        paths = [str(path) for path in self.checked_files(found, verify=verify)]
        newest = self._type_to_read_as(name, found, as_stored=as_stored)
        if newest is None:
            # Of what this program does not know the files say themselves what they hold.
            return dataset(paths, None)
        if all(one.schema_version == newest.schema_version for one in found):
            return dataset(paths, newest.schema)

        import polars as pl
        import pyarrow.dataset as ds

        from quantlab_assets.domain.artifacts.upgrade import to_arrow, upgraded

        parts: list[ds.Dataset] = []
        for version, start, stop in _runs(found):
            if version == newest.schema_version:
                parts.append(dataset(paths[start:stop], newest.schema))
                continue
            stored = dataset(paths[start:stop], newest.version(version).schema).to_table()
            rows = pl.DataFrame(pl.from_arrow(stored)).lazy()
            counts = [one.row_count for one in found[start:stop]]
            parts.append(ds.dataset(to_arrow(upgraded(rows, newest, version, counts), newest)))
        return ds.dataset(parts)

    def read_verified(self, ids: Sequence[str], columns: Sequence[str] | None) -> "pl.DataFrame":
        """See the port. Polars reads many small files three times as fast as Arrow does."""
        import polars as pl

        found = self.get_artifacts(ids)
        newest = self._type_to_read_as(_one_type(found), found, as_stored=False)
        paths = self.checked_files(found, verify=True)
        try:
            parts: list[pl.DataFrame] = []
            for version, start, stop in _runs(found):
                scan = pl.scan_parquet(paths[start:stop], hive_partitioning=False, glob=False)
                if newest is None or version == newest.schema_version:
                    parts.append((scan if columns is None else scan.select(columns)).collect())
                    continue
                from quantlab_assets.domain.artifacts.upgrade import upgraded

                counts = [one.row_count for one in found[start:stop]]
                parts.append(upgraded(scan, newest, version, counts, columns))
            return pl.concat(parts)
        except pl.exceptions.ColumnNotFoundError as error:
            raise ValidationFailed(f"no such column: {str(error).splitlines()[0]}") from error
        except (pl.exceptions.PolarsError, OSError) as error:
            raise IntegrityError(
                f"artifacts whose bytes match their hash cannot be read as Parquet:"
                f" {str(error).splitlines()[0]}"
            ) from error

    def _type_to_read_as(
        self, name: str, found: Sequence[Artifact], *, as_stored: bool
    ) -> ArtifactType | None:
        """The type whose rows readers get; None for one that this program does not know.

        Raises `ValidationFailed` for a version that is not known, since nothing says how its rows
        become those of the newest.
        """
        try:
            if as_stored:
                return self._types.get(name, found[0].schema_version)
            newest = self._types.get(name)
        except (NotFound, ValidationFailed):
            _one_version(found)
            return None
        for version in sorted({one.schema_version for one in found}):
            newest.version(version)
        return newest

    def checked_files(self, found: Sequence[Artifact], *, verify: bool) -> list[Path]:
        """The artifacts' files, sizes (or hashes) checked. Raises `IntegrityError`, `NotFound`."""
        distinct = list({one.artifact_id: one for one in found}.values())
        check = self._check_bytes if verify else self._check_size
        if verify and len(distinct) > 1:
            with ThreadPoolExecutor(min(PARALLEL, len(distinct))) as pool:
                outcomes = list(pool.map(check, distinct))
        else:
            outcomes = [check(one) for one in distinct]
        faults = [outcome for outcome in outcomes if outcome is not None]
        if faults:
            more = f"; {len(faults) - 1} more are damaged" if len(faults) > 1 else ""
            raise type(faults[0])(f"{faults[0]}{more}")
        return [self._files.locate(one.path) for one in found]

    def _check_size(self, artifact: Artifact) -> QuantlabError | None:
        what = f"artifact {artifact.artifact_id} ({artifact.artifact_type} {artifact.logical_key})"
        if artifact.purged_at is not None:
            return NotFound(f"{what}: its bytes were purged on {artifact.purged_at:%Y-%m-%d}")
        size = self._files.size(artifact.path)
        if size is None:
            return LostFile(f"{what} has lost its file {artifact.path}: restore a backup")
        if size != artifact.file_size:
            return IntegrityError(
                f"{what} is damaged: {artifact.path} has {size} bytes, not {artifact.file_size}"
            )
        return None

    def _check_bytes(self, artifact: Artifact) -> QuantlabError | None:
        fault = self._check_size(artifact)
        if fault is None and self._files.sha256(artifact.path) != artifact.file_hash:
            fault = IntegrityError(
                f"artifact {artifact.artifact_id} ({artifact.artifact_type}"
                f" {artifact.logical_key}) is damaged: the bytes of {artifact.path} do not match"
                " their hash"
            )
        return fault


def _one_type(found: Sequence[Artifact]) -> str:
    names = sorted({one.artifact_type for one in found})
    if len(names) != 1:
        raise ValidationFailed(
            f"artifacts opened together must be of one type: {', '.join(names) or 'none given'}"
        )
    return names[0]


def _one_version(found: Sequence[Artifact]) -> None:
    """What has no common version to be read as must have one already."""
    versions = sorted({one.schema_version for one in found})
    if len(versions) != 1:
        raise ValidationFailed(
            f"artifacts of {found[0].artifact_type} opened as they are stored must be of one"
            f" schema version, not {', '.join(map(str, versions))}"
        )


def _runs(found: Sequence[Artifact]) -> list[tuple[int, int, int]]:
    """Stretches of artifacts of one schema version: the version, the first, the one after."""
    runs: list[tuple[int, int, int]] = []
    for version, stretch in groupby(one.schema_version for one in found):
        start = runs[-1][2] if runs else 0
        runs.append((version, start, start + len(list(stretch))))
    return runs


def _filtered(query: Select[Any], where: ArtifactFilter) -> Select[Any]:
    if where.artifact_type is not None:
        query = query.where(artifacts.c.artifact_type == where.artifact_type)
    if where.status is not None:
        query = query.where(artifacts.c.status == where.status)
    else:
        query = query.where(artifacts.c.status != "tombstoned")
    for name, value in sorted(where.tags.items()):
        tagged = select(artifact_tags.c.artifact_id).where(
            artifact_tags.c.k == name, artifact_tags.c.v == value
        )
        query = query.where(artifacts.c.artifact_id.in_(tagged))
    if where.created_from is not None:
        query = query.where(artifacts.c.created_at >= to_us(where.created_from))
    if where.created_to is not None:
        query = query.where(artifacts.c.created_at <= to_us(where.created_to))
    if where.key_prefix is not None:
        query = query.where(
            artifacts.c.logical_key >= where.key_prefix,
            artifacts.c.logical_key < f"{where.key_prefix}\U0010ffff",
        )
    return query


def _sequence(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise ValidationFailed(f"{cursor[:40]!r} is no cursor of a page")
    return int(cursor)

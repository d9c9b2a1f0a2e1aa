"""Is the lake what the manifest says? Reads everything again and reports; `repair` moves aside.

Nothing is changed by an audit, and publishers, collections and readers may work meanwhile: what
looks wrong is looked at once more with rows read afresh before it counts.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, select

from quantlab_assets.adapters.artifact_store.store import ParquetStore, utc_now
from quantlab_assets.adapters.manifest.rows import (
    artifacts_by_id,
    input_set_artifacts,
    inputs_of,
    to_artifacts,
    to_publication,
)
from quantlab_assets.adapters.manifest.tables import (
    artifacts,
    experiments,
    input_set_members,
    input_sets,
    lineage,
    partition_heads,
    publication_sources,
    publications,
    quarantined_files,
    sources,
    tombstones,
)
from quantlab_assets.adapters.objects import sidecar
from quantlab_assets.adapters.objects.layout import parquet_path, sidecar_path
from quantlab_assets.domain.artifacts.identity import artifact_id_of, input_set_id_of
from quantlab_assets.domain.artifacts.records import SHA256, Artifact, PublishRequest, SourceFile
from quantlab_assets.domain.errors import (
    IntegrityError,
    NotFound,
    StoreUnavailable,
    ValidationFailed,
)
from quantlab_assets.domain.time_us import to_us

_TOGETHER: Final = 2_000
"""Rows read in one transaction: writers wait no longer than for these."""

_CHUNK: Final = 64
"""Files that a thread checks before it says so."""

_MOVES: Final = {
    "damaged_file": "parquet",
    "wrong_size": "parquet",
    "damaged_sidecar": "json",
    "sidecar_differs": "json",
    "missing_sidecar": "json",
}
"""Which of an artifact's two files a problem is about."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong. `subject` is an artifact id, a path or what a row is about."""

    code: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was looked at and what is wrong.

    `unreferenced` files are no problem: a crash leaves them, and garbage collection takes them.
    """

    artifacts: int
    purged: int
    files_hashed: int
    bytes_hashed: int
    unreferenced: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Repair:
    """One file that was moved to quarantine, or (`moved_to` None) a sidecar written again."""

    path: str
    moved_to: str | None
    artifact_id: str
    reason: str


def audit(
    store: ParquetStore,
    *,
    fraction: float = 1.0,
    threads: int = 2,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> AuditReport:
    """Check files, sidecars, rows and their relations, as docs/store.md lists them.

    `fraction` is the share of Parquet files to hash, chosen by `seed`; everything else is always
    checked. `on_progress(bytes done, bytes in all)` is called from the caller's thread.

    Raises `StoreUnavailable` if the manifest or the files cannot be read, `ValidationFailed` for an
    impossible fraction. Damage is reported, never raised.
    """
    if not 0.0 <= fraction <= 1.0:
        raise ValidationFailed(f"the fraction of files to hash is between 0 and 1, not {fraction}")
    found = {one.path: one.size for one in store.files_on_disk.scan()}
    with ThreadPoolExecutor(1) as beside:
        # SQLite checks its pages while files are hashed: neither needs the interpreter.
        manifest = beside.submit(_manifest_problems, store)
        try:
            rows = list(_rows(store))
        except IntegrityError as error:
            rows, found = [], {}
            problems = [Problem("damaged_manifest", str(store.database.path), str(error))]
        else:
            problems = []
        return _report(
            store, rows, found, problems, manifest, (fraction, seed, threads), on_progress
        )


def _report(
    store: ParquetStore,
    rows: Sequence[Artifact],
    found: Mapping[str, int],
    problems: list[Problem],
    manifest: "Future[list[Problem]]",
    how: tuple[float, int, int],
    on_progress: Callable[[int, int], None] | None,
) -> AuditReport:
    fraction, seed, threads = how
    sampled = [one for one in rows if one.purged_at is None and _chosen(one, fraction, seed)]
    chosen = {one.artifact_id for one in sampled}
    faults = _check_files(store, rows, chosen, found, threads, on_progress)
    if faults:
        # Anything may have been purged, adopted or republished since its row was read.
        again = sorted({one.artifact_id for one, _ in faults})
        try:
            with store.database.reading() as connection:
                fresh = list(artifacts_by_id(connection, again).values())
            faults = _check_files(store, fresh, chosen, None, threads, None)
        except IntegrityError as error:
            problems.append(Problem("damaged_manifest", str(store.database.path), str(error)))
    problems += [problem for _, problem in faults]
    problems += manifest.result()
    known = {path for one in rows for path in (one.path, sidecar_path(one.path))}
    return AuditReport(
        artifacts=len(rows),
        purged=sum(one.purged_at is not None for one in rows),
        files_hashed=len(sampled),
        bytes_hashed=sum(one.file_size for one in sampled),
        unreferenced=tuple(sorted(path for path in found if path not in known)),
        problems=tuple(sorted(set(problems), key=lambda one: (one.code, one.subject, one.detail))),
    )


def repair(store: ParquetStore, report: AuditReport, *, quarantine: Path) -> tuple[Repair, ...]:
    """Move the damaged files of a report into the folder `quarantine`; write sidecars again.

    Nothing is deleted. A damaged Parquet file's artifact has lost its file afterwards: restore it
    from a copy of the artifacts, or publish its content again. A sidecar is written again from the
    manifest. Only what is still damaged now is touched. Raises `StoreUnavailable`.
    """
    suspects = sorted({one.subject for one in report.problems if one.code in _MOVES})
    done: list[Repair] = []
    now = utc_now()
    folder = quarantine / now.strftime("%Y%m%dT%H%M%S.%fZ")
    for artifact_id in suspects:
        # The write lock keeps publishers from naming or replacing the files meanwhile.
        with store.database.writing() as connection:
            one = artifacts_by_id(connection, [artifact_id]).get(artifact_id)
            if one is None:
                continue
            for problem in _file_problems(store, one, hashed=True):
                kind = _MOVES.get(problem.code)
                if kind is None:
                    continue
                path = one.path if kind == "parquet" else sidecar_path(one.path)
                if store.files_on_disk.size(path) is not None:
                    moved = store.files_on_disk.move_away(path, folder)
                    connection.execute(
                        quarantined_files.insert().values(
                            path=path,
                            moved_to=str(moved),
                            artifact_id=one.artifact_id,
                            reason=problem.detail,
                            at=to_us(now),
                        )
                    )
                    done.append(Repair(path, str(moved), one.artifact_id, problem.detail))
                if kind == "json" and _write_sidecar(store, connection, one):
                    done.append(Repair(path, None, one.artifact_id, "written from the manifest"))
    return tuple(done)


def _manifest_problems(store: ParquetStore) -> list[Problem]:
    """What is wrong inside the manifest, files apart."""
    try:
        with store.database.reading() as connection:
            problems = list(_database_problems(connection))
        with store.database.reading() as connection:
            return problems + list(_relation_problems(connection))
    except IntegrityError as error:
        return [Problem("damaged_manifest", str(store.database.path), str(error))]


def _database_problems(connection: Connection) -> Iterator[Problem]:
    for (found,) in connection.exec_driver_sql("PRAGMA integrity_check"):
        if found != "ok":
            yield Problem("damaged_manifest", "integrity_check", str(found))
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield Problem("broken_reference", f"{table} row {row}", f"names no row of {parent}")


def _rows(store: ParquetStore) -> Iterator[Artifact]:
    last = 0
    while True:
        with store.database.reading() as connection:
            some = connection.execute(
                select(artifacts)
                .where(artifacts.c.sequence > last)
                .order_by(artifacts.c.sequence)
                .limit(_TOGETHER)
            ).all()
            if not some:
                return
            last = some[-1].sequence
            found = to_artifacts(connection, some)
        yield from found


def _relation_problems(connection: Connection) -> Iterator[Problem]:
    yield from _status_problems(connection)
    yield from _publication_problems(connection)
    yield from _set_problems(connection)
    for row in connection.execute(
        select(partition_heads, artifacts.c.status).join(
            artifacts, artifacts.c.artifact_id == partition_heads.c.artifact_id
        )
    ):
        if row.status == "tombstoned":
            yield Problem(
                "head_tombstoned", f"{row.asset} {row.partition!r}", f"holds {row.artifact_id}"
            )
    empty = select(partition_heads.c.asset, partition_heads.c.partition).where(
        partition_heads.c.artifact_id.is_(None)
    )
    for row in connection.execute(
        empty.intersect(
            select(partition_heads.c.asset, partition_heads.c.partition).where(
                partition_heads.c.artifact_id.is_not(None)
            )
        )
    ):
        yield Problem(
            "head_contradicts", f"{row.asset} {row.partition!r}", "is empty and holds artifacts"
        )
    for row in connection.execute(
        select(experiments.c.experiment_id, experiments.c.definition_json)
    ):
        if not _is_json(row.definition_json):
            yield Problem("damaged_experiment", row.experiment_id, "its definition is no JSON")


def _status_problems(connection: Connection) -> Iterator[Problem]:
    explained = select(tombstones.c.artifact_id)
    for row in connection.execute(
        select(artifacts.c.artifact_id, artifacts.c.status).where(
            (artifacts.c.status == "tombstoned") != artifacts.c.artifact_id.in_(explained)
        )
    ):
        yield Problem(
            "tombstone_differs", row.artifact_id, f"is {row.status}, its tombstone says otherwise"
        )


def _publication_problems(connection: Connection) -> Iterator[Problem]:
    """Each artifact was created by its first publication, from what had been published before."""
    created = (
        select(
            publications.c.artifact_id.label("artifact_id"),
            func.min(publications.c.publication_id).label("first"),
        )
        .group_by(publications.c.artifact_id)
        .cte("created")
    )
    for row in connection.execute(
        select(artifacts.c.artifact_id)
        .outerjoin(created, created.c.artifact_id == artifacts.c.artifact_id)
        .where(created.c.first.is_(None))
    ):
        yield Problem("no_publication", row.artifact_id, "no publication created it")
    for row in connection.execute(
        select(publications.c.publication_id, publications.c.artifact_id)
        .join(created, created.c.artifact_id == publications.c.artifact_id)
        .where(publications.c.deduped == (publications.c.publication_id == created.c.first))
    ):
        yield Problem(
            "publication_order",
            row.artifact_id,
            f"publication {row.publication_id} is marked wrongly as its first, or not its first",
        )
    made_from = lineage.c.input_artifact_id == created.c.artifact_id
    for row in connection.execute(
        select(lineage.c.publication_id, lineage.c.input_artifact_id)
        .join(created, made_from)
        .where(created.c.first >= lineage.c.publication_id)
    ):
        yield Problem(
            "lineage_order",
            row.input_artifact_id,
            f"is an input of publication {row.publication_id}, which came before it",
        )
    for row in connection.execute(
        select(
            publications.c.publication_id,
            publications.c.params_json,
            publications.c.environment_json,
        )
    ):
        if not _is_json(row.params_json) or not _is_json(row.environment_json):
            yield Problem(
                "damaged_publication",
                f"publication {row.publication_id}",
                "its params or environment are no JSON",
            )
    for (sha256,) in connection.execute(select(sources.c.sha256)):
        if not SHA256.fullmatch(sha256):
            yield Problem("damaged_source", sha256[:80], "is no sha256:<hex>")


def _set_problems(connection: Connection) -> Iterator[Problem]:
    members: dict[str, list[str]] = {
        name: [] for name in connection.scalars(select(input_sets.c.input_set_id))
    }
    for row in connection.execute(select(input_set_members)):
        members.setdefault(row.input_set_id, []).append(row.artifact_id)
    for name, ids in members.items():
        if input_set_id_of(ids) != name:
            yield Problem("input_set_differs", name, "its members are not those it is named by")


def _check_files(
    store: ParquetStore,
    rows: Sequence[Artifact],
    chosen: set[str],
    found: Mapping[str, int] | None,
    threads: int,
    on_progress: Callable[[int, int], None] | None,
) -> list[tuple[Artifact, Problem]]:
    total = sum(one.file_size for one in rows if one.artifact_id in chosen)
    # Few large files are shared out one by one, many small ones by the dozen.
    together = max(1, min(_CHUNK, len(rows) // (8 * max(1, threads))))
    chunks = [rows[start : start + together] for start in range(0, len(rows), together)]

    def check(some: Sequence[Artifact]) -> tuple[list[tuple[Artifact, Problem]], int]:
        faults: list[tuple[Artifact, Problem]] = []
        done = 0
        for one in some:
            hashed = one.artifact_id in chosen
            size = None if found is None else found.get(one.path)
            faults += [(one, fault) for fault in _file_problems(store, one, hashed, size)]
            done += one.file_size if hashed else 0
        return faults, done

    faults: list[tuple[Artifact, Problem]] = []
    done = 0
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for several, hashed in pool.map(check, chunks):
            faults += several
            done += hashed
            if on_progress is not None:
                on_progress(done, total)
    return faults


def _file_problems(
    store: ParquetStore, one: Artifact, hashed: bool, size: int | None = None
) -> list[Problem]:
    """What is wrong with an artifact's row, file and sidecar. `size` of the file, if known."""
    problems: list[Problem] = []

    def problem(code: str, detail: str) -> None:
        problems.append(Problem(code, one.artifact_id, detail))

    kind = (one.artifact_type, one.schema_version)
    try:
        expected = parquet_path(*kind, one.artifact_id)
        if one.path != expected:
            problem("row_differs", f"its path is {one.path[:200]!r}, not {expected}")
            return problems
        beside = store.files_on_disk.read(sidecar_path(one.path))
    except NotFound:
        problem("missing_sidecar", f"{sidecar_path(one.path)} is not there")
    except IntegrityError as error:
        problem("row_differs", str(error))
        return problems
    else:
        problems += _sidecar_problems(one, beside)
    # A whole sidecar that agrees was written by somebody who knew the id; else it is worked out.
    if problems and one.artifact_id != artifact_id_of(*kind, one.logical_key, one.content_hash):
        problem("row_differs", "its id does not follow from its type, version, key and content")
    if one.purged_at is not None:
        return problems
    try:
        if hashed:
            size, found = store.files_on_disk.digest(one.path)
        else:
            found = one.file_hash
            size = store.files_on_disk.size(one.path) if size is None else size
    except NotFound:
        size = None
    except StoreUnavailable as error:
        problem("unreadable_file", str(error))
        return problems
    if size is None:
        problem("missing_file", f"{one.path} is not there: restore a copy or publish it again")
    elif size != one.file_size:
        problem("wrong_size", f"{one.path} has {size} bytes, not {one.file_size}")
    elif found != one.file_hash:
        problem("damaged_file", f"the bytes of {one.path} do not match their hash")
    return problems


def _sidecar_problems(one: Artifact, data: bytes) -> list[Problem]:
    path = sidecar_path(one.path)
    try:
        found = sidecar.unseal(data, path)
    except IntegrityError as error:
        return [Problem("damaged_sidecar", one.artifact_id, str(error))]
    differs = [name for name, value in sidecar.identity(one).items() if found.get(name) != value]
    if not differs:
        return []
    return [
        Problem(
            "sidecar_differs",
            one.artifact_id,
            f"{path} and the manifest differ in {', '.join(differs)}",
        )
    ]


def _write_sidecar(store: ParquetStore, connection: Connection, one: Artifact) -> bool:
    """Write the sidecar that the manifest implies; False if the artifact's type is not known."""
    try:
        artifact_type = store.types.get(one.artifact_type, one.schema_version)
    except (NotFound, ValidationFailed):
        return False
    row = connection.execute(
        select(publications)
        .where(publications.c.artifact_id == one.artifact_id)
        .order_by(publications.c.publication_id)
        .limit(1)
    ).first()
    if row is None:
        return False
    made_from = inputs_of(connection, row.publication_id)
    raw = connection.execute(
        select(sources)
        .join(publication_sources, publication_sources.c.sha256 == sources.c.sha256)
        .where(publication_sources.c.publication_id == row.publication_id)
        .order_by(sources.c.sha256)
    )
    request = PublishRequest(
        one.artifact_type,
        one.logical_key,
        artifact_type.empty(),
        to_publication(row).provenance,
        tags=one.tags,
        inputs=made_from,
        sources=tuple(
            SourceFile(found.sha256, found.name, found.size, found.kind) for found in raw
        ),
    )
    sets = {
        made.input_set_id: input_set_artifacts(connection, made.input_set_id)
        for made in made_from
        if made.input_set_id is not None
    }
    path = sidecar_path(one.path)
    store.files_on_disk.put([(path, sidecar.encode(one, artifact_type, request, sets))])
    store.files_on_disk.sync_folders([path])
    return True


def _chosen(one: Artifact, fraction: float, seed: int) -> bool:
    """Whether a sample of that share has this artifact: decided by its id, whatever is beside."""
    if fraction >= 1.0:
        return True
    drawn = hashlib.sha256(f"{seed}/{one.artifact_id}".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") < fraction * 2**64


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True

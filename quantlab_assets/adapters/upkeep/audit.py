"""Is the lake what the manifest says? Reads everything again and reports; `repair` acts on that.

Nothing is changed by an audit, and publishers, collections and readers may work meanwhile: what
looks wrong is looked at once more with rows read afresh before it counts.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from quantlab_assets.adapters.artifact_store.store import ParquetStore
from quantlab_assets.adapters.manifest.rows import artifacts_after, artifacts_by_id
from quantlab_assets.adapters.manifest.upkeep.consistency import (
    Problem,
    database_problems,
    relation_problems,
)
from quantlab_assets.adapters.objects import sidecar
from quantlab_assets.adapters.objects.layout import parquet_path, sidecar_path
from quantlab_assets.domain.artifacts.identity import artifact_id_of
from quantlab_assets.domain.artifacts.records import Artifact
from quantlab_assets.domain.errors import (
    IntegrityError,
    NotFound,
    StoreUnavailable,
    ValidationFailed,
)

_TOGETHER: Final = 2_000
"""Rows read in one transaction: writers wait no longer than for these."""

_CHUNK: Final = 64
"""Files that a thread checks before it says so."""


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
    sizes = {file.path: file.size for file in store.files_on_disk.scan()}
    with ThreadPoolExecutor(1) as beside:
        # SQLite checks its pages while files are hashed: neither needs the interpreter.
        manifest = beside.submit(_manifest_problems, store)
        try:
            rows = list(_rows(store))
        except IntegrityError as error:
            rows, sizes = [], {}
            problems = [Problem("damaged_manifest", str(store.database.path), str(error))]
        else:
            problems = []
        return _report(
            store, rows, sizes, problems, manifest, (fraction, seed, threads), on_progress
        )


def _report(
    store: ParquetStore,
    rows: Sequence[Artifact],
    sizes: Mapping[str, int],
    problems: list[Problem],
    manifest: "Future[list[Problem]]",
    how: tuple[float, int, int],
    on_progress: Callable[[int, int], None] | None,
) -> AuditReport:
    fraction, seed, threads = how
    sampled = [
        artifact
        for artifact in rows
        if artifact.purged_at is None and _chosen(artifact, fraction, seed)
    ]
    chosen = {artifact.artifact_id for artifact in sampled}
    faults = _check_files(store, rows, chosen, sizes, threads, on_progress)
    if faults:
        # Anything may have been purged, adopted or republished since its row was read.
        again = sorted({artifact.artifact_id for artifact, _ in faults})
        try:
            with store.database.reading() as transaction:
                fresh = list(artifacts_by_id(transaction, again).values())
            faults = _check_files(store, fresh, chosen, None, threads, None)
        except IntegrityError as error:
            problems.append(Problem("damaged_manifest", str(store.database.path), str(error)))
    problems += [problem for _, problem in faults]
    problems += manifest.result()
    known = {path for artifact in rows for path in (artifact.path, sidecar_path(artifact.path))}
    return AuditReport(
        artifacts=len(rows),
        purged=sum(artifact.purged_at is not None for artifact in rows),
        files_hashed=len(sampled),
        bytes_hashed=sum(artifact.file_size for artifact in sampled),
        unreferenced=tuple(sorted(path for path in sizes if path not in known)),
        problems=tuple(
            sorted(
                set(problems), key=lambda problem: (problem.code, problem.subject, problem.detail)
            )
        ),
    )


def _manifest_problems(store: ParquetStore) -> list[Problem]:
    """What is wrong inside the manifest, files apart."""
    try:
        with store.database.reading() as transaction:
            problems = list(database_problems(transaction))
        with store.database.reading() as transaction:
            return problems + list(relation_problems(transaction))
    except IntegrityError as error:
        return [Problem("damaged_manifest", str(store.database.path), str(error))]


def _rows(store: ParquetStore) -> Iterator[Artifact]:
    last = 0
    while True:
        with store.database.reading() as transaction:
            some, last = artifacts_after(transaction, last, _TOGETHER)
        if not some:
            return
        yield from some


def _check_files(
    store: ParquetStore,
    rows: Sequence[Artifact],
    chosen: set[str],
    sizes: Mapping[str, int] | None,
    threads: int,
    on_progress: Callable[[int, int], None] | None,
) -> list[tuple[Artifact, Problem]]:
    total = sum(artifact.file_size for artifact in rows if artifact.artifact_id in chosen)
    # Few large files are shared out one by one, many small ones by the dozen.
    together = max(1, min(_CHUNK, len(rows) // (8 * max(1, threads))))
    chunks = [rows[start : start + together] for start in range(0, len(rows), together)]

    def check(some: Sequence[Artifact]) -> tuple[list[tuple[Artifact, Problem]], int]:
        faults: list[tuple[Artifact, Problem]] = []
        done = 0
        for artifact in some:
            hashed = artifact.artifact_id in chosen
            size = None if sizes is None else sizes.get(artifact.path)
            faults += [(artifact, fault) for fault in file_problems(store, artifact, hashed, size)]
            done += artifact.file_size if hashed else 0
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


def file_problems(
    store: ParquetStore, artifact: Artifact, hashed: bool, size: int | None = None
) -> list[Problem]:
    """What is wrong with an artifact's row, file and sidecar. `size` of the file, if known."""
    problems: list[Problem] = []

    def problem(code: str, detail: str) -> None:
        problems.append(Problem(code, artifact.artifact_id, detail))

    kind = (artifact.artifact_type, artifact.schema_version)
    try:
        expected = parquet_path(*kind, artifact.artifact_id)
        if artifact.path != expected:
            problem("row_differs", f"its path is {artifact.path[:200]!r}, not {expected}")
            return problems
        beside = store.files_on_disk.read(sidecar_path(artifact.path))
    except NotFound:
        problem("missing_sidecar", f"{sidecar_path(artifact.path)} is not there")
    except IntegrityError as error:
        problem("row_differs", str(error))
        return problems
    else:
        problems += _sidecar_problems(artifact, beside)
    # A whole sidecar that agrees was written by somebody who knew the id; else it is worked out.
    if problems and artifact.artifact_id != artifact_id_of(
        *kind, artifact.logical_key, artifact.content_hash
    ):
        problem("row_differs", "its id does not follow from its type, version, key and content")
    if artifact.purged_at is not None:
        return problems
    try:
        if hashed:
            size, digest = store.files_on_disk.digest(artifact.path)
        else:
            digest = artifact.file_hash
            size = store.files_on_disk.size(artifact.path) if size is None else size
    except NotFound:
        size = None
    except StoreUnavailable as error:
        problem("unreadable_file", str(error))
        return problems
    if size is None:
        problem("missing_file", f"{artifact.path} is not there: restore a copy or publish it again")
    elif size != artifact.file_size:
        problem("wrong_size", f"{artifact.path} has {size} bytes, not {artifact.file_size}")
    elif digest != artifact.file_hash:
        problem("damaged_file", f"the bytes of {artifact.path} do not match their hash")
    return problems


def _sidecar_problems(artifact: Artifact, data: bytes) -> list[Problem]:
    path = sidecar_path(artifact.path)
    try:
        document = sidecar.unseal(data, path)
    except IntegrityError as error:
        return [Problem("damaged_sidecar", artifact.artifact_id, str(error))]
    differs = [
        name for name, value in sidecar.identity(artifact).items() if document.get(name) != value
    ]
    if not differs:
        return []
    return [
        Problem(
            "sidecar_differs",
            artifact.artifact_id,
            f"{path} and the manifest differ in {', '.join(differs)}",
        )
    ]


def _chosen(artifact: Artifact, fraction: float, seed: int) -> bool:
    """Whether a sample of that share has this artifact: decided by its id, whatever is beside."""
    if fraction >= 1.0:
        return True
    drawn = hashlib.sha256(f"{seed}/{artifact.artifact_id}".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") < fraction * 2**64

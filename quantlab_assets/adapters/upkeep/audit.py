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
            with store.database.reading() as transaction:
                fresh = list(artifacts_by_id(transaction, again).values())
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
            faults += [(one, fault) for fault in file_problems(store, one, hashed, size)]
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


def file_problems(
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


def _chosen(one: Artifact, fraction: float, seed: int) -> bool:
    """Whether a sample of that share has this artifact: decided by its id, whatever is beside."""
    if fraction >= 1.0:
        return True
    drawn = hashlib.sha256(f"{seed}/{one.artifact_id}".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") < fraction * 2**64

"""A small lake to break: its type, its requests, a disk that counts its steps and stops at one."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Connection, event

from quantlab_assets.adapters.artifact_store import ManifestDatabase, ParquetStore
from quantlab_assets.adapters.objects.disk import Disk
from quantlab_assets.adapters.objects.local_disk import LocalFiles
from quantlab_assets.domain.artifacts.records import (
    HeadReplacement,
    PartitionRef,
    Provenance,
    PublishRequest,
    SourceFile,
)
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import Conflict

NOTES = ArtifactType(
    name="notes",
    schema_version=1,
    schema=pa.schema(
        [
            pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("text", pa.string()),
        ]
    ),
    sort_keys=("at",),
    keys=("chat={chat}/day={day}",),
    time_column="at",
    dictionary_columns=("text",),
)
TYPES = TypeRegistry([NOTES])
WRITER = Provenance(writer_name="test", writer_version="1")
RAW = SourceFile(sha256="sha256:" + "a" * 64, name="result.json", size=10, kind="telegram")
DAY = PartitionRef("notes", "2025-05-01")

Step = Callable[[str], None]


def note(chat: int, *texts: str, head: bool = False) -> PublishRequest:
    noon = datetime(2025, 5, 1, 12, tzinfo=UTC)
    times = [noon + timedelta(minutes=i) for i in range(len(texts))]
    return PublishRequest(
        "notes",
        f"chat={chat}/day=2025-05-01",
        pa.table([times, list(texts)], schema=NOTES.schema),
        WRITER,
        tags={"chat": str(chat)},
        sources=(RAW,),
        head=DAY if head else None,
    )


def open_lake(folder: Path, *, create: bool = False) -> ParquetStore:
    return ParquetStore.at(
        artifacts_root=folder / "artifacts",
        manifest=folder / "manifest" / "manifest.sqlite",
        staging=folder / "staging",
        types=TYPES,
        create=create,
    )


class StepwiseDisk(Disk):
    """A disk that announces each step before it takes it."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def create(self, path: Path) -> int:
        self._step("create")
        return super().create(path)

    def write(self, descriptor: int, data: memoryview) -> int:
        self._step("write")
        # A short write, as disks and signals cause them: half of it is there at the next step.
        return super().write(descriptor, data[: max(1, len(data) // 2)] if len(data) > 99 else data)

    def make_readable(self, descriptor: int) -> None:
        self._step("make_readable")
        super().make_readable(descriptor)

    def sync(self, descriptor: int) -> None:
        folder = Path(f"/proc/self/fd/{descriptor}").is_dir()
        self._step("sync_folder" if folder else "sync_file")
        super().sync(descriptor)

    def link(self, source: Path, target: Path) -> None:
        self._step(f"link{target.suffix}")
        super().link(source, target)

    def replace(self, source: Path, target: Path) -> None:
        self._step("replace")
        super().replace(source, target)

    def remove(self, path: Path) -> None:
        self._step("remove")
        super().remove(path)

    def make_folder(self, path: Path) -> None:
        self._step("make_folder")
        super().make_folder(path)

    def move(self, source: Path, target: Path) -> None:
        self._step("move")
        super().move(source, target)

    def remove_folder(self, path: Path) -> None:
        self._step("remove_folder")
        super().remove_folder(path)


def stepwise_lake(folder: Path, step: Step) -> ParquetStore:
    """The lake, announcing each step on the disk and each statement of a write transaction."""
    files = LocalFiles(folder / "artifacts", folder / "staging", StepwiseDisk(step))
    database = ManifestDatabase.open(folder / "manifest" / "manifest.sqlite")
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _c, _k, statement, *_: None if _reads(statement) else step(f"sql {statement[:12]}"),
    )
    event.listen(
        database.engine,
        "commit",
        lambda connection: step("commit") if _writes(connection) else None,
    )
    return ParquetStore(files, database, TYPES)


def _reads(statement: str) -> bool:
    return statement.lstrip().upper().startswith(("SELECT", "WITH", "PRAGMA", "BEGIN"))


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options()["quantlab_immediate"])


def first_batch() -> tuple[list[PublishRequest], list[HeadReplacement]]:
    return [note(1, "gm", "wen" * 50, head=True)], [HeadReplacement(DAY)]


def second_batch() -> tuple[list[PublishRequest], list[HeadReplacement]]:
    return [note(1, "gm", "edited", head=True), note(2, "new", head=True)], [HeadReplacement(DAY)]


def publish_series(folder: Path, worker: int, count: int) -> list[tuple[str, bool]]:
    """Publish artifacts of the worker's own, and the same ones as every other worker."""
    store = open_lake(folder)
    published = []
    for i in range(count):
        own = store.publish_artifact(note(1000 * (worker + 1) + i, f"worker {worker} note {i}"))
        shared = store.publish_many([note(i, "everybody"), note(500 + i, "everybody")])
        published += [(one.artifact_id, one.deduped) for one in (own, *shared)]
    return published


def add_to_one_key(folder: Path, worker: int, count: int) -> None:
    """Add texts to one artifact, as additive ingestion does: read, unite, publish, else again."""
    store = open_lake(folder)
    for i in range(count):
        while True:
            active = [
                one
                for one in store.find_by_logical_key("notes", "chat=7/day=2025-05-01")
                if one.status == "active"
            ]
            texts = {f"{worker}/{i}"}
            for one in active:
                texts |= set(store.open(one.artifact_id).to_table().column("text").to_pylist())
            expected = active[0].artifact_id if active else None
            request = replace(note(7, *sorted(texts)), expected_active=expected)
            try:
                store.publish_artifact(request)
            except Conflict:
                continue
            break

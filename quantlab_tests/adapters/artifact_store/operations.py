"""Everything that changes a lake, each on a lake made for it: what is killed at every step."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.adapters.bundle.export import export_bundle, import_bundle
from quantlab_assets.adapters.upkeep.audit import audit
from quantlab_assets.adapters.upkeep.gc import PurgePolicy, collect
from quantlab_assets.adapters.upkeep.repair import repair
from quantlab_tests.adapters.artifact_store.lakes import (
    first_batch,
    note,
    open_lake,
    second_batch,
    stepwise_lake,
)
from quantlab_tests.adapters.artifact_store.scenes import flip, full_lake

CRASHED = 77


@dataclass(frozen=True)
class Operation:
    """Makes a lake in a folder, and does one thing to it; doing it again must do no harm."""

    prepare: Callable[[Path], object]
    run: Callable[[ParquetStore, Path], object]


def _publish(batch: int) -> Operation:
    batches = (first_batch, second_batch)

    def prepare(folder: Path) -> None:
        store = open_lake(folder, create=True)
        for earlier in batches[:batch]:
            requests, heads = earlier()
            store.publish_many(requests, heads=heads)

    def run(store: ParquetStore, _folder: Path) -> None:
        requests, heads = batches[batch]()
        store.publish_many(requests, heads=heads)

    return Operation(prepare, run)


def _supersede(store: ParquetStore, _folder: Path) -> None:
    (new,) = store.find_by_logical_key("notes", "chat=10/day=2025-05-01")
    (old,) = store.find_by_logical_key("notes", "chat=11/day=2025-05-01")
    if old.status == "active":
        store.supersede(new.artifact_id, old.artifact_id)


def _tombstone(store: ParquetStore, _folder: Path) -> None:
    (one,) = store.find_by_logical_key("notes", "chat=2/day=2025-05-01")
    store.tombstone(one.artifact_id, "a mistake")


def _lake_with_leftovers(folder: Path) -> None:
    """Unreferenced files, staging files, trash of long ago, and artifacts that may be purged."""
    store = full_lake(folder)
    for number in range(4):
        path = store.files_on_disk.root / f"notes/v1/ab/ab{number:030x}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        for each in (path, store.files_on_disk.staging / f"{number:032x}"):
            each.write_bytes(b"left")
    old = folder / "trash" / "20200101T000000.000000Z" / "notes"
    old.mkdir(parents=True)
    (old / "1").write_bytes(b"trash")
    (old / "2").write_bytes(b"trash")


def collect_all(store: ParquetStore, folder: Path) -> None:
    """Collect garbage, however young, and all bytes that may go."""
    policy = PurgePolicy(timedelta(0), timedelta(0))
    now = datetime.now(UTC) + timedelta(days=2)
    collect(store, trash=folder / "trash", dry_run=False, now=now, purge=policy)


def _lake_and_bundle(folder: Path) -> None:
    source = full_lake(folder / "source")
    with source.database.reading() as connection:
        ids = [row[0] for row in connection.exec_driver_sql("SELECT artifact_id FROM artifacts")]
    export_bundle(source, ids, folder / "all.tar")
    store = open_lake(folder, create=True)
    store.publish_artifact(note(11, "mine"))


def _import(store: ParquetStore, folder: Path) -> None:
    import_bundle(store, folder / "all.tar")


def _damaged_lake(folder: Path) -> None:
    store = full_lake(folder)
    for one in store.list_artifacts().artifacts[:3]:
        flip(store.files_on_disk.locate(one.path).with_suffix(".json"), 99)


def _repair(store: ParquetStore, folder: Path) -> None:
    repair(store, audit(store), quarantine=folder / "quarantine")


OPERATIONS = {
    "publish": _publish(0),
    "publish over": _publish(1),
    "supersede": Operation(full_lake, _supersede),
    "tombstone": Operation(full_lake, _tombstone),
    "collect": Operation(_lake_with_leftovers, collect_all),
    "import": Operation(_lake_and_bundle, _import),
    "repair": Operation(_damaged_lake, _repair),
}


def run_until(folder: Path, operation: str, last_step: int) -> None:
    """Do it and stop dead before step number `last_step`."""
    taken = 0

    def step(_name: str) -> None:
        nonlocal taken
        if taken == last_step:
            os._exit(CRASHED)
        taken += 1

    OPERATIONS[operation].run(stepwise_lake(folder, step), folder)

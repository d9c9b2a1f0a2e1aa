"""A lake with one of everything: heads, lineage, frozen sets, sources, superseded, tombstoned."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.adapters.upkeep.audit import AuditReport, audit
from quantlab_assets.domain.artifacts.records import LineageInput, PublishResult
from quantlab_tests.adapters.artifact_store.lakes import first_batch, note, open_lake, second_batch


def full_lake(folder: Path) -> ParquetStore:
    """Nine artifacts: two days of a head, things made from them, one superseded, one tombstoned."""
    store = open_lake(folder, create=True)
    for batch in (first_batch, second_batch):
        requests, heads = batch()
        store.publish_many(requests, heads=heads)
    base = store.publish_artifact(note(10, "base"))
    made = derived(store, 11, base, "derived")
    frozen = store.freeze_inputs([base.artifact_id, made.artifact_id])
    store.publish_artifact(
        replace(note(12, "from a set"), inputs=(LineageInput(input_set_id=frozen),))
    )
    gone = store.publish_artifact(note(13, "gone"))
    store.tombstone(gone.artifact_id, "a mistake")
    store.publish_artifact(replace(note(14, "kept"), tags={"pin": "yes", "naïve": "ü"}))
    store.publish_artifact(note(14, "newer"))
    return store


def copied(lake: Path, folder: Path) -> ParquetStore:
    """A copy of a lake, to be changed."""
    shutil.copytree(lake, folder)
    return open_lake(folder)


def derived(store: ParquetStore, chat: int, source: PublishResult, text: str) -> PublishResult:
    inputs = (LineageInput(artifact_id=source.artifact_id),)
    return store.publish_artifact(replace(note(chat, text), inputs=inputs))


def codes(report: AuditReport) -> list[str]:
    return [one.code for one in report.problems]


def clean(store: ParquetStore) -> AuditReport:
    """The audit of a lake, which must find nothing wrong."""
    report = audit(store)
    assert report.problems == ()
    return report


def flip(path: Path, position: int, bit: int = 1) -> None:
    """Change one bit of a file that is not to be changed."""
    data = bytearray(path.read_bytes())
    data[position] ^= bit
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


def age(path: Path, seconds: float) -> None:
    """Make a file look as if it had been written that long ago."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))

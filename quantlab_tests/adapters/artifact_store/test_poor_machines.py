"""A full disk, a read-only one, too many open files: one clear error, and nothing half-written."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantlab_tests.adapters.artifact_store import poor_machine
from quantlab_tests.adapters.artifact_store.lakes import note, open_lake
from quantlab_tests.adapters.artifact_store.operations import collect_all
from quantlab_tests.adapters.artifact_store.scenes import clean


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where tests may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("tests may not mount a file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def error_of(folder: Path, what: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", poor_machine.__name__, str(folder), what],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    name, message = json.loads(done.stdout)
    return name, message


def assert_nothing_half_written(folder: Path, artifacts: int) -> None:
    store = open_lake(folder)
    assert len(store.list_artifacts().artifacts) == artifacts
    assert clean(store)
    assert list((folder / "staging").iterdir()) == []
    collect_all(store, folder)
    assert clean(store).unreferenced == ()


@pytest.mark.parametrize(
    ("what", "message"), [("size", "File too large"), ("files", "(Too many|unable to) open")]
)
def test_a_limit_of_the_process(memory_path: Path, what: str, message: str) -> None:
    open_lake(memory_path, create=True)

    name, said = error_of(memory_path, what)

    assert name == "StoreUnavailable"
    assert re.search(message, said), said
    assert "\n" not in said
    assert_nothing_half_written(memory_path, artifacts=1)


def test_a_disk_that_is_full(small_disk: Path) -> None:
    open_lake(small_disk, create=True)

    name, said = error_of(small_disk, "space")

    assert (name, "No space left" in said or "full" in said) == ("StoreUnavailable", True), said
    assert_nothing_half_written(small_disk, artifacts=0)


def test_a_disk_that_is_read_only(small_disk: Path) -> None:
    store = open_lake(small_disk, create=True)
    made = store.publish_artifact(note(1, "gm"))
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)

    name, said = error_of(small_disk, "readonly")

    assert name == "StoreUnavailable"
    assert "read-only" in said.lower() or "readonly" in said.lower(), said
    store.verify_artifacts([made.artifact_id])
    assert clean(store)
    assert not store.is_available()
    subprocess.run([*remount[:2], "remount,rw", str(small_disk)], check=True)
    assert_nothing_half_written(small_disk, artifacts=1)

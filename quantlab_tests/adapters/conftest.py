"""Where lakes are broken."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantlab_tests.adapters.artifact_store import scenes


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: for tests of order, where syncs only cost time."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def full_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of `scenes`, made once: copy it."""
    folder = tmp_path_factory.mktemp("full") / "lake"
    scenes.full_lake(folder)
    return folder

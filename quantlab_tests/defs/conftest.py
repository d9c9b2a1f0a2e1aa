"""A toy graph over an empty lake, and an instance that forgets."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from quantlab_tests.defs.data.toy_graph import Toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "lake")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral

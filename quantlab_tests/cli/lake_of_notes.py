"""A small lake of hostile notes, with a projection of them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantlab_assets import open_lake
from quantlab_assets.domain.artifacts.records import PublishRequest
from quantlab_assets.lake.provenance import provenance_of
from quantlab_assets.ports.projection_builder import (
    ArtifactSelector,
    ProjectionRequest,
    ProjectionTable,
)
from quantlab_tests.cli.own_types import NOTES

TEXTS = ["=1+1", "\x1b[31mred\x07", "", "\u202eabc", 'a,b\n"c"']

_DAY = 1_746_057_600_000_000


def lake_of_notes(folder: Path) -> Path:
    """Make the lake in `folder`; its projection `lab` has a table `notes`, a row a second."""
    table = pa.table(
        {
            "at": pa.array(
                [_DAY + second * 1_000_000 for second in range(len(TEXTS))],
                pa.timestamp("us", tz="UTC"),
            ),
            "text": TEXTS,
            "score": [0.5, None, float("nan"), float("inf"), -1.0],
            "count": [1, None, 3, 4, -5],
            "seen": [True, None, False, True, True],
            "mark": [b"\x00a", None, b"", b"b", b"c"],
        }
    ).cast(NOTES.schema)
    path = folder / "notes.parquet"
    pq.write_table(table, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTLAB_TYPES_MODULE", "quantlab_tests.cli.own_types")
        lake = open_lake(folder / "lake", create=True)
        key = "book=lab/day=2025-05-01"
        lake.store.publish_artifact(PublishRequest("notes", key, path, provenance_of("a test")))
        held = ProjectionTable("notes", "notes", selector=ArtifactSelector())
        lake.projections.build(ProjectionRequest((held,), "lab"))
    return folder / "lake"

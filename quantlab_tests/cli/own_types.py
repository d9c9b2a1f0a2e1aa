"""Artifact types of a user's own, as `QUANTLAB_TYPES_MODULE` names them."""

import pyarrow as pa

from quantlab_assets.domain.artifacts.type import ArtifactType

NOTES = ArtifactType(
    name="notes",
    schema_version=3,
    schema=pa.schema(
        [
            pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("text", pa.string()),
            pa.field("score", pa.float64()),
            pa.field("count", pa.int64()),
            pa.field("seen", pa.bool_()),
            pa.field("mark", pa.binary()),
        ]
    ),
    sort_keys=("at",),
    keys=("book={book}/day={day}",),
    time_column="at",
    key_fields={"book": "[a-z]{1,9}"},
)

ARTIFACT_TYPES = [NOTES]

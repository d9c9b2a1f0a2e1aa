"""Frames with exactly the columns, types and order of rows of an artifact type of coverage."""

import polars as pl
import pyarrow as pa

from quantlab_assets.domain.artifacts.type import ArtifactType


def as_type(
    frame: pl.DataFrame, artifact_type: ArtifactType, *, keys_are_unique: bool = False
) -> pl.DataFrame:
    """The frame with exactly the type's columns, in its order."""
    shape = pl.DataFrame(artifact_type.empty())
    keys = list(artifact_type.sort_keys)
    order = keys if keys_are_unique else [*keys, *shape.columns]
    return frame.select(shape.columns).cast(shape.schema).sort(order)


def to_table(frame: pl.DataFrame, artifact_type: ArtifactType) -> pa.Table:
    """The frame as a table of exactly the type's schema."""
    return frame.select(artifact_type.schema.names).to_arrow().cast(artifact_type.schema)

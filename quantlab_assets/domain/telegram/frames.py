"""Frames with the columns of an artifact type, and the tables they are published as."""

from functools import cache
from typing import Final

import polars as pl
import pyarrow as pa

from quantlab_assets.domain.artifacts.seed_types import TELEGRAM_MESSAGES
from quantlab_assets.domain.artifacts.type import ArtifactType


def frame_schema(artifact_type: ArtifactType) -> pl.Schema:
    """The Polars schema of an artifact type."""
    return _polars_schema(artifact_type.schema)


@cache
def _polars_schema(schema: pa.Schema) -> pl.Schema:
    return pl.DataFrame(schema.empty_table()).schema


def typed(frame: pl.DataFrame, artifact_type: ArtifactType, *beside: str) -> pl.DataFrame:
    """The frame with exactly the columns of the artifact type, in its order; first those named
    `beside` as they are."""
    schema = frame_schema(artifact_type)
    if not beside and frame.schema == schema:
        return frame
    return frame.select(*beside, *(pl.col(name).cast(dtype) for name, dtype in schema.items()))


def table_of(frame: pl.DataFrame, artifact_type: ArtifactType) -> pa.Table:
    """The frame as a table with the artifact type's Arrow schema."""
    return typed(frame, artifact_type).to_arrow().cast(artifact_type.schema)


MESSAGES: Final = frame_schema(TELEGRAM_MESSAGES)
"""Columns of `telegram_messages`."""

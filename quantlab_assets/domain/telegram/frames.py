"""Frames with the columns of an artifact type, and the tables they are published as."""

from typing import Final

import polars as pl
import pyarrow as pa

from quantlab_assets.domain.artifact_types import TELEGRAM_MESSAGES, ArtifactType


def frame_schema(artifact_type: ArtifactType) -> pl.Schema:
    """The Polars schema of an artifact type."""
    return pl.DataFrame(artifact_type.empty()).schema


def typed(frame: pl.DataFrame, artifact_type: ArtifactType) -> pl.DataFrame:
    """The frame with exactly the columns of the artifact type, in its order."""
    return frame.select(pl.col(n).cast(dtype) for n, dtype in frame_schema(artifact_type).items())


def table_of(frame: pl.DataFrame, artifact_type: ArtifactType) -> pa.Table:
    """The frame as a table with the artifact type's Arrow schema."""
    return typed(frame, artifact_type).to_arrow().cast(artifact_type.schema)


MESSAGES: Final = frame_schema(TELEGRAM_MESSAGES)
"""Columns of `telegram_messages`."""

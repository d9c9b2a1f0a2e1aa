"""Candles as a folder of Parquet files for other tools. Disposable: made again from slices."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class DatasetRecipe:
    """What decides every byte of a dataset: the set of slices, the number of buckets, the rules."""

    input_set: str
    buckets: int
    rules_version: int


@dataclass(frozen=True, slots=True)
class DatasetContent:
    """What a dataset holds: rows, and its files by path below the folder, with their sizes."""

    folder: Path
    recipe: DatasetRecipe
    rows: int
    files: Mapping[str, int]


class DatasetWriter(Protocol):
    """A dataset being built."""

    def write(self, bucket: int, month: str, candles: pa.Table) -> None:
        """Add candles of one month (`YYYY-MM`) to a bucket. Buckets come in ascending order, and
        what is added to one file comes in the order it is to have there."""


class CandleDataset(Protocol):
    """One folder `bucket=N/month=YYYY-MM/candles.parquet`.

    All methods raise `Conflict` for a folder that is something else: nothing in it is touched.
    """

    def content(self) -> DatasetContent | None:
        """What the folder holds, if all of it is still there; None if there is no dataset."""

    def replace(self, recipe: DatasetRecipe) -> AbstractContextManager[DatasetWriter]:
        """Build a dataset that takes the place of the old one when the context is left without an
        error, at once and whole. Raises `StoreUnavailable` if it cannot be written, `Conflict`
        while another process is building it."""

"""A candle dataset that is a dictionary of tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from quantlab_assets.ports.candle_dataset import DatasetContent, DatasetRecipe


class InMemoryDataset:
    """Tables by file, as `CandleDatasetFolder` would write them."""

    def __init__(self) -> None:
        self.files: dict[str, pa.Table] = {}
        self._recipe: DatasetRecipe | None = None

    def content(self) -> DatasetContent | None:
        if self._recipe is None:
            return None
        rows = sum(table.num_rows for table in self.files.values())
        sizes = {name: table.nbytes for name, table in self.files.items()}
        return DatasetContent(Path("memory"), self._recipe, rows, sizes)

    @contextmanager
    def replace(self, recipe: DatasetRecipe) -> Iterator["_Writer"]:
        writer = _Writer()
        yield writer
        self.files = {name: pa.concat_tables(parts) for name, parts in writer.parts.items()}
        self._recipe = recipe


class _Writer:
    def __init__(self) -> None:
        self.parts: dict[str, list[pa.Table]] = {}

    def write(self, bucket: int, month: str, candles: pa.Table) -> None:
        name = f"bucket={bucket}/month={month}/candles.parquet"
        self.parts.setdefault(name, []).append(candles)

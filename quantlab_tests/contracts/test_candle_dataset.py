"""What every `CandleDataset` does; the folder's own ways are in adapters/test_candle_dataset.py."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from quantlab_assets.adapters.candle_dataset import CandleDatasetFolder
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.ports.candle_dataset import CandleDataset, DatasetRecipe
from quantlab_tests.in_memory.candle_dataset import InMemoryDataset

NOON = datetime(2025, 11, 6, 12, tzinfo=UTC)
RECIPE = DatasetRecipe("a" * 32, 4, 1)
OTHER = DatasetRecipe("b" * 32, 4, 1)


def candles(count: int, token: str = "T") -> pa.Table:
    return pa.table(
        {
            "token_address": [token] * count,
            "chain": ["solana"] * count,
            "token_chain": ["solana"] * count,
            "interval_s": [60] * count,
            "ts": [NOON + i * timedelta(minutes=1) for i in range(count)],
            **{name: [1.0] * count for name in ("open", "high", "low", "close", "volume")},
        }
    ).cast(OHLCV_SLICE.schema)


@pytest.fixture(params=["memory", "folder"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> CandleDataset:
    made: dict[str, Callable[[], CandleDataset]] = {
        "memory": InMemoryDataset,
        "folder": lambda: CandleDatasetFolder(tmp_path / "candles"),
    }
    return made[request.param]()


def test_there_is_nothing_at_first(dataset: CandleDataset) -> None:
    assert dataset.content() is None


def test_what_was_written_is_there_with_its_recipe(dataset: CandleDataset) -> None:
    with dataset.replace(RECIPE) as writer:
        writer.write(1, "2025-10", candles(2))
        writer.write(1, "2025-11", candles(3))
        writer.write(1, "2025-11", candles(4, "U"))
        writer.write(3, "2025-11", candles(5))

    content = dataset.content()
    assert content is not None
    assert (content.recipe, content.rows) == (RECIPE, 14)
    assert set(content.files) == {
        "bucket=1/month=2025-10/candles.parquet",
        "bucket=1/month=2025-11/candles.parquet",
        "bucket=3/month=2025-11/candles.parquet",
    }


def test_a_new_one_takes_the_place_of_all_of_the_old_one(dataset: CandleDataset) -> None:
    with dataset.replace(RECIPE) as writer:
        writer.write(0, "2025-10", candles(2))
    with dataset.replace(OTHER) as writer:
        writer.write(2, "2025-11", candles(1))

    content = dataset.content()
    assert content is not None
    assert (content.recipe, content.rows) == (OTHER, 1)
    assert set(content.files) == {"bucket=2/month=2025-11/candles.parquet"}


def test_one_that_fails_leaves_the_old_one(dataset: CandleDataset) -> None:
    with dataset.replace(RECIPE) as writer:
        writer.write(0, "2025-10", candles(2))
    before = dataset.content()

    def fail() -> None:
        with dataset.replace(OTHER) as writer:
            writer.write(0, "2025-11", candles(9))
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()

    assert dataset.content() == before

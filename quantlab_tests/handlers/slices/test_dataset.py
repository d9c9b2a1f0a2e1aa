"""All slices as one dataset: one candle a token, network and moment, in buckets anyone computes."""

import re
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest

from quantlab_assets.domain.artifacts.records import Provenance, PublishRequest
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.domain.slices.key import SliceKey
from quantlab_assets.domain.tokens.token import Token
from quantlab_assets.handlers.slices.dataset import bucket_of, export_dataset
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_tests.conftest import ROOT
from quantlab_tests.in_memory.artifact_store import InMemoryArtifactStore
from quantlab_tests.in_memory.candle_dataset import InMemoryDataset

EVM = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"
MINT = "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump"
START = datetime(2025, 10, 31, 23, tzinfo=UTC)


def publish(
    store: ArtifactStore,
    token: Token,
    first: int,
    count: int,
    *,
    interval_s: int = 300,
    volume: float = 1.0,
) -> str:
    """A slice of candles that begin `first` steps after `START`."""
    step = timedelta(seconds=interval_s)
    begin = START + first * step
    table = pa.table(
        {
            "token_address": [token.address] * count,
            "chain": [token.chain] * count,
            "token_chain": pa.array([token.network] * count, pa.string()),
            "interval_s": [interval_s] * count,
            "ts": [begin + i * step for i in range(count)],
            **{name: [1.0] * count for name in ("open", "high", "low", "close")},
            "volume": [volume] * count,
        }
    ).cast(OHLCV_SLICE.schema)
    key = SliceKey(token, interval_s, begin, begin + count * step).format()
    request = PublishRequest("ohlcv_slice_v2", key, table, Provenance("test", "1"))
    return store.publish_artifact(request).artifact_id


def all_rows(dataset: InMemoryDataset) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(dataset.files[name]) for name in sorted(dataset.files)])


@pytest.fixture
def store() -> InMemoryArtifactStore:
    return InMemoryArtifactStore()


def test_overlapping_slices_give_one_candle_a_moment_by_bucket_and_month(
    store: InMemoryArtifactStore,
) -> None:
    solana, bsc = Token("solana", MINT, "solana"), Token("evm", EVM, "bsc")
    publish(store, solana, 0, 24)
    publish(store, solana, 6, 24, volume=2.0)
    publish(store, bsc, 0, 3)
    publish(store, bsc, 0, 2, interval_s=3600)
    dataset = InMemoryDataset()

    found = export_dataset(store, dataset, 64)

    assert (found.slices, found.tokens, found.built, found.content.rows) == (4, 2, True, 34)
    assert set(dataset.files) == {
        f"bucket={bucket_of(MINT, 64)}/month=2025-10/candles.parquet",
        f"bucket={bucket_of(MINT, 64)}/month=2025-11/candles.parquet",
        f"bucket={bucket_of(EVM, 64)}/month=2025-10/candles.parquet",
        f"bucket={bucket_of(EVM, 64)}/month=2025-11/candles.parquet",
    }
    mine = all_rows(dataset).filter(token_address=MINT)
    assert mine["ts"].is_unique().all()
    assert mine["volume"].to_list() == [1.0] * 6 + [2.0] * 24
    # The first hour has finer candles; the second only an hourly one.
    on_bsc = all_rows(dataset).filter(token_address=EVM)
    assert on_bsc["interval_s"].to_list() == [300, 300, 300, 3600]


def test_one_address_on_two_networks_is_two_tokens(store: InMemoryArtifactStore) -> None:
    for network in ("bsc", "base", None):
        publish(store, Token("evm", EVM, network), 0, 2)
    dataset = InMemoryDataset()

    export_dataset(store, dataset, 4)

    assert all_rows(dataset)["token_chain"].to_list() == [None, None, "base", "base", "bsc", "bsc"]


def test_nothing_is_done_again_until_a_slice_or_the_number_of_buckets_changes(
    store: InMemoryArtifactStore,
) -> None:
    token = Token("solana", MINT, "solana")
    publish(store, token, 0, 3)
    dataset = InMemoryDataset()

    assert [export_dataset(store, dataset, n).built for n in (4, 4, 8, 8)] == [True, False] * 2
    publish(store, token, 0, 3, volume=5.0)
    assert export_dataset(store, dataset, 8).built
    assert all_rows(dataset)["volume"].to_list() == [5.0] * 3


def test_how_much_is_read_at_once_decides_nothing(
    store: InMemoryArtifactStore,
) -> None:
    for number in range(9):
        publish(store, Token("evm", f"0x{number:040x}", "bsc"), number, 5)
    whole, piecewise = InMemoryDataset(), InMemoryDataset()
    export_dataset(store, whole, 2)

    export_dataset(store, piecewise, 2, rows_at_once=1)

    assert {name: table.combine_chunks() for name, table in piecewise.files.items()} == {
        name: table.combine_chunks() for name, table in whole.files.items()
    }


def test_a_bucket_is_what_the_page_computes() -> None:
    page = (ROOT / "docs" / "candles.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (code,) = [block for block in blocks if "bucket =" in block]
    told: dict[str, object] = {}
    exec(code, told)

    assert bucket_of(str(told["address"]), 64) == told["bucket"]
    assert 0 <= bucket_of(MINT, 7) < 7


def test_without_slices_one_is_told_what_to_run(store: InMemoryArtifactStore) -> None:
    with pytest.raises(NotFound, match="quantlab slices export"):
        export_dataset(store, InMemoryDataset(), 4)

"""Export all active slices as one dataset for tools that read Hive-partitioned Parquet.

One candle a token, network and moment, by the rule of the simulation (docs/candles.md). A token's
bucket follows from its address alone, so that any tool can compute it.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from quantlab_assets.domain.artifacts.identity import input_set_id_of
from quantlab_assets.domain.artifacts.records import Artifact, ArtifactFilter
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.domain.slices.key import SliceKey
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.candle_dataset import CandleDataset, DatasetContent, DatasetRecipe
from quantlab_assets.simulation.market.candle_book import one_candle_a_moment

RULES_VERSION: Final = 1
"""Changes whenever the same slices would give other files."""
ROWS_AT_ONCE: Final = 1_000_000
"""Rows of slices in memory at once; a token that has more is read whole."""


def _say_nothing(done: int, total: int) -> None:
    """Nobody asked for progress."""


@dataclass(frozen=True, slots=True)
class DatasetExport:
    """What there is now, from how many slices, and whether it had to be built."""

    content: DatasetContent
    slices: int
    tokens: int
    built: bool


def export_dataset(
    store: ArtifactStore,
    dataset: CandleDataset,
    buckets: int,
    on_progress: Callable[[int, int], None] = _say_nothing,
    *,
    rows_at_once: int = ROWS_AT_ONCE,
) -> DatasetExport:
    """Make the dataset of all active slices, unless that is what is there already.

    `on_progress` gets the slices done and all of them. Memory holds the slices of one token, or
    `rows_at_once` rows. Raises `NotFound` if there are no slices.
    """
    slices = store.list_artifacts(
        ArtifactFilter(artifact_type=OHLCV_SLICE.name, status="active")
    ).artifacts
    if not slices:
        raise NotFound("this lake has no slices yet; make them with: quantlab slices export")
    recipe = DatasetRecipe(
        input_set=input_set_id_of([artifact.artifact_id for artifact in slices]),
        buckets=buckets,
        rules_version=RULES_VERSION,
    )
    by_token = _by_token(slices)
    present = dataset.content()
    if present is not None and present.recipe == recipe:
        return DatasetExport(present, len(slices), len(by_token), built=False)
    done = 0
    with dataset.replace(recipe) as writer:
        for bucket, artifacts in _batches(by_token, buckets, rows_at_once):
            candles = store.read_verified([artifact.artifact_id for artifact in artifacts])
            for month, part in _by_month(_one_candle(candles)):
                writer.write(bucket, month, part.to_arrow().cast(OHLCV_SLICE.schema))
            done += len(artifacts)
            on_progress(done, len(slices))
    content = dataset.content()
    assert content is not None
    return DatasetExport(content, len(slices), len(by_token), built=True)


def bucket_of(address: str, buckets: int) -> int:
    """The bucket of a token: the first eight bytes of the SHA-256 of its address, most significant
    first, modulo the number of buckets."""
    return int.from_bytes(hashlib.sha256(address.encode()).digest()[:8], "big") % buckets


def _by_token(slices: Sequence[Artifact]) -> Mapping[str, list[Artifact]]:
    """The slices of each address, in the order of their keys."""
    tokens: dict[str, list[Artifact]] = defaultdict(list)
    for artifact in sorted(
        slices, key=lambda artifact: (artifact.logical_key, artifact.artifact_id)
    ):
        tokens[SliceKey.parse(artifact.logical_key).token.address].append(artifact)
    return tokens


def _batches(
    by_token: Mapping[str, list[Artifact]], buckets: int, rows_at_once: int
) -> Iterator[tuple[int, list[Artifact]]]:
    """Slices to read at once, whole tokens of one bucket, in the order of buckets and addresses."""
    order = sorted((bucket_of(address, buckets), address) for address in by_token)
    batch: list[Artifact] = []
    rows = current = 0
    for bucket, address in order:
        wanted = sum(artifact.row_count for artifact in by_token[address])
        if batch and (bucket != current or rows + wanted > rows_at_once):
            yield current, batch
            batch, rows = [], 0
        current = bucket
        batch = batch + by_token[address]
        rows += wanted
    if batch:
        yield current, batch


def _one_candle(candles: pl.DataFrame) -> pl.DataFrame:
    """One candle a token, network and moment, by address, network (unknown first) and time. The
    same address on two networks is two tokens."""
    networks = candles["token_chain"].unique().sort(nulls_last=False)
    return pl.concat(
        [
            one_candle_a_moment(candles.filter(pl.col("token_chain").eq_missing(network)))
            for network in networks
        ]
    ).sort("token_address", "token_chain", "ts", nulls_last=False)


def _by_month(candles: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The candles of each UTC month, months ascending."""
    month = candles["ts"].dt.strftime("%Y-%m")
    for name in month.unique().sort():
        yield name, candles.filter(month == name)

"""More of the demo's experiment, by hand from the sample's files: a trade cut off, and lineage."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from quantlab_assets import open_lake
from quantlab_assets.domain.experiments.records import ExperimentRecord
from quantlab_assets.lake import Lake
from quantlab_assets.sample import sample_path

TRADED = ("0x2338c5ad", "0xeca1c3dd", "0x2685ba9d", "geqzp5zs", "9yn6bnf3")


@pytest.fixture(scope="module")
def lake(demo_lake: Path) -> Lake:
    return open_lake(demo_lake)


@pytest.fixture(scope="module")
def experiment(lake: Lake) -> ExperimentRecord:
    (record,) = lake.experiments.list()
    return record


def test_a_position_open_when_the_candles_end_is_closed_at_the_last_close(
    lake: Lake, experiment: ExperimentRecord
):
    """Called 08:40:25; the file ends at 09:40:00 (1762681200), where an API limit cut it."""
    trades = lake.trades(experiment.experiment_id)
    (trade,) = trades.filter(pl.col("mint").str.starts_with("9Yn6bnF3")).to_dicts()
    assert trade["entry_ts"] == datetime.fromtimestamp(1762677900, UTC)
    assert trade["exit_reason"] == "end_of_data"
    assert trade["exit_ts"] == datetime.fromtimestamp(1762681200 + 300, UTC)
    assert trade["exit_price"] == 0.002100341934656833


def test_no_call_enters_before_it_was_made(lake: Lake, experiment: ExperimentRecord):
    trades = lake.trades(experiment.experiment_id)
    assert trades.height == 6
    assert trades.filter(pl.col("entry_ts") < pl.col("alert_ts_utc")).is_empty()


def test_lineage_of_the_trades_ends_at_the_bytes_of_the_raw_files(
    lake: Lake, experiment: ExperimentRecord
):
    lineage = lake.store.get_lineage(experiment.outputs["trades"])
    named = {edge.source.sha256 for edge in lineage.sources}
    candles = [
        path
        for path in (sample_path() / "candles").iterdir()
        if any(mint in path.name.lower() for mint in TRADED)
    ]
    raw = [sample_path() / "telegram" / "result.json", *candles]
    assert len(raw) == 7
    assert {f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in raw} <= named

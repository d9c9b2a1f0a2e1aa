"""`quantlab demo`, run as a newcomer runs it: in a process of its own, in an empty folder."""

import csv
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quantlab_assets import open_lake
from quantlab_assets.sample import sample_path
from quantlab_tests.conftest import Quantlab

NAMED_CALLS = {
    "0x2338c5ad75967dac2ff988fc3488109ec2406dfe": "2025-11-06T13:00:33",
    "0xeca1c3dde449fd83c748f9fb017da17459d84444": "2025-11-06T17:59:50",
    "0x2685ba9d4c0386f9982169920435ddc97aa34444": "2025-11-07T11:29:45",
    "GeQZP5ZSzz9u96DH6emSURXntRrQr7qqZAQnB3Nxpump": "2025-11-02T15:30:16",
    "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump": "2025-11-09T08:40:25",
}
"""The calls with candles that the sample's README names."""


def identities(answer: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(a["artifactId"], a["contentHash"], a["status"]) for a in answer["artifacts"]]


@pytest.fixture(scope="module")
def trades(demo_lake: Path, demo_answer: dict[str, Any]) -> pl.DataFrame:
    return open_lake(demo_lake).trades(demo_answer["experimentId"])


def test_another_folder_zone_hash_seed_and_thread_count_give_the_same_artifacts(
    demo_answer: dict[str, Any], quantlab: Quantlab
) -> None:
    done = quantlab(
        "demo",
        "--lake",
        "another",
        "--format",
        "json",
        environment={
            "TZ": "Australia/Sydney",
            "PYTHONHASHSEED": "1",
            "POLARS_MAX_THREADS": "1",
            "LC_ALL": "C",
        },
    )
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert identities(again) == identities(demo_answer)
    assert again["experimentId"] == demo_answer["experimentId"]
    assert again["newArtifacts"] == len(again["artifacts"])


def test_a_second_run_adds_nothing_and_tells_people_everything(
    demo_lake: Path, demo_answer: dict[str, Any], tmp_path: Path, quantlab: Quantlab
) -> None:
    # The lake stands elsewhere now, and everything disposable is lost.
    lake = tmp_path / "quantlab-demo"
    for part in ("inbox", "manifest", "artifacts"):
        shutil.copytree(demo_lake / part, lake / part)

    done = quantlab("demo")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"0 new artifacts in {lake}")
    files = [path.stem for path in (lake / "artifacts").rglob("*.parquet")]
    assert sorted(files) == sorted(a["artifactId"] for a in demo_answer["artifacts"])
    listed = open_lake(lake).store.list_artifacts().artifacts
    assert {(a.artifact_id, a.content_hash, a.status) for a in listed} == set(
        identities(demo_answer)
    )
    for expected in (
        "What following each caller came to",
        "caller_05",
        "24 h after each call",
        "Messages refused",
        "AFC_0xB83D4c_ethereum.csv",
        str(lake / "artifacts"),
        f"quantlab ui --lake {lake}",
        "reconstructed",
    ):
        assert expected in done.stdout, expected


def test_it_publishes_every_step_of_the_pipeline(demo_answer: dict[str, Any]) -> None:
    types = {artifact["artifactType"] for artifact in demo_answer["artifacts"]}
    assert types >= {
        "telegram_messages",
        "alerts_v1",
        "alerts_event_v1",
        "alerts_quarantine",
        "ohlcv_slice_v2",
        "alert_forward_coverage",
        "coverage_gaps",
        "coverage_summary",
        "experiment_definition",
        "experiment_trades",
        "experiment_metrics",
        "experiment_curves",
        "experiment_diagnostics",
    }


def test_it_reads_every_message_of_the_sample(demo_answer: dict[str, Any]) -> None:
    export = json.loads((sample_path() / "telegram" / "result.json").read_text(encoding="utf-8"))
    read = {row["what"]: row["rows"] for row in demo_answer["ingested"]}
    assert read["messages"] == len(export["messages"])
    assert demo_answer["overall"]["alertsSeen"] == read["calls"]


def test_the_named_calls_trade(trades: pl.DataFrame) -> None:
    called = {
        (row["mint"], row["alert_ts_utc"].strftime("%Y-%m-%dT%H:%M:%S"))
        for row in trades.iter_rows(named=True)
    }
    assert called >= set(NAMED_CALLS.items())


def test_one_trade_is_what_the_csv_says(trades: pl.DataFrame) -> None:
    # Called at 11:29:45, so bought at the open of the 11:30 candle. Neither twice nor four times
    # that price is ever reached before the low of the 15:00 candle falls through the stop.
    (file,) = (sample_path() / "candles").glob("bsc_0x2685ba9d4c0386f9982169920435ddc97aa34444_*")
    with file.open(encoding="utf-8") as lines:
        candles = {int(row["timestamp"]): row for row in csv.DictReader(lines)}
    entry_ts = datetime(2025, 11, 7, 11, 30, tzinfo=UTC)
    stop_candle_ts = datetime(2025, 11, 7, 15, 0, tzinfo=UTC)
    entry = float(candles[int(entry_ts.timestamp())]["open"])
    stop = entry * 0.7
    held = [candles[ts] for ts in sorted(candles) if entry_ts.timestamp() <= ts]
    held = held[: [float(candle["low"]) <= stop for candle in held].index(True) + 1]
    assert int(held[-1]["timestamp"]) == stop_candle_ts.timestamp()
    assert float(held[-1]["open"]) > stop
    assert max(float(candle["high"]) for candle in held) < 2 * entry

    (trade,) = trades.filter(pl.col("mint").str.starts_with("0x2685ba9d")).to_dicts()
    assert trade["entry_ts"] == entry_ts
    assert trade["entry_price"] == entry == 0.00022666734582596143
    assert trade["exit_ts"] == datetime(2025, 11, 7, 15, 5, tzinfo=UTC)
    assert trade["exit_price"] == pytest.approx(stop, rel=1e-12)
    assert trade["exit_reason"] == "stop_loss"
    assert trade["candles_held"] == len(held)
    # Half a percent of slippage on each side, 0.3 % fee on what is paid and on what comes back.
    proceeds = 1 / (entry * 1.005) * stop * 0.995
    assert trade["net_return"] == pytest.approx(proceeds - 1 - 0.003 * (1 + proceeds), rel=1e-12)


def test_it_says_what_was_refused_and_why(demo_answer: dict[str, Any]) -> None:
    messages = {row["errorCode"] for row in demo_answer["refusedMessages"]}
    assert messages >= {"invalid_mint_address", "pair_address_unresolved"}
    (candles,) = demo_answer["refusedCandles"]
    assert candles["file"] == "AFC_0xB83D4c_ethereum.csv"
    assert candles["errorCode"] == "unresolvable_token"
    assert "tokens.csv" in candles["errorReason"]


def test_every_result_leads_back_to_raw_files(demo_lake: Path, demo_answer: dict[str, Any]) -> None:
    store = open_lake(demo_lake).store
    assert demo_answer["artifacts"]
    for artifact in demo_answer["artifacts"]:
        lineage = store.get_lineage(artifact["artifactId"])
        assert lineage.sources, artifact["logicalKey"]


def test_a_lake_that_cannot_be_is_one_line(quantlab: Quantlab) -> None:
    done = quantlab("demo", "--lake", "/dev/null/x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("quantlab: cannot create /dev/null/x")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("inbox", "name", "content"),
    [
        ("telegram", "broken.json", b"this is not JSON"),
        ("telegram", "broken.json", b""),
        ("telegram", "broken.json", b'{"name": "x", "messages": [{"id": 1,'),
        ("telegram", "result.json", b"\x00\xff\xfe"),
        ("candles", "empty.csv", b""),
        ("candles", "header.csv", b"timestamp,open,high,low,close,volume\n"),
        ("candles", "empty.parquet", b""),
    ],
    ids=[
        "text",
        "nothing",
        "truncated",
        "binary-in-place-of-the-sample",
        "empty-csv",
        "header-only",
        "empty-parquet",
    ],
)
def test_an_input_that_is_no_input_is_one_line_that_names_it(
    inbox: str, name: str, content: bytes, tmp_path: Path, quantlab: Quantlab
) -> None:
    folder = tmp_path / "quantlab-demo" / "inbox" / inbox
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    done = quantlab("demo")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert name in done.stderr


def test_it_never_puts_the_sample_into_another_inbox(tmp_path: Path, quantlab: Quantlab) -> None:
    mine = tmp_path / "mine"
    done = quantlab("demo", environment={"QUANTLAB_TELEGRAM_INBOX": str(mine)})
    assert done.returncode == 1
    assert str(mine) in done.stderr
    assert not mine.exists()


def test_it_never_mixes_the_sample_into_a_lake_of_ones_own(
    tmp_path: Path, quantlab: Quantlab
) -> None:
    assert quantlab("init", "--lake", "mine").returncode == 0
    done = quantlab("demo", "--lake", "mine")
    assert done.returncode == 1
    assert "is a lake of your own" in done.stderr
    listed = quantlab("artifacts", "list", "--lake", "mine", "--format", "json")
    assert json.loads(listed.stdout) == []
    assert not list((tmp_path / "mine" / "inbox").rglob("*.*"))

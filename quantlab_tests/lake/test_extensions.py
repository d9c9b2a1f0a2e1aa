"""A type, an asset and a candle source of a user's own are found wherever the lab's own are."""

import json
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quantlab_assets import open_lake
from quantlab_assets.cli.main import main
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.settings import Settings

TYPE_AND_ASSET = """
from dataclasses import replace
from quantlab_assets.domain.artifacts.seed_types import COVERAGE_SUMMARY
from quantlab_assets.domain.assets import DAILY, Asset

CALLERS = replace(COVERAGE_SUMMARY, name="callers_of_day", keys=("day={day}",), description="Mine.")
ARTIFACT_TYPES = [CALLERS]
ASSETS = [Asset("callers", "alerts", "callers_of_day", DAILY, "callers", body="own_graph:callers")]
"""

BODY = """
import dagster as dg
from quantlab_assets.defs.asset_rows import daily_asset, day_by_day
from quantlab_assets.domain.artifacts.records import PartitionOutput
from own_lab import ASSETS, CALLERS

@daily_asset(ASSETS[0], CALLERS)
def callers(context: dg.AssetExecutionContext):
    '''Nobody.'''
    return day_by_day(context, lambda day: PartitionOutput(()))
"""

SOURCE = """
import polars as pl
from quantlab_assets.lake.sources import CandleSetup
from quantlab_tests.in_memory.candle_source import InMemoryCandles

class FramesOfMine(CandleSetup):
    def open(self):
        return InMemoryCandles(pl.read_parquet(self.settings.candles.removeprefix("frames://")))

CANDLE_SOURCES = {"frames": FramesOfMine}
"""

Write = Callable[..., None]
Run = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write modules of a user's own; `own_lab` is the one that the lake is told of."""
    monkeypatch.syspath_prepend(tmp_path / "own")
    monkeypatch.setenv("QUANTLAB_TYPES_MODULE", "own_lab")

    def modules(**sources: str) -> None:
        for name, source in sources.items():
            (tmp_path / "own").mkdir(exist_ok=True)
            (tmp_path / "own" / f"{name}.py").write_text(source, encoding="utf-8")
            monkeypatch.delitem(sys.modules, name, raising=False)

    return modules


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on a lake; what it printed."""

    def command(lake: Path, *words: str, code: int = 0) -> str:
        assert main([*words, "--lake", str(lake)]) == code
        return capsys.readouterr().out

    return command


def test_a_type_and_an_asset_of_a_users_own_are_everywhere(
    tmp_path: Path, write: Write, run: Run
) -> None:
    from quantlab_assets.definitions import build_defs

    write(own_lab=TYPE_AND_ASSET, own_graph=BODY)
    folder = tmp_path / "lake"
    run(folder, "init")

    assert "callers_of_day" in run(folder, "artifacts", "types")
    lake = open_lake(folder)
    assert "callers" in lake.assets.of(job="ingestion", group="alerts")
    comments = "select comment from duckdb_tables() where table_name = 'callers'"
    assert lake.sql(comments)["comment"].to_list() == ["Mine."]
    assert lake.sql("select count(*) as n from callers")["n"].to_list() == [0]

    repository = build_defs(lake.settings).get_repository_def()
    (node,) = [one for one in repository.asset_graph.asset_nodes if one.key.path == ["callers"]]
    assert node.group_name == "alerts"
    assert node.metadata["artifact_type"] == "callers_of_day"
    of_jobs = {
        name: {key.path[0] for key in repository.get_job(name).asset_layer.selected_asset_keys}
        for name in ("ingestion", "slices_and_coverage", "over_all_days")
    }
    assert [name for name, assets in of_jobs.items() if "callers" in assets] == ["ingestion"]


def candles_of(alert: dict[str, Any]) -> pl.DataFrame:
    """A minute a candle, two hours around a call, at a price that nothing else has."""
    start = alert["alert_ts_utc"].replace(second=0, microsecond=0) - timedelta(hours=1)
    return pl.DataFrame(
        {
            "token_address": alert["mint"],
            "chain": alert["chain"],
            "token_chain": alert["token_chain"]
            or ("solana" if alert["chain"] == "solana" else None),
            "interval_s": 60,
            "ts": [start + timedelta(minutes=minute) for minute in range(120)],
            **dict.fromkeys(("open", "high", "low", "close"), 4711.0),
            "volume": 1.0,
        },
        schema=pl.DataFrame(OHLCV_SLICE.empty()).schema,
    )


def test_a_candle_source_of_a_users_own_is_everywhere(
    tmp_path: Path, demo_lake: Path, write: Write, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(own_lab="ARTIFACT_TYPES = []\n" + SOURCE)
    folder = shutil.copytree(demo_lake, tmp_path / "lake")
    alerts = open_lake(folder).sql("select * from alerts order by alert_ts_utc, alert_id")
    alert = alerts.row(0, named=True)
    candles_of(alert).write_parquet(tmp_path / "mine.parquet")
    address = f"frames://{tmp_path / 'mine.parquet'}"
    monkeypatch.setenv("QUANTLAB_CANDLES", address)

    assert f"candles come from                        {address}\n" in run(folder, "init")
    assert json.loads(run(folder, "status", "--format", "json"))["candleDatabase"] == address
    newest = (
        f"candles come from {address}: the newest candle is of {alert['alert_ts_utc']:%Y-%m-%d}"
    )
    assert newest in run(folder, "doctor")
    day = f"{alert['alert_ts_utc']:%Y-%m-%d}"
    exported = json.loads(
        run(folder, "slices", "export", "--from", day, "--to", day, "--format", "json")
    )
    assert [one["candles"] for one in exported] == [120]
    closes = open_lake(folder).sql("select count(*) as n from ohlcv_slices where close = 4711")
    assert closes["n"].to_list() == [120]
    run(folder, "ingest", "candles", str(tmp_path / "mine.parquet"), code=1)


def test_doctor_says_that_a_source_of_a_users_own_cannot_be_read(
    tmp_path: Path, write: Write, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = SOURCE.replace(
        "return",
        "from quantlab_assets.domain.errors import StoreUnavailable\n"
        "        raise StoreUnavailable('no such market')\n        return",
    )
    write(own_lab="ARTIFACT_TYPES = []\n" + broken)
    monkeypatch.setenv("QUANTLAB_CANDLES", "frames://nowhere")
    run(tmp_path / "lake", "init")
    findings = json.loads(run(tmp_path / "lake", "doctor", "--format", "json", code=1))
    (error,) = [one for one in findings if one["level"] == "error"]
    assert (error["what"], error["do"]) == ("no such market", "see docs/candles.md")


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("ARTIFACT_TYPES = []\nASSETS = ['alerts']", "must have ASSETS, a list of Asset"),
        (
            "from quantlab_assets.domain.assets import Asset\nARTIFACT_TYPES = []\n"
            "ASSETS = [Asset('alerts', 'mine')]",
            "asset 'alerts' is there already",
        ),
        ("ARTIFACT_TYPES = []\nCANDLE_SOURCES = ['frames']", "CANDLE_SOURCES of own_lab must be"),
        ("ARTIFACT_TYPES = []\nCANDLE_SOURCES = {'frames': 1}", "is no CandleSetup"),
        ("ARTIFACT_TYPES = []", "frames:// is not a candle source"),
    ],
)
def test_a_module_that_lists_something_else_is_told_so(
    tmp_path: Path, write: Write, module: str, said: str
) -> None:
    write(own_lab=module)
    environment = {"QUANTLAB_TYPES_MODULE": "own_lab"}
    if "ASSETS" not in module:
        environment["QUANTLAB_CANDLES"] = "frames://here"
    settings = Settings.from_environment(tmp_path / "lake", environment)
    with pytest.raises(ValidationFailed, match=said):
        _ = open_lake(settings, create=True).assets

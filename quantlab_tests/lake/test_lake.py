"""The lab from Python, as a notebook uses it, over the lake that the demo made."""

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

import quantlab_assets
import quantlab_assets.simulation
from quantlab_assets import open_lake
from quantlab_assets.domain.errors import IntegrityError, NotFound, ValidationFailed
from quantlab_assets.lake import Lake
from quantlab_assets.settings import Settings

NOVEMBER = (datetime(2025, 11, 1, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def lake(demo_lake: Path) -> Lake:
    return open_lake(demo_lake)


def test_alerts_of_a_time_range_come_in_time_order(lake: Lake):
    alerts = lake.alerts(*NOVEMBER).collect()
    assert alerts.height == 20
    assert alerts["alert_ts_utc"].is_sorted()
    assert alerts.schema["alert_ts_utc"] == pl.Datetime("us", "UTC")


def test_alerts_of_one_caller(lake: Lake):
    assert set(lake.alerts(*NOVEMBER, caller="caller_12").collect()["caller_name_norm"]) == {
        "caller_12"
    }


def test_a_range_includes_its_start_and_not_its_end(lake: Lake):
    called = datetime(2025, 11, 7, 11, 29, 45, tzinfo=UTC)
    later = datetime(2025, 11, 7, 11, 29, 46, tzinfo=UTC)
    assert lake.alerts(called, later).collect().height == 1
    assert lake.alerts(later, called).collect().height == 0
    assert lake.alerts(datetime(2025, 11, 7, 11, 29, tzinfo=UTC), called).collect().height == 0


def test_candles_of_a_token_come_once_a_moment_with_the_finest_interval(lake: Lake):
    token = "0x2338c5AD75967dAC2fF988FC3488109eC2406dfE"
    candles = lake.candles(token, *NOVEMBER).collect()
    assert candles["ts"].is_sorted()
    assert candles["ts"].n_unique() == candles.height
    assert set(candles["token_address"]) == {token.lower()}
    starts = candles["ts"].dt.epoch("s")
    overlapping = (starts + candles["interval_s"]).shift(1) > starts
    assert not overlapping.any()


def test_a_token_nobody_has_candles_of_gives_an_empty_frame(lake: Lake):
    candles = lake.candles("So11111111111111111111111111111111111111112", *NOVEMBER).collect()
    assert candles.is_empty()
    assert "close" in candles.columns


def test_times_without_a_zone_are_refused(lake: Lake):
    with pytest.raises(ValidationFailed, match="start needs a time zone"):
        lake.alerts(datetime(2025, 11, 1), NOVEMBER[1])


def test_a_day_is_no_moment(lake: Lake):
    with pytest.raises(ValidationFailed, match="end needs a time zone"):
        lake.alerts(NOVEMBER[0], date(2025, 12, 1))  # type: ignore[arg-type]


def test_results_of_an_experiment(lake: Lake):
    (experiment,) = lake.experiments.list()
    name = experiment.experiment_id
    assert lake.experiments.get(name).status == "completed"
    metrics = lake.metrics(name).filter(scope="all", metric_name="total_trades")
    assert metrics["metric_value"].to_list() == [float(lake.trades(name).height)]
    assert lake.curves(name)["equity"].len() > 0


def test_executing_a_completed_experiment_does_nothing(lake: Lake):
    (experiment,) = lake.experiments.list()
    again = lake.experiments.execute(experiment.experiment_id)
    assert again.already_completed
    assert again.record.outputs == experiment.outputs


def test_experiments_are_found_by_what_they_froze(lake: Lake):
    (experiment,) = lake.experiments.list()
    used, other = experiment.definition.alert_artifact_ids[0], "0" * 32
    assert lake.experiments.find_by_input_artifacts([used, other])
    assert not lake.experiments.find_by_input_artifacts([used, other], match="all")


def test_sql_over_the_active_artifacts(lake: Lake):
    counted = lake.sql("select count(*) as n from alerts")
    assert counted["n"].to_list() == [29]
    with pytest.raises(ValidationFailed, match="nothing_of_the_kind"):
        lake.sql("select * from nothing_of_the_kind")


def test_opening_what_is_no_lake_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(NotFound, match="quantlab init"):
        open_lake(tmp_path / "nowhere")


def test_a_damaged_result_is_not_read(demo_lake: Path, tmp_path: Path):
    import shutil

    shutil.copytree(demo_lake, tmp_path / "lake")
    lake = open_lake(tmp_path / "lake")
    (experiment,) = lake.experiments.list()
    artifact = lake.store.get_artifact(experiment.outputs["trades"])
    path = tmp_path / "lake" / "artifacts" / artifact.path
    path.chmod(0o644)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(IntegrityError, match=artifact.artifact_id):
        lake.trades(experiment.experiment_id)


def test_importing_the_package_loads_nothing_heavy():
    heavy = "{'dagster', 'polars', 'pandera', 'duckdb', 'numba', 'pyarrow', 'sqlalchemy'}"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import quantlab_assets, sys; print(sorted({heavy} & set(sys.modules)))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", [quantlab_assets, quantlab_assets.simulation])
def test_what_can_be_imported_is_what_dir_shows(package: ModuleType):
    assert dir(package) == sorted(package.__all__)
    for name in dir(package):
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = package.no_such_name


def test_tab_completion_offers_the_nouns_and_no_plumbing(lake: Lake):
    offered = [name for name in dir(lake) if not name.startswith("_")]
    assert offered == sorted(
        [
            "store",
            "projections",
            "experiments",
            "alerts",
            "candles",
            "trades",
            "metrics",
            "curves",
            "sql",
        ]
    )
    for name in offered:
        assert getattr(type(lake), name).__doc__, name


def test_an_unknown_kind_of_candle_source_is_refused_before_anything_is_made(tmp_path: Path):
    settings = Settings.from_environment(
        tmp_path / "lake", {"QUANTLAB_CANDLES": "https://host/candles"}
    )
    known = "a folder, or a DSN that begins with clickhouse://, clickhouses://, chdb://"
    with pytest.raises(
        ValidationFailed, match=f"QUANTLAB_CANDLES: https:// is not a candle source; give {known}"
    ):
        open_lake(settings, create=True)
    assert not settings.lake.exists()

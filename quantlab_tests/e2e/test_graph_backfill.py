"""Nine days of alerts: as one range, as single days, as a backfill, as the demo; and killed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from quantlab_assets import open_lake
from quantlab_assets.definitions import build_defs
from quantlab_assets.sample import sample_path
from quantlab_assets.settings import Settings
from quantlab_tests.conftest import ROOT, without_settings
from quantlab_tests.e2e.dagster_daemon import running_daemon

FIRST, LAST = "2025-11-01", "2025-11-09"
DAYS = [f"2025-11-0{n}" for n in range(1, 10)]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def filled(folder: Path) -> Path:
    """A lake with the sample in its inboxes, and nothing run."""
    lake = folder / "lake"
    settings = Settings.from_environment(lake)
    settings.create_folders()
    shutil.copy(sample_path() / "telegram" / "result.json", settings.telegram_inbox)
    assert settings.candle_inbox is not None
    for file in (sample_path() / "candles").glob("*.csv"):
        shutil.copy(file, settings.candle_inbox)
    return lake


def run(lake: Path, assets: list[str], first: str, last: str) -> None:
    """Materialise a range in this process."""
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs(Settings.from_environment(lake)).resolve_implicit_global_asset_job_def()
        job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(name) for name in assets],
            tags={
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last,
            },
            run_config=QUIET,
        )


def by_shell(lake: Path, assets: str) -> list[str]:
    """The command that materialises the nine days."""
    return [
        *(sys.executable, "-m", "dagster", "asset", "materialize"),
        *("-m", "quantlab_assets.definitions"),
        *("--select", assets, "--partition-range", f"{FIRST}...{LAST}"),
    ]


def environment(lake: Path) -> dict[str, str]:
    home = lake.parent / "home"
    home.mkdir(exist_ok=True)
    shutil.copy(ROOT / "dagster.yaml", home)
    return {**without_settings(), "QUANTLAB_LAKE": str(lake), "DAGSTER_HOME": str(home)}


def heads(lake: Path, asset: str = "alerts") -> dict[str, tuple[str, ...]]:
    """The artifact ids of each of the nine days."""
    found = open_lake(lake).store.get_heads(asset, DAYS)
    return {day: tuple(a.artifact_id for a in head) for day, head in found.items() if head}


def state(lake: Path) -> dict[str, tuple[str, str]]:
    """Every artifact by id: its type and key, and whether it is active."""
    return {
        artifact.artifact_id: (f"{artifact.artifact_type} {artifact.logical_key}", artifact.status)
        for artifact in open_lake(lake).store.list_artifacts().artifacts
    }


@pytest.fixture(scope="module")
def ranged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake whose nine days were made as one range, by the shell."""
    lake = filled(tmp_path_factory.mktemp("ranged"))
    run(lake, ["telegram_messages"], FIRST, "2025-11-10")
    done = subprocess.run(
        by_shell(lake, "alerts"),
        cwd=ROOT,
        env=environment(lake),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return lake


def test_a_range_by_the_shell_is_nine_single_days_is_the_demo(
    ranged: Path, tmp_path: Path, demo_lake: Path
):
    singles = filled(tmp_path)
    run(singles, ["telegram_messages"], FIRST, "2025-11-10")
    for day in random.Random(1).sample(DAYS, len(DAYS)):
        run(singles, ["alerts"], day, day)
    assert heads(singles) == heads(ranged)
    assert heads(demo_lake) == heads(ranged)
    assert set(heads(ranged)) >= {"2025-11-02", "2025-11-06", "2025-11-07", "2025-11-09"}


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources`")
def test_a_backfill_by_a_real_daemon_is_the_same(ranged: Path, tmp_path: Path):
    from dagster._core.execution.backfill import PartitionBackfill

    lake = filled(tmp_path)
    run(lake, ["telegram_messages"], FIRST, "2025-11-10")
    with running_daemon(tmp_path, lake, "quantlab_assets.definitions") as daemon:
        with dg.DagsterInstance.from_config(str(daemon.home)) as instance:
            backfill = PartitionBackfill.from_asset_partitions(
                asset_graph=build_defs().resolve_asset_graph(),
                backfill_id="nine_days",
                tags={},
                backfill_timestamp=time.time(),
                asset_selection=[dg.AssetKey("alerts")],
                partition_names=[day for day in DAYS if day != "2025-11-05"],
                dynamic_partitions_store=instance,
                all_partitions=False,
                title=None,
                description=None,
                run_config=None,
            )
            instance.add_backfill(backfill)
        runs = daemon.wait_for_runs(2)
        assert all(each.is_success for each in runs)
        # One run for each range without a hole.
        spans = {each.tags["dagster/asset_partition_range_end"] for each in runs}
        assert spans == {"2025-11-04", "2025-11-09"}
    run(lake, ["alerts"], "2025-11-05", "2025-11-05")
    assert heads(lake) == heads(ranged)


def kill_and_finish(
    lake: Path, undisturbed: dict[str, tuple[str, str]], delays: list[float]
) -> None:
    """Kill the range run after each delay, then let it finish: nothing tells that it was killed."""
    assets = "telegram_messages,alerts,alert_events,alerts_quarantine"
    for delay in delays:
        process = subprocess.Popen(
            by_shell(lake, assets),
            cwd=ROOT,
            env=environment(lake),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    run(lake, assets.split(","), FIRST, LAST)
    assert state(lake) == undisturbed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    lake = filled(tmp_path_factory.mktemp("undisturbed"))
    run(
        lake,
        ["telegram_messages", "alerts", "alert_events", "alerts_quarantine"],
        FIRST,
        LAST,
    )
    return state(lake)


def test_a_range_run_that_is_killed_and_run_again_leaves_the_same_lake(
    tmp_path: Path, undisturbed: dict[str, tuple[str, str]]
):
    # Definitions take about three seconds to load; the run itself comes after.
    kill_and_finish(filled(tmp_path), undisturbed, [5.0])


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(8))
def test_killed_again_and_again_at_random_moments(
    tmp_path: Path, undisturbed: dict[str, tuple[str, str]], seed: int
):
    moments = random.Random(seed)
    kill_and_finish(filled(tmp_path), undisturbed, [moments.uniform(2.5, 9) for _ in range(4)])

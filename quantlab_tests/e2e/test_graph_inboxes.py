"""A real daemon watches the inboxes while files are dropped into them."""

import shutil
from pathlib import Path

from quantlab_assets import open_lake
from quantlab_assets.sample import sample_path
from quantlab_tests.e2e.dagster_daemon import running_daemon

BY_DAY = {
    "alert_forward_coverage",
    "alerts_event_v1",
    "alerts_quarantine",
    "alerts_v1",
    "candles_quarantine",
    "coverage_gaps",
    "ohlcv_slice_v2",
    "telegram_messages",
}


def active(lake: Path) -> dict[str, str]:
    """What a lake holds by day: artifact ids by type and logical key."""
    artifacts = open_lake(lake).store.list_artifacts().artifacts
    return {
        f"{artifact.artifact_type} {artifact.logical_key}": artifact.artifact_id
        for artifact in artifacts
        if artifact.status == "active" and artifact.artifact_type in BY_DAY
    }


def test_files_dropped_into_the_inboxes_become_the_same_lake_as_the_demo(
    tmp_path: Path, demo_lake: Path
):
    lake = open_lake(tmp_path / "lake", create=True)
    telegram, candles = lake.settings.telegram_inbox, lake.settings.candle_inbox
    assert candles is not None
    export = (sample_path() / "telegram" / "result.json").read_bytes()
    files = sorted((sample_path() / "candles").glob("*.csv"))
    late = next(file for file in files if "GeQZP5ZSzz9" in file.name)

    with running_daemon(tmp_path, tmp_path / "lake", "quantlab_tests.e2e.watched_graph") as daemon:
        (telegram / "shopping.json").write_text('{"milk": 2}')
        for file in files:
            if file != late:
                shutil.copy(file, candles)
        daemon.wait_for(lambda: len(lake.file_quarantine.list()) == 1)
        (refused,) = lake.file_quarantine.list()
        assert refused.path == "telegram/shopping.json"

        (telegram / "result.json").write_bytes(export[: len(export) // 2])
        (telegram / "result.json").write_bytes(export)
        first = daemon.wait_for_runs(1)
        assert all(run.is_success for run in first)
        assert {run.job_name for run in first} == {"ingestion"}

        shutil.copy(late, candles)
        runs = daemon.wait_for_runs(len(first) + 1)[len(first) :]
        assert {run.job_name for run in runs} == {"slices_and_coverage"}
        assert active(tmp_path / "lake") == active(demo_lake)

        (telegram / "again.json").write_bytes(export)
        ticks = daemon.ticks("telegram_inbox")
        daemon.wait_for(lambda: daemon.ticks("telegram_inbox") >= ticks + 3)
        assert len(daemon.runs()) == len(first) + len(runs)

"""A real daemon watches the inboxes while files are dropped into them."""

import json
import shutil
from pathlib import Path

import dagster as dg

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


def days_of(export: bytes, first: str) -> bytes:
    """The export without its messages before a day."""
    document = json.loads(export)
    document["messages"] = [each for each in document["messages"] if each["date"] >= first]
    return json.dumps(document).encode()


def test_files_dropped_into_the_inboxes_become_the_same_artifacts_as_in_the_demo(
    tmp_path: Path, demo_lake: Path
):
    lake = open_lake(tmp_path / "lake", create=True)
    telegram, candles = lake.settings.telegram_inbox, lake.settings.candle_inbox
    assert candles is not None
    export = days_of((sample_path() / "telegram" / "result.json").read_bytes(), "2025-11-06")
    files = sorted((sample_path() / "candles").glob("*.csv"))
    late = next(
        file for file in files if "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump" in file.name
    )

    with running_daemon(tmp_path, tmp_path / "lake", "quantlab_tests.e2e.watched_graph") as daemon:
        (telegram / "shopping.json").write_text('{"milk": 2}')
        for file in files:
            if file != late:
                shutil.copy(file, candles)
        (telegram / "result.json").write_bytes(export[: len(export) // 2])
        (telegram / "result.json").write_bytes(export)
        (first,) = daemon.wait_for_runs(1)
        assert first.is_success
        # The export has messages of the 6th, the 7th and the 9th; the day before each runs too.
        assert days(first) == ("ingestion", "2025-11-05", "2025-11-09")
        refused = {each.path for each in lake.ingestion.file_quarantine.list()}
        assert refused == {"telegram/shopping.json", "candles/AFC_0xB83D4c_ethereum.csv"}

        (telegram / "again.json").write_bytes(export)
        shutil.copy(late, candles)
        ticks = daemon.ticks("telegram_inbox")
        (second,) = daemon.wait_for_runs(2)[1:]
        assert second.is_success
        assert days(second) == ("slices_and_coverage", "2025-11-09", "2025-11-09")
        daemon.wait_for(lambda: daemon.ticks("telegram_inbox") >= ticks + 3)
        assert len(daemon.runs()) == 2

    there, demo = active(tmp_path / "lake"), active(demo_lake)
    assert there.items() <= demo.items()
    # And nothing of those days is missing.
    by_day = {key for key in demo if "day=" in key and key.split("day=")[1] >= "2025-11-06"}
    assert by_day <= there.keys()


def days(run: dg.DagsterRun) -> tuple[str, str, str]:
    return (
        run.job_name,
        run.tags["dagster/asset_partition_range_start"],
        run.tags["dagster/asset_partition_range_end"],
    )

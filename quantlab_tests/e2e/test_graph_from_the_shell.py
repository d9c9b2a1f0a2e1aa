"""The graph by Dagster's own command, as a user of a fresh clone runs it: no variable is set."""

import shutil
import subprocess
from pathlib import Path

import pytest

from quantlab_assets import open_lake
from quantlab_assets.sample import sample_path
from quantlab_tests.conftest import ROOT, without_settings

DAILY = (
    "telegram_messages,alerts,alert_events,alerts_quarantine,ohlcv_slices,"
    "alert_forward_coverage,coverage_gaps"
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what Dagster reads of a clone, and the sample in the inboxes of its lake."""
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    inbox = tmp_path / "lake" / "inbox"
    (inbox / "telegram").mkdir(parents=True)
    shutil.copy(sample_path() / "telegram" / "result.json", inbox / "telegram")
    shutil.copytree(sample_path() / "candles", inbox / "candles")
    return tmp_path


def materialize(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["dagster", "asset", "materialize", "-m", "quantlab_assets.definitions", *arguments],
        cwd=clone,
        env=without_settings(),
        capture_output=True,
        text=True,
        timeout=180,
    )


def active(clone: Path) -> dict[str, str]:
    """What the lake holds: artifact ids by type and logical key."""
    artifacts = open_lake(clone / "lake").store.list_artifacts().artifacts
    return {
        f"{artifact.artifact_type} {artifact.logical_key}": artifact.artifact_id
        for artifact in artifacts
        if artifact.status == "active"
    }


def test_a_range_of_days_equals_single_days_and_shows_in_the_instance(
    clone: Path, tmp_path_factory: pytest.TempPathFactory
):
    done = materialize(clone, "--select", DAILY, "--partition-range", "2025-11-06...2025-11-07")
    assert done.returncode == 0, done.stderr
    ranged = active(clone)
    assert {key.split()[0] for key in ranged} == {
        "alert_forward_coverage",
        "alerts_event_v1",
        "alerts_quarantine",
        "alerts_v1",
        "candles_quarantine",
        "coverage_gaps",
        "ohlcv_slice_v2",
        "telegram_messages",
    }
    assert (clone / ".dagster" / "history" / "runs.db").exists()

    other = tmp_path_factory.mktemp("other")
    shutil.copytree(clone / "lake" / "inbox", other / "lake" / "inbox")
    shutil.copy(clone / "dagster.yaml", other)
    # The later day first: alerts of the 6th look at the messages of the 7th.
    for day in ("2025-11-07", "2025-11-06"):
        done = materialize(other, "--select", DAILY, "--partition", day)
        assert done.returncode == 0, done.stderr
    assert active(other) == ranged


def test_a_day_whose_upstream_never_ran_says_what_to_run(clone: Path):
    done = materialize(clone, "--select", "alerts", "--partition", "2025-11-07")
    assert done.returncode == 1
    assert "--select telegram_messages --partition 2025-11-07" in done.stdout + done.stderr

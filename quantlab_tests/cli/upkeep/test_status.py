"""`quantlab init` and `quantlab status`."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from quantlab_tests.conftest import Quantlab


def test_init_makes_a_lake_and_says_what_comes_next(tmp_path: Path, quantlab: Quantlab) -> None:
    done = quantlab("init")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Created the lake {tmp_path / 'lake'}")
    assert f"quantlab status --lake {tmp_path / 'lake'}" in done.stdout
    assert (tmp_path / "lake" / "inbox" / "telegram").is_dir()
    assert (tmp_path / "lake" / "manifest" / "manifest.sqlite").is_file()


def test_init_leaves_a_lake_that_is_there_alone(quantlab: Quantlab) -> None:
    quantlab("init")
    assert quantlab("init").stdout.startswith("Found the lake")


def test_the_lake_can_be_named_before_or_after_the_command(
    tmp_path: Path, quantlab: Quantlab
) -> None:
    quantlab("--lake", "before", "init")
    quantlab("init", "--lake", "after")
    quantlab("init", environment={"QUANTLAB_LAKE": "variable"})
    assert {path.name for path in tmp_path.iterdir()} == {"before", "after", "variable"}


def test_a_file_in_the_way_is_one_line(tmp_path: Path, quantlab: Quantlab) -> None:
    (tmp_path / "lake").write_text("mine")
    done = quantlab("init")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "lake is a file" in done.stderr


def test_status_without_a_lake_says_how_to_make_one(tmp_path: Path, quantlab: Quantlab) -> None:
    done = quantlab("status")
    assert done.returncode == 0
    assert "quantlab init" in done.stdout
    assert not (tmp_path / "lake").exists()


def test_status_counts_what_the_demo_made(
    demo_lake: Path, demo_answer: dict[str, Any], quantlab: Quantlab
) -> None:
    done = quantlab("status", "--lake", str(demo_lake), "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["lake"] == str(demo_lake)
    assert found["newestAlertDay"] == "2025-11-09"
    assert found["experiments"] == {"completed": 1}
    assert found["inboxes"]["telegram"]["files"] == 1
    counted = sum(count["artifacts"] for count in found["artifacts"])
    assert counted == len(demo_answer["artifacts"])
    assert found["disk"]["artifacts"] == sum(
        path.stat().st_size for path in (demo_lake / "artifacts").rglob("*.parquet")
    )


def test_status_for_people_and_as_csv(demo_lake: Path, quantlab: Quantlab) -> None:
    table = quantlab("status", "--lake", str(demo_lake)).stdout
    assert "1 completed" in table
    assert "alerts_v1" in table
    out = quantlab("status", "--lake", str(demo_lake), "--format", "csv").stdout
    facts = {
        (row["section"], row["name"]): row["value"] for row in csv.DictReader(io.StringIO(out))
    }
    assert facts["lake", "newest_alert_day"] == "2025-11-09"
    assert facts["artifacts", "alerts_v1/active"] == "9"

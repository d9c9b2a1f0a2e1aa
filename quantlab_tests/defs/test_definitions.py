"""The graph as a whole: a snapshot of every definition, and that it loads without a warning.

After a change that is meant, write the snapshot again: `python -m
quantlab_tests.defs.test_definitions`.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg

from quantlab_assets.definitions import build_defs
from quantlab_assets.domain.assets import ASSETS
from quantlab_tests.conftest import ROOT, without_settings

SNAPSHOT = Path(__file__).with_name("definitions.json")


def described() -> dict[str, dict[str, Any]]:
    defs = build_defs()
    repository = defs.get_repository_def()
    return {
        "assets": _assets(defs.resolve_asset_graph()),
        "checks": {
            key.to_user_string(): {
                "description": _first_line(check.get_spec_for_check_key(key).description),
                "blocking": check.get_spec_for_check_key(key).blocking,
            }
            for check in defs.asset_checks or ()
            for key in check.check_keys
        },
        "jobs": {
            name: {
                "assets": sorted(
                    key.to_user_string()
                    for key in repository.get_job(name).asset_layer.selected_asset_keys
                ),
                "description": repository.get_job(name).description,
            }
            for name in repository.job_names
            if not name.startswith("__")
        },
        "schedules": {
            schedule.name: {
                "cron": schedule.cron_schedule,
                "zone": schedule.execution_timezone,
                "job": schedule.job_name,
                "status": schedule.default_status.value,
                "description": _first_line(schedule.description),
            }
            for schedule in repository.schedule_defs
        },
        "sensors": {
            sensor.name: {
                "job": sensor.job_name if sensor.targets else None,
                "interval_s": sensor.minimum_interval_seconds,
                "status": sensor.default_status.value,
                "description": _first_line(sensor.description),
            }
            for sensor in repository.sensor_defs
        },
    }


def _assets(graph: Any) -> dict[str, Any]:
    assets = {}
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        assets[key.to_user_string()] = {
            "parents": sorted(parent.to_user_string() for parent in node.parent_keys),
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "code_version": node.code_version,
            "partitions": type(node.partitions_def).__name__ if node.partitions_def else None,
            "one_run_a_range": node.backfill_policy == dg.BackfillPolicy.single_run(),
            "pools": sorted(node.pools or ()),
            "type": node.metadata.get("artifact_type"),
            "materializable": node.is_materializable,
            "description": _first_line(node.description),
        }
    return assets


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]


def test_the_definitions_are_those_of_the_snapshot():
    assert described() == json.loads(SNAPSHOT.read_text())


def test_the_graph_has_the_assets_of_the_table_and_no_others():
    groups = {name: asset["group"] for name, asset in described()["assets"].items()}
    assert groups == {asset.name: asset.group for asset in ASSETS}


def test_every_asset_says_what_it_is_and_whose():
    for name, asset in described()["assets"].items():
        assert asset["description"], name
        assert asset["owners"] == ["team:quantlab"], name
        assert asset["group"] != "default", name
        assert asset["kinds"], name
        assert asset["code_version"] or not asset["materializable"], name


def test_every_check_job_schedule_and_sensor_says_what_it_does():
    for kind in ("checks", "jobs", "schedules", "sensors"):
        for name, each in described()[kind].items():
            assert each["description"], name


def test_nothing_runs_by_itself_and_no_check_stops_a_run():
    found = described()
    assert {s["status"] for s in (*found["schedules"].values(), *found["sensors"].values())} == {
        "STOPPED"
    }
    assert not any(check["blocking"] for check in found["checks"].values())


def test_daily_assets_run_a_range_at_once():
    for name, asset in described()["assets"].items():
        if asset["partitions"] == "DailyPartitionsDefinition":
            assert asset["one_run_a_range"], name


def test_the_instance_gives_each_pool_to_one_step_at_a_time(tmp_path: Path):
    settings = (ROOT / "dagster.yaml").read_text("utf-8")
    (tmp_path / "dagster.yaml").write_text(settings.replace(".dagster", str(tmp_path)))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        pools = instance.get_concurrency_config().pool_config
        assert pools.default_pool_limit == 1
        assert pools.pool_granularity is not None
        assert pools.pool_granularity.value == "op"
    assets = described()["assets"]
    assert assets["ohlcv_slices"]["pools"] == ["candle_source"]
    assert assets["research_projection"]["pools"] == ["duckdb_projection"]


def test_validating_the_definitions_prints_no_warning():
    done = subprocess.run(
        ["dagster", "definitions", "validate", "-m", "quantlab_assets.definitions"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env=without_settings(),
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    # Dagster says of the command itself that another one has superseded it.
    ours = [line for line in output.splitlines() if "SupersessionWarning" not in line]
    assert "warning" not in "\n".join(ours).lower(), output
    assert "All code locations passed validation" in output


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(described(), indent=1, sort_keys=True) + "\n")

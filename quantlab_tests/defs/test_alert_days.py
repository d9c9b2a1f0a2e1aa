"""Days of alerts that share a run: what is wrong with one does not concern the others."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from quantlab_assets.definitions import build_defs
from quantlab_assets.defs.assets import alerts
from quantlab_assets.domain.artifacts.records import LineageInput
from quantlab_assets.domain.errors import IntegrityError, NotFound
from quantlab_tests.defs.watched import Watched, export, say
from quantlab_tests.domain.telegram.alerts.chat_log import MINT, OTHER_MINT

DAYS = ("2025-11-03", "2025-11-04", "2025-11-05", "2025-11-06")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def lake(tmp_path: Path, instance: dg.DagsterInstance) -> Watched:
    """Four days of messages, and no alerts yet."""
    watched = Watched(tmp_path / "lake", instance)
    told = [say(day, number, MINT) for number, day in enumerate(DAYS, 1)]
    (watched.telegram / "chat.json").write_text(export(*told))
    materialise(watched, ["telegram_messages"], DAYS[0], DAYS[-1])
    return watched


def materialise(lake: Watched, assets: list[str], first: str, last: str) -> None:
    defs = build_defs(lake.lake.lake.settings)
    defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=lake.instance,
        asset_selection=[dg.AssetKey(name) for name in assets],
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        },
        run_config=QUIET,
    )


def heads(lake: Watched, asset: str) -> dict[str, list[str]]:
    """The ids of each day that ran."""
    found = lake.lake.lake.store.get_heads(asset, DAYS)
    return {
        day: [artifact.artifact_id for artifact in artifacts]
        for day, artifacts in sorted(found.items())
        if artifacts is not None
    }


def test_a_damaged_day_costs_itself_and_the_day_before_which_looks_at_it(lake: Watched):
    store = lake.lake.lake.store
    (artifact,) = store.get_heads("telegram_messages", [DAYS[3]])[DAYS[3]] or ()
    path = lake.lake.lake.settings.artifacts_root / artifact.path
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(IntegrityError, match=r"2 of 4 .* run again: 2025-11-05, 2025-11-06\."):
        materialise(lake, ["alerts"], DAYS[0], DAYS[-1])
    assert list(heads(lake, "alerts")) == [DAYS[0], DAYS[1]]


def test_what_a_failed_step_did_not_come_to_is_named_to_run_again(lake: Watched):
    every = ["alerts", "alert_events", "alerts_quarantine"]
    with pytest.raises(NotFound) as told:
        materialise(lake, every, DAYS[0], "2025-11-07")
    assert (
        "1 of 5 partitions failed, the others are published; run again: 2025-11-07, and all 5 for "
        "alert_events, alerts_quarantine. The first: telegram_messages has no partition"
    ) in str(told.value)
    assert list(heads(lake, "alerts")) == list(DAYS)


def test_a_day_depends_on_its_messages_and_the_next_days_whatever_it_was_read_with(lake: Watched):
    materialise(lake, ["alerts"], DAYS[0], DAYS[-1])
    messages, alerts = heads(lake, "telegram_messages"), heads(lake, "alerts")
    for day, following in zip(DAYS, (*DAYS[1:], None), strict=True):
        (artifact_id,) = alerts[day]
        edges = lake.lake.lake.store.get_lineage(artifact_id, depth=1).edges
        assert {LineageInput(artifact_id=edge.input_id, role=edge.role) for edge in edges} == {
            LineageInput(artifact_id=of, role="loaded")
            for of in (*messages[day], *messages.get(following or "", []))
        }


def test_a_failed_step_does_not_leave_older_results_in_the_place_of_newer_ones(
    lake: Watched, monkeypatch: pytest.MonkeyPatch
):
    newer: list[dict[str, list[str]]] = []

    def slowly(days: Any, messages: Any, rules: Any) -> Any:
        monkeypatch.undo()
        with dg.DagsterInstance.ephemeral() as another:
            faster = Watched(Path(lake.lake.root), another)
            more = [say(DAYS[0], 1, MINT), say(DAYS[0], 9, OTHER_MINT)]
            (lake.telegram / "more.json").write_text(export(*more))
            materialise(faster, ["telegram_messages", "alerts"], DAYS[0], DAYS[0])
        newer.append(heads(lake, "alerts"))
        return alerts.alerts_of_days(days, messages, rules)

    monkeypatch.setattr(alerts, "alerts_of_days", slowly)
    with pytest.raises(NotFound, match="1 of 5 partitions failed"):
        materialise(lake, ["alerts"], DAYS[0], "2025-11-07")
    assert heads(lake, "alerts")[DAYS[0]] == newer[0][DAYS[0]]

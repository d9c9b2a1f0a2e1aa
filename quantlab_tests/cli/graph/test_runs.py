"""How the shell drives the asset graph, and which Dagster instance it shares with the UI."""

import os
import signal
import time
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlab_assets.cli.graph.instance import CONFIGURATION, instance_home, open_instance
from quantlab_assets.cli.graph.runs import Graph, open_graph, raised_on_purpose
from quantlab_assets.domain.days import contiguous
from quantlab_assets.domain.errors import NotFound, StoreUnavailable, ValidationFailed
from quantlab_assets.settings import Settings

DAY = date(2025, 11, 7)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    settings = Settings.from_environment(tmp_path / "lake", environ={})
    settings.create_folders()
    return settings


@given(st.lists(st.integers(0, 400), max_size=60))
def test_ranges_hold_exactly_the_days_and_have_holes_between_them(offsets: list[int]) -> None:
    days = {DAY + timedelta(days=offset) for offset in offsets}
    ranges = contiguous([DAY + timedelta(days=offset) for offset in offsets])
    held = [
        first + timedelta(days=n) for first, last in ranges for n in range((last - first).days + 1)
    ]
    assert held == sorted(days)
    assert all(later[0] - earlier[1] > timedelta(days=1) for earlier, later in pairwise(ranges))


def test_a_lake_has_an_instance_of_its_own(settings: Settings) -> None:
    assert instance_home(settings, Path.cwd()) == settings.lake / "dagster"
    with open_instance(settings, Path.cwd()) as instance:
        assert instance.is_persistent
        assert not instance.telemetry_enabled
        assert Path(instance.root_directory) == settings.lake / "dagster"


def test_the_configuration_of_the_current_folder_comes_first(settings: Settings) -> None:
    Path(CONFIGURATION).write_text("telemetry: {enabled: false}\n")
    assert instance_home(settings, Path.cwd()) == Path.cwd()
    assert not (settings.lake / "dagster").exists()


def test_a_home_that_was_named_comes_before_everything(settings: Settings, tmp_path: Path) -> None:
    Path(CONFIGURATION).write_text("telemetry: {enabled: false}\n")
    home = tmp_path / "home"
    home.mkdir()
    named = Settings.from_environment(settings.lake, environ={"DAGSTER_HOME": str(home)})
    assert instance_home(named, Path.cwd()) == home


def test_a_home_that_is_not_there_is_said(settings: Settings) -> None:
    named = Settings.from_environment(settings.lake, environ={"DAGSTER_HOME": "/no/where"})
    with pytest.raises(StoreUnavailable, match="DAGSTER_HOME is /no/where"):
        instance_home(named, Path.cwd())


def test_a_run_from_the_shell_stands_in_the_instance(settings: Settings) -> None:
    steps: list[str] = []
    with open_graph(settings) as graph:
        run = graph.materialize(["telegram_messages"], days=(DAY, DAY), on_step=steps.append)
    assert steps[0] == "telegram_messages"
    with open_instance(settings, Path.cwd()) as instance:
        stored = instance.get_run_by_id(run.run_id)
        assert stored is not None
        assert stored.status is dg.DagsterRunStatus.SUCCESS
        assert instance.get_materialized_partitions(dg.AssetKey("telegram_messages")) == {
            DAY.isoformat()
        }


def test_ctrl_c_in_a_step_is_ctrl_c(settings: Settings) -> None:
    @dg.asset
    def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    with open_instance(settings, Path.cwd()) as instance:
        graph = Graph(dg.Definitions(assets=[interrupted]), instance)
        with pytest.raises(KeyboardInterrupt):
            graph.materialize(["interrupted"])
        [run] = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.FAILURE


def test_the_error_of_a_step_comes_through_as_it_was_raised(settings: Settings) -> None:
    with (
        open_graph(settings) as graph,
        pytest.raises(NotFound, match="telegram_messages has no partition '2025-11-07'"),
    ):
        graph.materialize(["alerts"], days=(DAY, DAY))


def test_a_bug_in_a_step_comes_through_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("quantlab_assets.defs.assets.telegram.messages_of_day", broken)
    with open_graph(settings) as graph, pytest.raises(ZeroDivisionError, match="by zero"):
        graph.materialize(["telegram_messages"], days=(DAY, DAY))


def test_causes_that_go_round_in_a_circle_end() -> None:
    inner, outer = ZeroDivisionError("inner"), RuntimeError("outer")
    inner.__context__, outer.__context__ = outer, inner
    assert raised_on_purpose(inner) is None
    meant = ValidationFailed("meant")
    inner.__context__ = meant
    assert raised_on_purpose(outer) is meant

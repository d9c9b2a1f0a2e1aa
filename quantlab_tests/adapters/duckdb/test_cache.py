"""The cache: requests that outlive it, a budget, and names that never lead out of it."""

import os
import shutil
import time
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from quantlab_assets import open_lake
from quantlab_assets.adapters.duckdb import DuckdbProjections, ProjectionLimits
from quantlab_assets.adapters.file_lock import exclusive
from quantlab_assets.adapters.manifest.as_tables import ManifestRecords
from quantlab_assets.adapters.manifest.projection_requests import ManifestRequests
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.errors import NotFound, ValidationFailed
from quantlab_assets.handlers.projections import build_research
from quantlab_assets.ports.projection_builder import (
    ArtifactSelector,
    ProjectionRequest,
    ProjectionTable,
)
from quantlab_assets.settings import Settings
from quantlab_tests.handlers.experiments.lab import (
    DUD,
    RUNNER,
    Lab,
    line,
    publish_candles,
    real_lab,
)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = real_lab(tmp_path)
    publish_candles(made.store, RUNNER, line(1, 3))
    return made


def of_slices(name: str | None, *ids: str) -> ProjectionRequest:
    selector = None if ids else ArtifactSelector()
    return ProjectionRequest(
        (ProjectionTable("t", OHLCV_SLICE.name, ids, selector=selector),), name
    )


def with_budget(lab: Lab, root: Path, budget: str) -> DuckdbProjections:
    return DuckdbProjections(
        root / "cache",
        lab.store,
        lab.store,
        TypeRegistry(),
        ProjectionLimits(cache=budget),
        records=ManifestRecords(lab.store.database),
        requests=ManifestRequests(lab.store.database),
    )


def names(projections: DuckdbProjections) -> list[str]:
    return [one.projection_id for one in projections.list()]


def last_used(projections: DuckdbProjections) -> dict[str, datetime]:
    found = {one.projection_id: one.last_used_at for one in projections.list()}
    return {name: at for name, at in found.items() if at is not None}


def test_every_projection_comes_back_from_the_manifest_alone(lab: Lab, tmp_path: Path) -> None:
    (artifact,) = lab.store.list_artifacts().artifacts
    by_content = lab.projections.build(of_slices(None)).projection_id
    by_ids = lab.projections.build(of_slices("ids", artifact.artifact_id)).projection_id
    by_selector = lab.projections.build(of_slices("selector")).projection_id
    build_research(lab.projections)
    publish_candles(lab.store, DUD, line(1, 3))
    shutil.rmtree(tmp_path / "cache")

    again = real_lab(tmp_path).projections
    assert again.rebuild(by_content).rows == {"t": 60}
    assert again.rebuild(by_ids).rows == {"t": 60}
    assert again.rebuild(by_selector).rows == {"t": 120}
    assert again.rebuild("research").rows["ohlcv_slices"] == 120


def test_a_budget_that_is_no_size_is_named_by_its_variable(tmp_path: Path) -> None:
    variables = {"PROJECTION_CACHE_BUDGET": "plenty"}
    settings = Settings.from_environment(tmp_path / "lake", variables)
    with pytest.raises(ValidationFailed, match="PROJECTION_CACHE_BUDGET: 'plenty' is no size"):
        _ = open_lake(settings, create=True).projections


def test_what_was_disposed_of_is_forgotten(lab: Lab) -> None:
    lab.projections.build(of_slices("mine"))
    lab.projections.dispose("mine")
    with pytest.raises(NotFound, match="no stored request"):
        lab.projections.rebuild("mine")


def test_the_least_recently_used_goes_when_the_budget_is_spent(lab: Lab, tmp_path: Path) -> None:
    size = lab.projections.build(of_slices("a")).size
    projections = with_budget(lab, tmp_path, f"{int(2.5 * size)}B")
    projections.build(of_slices("b"))
    before = last_used(projections)
    time.sleep(0.01)
    with projections.connect("a"):
        pass
    after = last_used(projections)
    assert before["a"] < before["b"] == after["b"] < after["a"]

    projections.build(of_slices("c"))
    assert names(projections) == ["a", "c"]
    assert projections.rebuild("b").rows == {"t": 60}
    assert names(projections) == ["b", "c"]


def test_what_is_open_or_being_built_stays(lab: Lab, tmp_path: Path) -> None:
    for name in ("a", "b"):
        lab.projections.build(of_slices(name))
    projections = with_budget(lab, tmp_path, "1B")
    building = tmp_path / "cache" / ".building" / "b.lock"
    with projections.connect("a") as connection, exclusive(building):
        assert projections.build(of_slices("c")).rows == {"t": 60}
        assert names(projections) == ["a", "b", "c"]
        assert connection.execute("SELECT count(*) FROM t").fetchall() == [(60,)]
    projections.build(of_slices("d"))
    assert names(projections) == ["d"]


def test_reading_changes_no_byte_of_the_file(lab: Lab) -> None:
    built = lab.projections.build(of_slices("mine"))
    before = (built.path.read_bytes(), built.path.stat().st_mtime_ns)
    with lab.projections.connect("mine") as connection:
        connection.execute("SELECT count(*) FROM t").fetchall()
    assert (built.path.read_bytes(), built.path.stat().st_mtime_ns) == before


def test_a_link_in_the_cache_leads_nowhere(lab: Lab, tmp_path: Path) -> None:
    """Neither reading nor building follows it."""
    outside = tmp_path / "outside.duckdb"
    with duckdb.connect(str(outside)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 42 AS secret")
    before = outside.read_bytes()
    built = lab.projections.build(of_slices("mine"))
    built.path.unlink()
    built.path.symlink_to(outside)

    assert not lab.projections.exists("mine")
    with pytest.raises(NotFound, match="mine is not built"), lab.projections.connect("mine"):
        pass
    lab.projections.build(of_slices("mine"))
    with lab.projections.connect("mine") as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchall() == [(60,)]
    assert outside.read_bytes() == before
    assert not built.path.is_symlink()


@pytest.mark.parametrize(
    "name", ["system", "temp", "memory", "main", "pg_catalog", "stored", "experiments"]
)
def test_names_that_mean_something_else_are_refused(name: str, lab: Lab) -> None:
    with pytest.raises(ValidationFailed, match="name is taken"):
        lab.projections.build(of_slices(name))


def test_what_killed_readers_left_goes_with_a_later_build(lab: Lab, tmp_path: Path) -> None:
    lab.projections.build(of_slices("mine"))
    links = tmp_path / "cache" / ".reading"
    (links / "tmpabc").mkdir(parents=True, exist_ok=True)
    (links / "mine.open").touch()
    for left in links.iterdir():
        os.utime(left, (0, 0))
    lab.projections.build(of_slices("other"))
    assert list(links.iterdir()) == []


@pytest.mark.parametrize("rows", [0, 1])
def test_a_request_that_another_version_stored_is_refused(
    rows: int, lab: Lab, tmp_path: Path
) -> None:
    requests = ManifestRequests(lab.store.database)
    requests.remember("old", '{"format": 0}' if rows else "no json")
    with pytest.raises(ValidationFailed, match="another version"):
        lab.projections.rebuild("old")

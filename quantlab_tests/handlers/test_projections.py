"""The standing projection of the research."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from quantlab_assets.domain.errors import NotFound, ValidationFailed
from quantlab_assets.handlers.projections import (
    build_research,
    research_request,
    research_tables,
)
from quantlab_assets.ports.projection_builder import (
    ArtifactSelector,
    ProjectionRequest,
    ProjectionTable,
)
from quantlab_tests.handlers.experiments.lab import (
    DUD,
    RUNNER,
    T0,
    Call,
    Lab,
    line,
    publish_alerts,
    publish_candles,
    real_lab,
)


@pytest.fixture
def lab(each_lab: Lab) -> Lab:
    return each_lab


def test_the_research_projection_holds_all_that_is_active(lab: Lab) -> None:
    publish_alerts(lab.store, Call(RUNNER, T0))
    publish_candles(lab.store, RUNNER, line(1, 3))
    projection = build_research(lab.projections)
    assert projection.projection_id == "research"
    assert set(projection.rows) == {table.name for table in research_tables()}
    assert projection.rows["alerts"] == 1
    assert projection.rows["ohlcv_slices"] == 60
    assert projection.rows["experiment_trades"] == 0
    with lab.projections.connect("research") as connection:
        joined = connection.execute(
            "SELECT count(*) FROM alerts JOIN ohlcv_slices ON token_address = mint"
            " AND ts >= known_ts_utc"
        ).fetchall()
        columns = connection.execute("DESCRIBE experiment_trades").fetchall()
    assert joined == [(60,)]
    assert columns[0][:2] == ("experiment_id", "VARCHAR")


def test_the_research_projection_follows_the_lake(lab: Lab) -> None:
    publish_candles(lab.store, RUNNER, line(1, 3))
    first = build_research(lab.projections)
    again = build_research(lab.projections)
    assert (again.built_at, again.rows) == (first.built_at, first.rows)
    publish_candles(lab.store, DUD, line(1, 3))
    assert build_research(lab.projections).rows["ohlcv_slices"] == 120


def chosen(lab: Lab, selector: ArtifactSelector, kind: str = "ohlcv_slice_v2") -> set[str]:
    table = ProjectionTable("t", kind, selector=selector)
    return set(lab.projections.build(ProjectionRequest((table,))).request.tables[0].artifact_ids)


def test_a_selector_takes_what_is_active_unless_told_otherwise(lab: Lab) -> None:
    old = publish_candles(lab.store, RUNNER, line(1, 3))
    new = publish_candles(lab.store, RUNNER, line(1, 4))
    assert chosen(lab, ArtifactSelector()) == {new}
    assert chosen(lab, ArtifactSelector(status="superseded")) == {old}
    assert chosen(lab, ArtifactSelector(status=None)) == {old, new}


def test_a_selector_takes_by_key(lab: Lab) -> None:
    runner = publish_candles(lab.store, RUNNER, line(1, 3))
    publish_candles(lab.store, DUD, line(1, 3))
    assert chosen(lab, ArtifactSelector(key_prefix=f"token={RUNNER}/")) == {runner}
    assert chosen(lab, ArtifactSelector(tags=(("no", "such"),))) == set()


def test_a_selector_takes_days_by_key_or_by_rows(lab: Lab) -> None:
    day = T0.date()
    alerts = publish_alerts(lab.store, Call(RUNNER, T0))
    candles = publish_candles(lab.store, RUNNER, line(1, 3))
    on_the_day = ArtifactSelector(first_day=day, last_day=day)
    assert chosen(lab, on_the_day, "alerts_v1") == {alerts}
    assert chosen(lab, on_the_day) == {candles}
    before = ArtifactSelector(last_day=date(day.year, day.month, day.day - 1))
    after = ArtifactSelector(first_day=date(day.year, day.month, day.day + 1))
    for other in (before, after):
        assert chosen(lab, other, "alerts_v1") == chosen(lab, other) == set()


def test_wrong_requests_are_refused(lab: Lab) -> None:
    alerts = publish_alerts(lab.store, Call(RUNNER, T0))

    def build(*tables: ProjectionTable) -> None:
        lab.projections.build(ProjectionRequest(tables))

    with pytest.raises(ValidationFailed, match="needs a table"):
        build()
    with pytest.raises(ValidationFailed, match=alerts):
        build(ProjectionTable("c", "ohlcv_slice_v2", (alerts,)))
    with pytest.raises(ValidationFailed, match="not both"):
        build(ProjectionTable("c", "alerts_v1", (alerts,), selector=ArtifactSelector()))
    days = ArtifactSelector(first_day=T0.date())
    with pytest.raises(ValidationFailed, match="no day"):
        build(ProjectionTable("c", "experiment_metrics", selector=days))
    with pytest.raises(NotFound, match="0" * 32):
        build(ProjectionTable("c", "ohlcv_slice_v2", ("0" * 32,)))


def test_a_named_projection_chooses_anew_when_it_is_rebuilt(lab: Lab) -> None:
    publish_candles(lab.store, RUNNER, line(1, 3))
    by_selector = ProjectionTable("t", "ohlcv_slice_v2", selector=ArtifactSelector())
    named = ProjectionRequest((by_selector,), "mine")
    lab.projections.build(named)
    by_content = lab.projections.build(replace(named, projection_id=None)).projection_id
    publish_candles(lab.store, DUD, line(1, 3))
    assert lab.projections.rebuild("mine").rows == {"t": 120}
    assert lab.projections.rebuild(by_content).rows == {"t": 60}


def test_a_research_layout_needs_its_tables(tmp_path: Path) -> None:
    lab = real_lab(tmp_path)
    without = replace(research_request(), tables=research_tables()[1:])
    with pytest.raises(ValidationFailed, match="needs a table alerts"):
        lab.projections.build(without)
    taken = ProjectionTable("lineage", "alerts_v1")
    with pytest.raises(ValidationFailed, match="one of that name"):
        lab.projections.build(replace(research_request(), tables=(*research_tables(), taken)))

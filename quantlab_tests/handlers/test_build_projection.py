"""Choosing what a projection holds."""

from pathlib import Path

import pytest

from quantlab_assets.domain.errors import NotFound, ValidationFailed
from quantlab_assets.handlers.build_projection import (
    RESEARCH_TABLES,
    TableSelection,
    build_projection,
    projection_request,
    research_request,
)
from quantlab_tests.handlers.experiment_lab import (
    DUD,
    RUNNER,
    T0,
    Call,
    Lab,
    line,
    memory_lab,
    publish_alerts,
    publish_candles,
    real_lab,
)


@pytest.fixture
def lab() -> Lab:
    return memory_lab()


def test_a_selection_takes_what_is_active_unless_told_otherwise(lab: Lab) -> None:
    old = publish_candles(lab.store, RUNNER, line(1, 3))
    new = publish_candles(lab.store, RUNNER, line(1, 4))
    (active,) = projection_request(lab.store, [TableSelection("c", "ohlcv_slice_v2")]).tables
    assert active.artifact_ids == (new,)
    every = TableSelection("c", "ohlcv_slice_v2", status=None)
    assert set(projection_request(lab.store, [every]).tables[0].artifact_ids) == {old, new}


def test_a_selection_by_key_or_by_id(lab: Lab) -> None:
    runner = publish_candles(lab.store, RUNNER, line(1, 3))
    dud = publish_candles(lab.store, DUD, line(1, 3))
    by_key = TableSelection("c", "ohlcv_slice_v2", key_prefix=f"token={RUNNER}/")
    by_id = TableSelection("d", "ohlcv_slice_v2", artifact_ids=(dud,))
    request = projection_request(lab.store, [by_key, by_id], projection_id="mine")
    assert [table.artifact_ids for table in request.tables] == [(runner,), (dud,)]
    assert request.projection_id == "mine"


def test_wrong_selections_are_refused(lab: Lab) -> None:
    alerts = publish_alerts(lab.store, Call(RUNNER, T0))
    with pytest.raises(ValidationFailed):
        projection_request(lab.store, [])
    with pytest.raises(ValidationFailed, match=alerts):
        projection_request(lab.store, [TableSelection("c", "ohlcv_slice_v2", (alerts,))])
    with pytest.raises(NotFound):
        projection_request(lab.store, [TableSelection("c", "ohlcv_slice_v2", ("0" * 32,))])


@pytest.mark.parametrize("where", ["in memory", "files"])
def test_the_research_projection_holds_all_that_is_active(where: str, tmp_path: Path) -> None:
    lab = memory_lab() if where == "in memory" else real_lab(tmp_path)
    publish_alerts(lab.store, Call(RUNNER, T0))
    publish_candles(lab.store, RUNNER, line(1, 3))
    projection = lab.projections.build(research_request(lab.store))
    assert projection.projection_id == "research"
    assert set(projection.rows) == {selection.name for selection in RESEARCH_TABLES}
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
    first = lab.projections.build(research_request(lab.store))
    assert lab.projections.build(research_request(lab.store)) == first
    publish_candles(lab.store, DUD, line(1, 3))
    assert lab.projections.build(research_request(lab.store)).rows["ohlcv_slices"] == 120


def test_selections_are_built_in_one_step(lab: Lab) -> None:
    publish_candles(lab.store, RUNNER, line(1, 3))
    selection = TableSelection("candles", "ohlcv_slice_v2", indexes=(("token_address",),))
    projection = build_projection(lab.store, lab.projections, [selection])
    assert projection.rows == {"candles": 60}
    assert not projection.stale

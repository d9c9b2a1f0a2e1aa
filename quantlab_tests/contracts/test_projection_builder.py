"""What every `ProjectionBuilder` does, in memory or in files."""

import contextlib
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from quantlab_assets.domain.artifacts.records import PublishRequest
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.seed_types import (
    COVERAGE_SUMMARY,
    EXPERIMENT_METRICS,
    OHLCV_SLICE,
)
from quantlab_assets.domain.errors import NotFound, ValidationFailed
from quantlab_assets.ports.projection_builder import ProjectionRequest, ProjectionTable
from quantlab_tests.contracts.versioned_type import MARKS_3, marks_1, marks_2, marks_3
from quantlab_tests.handlers.experiments.lab import (
    DUD,
    PROVENANCE,
    RUNNER,
    T0,
    Lab,
    line,
    memory_lab,
    publish_candles,
    real_lab,
)


@pytest.fixture
def lab(each_lab: Lab) -> Lab:
    return each_lab


def candles(lab: Lab) -> tuple[str, ...]:
    return (
        publish_candles(lab.store, RUNNER, line(1, 3)),
        publish_candles(lab.store, DUD, line(1, 0.1)),
    )


def of_slices(ids: tuple[str, ...], name: str = "ohlcv", **rest: Any) -> ProjectionTable:
    return ProjectionTable(name, OHLCV_SLICE.name, ids, **rest)


def build(lab: Lab, *tables: ProjectionTable, name: str | None = None) -> str:
    return lab.projections.build(ProjectionRequest(tables, name)).projection_id


def read(lab: Lab, projection_id: str, table: str = "ohlcv") -> pa.Table:
    with lab.projections.connect(projection_id) as connection:
        found: pa.Table = connection.sql(f"SELECT * FROM {table}").to_arrow_table()
        return found


def test_a_table_holds_the_rows_of_its_artifacts_in_their_types_order(lab: Lab) -> None:
    ids = candles(lab)
    found = read(lab, build(lab, of_slices(ids)))
    assert found.schema.names == OHLCV_SLICE.schema.names
    assert [f.type for f in found.schema] == [f.type for f in OHLCV_SLICE.schema]
    assert found.num_rows == 120
    places = list(zip(found["token_address"].to_pylist(), found["ts"].to_pylist(), strict=True))
    assert places == sorted(places)


def test_no_artifacts_make_an_empty_table_of_the_right_columns(lab: Lab) -> None:
    table = ProjectionTable("summary", COVERAGE_SUMMARY.name, ())
    found = read(lab, build(lab, table), "summary")
    assert found.num_rows == 0
    assert [(f.name, f.type) for f in found.schema] == [
        (f.name, f.type) for f in COVERAGE_SUMMARY.schema
    ]


def test_the_name_follows_from_what_is_asked_for_not_from_its_order(lab: Lab) -> None:
    a, b = candles(lab)
    first = build(lab, of_slices((a, b)), of_slices((), "none"))
    assert build(lab, of_slices((), "none"), of_slices((b, a, b))) == first
    others = {
        build(lab, of_slices((a,)), of_slices((), "none")),
        build(lab, of_slices((a, b), "other"), of_slices((), "none")),
        build(lab, of_slices((a, b), indexes=(("ts",),)), of_slices((), "none")),
    }
    assert len(others) == 3
    assert first not in others


def test_building_again_returns_what_is_there(lab: Lab) -> None:
    request = ProjectionRequest((of_slices(candles(lab)),))
    first = lab.projections.build(request)
    again = lab.projections.build(request)
    assert again == first
    assert first.rows == {"ohlcv": 120}


def test_a_named_projection_follows_the_latest_request(lab: Lab) -> None:
    a, b = candles(lab)
    assert build(lab, of_slices((a,)), name="mine") == "mine"
    build(lab, of_slices((b,)), name="mine")
    assert set(read(lab, "mine")["token_address"].to_pylist()) == {DUD}


def test_rebuild_gives_the_same_rows(lab: Lab) -> None:
    projection_id = build(lab, of_slices(candles(lab), indexes=(("token_address", "ts"),)))
    before = read(lab, projection_id)
    assert lab.projections.rebuild(projection_id).rows == {"ohlcv": 120}
    assert read(lab, projection_id).equals(before)


def test_what_was_never_built_is_not_found(lab: Lab) -> None:
    assert not lab.projections.exists("nothing")
    with pytest.raises(NotFound, match="nothing has no stored request"):
        lab.projections.rebuild("nothing")
    with pytest.raises(NotFound, match="nothing is not built"), lab.projections.connect("nothing"):
        pass


def test_a_disposed_projection_is_gone_and_may_be_disposed_again(lab: Lab) -> None:
    projection_id = build(lab, of_slices(candles(lab)))
    assert lab.projections.exists(projection_id)
    lab.projections.dispose(projection_id)
    lab.projections.dispose(projection_id)
    assert not lab.projections.exists(projection_id)
    assert list(lab.projections.list()) == []
    with (
        pytest.raises(NotFound, match=f"{projection_id} is not built"),
        lab.projections.connect(projection_id),
    ):
        pass


def test_projections_are_listed_by_id(lab: Lab) -> None:
    ids = candles(lab)
    build(lab, of_slices(ids), name="b")
    build(lab, of_slices(ids), name="a")
    assert [p.projection_id for p in lab.projections.list()] == ["a", "b"]


def test_it_is_stale_once_an_input_is_superseded(lab: Lab) -> None:
    projection_id = build(lab, of_slices(candles(lab)))
    assert not lab.projections.list()[0].stale
    publish_candles(lab.store, RUNNER, line(1, 4))
    (found,) = lab.projections.list()
    assert (found.projection_id, found.stale) == (projection_id, True)


def test_what_a_connection_writes_reaches_nobody(lab: Lab) -> None:
    projection_id = build(lab, of_slices(candles(lab)))
    with lab.projections.connect(projection_id) as connection, contextlib.suppress(Exception):
        connection.execute("DELETE FROM ohlcv").fetchall()
    assert read(lab, projection_id).num_rows == 120


def test_only_reading_is_allowed(lab: Lab) -> None:
    projection_id = build(lab, of_slices(candles(lab)))
    with pytest.raises(ValidationFailed, match="projections are only read"):
        lab.projections.connect(projection_id, read_only=False)


def test_fields_of_the_key_become_columns(lab: Lab) -> None:
    experiments = ["exp-00000000000000aa", "exp-00000000000000bb"]
    ids = []
    for number, experiment in enumerate(experiments):
        table = pa.table(
            {
                "scope": ["all"],
                "scope_value": ["all"],
                "metric_name": ["win_rate"],
                "metric_value": [float(number)],
            },
            schema=EXPERIMENT_METRICS.schema,
        )
        request = PublishRequest(
            EXPERIMENT_METRICS.name, f"experiment={experiment}/metrics", table, PROVENANCE
        )
        ids.append(lab.store.publish_artifact(request).artifact_id)
    table_of_both = ProjectionTable(
        "m", EXPERIMENT_METRICS.name, tuple(ids), key_columns=(("experiment_id", "experiment"),)
    )
    found = read(lab, build(lab, table_of_both), "m")
    assert found.select(["experiment_id", "metric_value"]).to_pylist() == [
        {"experiment_id": experiments[0], "metric_value": 0.0},
        {"experiment_id": experiments[1], "metric_value": 1.0},
    ]


def test_bad_names_are_refused(lab: Lab) -> None:
    ids = candles(lab)
    no_name = "use 1 to 63 lower-case letters"
    for bad in ("A", "a b", 'a"', "a;b", "", "../a", "1a"):
        with pytest.raises(ValidationFailed, match=no_name):
            build(lab, of_slices(ids, bad))
        with pytest.raises(ValidationFailed, match=no_name):
            build(lab, of_slices(ids), name=bad)
        with pytest.raises(
            ValidationFailed, match=f"cannot index {re.escape(repr(bad))}|{no_name}"
        ):
            build(lab, of_slices(ids, indexes=((bad,),)))
        with pytest.raises(ValidationFailed, match=no_name):
            build(lab, of_slices(ids, key_columns=((bad, "token"),)))
        with pytest.raises(ValidationFailed, match=r"no (such )?field"):
            build(lab, of_slices(ids, key_columns=(("a", bad),)))
        with pytest.raises(ValidationFailed, match=no_name):
            lab.projections.connect(bad)


def test_a_table_named_twice_is_refused(lab: Lab) -> None:
    with pytest.raises(ValidationFailed, match="asked for twice"):
        build(lab, of_slices(()), of_slices(()))


def test_artifacts_must_exist_and_be_of_the_tables_type(lab: Lab) -> None:
    with pytest.raises(NotFound, match="0" * 32):
        build(lab, of_slices(("0" * 32,)))
    with pytest.raises(NotFound, match="no_such_type"):
        build(lab, ProjectionTable("t", "no_such_type", ()))
    with pytest.raises(ValidationFailed, match="is of type ohlcv_slice_v2, not coverage_summary"):
        build(lab, ProjectionTable("t", COVERAGE_SUMMARY.name, candles(lab)))


def test_times_are_what_was_published(lab: Lab) -> None:
    found = read(lab, build(lab, of_slices((publish_candles(lab.store, RUNNER, [1.0]),))))
    assert found["ts"].to_pylist() == [T0]


def test_tables_hold_rows_of_every_version_as_the_newest(
    request: pytest.FixtureRequest, tmp_path: Path, lab: Lab
) -> None:
    types = TypeRegistry([MARKS_3])
    in_memory = request.node.callspec.params["each_lab"] == "in memory"
    lab = memory_lab(types) if in_memory else real_lab(tmp_path / "marks", types)
    rows = [(0, "Zoe", 4), (1, "Ann", None)]
    first, second, third = (
        lab.store.publish_artifact(PublishRequest("marks", key, table, PROVENANCE, version))
        for key, table, version in (
            ("book=atlas/day=2025-05-01", marks_1(rows), 1),
            ("book=bible/day=2025-05-02", marks_2(rows, "hi"), 2),
            ("day=2025-05-03/shelf=c", marks_3(rows, "new"), 3),
        )
    )
    ids = tuple(one.artifact_id for one in (third, second, first))
    keys = (("day", "day"), ("shelf", "shelf"))

    found = read(lab, build(lab, ProjectionTable("marks", "marks", ids, key_columns=keys)), "marks")

    assert found.schema.names == ["day", "shelf", *MARKS_3.schema.names]
    assert found["day"].to_pylist() == [f"2025-05-0{day}" for day in (1, 1, 2, 2, 3, 3)]
    assert found["shelf"].to_pylist() == ["a", "a", "b", "b", "c", "c"]
    assert found["author"].to_pylist() == ["Ann", "Zoe"] * 3
    assert found["weight"].to_pylist() == [0.0, 2.0] * 3
    assert found["note"].to_pylist() == [None, None, "hi", "hi", "new", "new"]

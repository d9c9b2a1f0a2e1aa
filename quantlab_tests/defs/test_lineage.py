"""Lineage comes from the graph: what an output partition was handed is what its rows say."""

import dagster as dg
import pytest

from quantlab_assets.domain.artifacts import LineageInput
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_tests.defs.toy_graph import Toy

RANGE = ("2025-11-01", "2025-11-05")
TEXTS = {f"2025-11-0{n}": f"text {n}" for n in range(1, 6)}


def loaded(*ids: str) -> set[LineageInput]:
    return {LineageInput(artifact_id=i, role="loaded") for i in ids}


def test_a_range_run_gives_each_partition_exactly_its_own_inputs(toy: Toy, instance):
    toy.texts = dict(TEXTS)
    toy.run(instance, ["raw"], ("2025-10-31", "2025-11-05"))
    toy.run(instance, ["derived"], RANGE)
    for day, before in zip(sorted(TEXTS)[1:], sorted(TEXTS), strict=False):
        assert toy.edges("derived", day) == loaded(*toy.head("raw", day), *toy.head("raw", before))
    assert toy.edges("derived", "2025-11-01") == loaded(*toy.head("raw", "2025-11-01"))


def test_upstream_and_downstream_in_one_run(toy: Toy, instance):
    toy.texts = dict(TEXTS)
    toy.run(instance, ["raw", "derived"], RANGE)
    assert toy.edges("derived", "2025-11-03") == loaded(
        *toy.head("raw", "2025-11-03"), *toy.head("raw", "2025-11-02")
    )


def test_a_range_makes_the_same_artifacts_as_single_runs(toy: Toy, instance, tmp_path):
    single = Toy(tmp_path / "single", dict(TEXTS))
    toy.texts = dict(TEXTS)
    toy.run(instance, ["raw", "derived"], RANGE)
    for day in TEXTS:
        single.run(instance, ["raw"], (day, day))
    for day in TEXTS:
        single.run(instance, ["derived"], (day, day))
    for asset in ("raw", "derived"):
        assert [toy.head(asset, day) for day in TEXTS] == [single.head(asset, day) for day in TEXTS]


def test_a_year_of_days_fans_into_one_output(toy: Toy, instance):
    toy.texts = {day: f"t {day}" for day in ("2025-03-01", "2025-07-01", "2025-12-31")}
    toy.run(instance, ["raw"], ("2025-01-01", "2025-12-31"))
    toy.run(instance, ["total"])
    assert toy.edges("total") == loaded(*(i for day in toy.texts for i in toy.head("raw", day)))


def test_an_upstream_made_again_unchanged_changes_nothing_downstream(toy: Toy, instance):
    toy.texts = dict(TEXTS)
    toy.run(instance, ["raw", "derived"], RANGE)
    before = [toy.head(asset, day) for asset in ("raw", "derived") for day in TEXTS]
    toy.run(instance, ["raw", "derived"], RANGE)
    assert [toy.head(asset, day) for asset in ("raw", "derived") for day in TEXTS] == before


def test_a_changed_upstream_makes_a_new_artifact_and_the_old_one_keeps_its_lineage(toy, instance):
    toy.texts = dict(TEXTS)
    toy.run(instance, ["raw", "derived"], RANGE)
    (old_raw,) = toy.head("raw", "2025-11-03")
    (old,) = toy.head("derived", "2025-11-03")
    toy.texts["2025-11-03"] = "corrected"
    toy.run(instance, ["raw", "derived"], RANGE)
    (new,) = toy.head("derived", "2025-11-03")
    assert new != old
    assert toy.store.get_artifact(old).status == "superseded"
    assert old_raw in {e.input_id for e in toy.store.get_lineage(old, depth=1).edges}
    assert old_raw not in {e.input_id for e in toy.store.get_lineage(new, depth=1).edges}


def test_a_dependency_that_is_never_read_is_declared(toy: Toy, instance):
    toy.texts = dict(TEXTS)
    toy.run(instance, ["raw", "unread"], RANGE)
    (raw,) = toy.head("raw", "2025-11-02")
    assert toy.edges("unread", "2025-11-02") == {LineageInput(artifact_id=raw, role="declared")}


def test_reading_what_was_not_declared_fails_the_step(toy: Toy, instance):
    with pytest.raises(ValidationFailed, match="naughty reads raw but does not declare it"):
        toy.run(instance, ["naughty"], RANGE)


def test_a_day_that_now_produces_nothing_supersedes_what_it_made(toy: Toy, instance):
    toy.texts = dict(TEXTS)
    toy.run(instance, ["raw"], RANGE)
    (old,) = toy.head("raw", "2025-11-02")
    del toy.texts["2025-11-02"]
    toy.run(instance, ["raw"], RANGE)
    assert toy.head("raw", "2025-11-02") == ()
    assert toy.head("raw", "2025-12-24") is None
    assert toy.store.get_artifact(old).status == "superseded"


def test_a_run_that_dies_midway_keeps_the_days_it_finished(toy: Toy, instance):
    toy.texts = dict(TEXTS)
    toy.fail_on = "2025-11-04"
    result = toy.run(instance, ["raw"], RANGE, raise_on_error=False)
    assert not result.success
    assert toy.head("raw", "2025-11-03") is not None
    assert toy.head("raw", "2025-11-04") is None
    toy.fail_on = None
    toy.run(instance, ["raw"], RANGE)
    assert all(toy.head("raw", day) for day in TEXTS)


def test_each_partition_shows_its_own_artifacts_in_the_event_log(toy: Toy, instance):
    toy.texts = dict(TEXTS)
    result = toy.run(instance, ["raw"], RANGE)
    shown = {
        event.partition: event.step_materialization_data.materialization.metadata[
            "artifact_ids"
        ].value
        for event in result.get_asset_materialization_events()
    }
    assert shown == {day: list(toy.head("raw", day)) for day in TEXTS}


def test_dagster_is_told_the_content_as_data_version(toy: Toy, instance):
    toy.texts = dict(TEXTS)
    result = toy.run(instance, ["raw"], ("2025-11-02", "2025-11-02"))
    (event,) = result.get_asset_materialization_events()
    (artifact,) = toy.store.get_heads("raw", ["2025-11-02"])["2025-11-02"]
    assert (
        event.step_materialization_data.materialization.tags["dagster/data_version"]
        == artifact.content_hash
    )


def test_an_input_damaged_on_disk_is_refused_before_it_is_decoded(toy: Toy, instance):
    from quantlab_assets.domain.errors import IntegrityError

    toy.texts = dict(TEXTS)
    toy.run(instance, ["raw"], RANGE)
    (artifact,) = toy.store.get_heads("raw", ["2025-11-02"])["2025-11-02"]
    path = toy.root / "artifacts" / artifact.path
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(IntegrityError):
        toy.run(instance, ["derived"], ("2025-11-02", "2025-11-02"))
    assert toy.head("derived", "2025-11-02") is None


def test_a_partition_left_out_or_made_twice_fails_the_step(toy: Toy, instance):
    from quantlab_assets.domain.artifacts import PartitionOutput
    from quantlab_tests.defs.toy_graph import (
        ALERTS_QUARANTINE,
        PARTITIONED,
        ArtifactIOManager,
        LakeResource,
        artifact_metadata,
    )

    def graph(*days: str) -> dg.ExecuteInProcessResult:
        @dg.asset(metadata=artifact_metadata(ALERTS_QUARANTINE), **PARTITIONED)
        def raw():
            return dg.MaterializeResult(value=[(day, PartitionOutput(())) for day in days])

        lake = LakeResource(root=str(toy.root))
        return dg.materialize(
            [raw],
            partition_key="2025-11-01",
            instance=instance,
            resources={"lake": lake, "io_manager": ArtifactIOManager(lake=lake)},
        )

    with pytest.raises(ValidationFailed, match="did not produce"):
        graph()
    with pytest.raises(ValidationFailed, match="twice"):
        graph("2025-11-01", "2025-11-01")

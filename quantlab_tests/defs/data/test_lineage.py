"""Lineage comes from the graph: what an output partition was handed is what its rows say."""

import subprocess
import sys
from dataclasses import replace

import dagster as dg
import pytest

from quantlab_assets.defs.data.io_managers import ArtifactIOManager, artifact_metadata
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.records import (
    AdditiveOutput,
    ArtifactDraft,
    LineageInput,
    PartitionOutput,
)
from quantlab_assets.domain.artifacts.seed_types import ALERTS_QUARANTINE
from quantlab_assets.domain.errors import QuantlabError, StoreUnavailable, ValidationFailed
from quantlab_tests.conftest import ROOT, without_settings
from quantlab_tests.defs.data.toy_graph import PARTITIONED, TEXTS, Toy, quarantine

RANGE = ("2025-11-01", "2025-11-05")


def loaded(*ids: str) -> set[LineageInput]:
    return {LineageInput(artifact_id=i, role="loaded") for i in ids}


def publications(toy: Toy) -> int:
    """How many publish events the lake has seen."""
    artifacts = toy.store.list_artifacts().artifacts
    return sum(len(toy.store.get_publications(a.artifact_id)) for a in artifacts)


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
    toy.die_on = "2025-11-04"
    result = toy.run(instance, ["raw"], RANGE, raise_on_error=False)
    assert not result.success
    assert toy.head("raw", "2025-11-03") is not None
    assert toy.head("raw", "2025-11-04") is None
    toy.die_on = None
    toy.run(instance, ["raw"], RANGE)
    assert all(toy.head("raw", day) for day in TEXTS)


def test_a_day_that_fails_does_not_hold_up_the_others_and_costs_only_itself(toy: Toy, instance):
    toy.texts = dict(TEXTS)
    toy.fail_on = "2025-11-04"
    with pytest.raises(QuantlabError, match=r"1 of 5 partitions failed.* run again: 2025-11-04"):
        toy.run(instance, ["raw"], RANGE)
    made = set(TEXTS) - {"2025-11-04"}
    assert {day for day in TEXTS if toy.head("raw", day)} == made
    assert instance.get_materialized_partitions(dg.AssetKey("raw")) == made
    before = publications(toy)
    toy.fail_on = None
    toy.run(instance, ["raw"], ("2025-11-04", "2025-11-04"))
    assert instance.get_materialized_partitions(dg.AssetKey("raw")) == set(TEXTS)
    assert publications(toy) == before + 1


def test_what_fails_alike_for_every_day_stops_the_run_at_once(toy: Toy, instance):
    toy.texts = dict(TEXTS)
    toy.store.files_on_disk.staging.rmdir()
    toy.store.files_on_disk.staging.touch()
    with pytest.raises(StoreUnavailable, match=r"cannot write .*staging"):
        toy.run(instance, ["raw"], RANGE)
    assert toy.head("raw", "2025-11-02") is None


def test_a_partition_of_a_failed_step_shows_its_artifacts_and_data_version(toy: Toy, instance):
    toy.texts = dict(TEXTS)
    toy.fail_on = "2025-11-04"
    toy.run(instance, ["raw"], RANGE, raise_on_error=False)
    event = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey("raw"), asset_partitions=["2025-11-02"]),
        limit=1,
    ).records[0]
    shown = event.asset_materialization
    (artifact,) = toy.store.get_heads("raw", ["2025-11-02"])["2025-11-02"]
    assert shown.metadata["artifact_ids"].value == [artifact.artifact_id]
    assert shown.tags["dagster/data_version"] == artifact.content_hash


def test_a_retried_step_starts_with_an_empty_ledger(toy: Toy, instance):
    toy.texts = dict(TEXTS)
    toy.run(instance, ["raw"], RANGE)
    toy.fails_after_reading = 1
    assert toy.run(instance, ["derived"], ("2025-11-05", "2025-11-05")).success
    # The first attempt read all it was given; only what the second one read is lineage.
    assert toy.edges("derived", "2025-11-05") == loaded(
        *toy.head("raw", "2025-11-05"), *toy.head("raw", "2025-11-04")
    )


def test_a_retried_step_makes_the_same_artifacts(toy: Toy, instance, tmp_path):
    other = Toy(tmp_path / "other", dict(TEXTS))
    other.run(instance, ["raw"], RANGE)
    toy.texts, toy.retries, toy.die_on, toy.dies = dict(TEXTS), 2, "2025-11-03", 2
    assert toy.run(instance, ["raw"], RANGE).success
    assert [toy.head("raw", day) for day in TEXTS] == [other.head("raw", day) for day in TEXTS]


def test_an_input_made_anew_while_it_is_read_is_read_again(toy, instance):
    toy.texts = dict(TEXTS)
    toy.run(instance, ["raw"], RANGE)
    read = toy.head("raw", "2025-11-02")

    def meanwhile() -> None:
        with dg.DagsterInstance.ephemeral() as another:
            moved = Toy(toy.root, {**TEXTS, "2025-11-02": "moved"})
            moved.run(another, ["raw"], ("2025-11-02", "2025-11-02"))

    toy.before_body = meanwhile
    toy.run(instance, ["derived"], ("2025-11-02", "2025-11-02"))
    assert toy.head("raw", "2025-11-02") != read
    assert toy.edges("derived", "2025-11-02") == loaded(
        *toy.head("raw", "2025-11-02"), *toy.head("raw", "2025-11-01")
    )


def test_a_slow_run_does_not_leave_older_results_in_the_place_of_newer_ones(toy, instance):
    day = ("2025-11-02", "2025-11-02")
    toy.texts = dict(TEXTS)
    toy.run(instance, ["raw"], RANGE)
    newer: list[str] = []

    def meanwhile() -> None:
        toy.before_body = lambda: None
        with dg.DagsterInstance.ephemeral() as another:
            moved = Toy(toy.root, {**TEXTS, day[0]: "moved"})
            moved.run(another, ["raw"], day)
            moved.run(another, ["derived"], day)
            newer.extend(moved.head("derived", day[0]))

    toy.before_body = meanwhile
    assert toy.run(instance, ["derived"], day).success
    assert list(toy.head("derived", day[0])) == newer


def test_ranges_with_a_hole_between_them_are_the_same_as_one_range(toy: Toy, instance, tmp_path):
    whole = Toy(tmp_path / "whole", dict(TEXTS))
    whole.run(instance, ["raw", "derived"], RANGE)
    toy.texts = dict(TEXTS)
    for days in [("2025-11-01", "2025-11-02"), ("2025-11-04", "2025-11-05")]:
        toy.run(instance, ["raw"], days)
    toy.run(instance, ["raw"], ("2025-11-03", "2025-11-03"))
    for days in [("2025-11-04", "2025-11-05"), ("2025-11-01", "2025-11-03")]:
        toy.run(instance, ["derived"], days)
    for day in TEXTS:
        assert toy.edges("derived", day) == whole.edges("derived", day)
        assert toy.head("derived", day) == whole.head("derived", day)


def test_a_broken_contract_raises_before_anything_is_written(toy: Toy, instance):
    toy.texts = {"2025-11-01": "fine", "2025-11-02": None}
    broken = quarantine("2025-11-02", "x").table.drop_columns(["error_code"])

    @dg.asset(metadata=artifact_metadata(ALERTS_QUARANTINE), **PARTITIONED)
    def raw():
        good = quarantine("2025-11-02", "good")
        bad = ArtifactDraft("alerts_quarantine", "day=2025-11-03", broken)
        return dg.MaterializeResult(value=[("2025-11-02", PartitionOutput((good, bad)))])

    lake = LakeResource(root=str(toy.root))
    with pytest.raises(ValidationFailed, match="error_code"):
        dg.materialize(
            [raw],
            partition_key="2025-11-02",
            instance=instance,
            resources={"lake": lake, "io_manager": ArtifactIOManager(lake=lake)},
        )
    assert toy.head("raw", "2025-11-02") is None
    assert toy.store.list_artifacts().artifacts == ()
    assert instance.get_materialized_partitions(dg.AssetKey("raw")) == set()


def test_loose_drafts_of_a_day_that_is_built_again_are_published_all_the_same(toy, instance):
    unreadable = replace(quarantine("x", "bad"), logical_key=f"day=unknown/source={7:016x}")

    def build(held: object) -> PartitionOutput:
        if not held:  # another writer is faster than the first attempt
            with dg.DagsterInstance.ephemeral() as another:
                other = Toy(toy.root, {"2025-11-02": "another writer"})
                other.run(another, ["raw"], ("2025-11-02", "2025-11-02"))
        return PartitionOutput((quarantine("2025-11-02", "union"),), loose=(unreadable,))

    @dg.asset(metadata=artifact_metadata(ALERTS_QUARANTINE), **PARTITIONED)
    def raw():
        return dg.MaterializeResult(value=[("2025-11-02", AdditiveOutput(build))])

    lake = LakeResource(root=str(toy.root))
    dg.materialize(
        [raw],
        partition_key="2025-11-02",
        instance=instance,
        resources={"lake": lake, "io_manager": ArtifactIOManager(lake=lake)},
    )
    keys = {artifact.logical_key for artifact in toy.store.list_artifacts().artifacts}
    assert unreadable.logical_key in keys


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
    with pytest.raises(IntegrityError, match=f"{artifact.artifact_id}.* is damaged"):
        toy.run(instance, ["derived"], ("2025-11-02", "2025-11-02"))
    assert toy.head("derived", "2025-11-02") is None


def test_a_partition_left_out_or_made_twice_fails_the_step(toy: Toy, instance):
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


def test_steps_in_processes_of_their_own_record_the_same_lineage(toy: Toy, instance, tmp_path):
    toy.texts = dict(TEXTS)
    toy.run(instance, ["raw", "derived"], RANGE)
    other = Toy(tmp_path / "other")
    (tmp_path / "dagster").mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dagster", "asset", "materialize"),
            *("-m", "quantlab_tests.defs.data.multiprocess_graph", "--select", "raw,derived"),
            *("--partition-range", "...".join(RANGE)),
        ],
        cwd=ROOT,
        env={
            **without_settings(),
            "QUANTLAB_LAKE": str(other.root),
            "DAGSTER_HOME": str(tmp_path / "dagster"),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("STEP_WORKER_STARTED") == 2
    for day in TEXTS:
        assert other.head("derived", day) == toy.head("derived", day)
        assert other.edges("derived", day) == toy.edges("derived", day)

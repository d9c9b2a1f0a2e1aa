"""Behaviour of Dagster that is not published but relied on: a new Dagster fails here first.

Each test is named after the behaviour. Where it is relied on:
`quantlab_assets/defs/data/lineage.py` and `quantlab_assets/defs/data/io_managers.py`.
"""

from typing import Any

import dagster as dg

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-02-01", timezone="UTC")
RANGE = {
    "dagster/asset_partition_range_start": "2025-01-03",
    "dagster/asset_partition_range_end": "2025-01-05",
}


class Spy(dg.ConfigurableIOManager):
    """Notes what it is called with."""

    def load_input(self, context: dg.InputContext) -> Any:
        SEEN.append(("load", dg.AssetExecutionContext.get(), sorted(context.asset_partition_keys)))
        metadata = context.upstream_output.definition_metadata
        SEEN.append(("upstream metadata", dict(metadata)))
        return "input"

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        SEEN.append(("handle", dg.AssetExecutionContext.get(), obj))
        execution = dg.AssetExecutionContext.get()
        for partition in sorted(context.asset_partition_keys):
            execution.add_asset_metadata(
                {"mine": partition}, asset_key=context.asset_key, partition_key=partition
            )
        execution.set_data_version(context.asset_key, dg.DataVersion("sha256:x"))


SEEN: list[tuple[Any, ...]] = []


@dg.asset(
    partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run(), metadata={"kind": "up"}
)
def upstream():
    return dg.MaterializeResult(value=(n for n in range(3)))


@dg.asset(
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={
        "upstream": dg.AssetIn(
            partition_mapping=dg.TimeWindowPartitionMapping(
                end_offset=1, allow_nonexistent_upstream_partitions=True
            )
        )
    },
)
def downstream(context: dg.AssetExecutionContext, upstream):
    SEEN.append(("body", dg.AssetExecutionContext.get(), upstream))
    graph = context.get_step_execution_context().job_def.asset_layer.asset_graph
    with dg.partition_loading_context(dynamic_partitions_store=context.instance):
        SEEN.append(
            (
                "mapped",
                {
                    day: sorted(
                        graph.get_parent_partition_keys_for_child(
                            day, dg.AssetKey("upstream"), dg.AssetKey("downstream")
                        ).partitions_subset.get_partition_keys()
                    )
                    for day in ("2025-01-05", "2025-01-31")
                },
            )
        )
    SEEN.append(("parents", graph.get(dg.AssetKey("downstream")).parent_keys))
    return dg.MaterializeResult(value="output")


def run(selection: list[str], tags: dict[str, str]) -> dg.ExecuteInProcessResult:
    SEEN.clear()
    defs = dg.Definitions(
        [upstream, downstream], resources={"io_manager": Spy()}, executor=dg.in_process_executor
    )
    with dg.DagsterInstance.ephemeral() as instance:
        return defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(name) for name in selection],
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )


def test_a_generator_in_a_materialize_result_reaches_the_io_manager_unconsumed():
    run(["upstream"], RANGE)
    (_, _, obj) = next(entry for entry in SEEN if entry[0] == "handle")
    assert list(obj) == [0, 1, 2]


def test_one_execution_context_spans_loading_body_and_writing_of_a_step():
    run(["downstream"], RANGE)
    contexts = {id(entry[1]) for entry in SEEN if entry[0] in ("load", "body", "handle")}
    assert len(contexts) == 1


def test_an_input_of_a_range_run_names_every_mapped_upstream_partition():
    run(["downstream"], RANGE)
    load = next(entry for entry in SEEN if entry[0] == "load")
    assert load[2] == ["2025-01-03", "2025-01-04", "2025-01-05", "2025-01-06"]


def test_definition_metadata_of_an_upstream_of_another_run_is_there():
    run(["downstream"], RANGE)
    metadata = next(entry for entry in SEEN if entry[0] == "upstream metadata")
    assert metadata[1]["kind"] == "up"


def test_the_asset_graph_maps_one_child_partition_to_its_parents():
    run(["downstream"], RANGE)
    mapped = next(entry for entry in SEEN if entry[0] == "mapped")
    assert mapped[1] == {
        "2025-01-05": ["2025-01-05", "2025-01-06"],
        "2025-01-31": ["2025-01-31"],
    }


def test_the_asset_graph_knows_declared_parents():
    run(["downstream"], RANGE)
    assert next(e for e in SEEN if e[0] == "parents")[1] == {dg.AssetKey("upstream")}


def test_metadata_can_be_set_for_each_partition_of_a_range():
    result = run(["downstream"], RANGE)
    shown = {
        event.partition: event.step_materialization_data.materialization.metadata["mine"].value
        for event in result.get_asset_materialization_events()
    }
    assert shown == {day: day for day in ("2025-01-03", "2025-01-04", "2025-01-05")}


def test_a_data_version_set_while_writing_is_recorded():
    result = run(["downstream"], RANGE)
    events = result.get_asset_materialization_events()
    assert len(events) == 3
    for event in events:
        tags = event.step_materialization_data.materialization.tags
        assert tags["dagster/data_version"] == "sha256:x"


def test_a_materialize_result_without_value_does_not_reach_the_io_manager():
    SEEN.clear()

    @dg.multi_asset(specs=[dg.AssetSpec("written_elsewhere")])
    def elsewhere():
        yield dg.MaterializeResult(asset_key="written_elsewhere")

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([elsewhere], instance=instance, resources={"io_manager": Spy()})
    assert SEEN == []


def test_a_materialization_logged_while_writing_stands_although_the_step_fails():
    class Failing(dg.ConfigurableIOManager):
        def load_input(self, context: dg.InputContext) -> Any:
            raise NotImplementedError

        def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
            context.log_event(dg.AssetMaterialization(context.asset_key, partition="2025-01-03"))
            raise ValueError("the others failed")

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [upstream],
            instance=instance,
            resources={"io_manager": Failing()},
            tags=RANGE,
            raise_on_error=False,
        )
        assert not result.success
        assert instance.get_materialized_partitions(upstream.key) == {"2025-01-03"}


def test_range_tags_on_a_run_request_are_accepted_for_a_partitioned_job():
    @dg.sensor(job=dg.define_asset_job("job", selection=[upstream]))
    def asks():
        return dg.RunRequest(run_key="x", tags=RANGE)

    with dg.build_sensor_context() as context:
        data = asks.evaluate_tick(context)
    (request,) = data.run_requests or []
    assert (request.partition_key, request.tags.items() >= RANGE.items()) == (None, True)

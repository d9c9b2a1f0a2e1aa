"""The research projection as a Dagster resource: assets query it, none can write to it."""

from pathlib import Path

import dagster as dg
import duckdb
import pytest
from dagster_duckdb import DuckDBResource

from quantlab_assets.definitions import build_defs
from quantlab_assets.settings import Settings


def ask(lake: Path, sql: str, instance: dg.DagsterInstance) -> object:
    @dg.asset
    def answer(research: DuckDBResource) -> dg.MaterializeResult[None]:
        with research.get_connection() as connection:
            return dg.MaterializeResult(
                metadata={"answer": connection.execute(sql).fetchall()[0][0]}
            )

    research = build_defs(Settings.from_environment(lake, {})).resources["research"]
    result = dg.materialize([answer], instance=instance, resources={"research": research})
    (event,) = result.get_asset_materialization_events()
    return event.step_materialization_data.materialization.metadata["answer"].value


def test_an_asset_queries_the_research_projection(
    demo_lake: Path, instance: dg.DagsterInstance
) -> None:
    assert ask(demo_lake, "select count(*) from alerts", instance) == 29


def test_its_times_are_utc_whatever_the_zone_of_the_machine(
    demo_lake: Path, instance: dg.DagsterInstance
) -> None:
    assert ask(demo_lake, "select current_setting('TimeZone')", instance) == "UTC"


@pytest.mark.parametrize(
    "sql", ["create table mine (x int)", "delete from alerts", "drop table alerts"]
)
def test_no_asset_can_write_to_it(demo_lake: Path, instance: dg.DagsterInstance, sql: str) -> None:
    with pytest.raises(duckdb.InvalidInputException, match="read-only"):
        ask(demo_lake, sql, instance)

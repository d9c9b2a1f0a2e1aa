"""The asset graph, composed: the only composition root for Dagster.

`build_defs` serves tests and production alike; `defs` is what `dagster ... -m
quantlab_assets.definitions` loads. Here belongs only which assets, checks, jobs, schedules, sensors
and resources make up the graph; each is defined in its module of `defs`, and none here.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import dagster as dg

from quantlab_assets.defs import assets
from quantlab_assets.defs.checks import quality_checks, utc_now
from quantlab_assets.defs.data.io_managers import ArtifactIOManager
from quantlab_assets.defs.jobs import JOBS
from quantlab_assets.defs.resources import LakeResource, research_database
from quantlab_assets.defs.schedules import SCHEDULES
from quantlab_assets.defs.sensors import inbox_sensors
from quantlab_assets.defs.upkeep import UPKEEP_JOBS, UPKEEP_SCHEDULES, superseded_inputs
from quantlab_assets.lake.extensions import assets as own_assets
from quantlab_assets.lake.extensions import named
from quantlab_assets.settings import Settings


def build_defs(
    settings: Settings | None = None,
    *,
    sensors: Sequence[dg.SensorDefinition] | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> dg.Definitions:
    """The whole graph over the lake of `settings`; without them the environment decides at run
    time. Assets of the user's own module are part of it. `sensors` replaces the graph's own, which
    are off; `clock` tells freshness the time.

    One step at a time in this process: a step in a process of its own costs seconds of imports.
    """
    chosen = settings or Settings.from_environment()
    own = [named(asset.body) for asset in own_assets(chosen.types_module) if asset.body]
    lake = LakeResource(root=str(settings.lake) if settings else None)
    return dg.Definitions(
        assets=[*dg.load_assets_from_package_module(assets, include_specs=True), *own],
        resources={
            "lake": lake,
            "io_manager": ArtifactIOManager(lake=lake),
            "research": research_database(chosen),
        },
        asset_checks=quality_checks(clock),
        jobs=[*JOBS, *UPKEEP_JOBS],
        schedules=[*SCHEDULES, *UPKEEP_SCHEDULES],
        sensors=[*inbox_sensors(), superseded_inputs] if sensors is None else sensors,
        executor=dg.in_process_executor,
    )


defs = build_defs()

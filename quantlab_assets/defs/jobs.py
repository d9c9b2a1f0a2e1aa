"""What sensors, schedules and the launchpad start: the assets whose rows name the job."""

import dagster as dg

from quantlab_assets.defs.asset_rows import in_job

ingestion = dg.define_asset_job(
    "ingestion",
    selection=in_job("ingestion"),
    description="Days from their messages to their coverage.",
)
slices_and_coverage = dg.define_asset_job(
    "slices_and_coverage",
    selection=in_job("slices_and_coverage"),
    description="Slices and coverage of days whose alerts are there: after new candles.",
)
over_all_days = dg.define_asset_job(
    "over_all_days",
    selection=in_job("over_all_days"),
    description="What is made from all days at once: the coverage summary, the projection.",
)

JOBS = (ingestion, slices_and_coverage, over_all_days)

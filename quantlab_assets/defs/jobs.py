"""What sensors, schedules and the launchpad start: named selections of assets."""

import dagster as dg

MESSAGES_AND_ALL_AFTER = (
    "telegram_messages",
    "alerts",
    "alert_events",
    "alerts_quarantine",
    "ohlcv_slices",
    "alert_forward_coverage",
    "coverage_gaps",
)
SLICES_AND_ALL_AFTER = ("ohlcv_slices", "alert_forward_coverage", "coverage_gaps")
OVER_ALL_DAYS = ("coverage_summary", "research_projection")

ingestion = dg.define_asset_job(
    "ingestion",
    selection=dg.AssetSelection.assets(*MESSAGES_AND_ALL_AFTER),
    description="Days from their messages to their coverage.",
)
slices_and_coverage = dg.define_asset_job(
    "slices_and_coverage",
    selection=dg.AssetSelection.assets(*SLICES_AND_ALL_AFTER),
    description="Slices and coverage of days whose alerts are there: after new candles.",
)
over_all_days = dg.define_asset_job(
    "over_all_days",
    selection=dg.AssetSelection.assets(*OVER_ALL_DAYS),
    description="What is made from all days at once: the coverage summary, the projection.",
)

JOBS = (ingestion, slices_and_coverage, over_all_days)

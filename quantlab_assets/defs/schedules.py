"""What runs by the calendar: yesterday's days again, then what is made from all days.

Off unless switched on.
"""

from datetime import date, timedelta

import dagster as dg

from quantlab_assets.defs.jobs import ingestion, over_all_days
from quantlab_assets.defs.partitions import day_range_tags

HORIZON_DAYS = 2
"""Candles count for 48 hours after a call: only then is a day's coverage final."""


def days_to_refresh(today: date) -> tuple[date, date]:
    """The days a daily run takes: yesterday, and those whose horizons have ended since."""
    return today - timedelta(days=HORIZON_DAYS + 1), today - timedelta(days=1)


@dg.schedule(
    job=ingestion,
    cron_schedule="15 3 * * *",
    execution_timezone="UTC",
    description="Ingests the last three full days and their coverage, from what the inboxes hold.",
)
def daily_ingestion(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One run over `days_to_refresh`."""
    at = context.scheduled_execution_time
    first, last = days_to_refresh(at.date())
    return dg.RunRequest(run_key=f"{at.date()}", tags=day_range_tags(first, last))


daily_summary = dg.ScheduleDefinition(
    name="daily_summary",
    job=over_all_days,
    cron_schedule="15 4 * * *",
    execution_timezone="UTC",
    description="Counts coverage over all days and builds the research projection anew.",
)

SCHEDULES = (daily_ingestion, daily_summary)

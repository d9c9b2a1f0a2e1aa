"""How the graph is cut: by UTC day, and experiments by their id.

Nothing else is a partition: chain and token are columns and parts of logical keys.
"""

import warnings
from datetime import date

import dagster as dg

# One run for a range of days is what makes backfills affordable, and what these parameters are for;
# both have been "beta" in Dagster for years.
warnings.filterwarnings(
    "ignore",
    message="Parameter `(backfill_policy|allow_nonexistent_upstream_partitions)`",
    category=dg.BetaWarning,
)

FIRST_DAY = "2020-01-01"

DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC", end_offset=1)
"""Every UTC day up to and including today."""

EXPERIMENTS = dg.DynamicPartitionsDefinition(name="experiments")
"""One partition an experiment; the key is the experiment id."""

ONE_RUN = dg.BackfillPolicy.single_run()

WITH_NEXT_DAY = dg.TimeWindowPartitionMapping(
    start_offset=0, end_offset=1, allow_nonexistent_upstream_partitions=True
)
"""Day D reads D and D+1: a bot's answer just after midnight resolves a call just before it."""

UNPARTITIONED = ""
"""The partition under which an unpartitioned asset keeps its head."""


def days_there_are() -> tuple[date, date]:
    """The first and the last day that are partitions now."""
    last = DAYS.get_last_partition_key()
    return date.fromisoformat(FIRST_DAY), date.fromisoformat(last or FIRST_DAY)


def day_range_tags(first: date, last: date) -> dict[str, str]:
    """The run tags by which Dagster knows a range of days in one run, both ends included."""
    return {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }

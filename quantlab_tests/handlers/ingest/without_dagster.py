"""What the graph does with the exports in an inbox, day by day, without the graph."""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial

import polars as pl

from quantlab_assets.domain.artifacts.records import PartitionRef
from quantlab_assets.handlers.ingest.alerts import alerts_of_days
from quantlab_assets.handlers.ingest.messages import messages_of_day
from quantlab_assets.handlers.publish_partition import PublishedPartition, publish_partition
from quantlab_assets.lake import Lake
from quantlab_assets.lake.provenance import provenance_of

DAY = date(2025, 11, 7)
DAYS = (DAY, DAY + timedelta(days=1))


def ingest(lake: Lake, days: Sequence[date] = DAYS) -> list[PublishedPartition]:
    """What the graph does for the days, without Dagster."""
    source = lake.ingestion.exports()
    publish = partial(publish_partition, lake.store, inputs=tuple, provenance=provenance_of("test"))
    published = [
        publish(
            PartitionRef("telegram_messages", day.isoformat()),
            messages_of_day(source, day, lake.ingestion.rules),
        )
        for day in days
    ]
    for day in days:
        both = pl.concat([messages(lake, day), messages(lake, day + timedelta(days=1))])
        found = alerts_of_days([day], both, lake.ingestion.rules)[day]
        for asset, extracted in (
            ("alerts", found.alerts),
            ("alert_events", found.events),
            ("alerts_quarantine", found.quarantine),
        ):
            published.append(publish(PartitionRef(asset, day.isoformat()), extracted))
    return published


def messages(lake: Lake, day: date) -> pl.DataFrame:
    heads = lake.store.get_heads("telegram_messages", [day.isoformat()])[day.isoformat()] or ()
    ids = sorted(artifact.artifact_id for artifact in heads)
    if not ids:
        return pl.DataFrame(lake.types.get("telegram_messages").empty())
    return pl.DataFrame(lake.store.open_many(ids, verify=True).to_table())

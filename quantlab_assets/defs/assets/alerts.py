"""Alerts, their events and what was refused, from the messages of a day.

Here is in which batches days are extracted, and what happens to the others when a day fails. What
makes a message an alert is in `domain.telegram.alerts`; what a day publishes of it, in
`handlers.ingest.alerts`.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import takewhile
from typing import Any

import dagster as dg

from quantlab_assets.defs.asset_rows import outs, selected_outputs
from quantlab_assets.defs.data.read_ledger import PartitionFrames
from quantlab_assets.defs.partitions import DAYS, ONE_RUN, WITH_NEXT_DAY
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.assets import ALERT_EVENTS, ALERTS, ALERTS_QUARANTINE, MESSAGES
from quantlab_assets.domain.days import with_day_after
from quantlab_assets.domain.errors import QuantlabError
from quantlab_assets.handlers.ingest.alerts import DayAlerts, alerts_of_days, days_at_once


@dg.multi_asset(
    name="alert_extraction",
    outs=outs(ALERTS, ALERT_EVENTS, ALERTS_QUARANTINE),
    ins={MESSAGES: dg.AssetIn(partition_mapping=WITH_NEXT_DAY)},
    partitions_def=DAYS,
    backfill_policy=ONE_RUN,
    can_subset=True,
)
def alert_extraction(
    context: dg.AssetExecutionContext, lake: LakeResource, telegram_messages: PartitionFrames
) -> Iterator[dg.MaterializeResult[Any]]:
    """Extract each day once, however many of the three outputs are wanted."""
    days = sorted(context.partition_keys)
    by_day: dict[str, DayAlerts] = {}
    singly: set[str] = set()

    def extract(batch: Sequence[str]) -> None:
        dates = [date.fromisoformat(day) for day in batch]
        wanted = sorted(day.isoformat() for day in with_day_after(dates))
        messages = telegram_messages.read(wanted)
        extracted = alerts_of_days(dates, messages, lake.lake.ingestion.rules)
        by_day.update({day.isoformat(): alerts for day, alerts in extracted.items()})

    def extracted(day: str) -> DayAlerts:
        if day not in by_day:
            telegram_messages.check(day)
            following = list(takewhile(telegram_messages.__contains__, days[days.index(day) :]))
            count = days_at_once(map(telegram_messages.row_count, following))
            ahead = [day] if day in singly else following[:count]
            try:
                extract(ahead)
            except QuantlabError:
                if len(ahead) == 1:
                    raise
                singly.update(ahead)  # what is wrong with one day does not concern the others
                extract([day])
        return by_day[day]

    yield from selected_outputs(
        context,
        {
            ALERTS: lambda day: extracted(day.isoformat()).alerts,
            ALERT_EVENTS: lambda day: extracted(day.isoformat()).events,
            ALERTS_QUARANTINE: lambda day: extracted(day.isoformat()).quarantine,
        },
    )

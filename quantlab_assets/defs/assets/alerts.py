"""Alerts, their events and what was refused, from the messages of a day."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from itertools import takewhile
from typing import Any

import dagster as dg

from quantlab_assets.defs.data.io_managers import artifact_out
from quantlab_assets.defs.data.read_ledger import PartitionFrames
from quantlab_assets.defs.partitions import DAYS, ONE_RUN, WITH_NEXT_DAY
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.records import PartitionOutput
from quantlab_assets.domain.artifacts.seed_types import ALERT_EVENTS, ALERTS, ALERTS_QUARANTINE
from quantlab_assets.domain.errors import QuantlabError
from quantlab_assets.handlers.ingest.alerts import DayAlerts, alerts_of_days, days_at_once


@dg.multi_asset(
    name="alert_extraction",
    outs={
        "alerts": artifact_out(
            "alerts",
            ALERTS,
            "alerts",
            "Calls of one UTC day: who called which token, when, and when its address became "
            "known.\n\nOne row a (chat, message, token), one artifact a chain family. Only people "
            "and feeds call; bots and commands never do. A bot's answer within minutes, also after "
            "midnight, resolves tickers and pool links.",
        ),
        "alert_events": artifact_out(
            "alert_events",
            ALERT_EVENTS,
            "alerts",
            "Every observation of the day's calls: the call, bot replies to it, edits of it.",
        ),
        "alerts_quarantine": artifact_out(
            "alerts_quarantine",
            ALERTS_QUARANTINE,
            "alerts",
            "Messages of the day that look like calls but cannot be trusted, each with its reason.",
        ),
    },
    ins={"telegram_messages": dg.AssetIn(partition_mapping=WITH_NEXT_DAY)},
    partitions_def=DAYS,
    backfill_policy=ONE_RUN,
    can_subset=True,
)
def alert_extraction(
    context: dg.AssetExecutionContext, lake: LakeResource, telegram_messages: PartitionFrames
) -> Iterator[dg.MaterializeResult[Any]]:
    """Extract each day once, however many of the three outputs are wanted."""
    days = sorted(context.partition_keys)
    found: dict[str, DayAlerts] = {}
    singly: set[str] = set()

    def extract(batch: Sequence[str]) -> None:
        dates = [date.fromisoformat(day) for day in batch]
        following = {(day + timedelta(days=1)).isoformat() for day in dates}
        messages = telegram_messages.read(sorted({*batch, *following}))
        extracted = alerts_of_days(dates, messages, lake.lake.rules)
        found.update({day.isoformat(): alerts for day, alerts in extracted.items()})

    def extracted(day: str) -> DayAlerts:
        if day not in found:
            telegram_messages.check(day)
            held = list(takewhile(telegram_messages.__contains__, days[days.index(day) :]))
            count = days_at_once(map(telegram_messages.row_count, held))
            ahead = [day] if day in singly else held[:count]
            try:
                extract(ahead)
            except QuantlabError:
                if len(ahead) == 1:
                    raise
                singly.update(ahead)  # what is wrong with one day does not concern the others
                extract([day])
        return found[day]

    outputs: dict[str, Callable[[str], PartitionOutput]] = {
        "alerts": lambda day: extracted(day).alerts,
        "alert_events": lambda day: extracted(day).events,
        "alerts_quarantine": lambda day: extracted(day).quarantine,
    }
    for name, output in outputs.items():
        key = dg.AssetKey(name)
        if key in context.selected_asset_keys:
            value = [(day, partial(output, day)) for day in days]
            yield dg.MaterializeResult(asset_key=key, value=value)

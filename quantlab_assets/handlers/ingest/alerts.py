"""Extract the alerts of days from their messages and the first minutes of the day after each."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate, takewhile
from typing import Final

import polars as pl

from quantlab_assets.domain.artifacts.records import ArtifactDraft, PartitionOutput
from quantlab_assets.domain.artifacts.seed_types import ALERT_EVENTS, ALERTS, ALERTS_QUARANTINE
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.telegram.alerts.extract import Extraction, extract_alerts
from quantlab_assets.domain.telegram.alerts.replies import REPLY_WINDOW
from quantlab_assets.domain.telegram.frames import table_of
from quantlab_assets.domain.telegram.rules import Rules


@dataclass(frozen=True, slots=True)
class DayAlerts:
    """What one day publishes: alerts by chain family, events, and quarantined messages."""

    alerts: PartitionOutput
    events: PartitionOutput
    quarantine: PartitionOutput


MESSAGES_AT_ONCE: Final = 5_000
"""Message versions extracted together: enough that queries cost less than their rows, and few
enough that cards of kilobytes stay within half a gigabyte."""


def days_at_once(versions: Iterable[int]) -> int:
    """How many of the next days to extract together, given the size of each."""
    totals = accumulate(versions)
    return max(1, sum(1 for _ in takewhile(lambda total: total <= MESSAGES_AT_ONCE, totals)))


def alerts_of_days(
    days: Sequence[date], messages: pl.DataFrame, rules: Rules
) -> dict[date, DayAlerts]:
    """The alerts of UTC days, from all versions of their messages (columns of
    `telegram_messages`) and of those in the first minutes after each.

    A bot's reply after midnight resolves a call just before it. Messages of other days are left
    out. What a day comes to does not depend on the days it shares the call with.
    """
    at = pl.col("ts_utc")
    after_midnight = at - at.dt.truncate("1d") <= REPLY_WINDOW
    day_before = at.dt.date().dt.offset_by("-1d")
    today = messages.with_columns(at.dt.date().alias("day")).filter(pl.col("day").is_in(days))
    soon = messages.filter(after_midnight & day_before.is_in(days)).with_columns(
        day_before.alias("day")
    )
    extractions = extract_alerts(days, today, soon, rules)
    return {day: _outputs(day, extraction, rules) for day, extraction in extractions.items()}


def _outputs(day: date, extraction: Extraction, rules: Rules) -> DayAlerts:
    params = {
        "rules_version": rules.version,
        "rules_hash": rules.digest,
        "reply_window_s": int(REPLY_WINDOW.total_seconds()),
    }

    def draft(artifact_type: ArtifactType, key: str, rows: pl.DataFrame) -> ArtifactDraft:
        table = table_of(rows, artifact_type)
        return ArtifactDraft(artifact_type.name, key, table, params=params)

    bases = Counter(extraction.alerts["known_basis"].to_list())
    counts = {
        **extraction.accounting.counts(),
        "alerts": extraction.alerts.height,
        "network_disputed": extraction.network_disputed,
        **{f"known_{basis}": bases[basis] for basis in sorted(bases)},
    }
    by_chain = [
        draft(ALERTS, ALERTS.key(day=day.isoformat(), chain=str(chain)), rows)
        for (chain,), rows in sorted(extraction.alerts.partition_by("chain", as_dict=True).items())
    ]
    key = f"day={day.isoformat()}"
    refused = Counter(extraction.quarantine["error_code"].to_list())
    return DayAlerts(
        alerts=PartitionOutput(tuple(by_chain), counts=counts),
        events=PartitionOutput(
            (draft(ALERT_EVENTS, key, extraction.events),) if extraction.events.height else (),
            counts={"events": extraction.events.height},
        ),
        quarantine=PartitionOutput(
            (draft(ALERTS_QUARANTINE, key, extraction.quarantine),)
            if extraction.quarantine.height
            else (),
            counts={
                "quarantine_rows": extraction.quarantine.height,
                **{f"quarantined_{code}": refused[code] for code in sorted(refused)},
            },
        ),
    )

"""Extract the alerts of one day from its messages and the first minutes of the next."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from quantlab_assets.domain.artifact_types import (
    ALERT_EVENTS,
    ALERTS,
    ALERTS_QUARANTINE,
    ArtifactType,
)
from quantlab_assets.domain.artifacts import ArtifactDraft, PartitionOutput
from quantlab_assets.domain.telegram.extraction import REPLY_WINDOW, Extraction, extract_alerts
from quantlab_assets.domain.telegram.frames import MESSAGES, table_of
from quantlab_assets.domain.telegram.rules import Rules


@dataclass(frozen=True, slots=True)
class DayAlerts:
    """What one day publishes: alerts by chain family, events, and quarantined messages."""

    alerts: PartitionOutput
    events: PartitionOutput
    quarantine: PartitionOutput


def alerts_of_day(
    day: date, messages: pl.LazyFrame, next_day: pl.LazyFrame | None, rules: Rules
) -> DayAlerts:
    """The alerts of a UTC day, from all versions of its messages (columns of `telegram_messages`).

    Of `next_day` only the first minutes are read: a bot's reply there resolves a call just before
    midnight. Messages of other days are left out, whatever frame they came in.
    """
    start = datetime.combine(day, time(), UTC)
    end = start + timedelta(days=1)
    names = MESSAGES.names()
    today = messages.select(names).filter(pl.col("ts_utc").is_between(start, end, closed="left"))
    after = MESSAGES.to_frame().lazy() if next_day is None else next_day.select(names)
    soon = after.filter(pl.col("ts_utc").is_between(end, end + REPLY_WINDOW))
    return _outputs(day, extract_alerts(today.collect(), soon.collect(), rules), rules)


def _outputs(day: date, found: Extraction, rules: Rules) -> DayAlerts:
    params = {
        "rules_version": rules.version,
        "rules_hash": rules.digest,
        "reply_window_s": int(REPLY_WINDOW.total_seconds()),
    }

    def draft(artifact_type: ArtifactType, key: str, rows: pl.DataFrame) -> ArtifactDraft:
        table = table_of(rows, artifact_type)
        return ArtifactDraft(artifact_type.name, key, table, params=params)

    counts = {**found.accounting.counts(), "alerts": found.alerts.height}
    by_chain = [
        draft(ALERTS, ALERTS.key(day=day.isoformat(), chain=str(chain)), rows)
        for (chain,), rows in sorted(found.alerts.group_by("chain", maintain_order=True))
    ]
    key = f"day={day.isoformat()}"
    return DayAlerts(
        alerts=PartitionOutput(tuple(by_chain), counts=counts),
        events=PartitionOutput(
            (draft(ALERT_EVENTS, key, found.events),) if found.events.height else (),
            counts={"events": found.events.height},
        ),
        quarantine=PartitionOutput(
            (draft(ALERTS_QUARANTINE, key, found.quarantine),) if found.quarantine.height else (),
            counts={
                "quarantine_rows": found.quarantine.height,
                **{
                    f"quarantined_{code}": count
                    for code, count in found.quarantine.group_by("error_code")
                    .len()
                    .sort("error_code")
                    .iter_rows()
                },
            },
        ),
    )

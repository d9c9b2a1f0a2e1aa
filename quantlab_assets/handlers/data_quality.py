"""How good what the lake holds is: one question an asset, answered from heads and their rows.

A broken contract is not asked about here: it never gets into the lake. Nothing here changes
anything, and the wall clock enters only as the `now` of freshness.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from quantlab_assets.domain import assets
from quantlab_assets.domain.artifacts.records import Artifact
from quantlab_assets.ports.artifact_store import ArtifactStore

FRESH_FOR: Final = timedelta(days=3)
MOST_QUARANTINED: Final = 0.2
MOST_POOR: Final = 0.5
LEAST_COVERED: Final = 0.8
HORIZON_H: Final = 24
"""Coverage is judged a day after the call."""

ACCOUNTS: Final = ("messages_seen", "service", "ignored", "calling", "quarantined")

Heads = Mapping[str, tuple[Artifact, ...]]
Figure = int | float | str


@dataclass(frozen=True, slots=True)
class Finding:
    """A partition that fails, and the figures that say so."""

    partition: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Quality:
    """The answer: the partitions that fail, by name, and figures over all of them."""

    failing: tuple[Finding, ...]
    figures: Mapping[str, Figure] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing fails."""
        return not self.failing


def freshness(store: ArtifactStore, now: datetime, allowed: timedelta = FRESH_FOR) -> Quality:
    """Whether the newest message is at most `allowed` old. An empty lake has nothing to be old."""
    heads = _heads(store, assets.MESSAGES)
    newest = max(
        ((a.max_ts, day) for day, head in heads.items() for a in head if a.max_ts), default=None
    )
    if newest is None:
        return Quality((), {"newest_message": "none"})
    at, day = newest
    age = round((now - at).total_seconds() / 3600, 1)
    figures: dict[str, Figure] = {"newest_message": at.isoformat(), "age_hours": age}
    late = now - at > allowed
    return Quality((Finding(day, figures),) if late else (), figures)


def accounting(store: ArtifactStore, reported: Mapping[str, Mapping[str, int]]) -> Quality:
    """Whether every message of a day is accounted for, exactly once.

    `reported` has, by day, the counts that runs reported (`ACCOUNTS`). The parts must add up to the
    messages seen: service + ignored + calling + quarantined. The messages seen, calling and
    quarantined must be as many as the lake holds. A day without a report is counted in
    `days_untold` and not judged; the quarantine of a day for which none was ever made is not
    judged either.
    """
    days = sorted(_heads(store, assets.ALERTS))
    calling = _messages(store, assets.ALERTS, "alert_ts_utc", "alert_chat_id", "alert_message_id")
    doubtful = _messages(store, assets.ALERTS_QUARANTINE, "ts_utc", "chat_id", "message_id")
    counted = {
        "messages_seen": _by_day(
            _messages(store, assets.MESSAGES, "ts_utc", "chat_id", "message_id")
        ),
        "calling": _by_day(calling),
        # A message with a good call and a bad one is a calling message.
        "quarantined": _by_day(doubtful.join(calling, on=["day", "chat", "message"], how="anti")),
    }
    quarantined = _heads(store, assets.ALERTS_QUARANTINE)
    failing = []
    for day in days:
        if day not in reported:
            continue
        parts = reported[day]
        accounted = parts["service"] + parts["ignored"] + parts["calling"] + parts["quarantined"]
        differs = {
            f"{name}_in_lake": counts.get(day, 0)
            for name, counts in counted.items()
            if counts.get(day, 0) != parts[name] and (name != "quarantined" or day in quarantined)
        }
        if accounted != parts["messages_seen"] or differs:
            failing.append(Finding(day, {**parts, **differs}))
    return Quality(
        tuple(failing),
        {
            "days": len(days),
            "days_untold": sum(day not in reported for day in days),
            **{
                name: sum(reported[day][name] for day in days if day in reported)
                for name in ACCOUNTS
            },
        },
    )


def quarantine_share(store: ArtifactStore, most: float = MOST_QUARANTINED) -> Quality:
    """Days on which more than the share `most` of calls was quarantined: rows in quarantine by
    rows in quarantine plus alerts."""
    quarantined, calls = _rows(store, assets.ALERTS_QUARANTINE), _rows(store, assets.ALERTS)
    failing = []
    for day, rows in sorted(quarantined.items()):
        share = rows / (rows + calls.get(day, 0)) if rows else 0.0
        if share > most:
            figures: dict[str, Figure] = {"quarantined": rows, "calls": calls.get(day, 0)}
            failing.append(Finding(day, {**figures, "share": round(share, 3)}))
    total = sum(quarantined.values())
    share = total / (total + sum(calls.values())) if total else 0.0
    return Quality(tuple(failing), {"quarantined": total, "share": round(share, 3)})


def duplicates(store: ArtifactStore, asset: str, time_column: str, key: Sequence[str]) -> Quality:
    """Days (of `time_column`) that hold rows with one `key` more than once, over all partitions."""
    rows = _frame(store, asset)
    if rows is None:
        return Quality((), {"rows": 0})
    repeated = (
        rows.group_by(pl.col(time_column).dt.date().alias("day"), *key)
        .len()
        .group_by("day")
        .agg(pl.col("len").sum().alias("rows"), (pl.col("len") - 1).sum().alias("duplicates"))
        .sort("day")
        .collect()
    )
    failing = repeated.filter(pl.col("duplicates") > 0).select("day", "duplicates")
    return Quality(
        tuple(Finding(str(day), {"duplicates": count}) for day, count in failing.iter_rows()),
        {"rows": int(repeated["rows"].sum())},
    )


def poor_slices(store: ArtifactStore, most: float = MOST_POOR) -> Quality:
    """Days of whose slices more than `most` are graded poor."""
    failing = []
    slices = poor = 0
    for day, head in _heads(store, assets.SLICES).items():
        bad = sum(artifact.tags.get("grade") == "poor" for artifact in head)
        slices, poor = slices + len(head), poor + bad
        if bad > most * len(head):
            failing.append(Finding(day, {"slices": len(head), "poor": bad}))
    return Quality(tuple(failing), {"slices": slices, "poor": poor})


def coverage(store: ArtifactStore, least: float = LEAST_COVERED) -> Quality:
    """Days of whose calls fewer than `least` have good candles for a day after the call.

    Calls whose day has not passed yet are left out.
    """
    by_day = _coverage(store)
    failing = by_day.filter(pl.col("good") < least * pl.col("due"))
    calls, good = int(by_day["due"].sum()), int(by_day["good"].sum())
    return Quality(
        tuple(
            Finding(str(row["day"]), {"calls": row["due"], "good": row["good"]})
            for row in failing.iter_rows(named=True)
        ),
        {"calls": calls, "good": good, "share": round(good / calls, 3) if calls else 0.0},
    )


def counted_days(store: ArtifactStore) -> Quality:
    """Days whose coverage the summary does not count, or counts no longer rightly."""
    called = dict(_coverage(store).select("day", "calls").iter_rows())
    summary = _frame(store, assets.COVERAGE_SUMMARY)
    counted: dict[date, int] = {}
    if summary is not None:
        at_horizon = summary.filter(pl.col("horizon_h") == HORIZON_H)
        by_day = at_horizon.group_by("day").agg(pl.col("alerts").sum()).collect()
        counted = dict(by_day.iter_rows())
    failing = tuple(
        Finding(str(day), {"calls": called.get(day, 0), "counted": counted.get(day, 0)})
        for day in sorted({*called, *counted})
        if called.get(day, 0) != counted.get(day, 0)
    )
    return Quality(failing, {"days": len(called), "days_counted": len(counted)})


def _heads(store: ArtifactStore, asset: str) -> Heads:
    partitions = store.list_head_partitions(asset)
    heads = store.get_heads(asset, partitions)
    return {partition: heads[partition] or () for partition in partitions}


def _rows(store: ArtifactStore, asset: str) -> dict[str, int]:
    return {day: sum(a.row_count for a in head) for day, head in _heads(store, asset).items()}


def _frame(store: ArtifactStore, asset: str) -> pl.LazyFrame | None:
    """The rows of all partitions of an asset; None without any."""
    ids = sorted(a.artifact_id for head in _heads(store, asset).values() for a in head)
    return pl.scan_pyarrow_dataset(store.open_many(ids)) if ids else None


def _coverage(store: ArtifactStore) -> pl.DataFrame:
    """Calls by day: all, those whose horizon has passed, and of these those with good candles."""
    rows = _frame(store, assets.FORWARD_COVERAGE)
    if rows is None:
        counts = dict.fromkeys(("calls", "due", "good"), pl.Int64)
        return pl.DataFrame(schema={"day": pl.Date, **counts})
    due = pl.col("reason") != "not_elapsed"
    return (
        rows.filter(pl.col("horizon_h") == HORIZON_H)
        .group_by(pl.col("alert_ts_utc").dt.date().alias("day"))
        .agg(
            pl.len().cast(pl.Int64).alias("calls"),
            due.sum().cast(pl.Int64).alias("due"),
            (due & (pl.col("grade") == "good")).sum().cast(pl.Int64).alias("good"),
        )
        .sort("day")
        .collect()
    )


def _messages(
    store: ArtifactStore, asset: str, time_column: str, chat: str, message: str
) -> pl.DataFrame:
    """The distinct messages that an asset's rows are about: day, chat, message."""
    rows = _frame(store, asset)
    columns = [
        pl.col(time_column).dt.date().alias("day"),
        pl.col(chat).alias("chat"),
        pl.col(message).alias("message"),
    ]
    if rows is None:
        return pl.DataFrame(schema={"day": pl.Date, "chat": pl.Int64, "message": pl.Int64})
    return rows.select(columns).unique().collect()


def _by_day(messages: pl.DataFrame) -> dict[str, int]:
    counted = messages.drop_nulls("day").group_by("day").len()
    return {str(day): count for day, count in counted.iter_rows()}

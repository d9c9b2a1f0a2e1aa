"""What became of each message: every one is counted once, or extraction fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from quantlab_assets.domain.errors import IntegrityError
from quantlab_assets.domain.telegram.alerts.known import MESSAGE
from quantlab_assets.domain.telegram.rules import NO_TOKEN_REASONS


@dataclass(frozen=True, slots=True)
class Accounting:
    """Messages (not versions) of a day by what became of them; every one is counted once."""

    seen: int
    service: int
    ignored: Mapping[str, int]
    calling: int
    quarantined: int

    def __post_init__(self) -> None:
        accounted = self.service + sum(self.ignored.values()) + self.calling + self.quarantined
        if accounted != self.seen:
            raise IntegrityError(
                f"alert accounting: {self.seen} messages seen, {accounted} accounted for"
            )

    def counts(self) -> dict[str, int]:
        """The figures as flat names, for display and checks."""
        return {
            "messages_seen": self.seen,
            "service": self.service,
            **{f"ignored_{reason}": count for reason, count in sorted(self.ignored.items())},
            "ignored": sum(self.ignored.values()),
            "calling": self.calling,
            "quarantined": self.quarantined,
        }


def outcomes_of(
    posts: pl.DataFrame, mentions: pl.DataFrame, alerts: pl.DataFrame, quarantine: pl.DataFrame
) -> pl.DataFrame:
    """What became of each message, once."""
    mark = pl.lit(True)
    calling = alerts.select(MESSAGE).unique().with_columns(mark.alias("calls"))
    doubtful = quarantine.select(MESSAGE).unique().with_columns(mark.alias("doubted"))
    no_tokens = (
        mentions.filter(pl.col("role").is_in(NO_TOKEN_REASONS))
        .group_by(MESSAGE)
        .agg(pl.col("role").unique().alias("no_tokens"))
    )
    reason = (
        pl.when("is_bot")
        .then(pl.lit("bot"))
        .when("is_command")
        .then(pl.lit("command"))
        .when("bot_forward")
        .then(pl.lit("bot_forward"))
        .when("no_text")
        .then(pl.lit("no_text"))
        .when(pl.col("no_tokens").is_not_null())
        .then(
            pl.coalesce(
                pl.when(pl.col("no_tokens").list.contains(why)).then(pl.lit(why))
                for why in NO_TOKEN_REASONS
            )
        )
        .when("has_ticker")
        .then(pl.lit("ticker_unresolved"))
        .otherwise(pl.lit("no_token"))
    )
    outcome = (
        pl.when("is_service")
        .then(pl.lit("service"))
        .when("calls")
        .then(pl.lit("calling"))
        .when("doubted")
        .then(pl.lit("quarantined"))
        .otherwise(pl.lit("ignored"))
    )
    return (
        posts.join(calling, on=MESSAGE, how="left")
        .join(doubtful, on=MESSAGE, how="left")
        .join(no_tokens, on=MESSAGE, how="left")
        .with_columns(outcome.alias("outcome"))
        .select(
            *MESSAGE,
            "sender_kind",
            "outcome",
            pl.when(pl.col("outcome") == "ignored").then(reason).alias("reason"),
        )
        .sort(MESSAGE)
    )


def accounting_of(outcomes: pl.DataFrame, days: Sequence[date]) -> list[Accounting]:
    """The figures of each day, in the order of `days`; `outcomes` as `outcomes_of` gives them."""
    counted = outcomes.group_by("day", "outcome", "reason").len().sort("day", "outcome", "reason")
    counts: dict[date, dict[tuple[str, str | None], int]] = {day: {} for day in days}
    for day, outcome, reason, count in counted.iter_rows():
        counts[day][outcome, reason] = count
    seen = dict(outcomes.group_by("day").len().iter_rows())
    return [
        Accounting(
            seen=seen.get(day, 0),
            service=found.get(("service", None), 0),
            ignored={str(reason): n for (kind, reason), n in found.items() if kind == "ignored"},
            calling=found.get(("calling", None), 0),
            quarantined=found.get(("quarantined", None), 0),
        )
        for day, found in ((day, counts[day]) for day in days)
    ]

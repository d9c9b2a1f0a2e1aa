"""Which window of candles a day's calls need of each token.

A slice holds the candles of one token at one interval in one window `[from, to)`. The windows
follow from the calls alone, so that they are the same whatever the candle source has; slices are
cut of them for every network and interval that it has, whatever the calls name. What a slice is
called belongs to `key`, how complete it is to `quality`.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.time_us import SECOND_US, from_us, to_us
from quantlab_assets.domain.tokens.networks import network_of_token
from quantlab_assets.domain.tokens.token import Chain


@dataclass(frozen=True, slots=True)
class SliceWindow:
    """How much time around the calls of a token a slice covers, in seconds.

    `post_s` must cover entry delay + longest wait + longest hold + one interval of the experiments
    it is meant for.
    """

    pre_s: int = 260 * 60
    post_s: int = 48 * 3600

    def __post_init__(self) -> None:
        if self.pre_s < 0 or self.post_s <= 0:
            raise ValidationFailed(
                f"slice window of {self.pre_s} s before and {self.post_s} s after a call:"
                " the first must not be negative, the second must be positive"
            )


@dataclass(frozen=True, slots=True)
class PlannedSlice:
    """The window of one token called on a day, before it is fitted to an interval.

    `network` is the one that all its calls name; None if one names none, or they name several.
    """

    chain: Chain
    mint: str
    network: str | None
    start: datetime
    end: datetime
    alerts: int

    def window(self, interval_s: int) -> tuple[datetime, datetime]:
        """`[from, to)` on the interval's grid: the start floored, the end ceiled."""
        return fit_window(self.start, self.end, interval_s)


def fit_window(start: datetime, end: datetime, interval_s: int) -> tuple[datetime, datetime]:
    """A window on an interval's grid, counted from 1970: the start floored, the end ceiled."""
    step = interval_s * SECOND_US
    floored = to_us(start) // step * step
    ceiled = -(-to_us(end) // step) * step
    return from_us(floored), from_us(ceiled)


def plan_slices(alerts: pl.DataFrame, window: SliceWindow) -> list[PlannedSlice]:
    """One window for each token called: `[first alert - pre, last alert + post)`.

    `alerts` has the columns chain, mint, token_chain and alert_ts_utc of `alerts_v1`, in any order.
    The result is sorted by chain and mint.
    """
    named = network_of_token()
    planned = (
        alerts.group_by("chain", "mint")
        .agg(
            pl.when(named.null_count() == 0, named.n_unique() == 1)
            .then(named.first())
            .alias("network"),
            (pl.col("alert_ts_utc").min() - pl.duration(seconds=window.pre_s)).alias("start"),
            (pl.col("alert_ts_utc").max() + pl.duration(seconds=window.post_s)).alias("end"),
            pl.len().alias("alerts"),
        )
        .sort("chain", "mint")
        .select("chain", "mint", "network", "start", "end", "alerts")
    )
    return [PlannedSlice(*row) for row in planned.iter_rows()]

"""Slices: which window of candles each call needs, what a slice is called, how complete it is.

A slice holds the candles of one token at one interval in one window `[from, to)`. The windows
follow from the calls alone, so that they are the same whatever the candle source has.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.artifacts.type import INTERVALS
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.time_us import SECOND_US, from_us, to_us
from quantlab_assets.domain.tokens.token import Chain, Token

Grade = Literal["good", "partial", "poor"]

GOOD: Final = 0.95
PARTIAL: Final = 0.80

INTERVAL_NAMES: Final = {seconds: name for name, seconds in INTERVALS.items()}

_UTC_US: Final = pl.Datetime("us", "UTC")

WINDOW_SCHEMA: Final = {
    "chain": pl.String(),
    "mint": pl.String(),
    "token_chain": pl.String(),
    "interval_s": pl.Int64(),
    "window_start": _UTC_US,
    "window_end": _UTC_US,
}
"""Windows that slices cover: token (network null when unknown), interval, `[start, end)`."""


@dataclass(frozen=True, slots=True)
class Grading:
    """The shares of the expected candles from which on they are `good`, and `partial`."""

    good: float = GOOD
    partial: float = PARTIAL

    def __post_init__(self) -> None:
        if not 0 < self.partial <= self.good <= 1:
            raise ValidationFailed(
                f"grades from {self.good:g} and {self.partial:g} on: both are shares of 1, and good"
                " is not less than partial"
            )

    def grade_of(self, share: float) -> Grade:
        """The grade of a share of the expected candles, 0 to 1."""
        if share >= self.good:
            return "good"
        return "partial" if share >= self.partial else "poor"


STANDARD_GRADING: Final = Grading()


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

    `networks` are those the calls name; None if a call names none, which asks for all of them.
    """

    chain: Chain
    mint: str
    networks: frozenset[str] | None
    start: datetime
    end: datetime
    alerts: int

    def wants(self, token: Token) -> bool:
        """Whether a token a source has is one that was called; an unknown network always fits."""
        return self.networks is None or token.network is None or token.network in self.networks

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
    planned = (
        alerts.group_by("chain", "mint")
        .agg(
            pl.col("alert_ts_utc").min().alias("first"),
            pl.col("alert_ts_utc").max().alias("last"),
            network_of_token("token_chain", "chain").unique().sort().alias("networks"),
            pl.len().alias("alerts"),
        )
        .with_columns(
            (pl.col("first") - pl.duration(seconds=window.pre_s)).alias("start"),
            (pl.col("last") + pl.duration(seconds=window.post_s)).alias("end"),
        )
        .sort("chain", "mint")
    )
    return [
        PlannedSlice(
            chain=row["chain"],
            mint=row["mint"],
            networks=None if None in row["networks"] else frozenset(row["networks"]),
            start=row["start"],
            end=row["end"],
            alerts=row["alerts"],
        )
        for row in planned.iter_rows(named=True)
    ]


def network_of_token(column: str, chain: str) -> pl.Expr:
    """The network of a token; Solana is its own, whether or not it was said."""
    return pl.when(pl.col(chain) == "solana").then(pl.lit("solana")).otherwise(pl.col(column))


def slice_key(token: Token, interval_s: int, start: datetime, end: datetime) -> str:
    """The logical key of a slice. Raises `ValidationFailed` for what no key can name."""
    name = INTERVAL_NAMES.get(interval_s)
    if name is None:
        raise ValidationFailed(
            f"no slice of {interval_s} s candles: intervals are {', '.join(INTERVALS)}"
        )
    return OHLCV_SLICE.key(
        token=token.key, res=name, **{"from": iso_utc(start), "to": iso_utc(end)}
    )


def iso_utc(ts: datetime) -> str:
    """`2025-11-06T13:40:00Z`; a fraction of a second only where there is one."""
    utc = ts.astimezone(UTC).replace(tzinfo=None)
    text = utc.isoformat(timespec="microseconds" if utc.microsecond else "seconds")
    return f"{text}Z"


def windows_of(keys: Iterable[str]) -> pl.DataFrame:
    """The windows that slices cover, from their logical keys (`WINDOW_SCHEMA`), sorted.

    Raises `ValidationFailed` for a key that is no slice's.
    """
    rows = []
    for key in sorted(set(keys)):
        fields = OHLCV_SLICE.parse_key(key)
        network, _, address = fields["token"].rpartition(":")
        solana = re.match("0x", address) is None
        rows.append(
            {
                "chain": "solana" if solana else "evm",
                "mint": address,
                "token_chain": "solana" if solana else network or None,
                "interval_s": INTERVALS[fields["res"]],
                "window_start": datetime.fromisoformat(fields["from"]),
                "window_end": datetime.fromisoformat(fields["to"]),
            }
        )
    return pl.DataFrame(rows, schema=WINDOW_SCHEMA).sort(
        "chain", "mint", "token_chain", "interval_s", "window_start", "window_end"
    )


def planned_windows(
    alerts: pl.DataFrame, candles: pl.DataFrame, window: SliceWindow
) -> pl.DataFrame:
    """The windows (`WINDOW_SCHEMA`) that the alerts ask for of the series that have candles.

    `candles` are rows of slices. For slices whose keys are at hand, `windows_of` is exact.
    """
    series = candles.select(
        "chain",
        pl.col("token_address").alias("mint"),
        network_of_token("token_chain", "chain").alias("token_chain"),
        "interval_s",
    ).unique()
    by_token: dict[tuple[str, str], list[tuple[str | None, int]]] = {}
    for chain, mint, network, interval_s in series.iter_rows():
        by_token.setdefault((chain, mint), []).append((network, interval_s))
    rows = [
        (planned.chain, planned.mint, network, interval_s, *planned.window(interval_s))
        for planned in plan_slices(alerts, window)
        for network, interval_s in by_token.get((planned.chain, planned.mint), ())
    ]
    return pl.DataFrame(rows, schema=WINDOW_SCHEMA, orient="row").sort(pl.all())


@dataclass(frozen=True, slots=True)
class SliceQuality:
    """How complete a slice is. `expected` counts the grid points of its interval in its window,
    `gaps` the stretches of them that have no candle."""

    expected: int
    actual: int
    traded: int
    gaps: int
    grading: Grading = STANDARD_GRADING

    @property
    def coverage(self) -> float:
        """Share of the expected candles that are there."""
        return self.actual / self.expected if self.expected else 0.0

    @property
    def grade(self) -> Grade:
        """By its grading: `good` from 95 % of the candles on, `partial` from 80 %, `poor` below,
        unless told otherwise."""
        return self.grading.grade_of(self.coverage)


def slice_quality(
    candles: pa.Table,
    interval_s: int,
    start: datetime,
    end: datetime,
    grading: Grading = STANDARD_GRADING,
) -> SliceQuality:
    """Count what a slice holds; one candle a time, all of them inside the window."""
    traded = pc.sum(pc.greater(candles.column("volume"), 0)).as_py()
    step, first, last = interval_s * SECOND_US, to_us(start), to_us(end)
    # One step before the window and its end, as if candles stood there: gaps at the edges count.
    times = np.concatenate(
        ([first - step], candles.column("ts").cast(pa.int64()).to_numpy(), [last])
    )
    return SliceQuality(
        expected=(last - first) // step,
        actual=candles.num_rows,
        traded=int(traded or 0),
        gaps=int((np.diff(times) > step).sum()),
        grading=grading,
    )


def slice_tags(
    token: Token, interval_s: int, quality: SliceQuality, volume_unit: str | None = None
) -> dict[str, str]:
    """What a slice is found by. The coverage is cut, not rounded: 0.949999 is not 0.95.

    `volume_unit` says what volumes are in if not in US dollars (`token`).
    """
    tags = {
        "token": token.address,
        "chain": token.chain,
        "res": INTERVAL_NAMES[interval_s],
        "grade": quality.grade,
        "coverage": f"{int(quality.coverage * 1_000_000) / 1_000_000:.6f}",
        "expected_candles": str(quality.expected),
        "traded_candles": str(quality.traded),
        "gaps": str(quality.gaps),
    }
    if token.network is not None:
        tags["network"] = token.network
    if volume_unit is not None:
        tags["volume_unit"] = volume_unit
    return tags

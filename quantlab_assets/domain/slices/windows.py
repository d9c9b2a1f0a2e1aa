"""Which windows slices cover, as a frame: read off their keys, or worked out from the calls.

What a window is and which ones a day's calls ask for belongs to `plan`.
"""

from collections.abc import Iterable
from typing import Final

import polars as pl

from quantlab_assets.domain.slices.key import SliceKey
from quantlab_assets.domain.slices.plan import SliceWindow, plan_slices
from quantlab_assets.domain.tokens.networks import network_of_token

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


def windows_of(keys: Iterable[str]) -> pl.DataFrame:
    """The windows that slices cover, from their logical keys (`WINDOW_SCHEMA`), each once, sorted.

    Raises `ValidationFailed` for a key that is no slice's.
    """
    parsed = [SliceKey.parse(key) for key in sorted(set(keys))]
    rows = [
        (
            key.token.chain,
            key.token.address,
            key.token.network,
            key.interval_s,
            key.start,
            key.end,
        )
        for key in parsed
    ]
    return pl.DataFrame(rows, schema=WINDOW_SCHEMA, orient="row").sort(pl.all())


def planned_windows(
    alerts: pl.DataFrame, candles: pl.DataFrame, window: SliceWindow
) -> pl.DataFrame:
    """The windows (`WINDOW_SCHEMA`) that the alerts ask for of the series that have candles.

    `candles` are rows of slices. For slices whose keys are at hand, `windows_of` is exact.
    """
    series = candles.select(
        "chain",
        pl.col("token_address").alias("mint"),
        network_of_token().alias("token_chain"),
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

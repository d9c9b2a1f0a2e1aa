"""One row for every alert that did not trade, saying why."""

import numpy as np
import polars as pl

from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_assets.simulation.compiled.arrays import Integers
from quantlab_assets.simulation.frames import DIAGNOSTIC_COLUMNS
from quantlab_assets.simulation.walk.kernel import ENTRY_EXPIRED, NO_CANDLES, NO_ENTRY_CANDLE
from quantlab_assets.simulation.walk.positions import Entries

CAPACITY = -4
"""Stands beside the kernel's codes for an alert refused because too many positions were open."""


def diagnostics_frame(
    alerts: pl.DataFrame,
    entries: Entries,
    refused: Integers,
    refused_ts: Integers,
    strategy: Strategy,
) -> pl.DataFrame:
    """Show why alerts did not trade, by alert_id, as a frame of `DIAGNOSTIC_COLUMNS`.

    `refused` are alerts skipped for capacity and `refused_ts` their entry times. `ts` is the order
    time, or that entry time.
    """
    outcome = np.minimum(entries.row, 0)
    when = entries.order_ts.copy()
    outcome[refused] = CAPACITY
    when[refused] = refused_ts
    silent = np.flatnonzero(outcome)
    wait, limit = strategy.entry.max_wait_s, strategy.sizing.max_open_positions
    explained = {
        NO_CANDLES: ("no_candles", "there are no candles of this token"),
        NO_ENTRY_CANDLE: ("no_entry_candle", f"no candle opened within {wait} s of the order time"),
        ENTRY_EXPIRED: ("entry_expired", f"the limit was not reached within {wait} s"),
        CAPACITY: ("capacity", f"{limit} positions were open at the entry time"),
    }
    codes = outcome[silent].tolist()
    columns = {
        "alert_id": alerts["alert_id"][silent],
        "level": pl.Series(["warning"] * len(silent), dtype=pl.String),
        "code": pl.Series([explained[code][0] for code in codes], dtype=pl.String),
        "message": pl.Series([explained[code][1] for code in codes], dtype=pl.String),
        "ts": pl.Series(when[silent]),
    }
    return pl.DataFrame(
        [columns[name].cast(dtype).alias(name) for name, dtype in DIAGNOSTIC_COLUMNS.items()]
    )

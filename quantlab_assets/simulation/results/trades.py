"""The trades of a run: as arrays to compute with, as a frame to read."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from quantlab_assets.domain.experiments.strategy import EXIT_REASONS
from quantlab_assets.domain.time_us import SECOND_US
from quantlab_assets.simulation.compiled.arrays import Integers
from quantlab_assets.simulation.frames import TRADE_COLUMNS
from quantlab_assets.simulation.market.candle_book import CandleBook
from quantlab_assets.simulation.walk.money import Money, Rates
from quantlab_assets.simulation.walk.positions import Fills, Positions


@dataclass(frozen=True)
class Trades:
    """Admitted positions with their fills and money, by entry time, then alert_id."""

    positions: Positions
    fills: Fills
    money: Money
    entry_ts: Integers
    exit_ts: Integers

    @property
    def duration_s(self) -> Integers:
        """Whole seconds from entry to exit."""
        return (self.exit_ts - self.entry_ts) // SECOND_US

    def __len__(self) -> int:
        return len(self.entry_ts)


def last_leg_ts(fills: Fills) -> Integers:
    """Return the time of each position's last leg, which is its exit."""
    return fills.leg_ts[np.arange(len(fills.legs)), fills.legs - 1]


def entry_order(book: CandleBook, positions: Positions) -> Integers:
    """Return the order by entry time, then alert_id; positions come by alert_id."""
    return np.argsort(book.candles.ts[positions.entry], kind="stable")


def trades_frame(alerts: pl.DataFrame, trades: Trades, rates: Rates) -> pl.DataFrame:
    """Show `trades` of checked `alerts` as a frame of `TRADE_COLUMNS`."""
    fills, money = trades.fills, trades.money
    price = trades.positions.price
    alert = alerts[trades.positions.alert]
    columns: dict[str, pl.Series | npt.NDArray[np.generic]] = {
        "trade_id": alert["alert_id"],
        "alert_id": alert["alert_id"],
        "caller_name_norm": alert["caller_name_norm"],
        "chain": alert["chain"],
        "mint": alert["mint"],
        "alert_ts_utc": alert["alert_ts_utc"],
        "entry_ts": trades.entry_ts,
        "entry_price": price,
        "exit_ts": trades.exit_ts,
        "exit_price": money.exit_price,
        "exit_reason": _REASON_NAMES[fills.reason.astype(np.int64)],
        "exit_legs": fills.legs,
        "stake": np.full(len(trades), rates.stake),
        "gross_pnl": money.gross_pnl,
        "net_pnl": money.net_pnl,
        "net_return": money.net_pnl / rates.stake,
        "fees": money.fees,
        "slippage_cost": money.slippage_cost,
        "peak_multiple": fills.peak / price,
        "trough_multiple": fills.trough / price,
        "duration_s": trades.duration_s,
        "candles_held": fills.exit - trades.positions.entry + 1,
        "ambiguous_candles": fills.ambiguous,
    }
    return pl.DataFrame(
        [
            pl.Series(name, columns[name]).cast(dtype).alias(name)
            for name, dtype in TRADE_COLUMNS.items()
        ]
    )


_REASON_NAMES = pl.Series(EXIT_REASONS, dtype=pl.String)

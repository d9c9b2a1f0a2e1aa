"""What goes in and comes out: columns, types and value rules of frames.

Nothing is computed here. Input frames are checked column by column and row by row, since a bad
candle found late is a wrong trade found never. Extra columns are ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.experiments.strategy import Strategy

TIMESTAMP = pl.Datetime("us", "UTC")

ALERT_COLUMNS: Mapping[str, pl.DataType] = {
    "alert_id": pl.String(),
    "alert_ts_utc": TIMESTAMP,
    "known_ts_utc": TIMESTAMP,
    "chain": pl.String(),
    "mint": pl.String(),
    "caller_name_norm": pl.String(),
}

CANDLE_COLUMNS: Mapping[str, pl.DataType] = {
    "token_address": pl.String(),
    "chain": pl.String(),
    "interval_s": pl.Int64(),
    "ts": TIMESTAMP,
    "open": pl.Float64(),
    "high": pl.Float64(),
    "low": pl.Float64(),
    "close": pl.Float64(),
    "volume": pl.Float64(),
}
"""Only `volume` may be null. `interval_s` may be a smaller integer type."""

SMALLER_INTEGERS = (pl.Int8(), pl.Int16(), pl.Int32(), pl.UInt8(), pl.UInt16(), pl.UInt32())

LOWEST_PRICE = 1e-50
HIGHEST_PRICE = 1e50
"""Prices outside cannot be real, and ratios of those inside can neither overflow nor vanish."""

LONGEST_INTERVAL_S = 366 * 86_400
EARLIEST_TS = 0
LATEST_TS = 7_258_118_400_000_000 - 1
"""Years from 1970 to 2199: sums of times stay in 64 bits and hourly curves in memory."""

TRADE_COLUMNS: Mapping[str, pl.DataType] = {
    "trade_id": pl.String(),
    "alert_id": pl.String(),
    "caller_name_norm": pl.String(),
    "chain": pl.String(),
    "mint": pl.String(),
    "alert_ts_utc": TIMESTAMP,
    "entry_ts": TIMESTAMP,
    "entry_price": pl.Float64(),
    "exit_ts": TIMESTAMP,
    "exit_price": pl.Float64(),
    "exit_reason": pl.String(),
    "exit_legs": pl.Int64(),
    "stake": pl.Float64(),
    "gross_pnl": pl.Float64(),
    "net_pnl": pl.Float64(),
    "net_return": pl.Float64(),
    "fees": pl.Float64(),
    "slippage_cost": pl.Float64(),
    "peak_multiple": pl.Float64(),
    "trough_multiple": pl.Float64(),
    "duration_s": pl.Int64(),
    "candles_held": pl.Int64(),
    "ambiguous_candles": pl.Int64(),
}

METRIC_COLUMNS: Mapping[str, pl.DataType] = {
    "scope": pl.String(),
    "scope_value": pl.String(),
    "metric_name": pl.String(),
    "metric_value": pl.Float64(),
}

CURVE_COLUMNS: Mapping[str, pl.DataType] = {
    "ts": TIMESTAMP,
    "equity": pl.Float64(),
    "cumulative_net_pnl": pl.Float64(),
    "open_positions": pl.Int64(),
    "drawdown": pl.Float64(),
}

DIAGNOSTIC_COLUMNS: Mapping[str, pl.DataType] = {
    "alert_id": pl.String(),
    "level": pl.String(),
    "code": pl.String(),
    "message": pl.String(),
    "ts": TIMESTAMP,
}


@dataclass(frozen=True)
class SimulationResult:
    """What a strategy did: `trades`, `metrics`, `curves` and `diagnostics` as Polars frames."""

    trades: pl.DataFrame
    metrics: pl.DataFrame
    curves: pl.DataFrame
    diagnostics: pl.DataFrame


def check_alerts(alerts: pl.DataFrame) -> pl.DataFrame:
    """Return the alert columns, by alert_id, so that row order is no input.

    Raises `ValidationFailed` for a missing or wrongly typed column, a null, a time outside the
    years 1970 to 2199, or an alert_id given twice.
    """
    checked = _check_columns(alerts, ALERT_COLUMNS, "alerts")
    for column in ("alert_ts_utc", "known_ts_utc"):
        times = checked[column].to_physical()
        if not times.is_between(EARLIEST_TS, LATEST_TS).all():
            row = int(times.is_between(EARLIEST_TS, LATEST_TS).arg_min() or 0)
            raise ValidationFailed(
                f"alerts: column {column!r} is {times[row]} us after 1970, outside the years 1970 "
                f"to 2199, in row {row}"
            )
    if checked["alert_id"].is_duplicated().any():
        row = int(checked["alert_id"].is_first_distinct().arg_min() or 0)
        raise ValidationFailed(
            f"alerts: column 'alert_id' is {checked['alert_id'][row]!r} once more in row {row}"
        )
    return checked.sort("alert_id")


def check_candles(candles: pl.DataFrame) -> pl.DataFrame:
    """Return the candle columns, in the order given.

    Raises `ValidationFailed` for a missing or wrongly typed column or a null outside `volume`.
    Prices are checked by `candles.lay_out`, in the pass that reads them anyway.
    """
    return _check_columns(candles, CANDLE_COLUMNS, "candles")


def check_strategy(strategy: Strategy, name: str) -> None:
    """Raise `ValidationFailed`, saying how to make one, if `strategy` is a dict, a text or None."""
    if not isinstance(strategy, Strategy):
        raise ValidationFailed(
            f"{name}: must be a Strategy, not {type(strategy).__name__}; "
            "make one with Strategy.from_json"
        )


def _check_columns(
    frame: pl.DataFrame, columns: Mapping[str, pl.DataType], name: str
) -> pl.DataFrame:
    if not isinstance(frame, pl.DataFrame):
        raise ValidationFailed(
            f"{name}: must be a polars DataFrame, not {type(frame).__name__}; "
            "collect or convert it first"
        )
    for column, expected in columns.items():
        if column not in frame.columns:
            raise ValidationFailed(f"{name}: column {column!r} is missing")
        given = frame.schema[column]
        fits = given == expected or (column == "interval_s" and given in SMALLER_INTEGERS)
        fits = fits or (given == pl.Null() and (column == "volume" or not frame.height))
        if not fits:
            raise ValidationFailed(f"{name}: column {column!r} must be {expected}, not {given}")
        nulls = frame[column].null_count()
        if nulls and column != "volume":
            row = frame[column].is_null().arg_max()
            raise ValidationFailed(f"{name}: column {column!r} is null in row {row}")
    differing = [name for name, expected in columns.items() if frame.schema[name] != expected]
    return frame.select(list(columns)).with_columns(
        pl.col(column).cast(columns[column]) for column in differing
    )

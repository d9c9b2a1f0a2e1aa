"""The frames that go in and come out: their columns, types and value rules.

Nothing is computed here. Input frames are checked column by column and row by row, since a bad
candle found late is a wrong trade found never. Extra columns are ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from quantlab_assets.domain.errors import ValidationFailed

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
"""Only `volume` may be null. `interval_s` may be any integer type."""

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

    Raises `ValidationFailed` for a missing or wrongly typed column, a null, or an alert_id given
    twice.
    """
    checked = _check_columns(alerts, ALERT_COLUMNS, "alerts").sort("alert_id")
    repeated = checked.filter(pl.col("alert_id") == pl.col("alert_id").shift(1))
    if repeated.height:
        raise ValidationFailed(
            f"alerts: alert_id {repeated['alert_id'][0]!r} occurs more than once"
        )
    return checked


def check_candles(candles: pl.DataFrame) -> pl.DataFrame:
    """Return the candle columns, in the order given.

    Raises `ValidationFailed` for a missing or wrongly typed column or a null outside `volume`.
    Prices are checked by `candles.lay_out`, in the pass that reads them anyway.
    """
    return _check_columns(candles, CANDLE_COLUMNS, "candles")


def _check_columns(
    frame: pl.DataFrame, columns: Mapping[str, pl.DataType], name: str
) -> pl.DataFrame:
    for column, expected in columns.items():
        if column not in frame.columns:
            raise ValidationFailed(f"{name}: column {column!r} is missing")
        found = frame.schema[column]
        fits = found == expected or (column == "interval_s" and found.is_integer())
        fits = fits or (found == pl.Null() and (column == "volume" or not frame.height))
        if not fits:
            raise ValidationFailed(f"{name}: column {column!r} must be {expected}, not {found}")
        nulls = frame[column].null_count()
        if nulls and column != "volume":
            row = frame[column].is_null().arg_max()
            raise ValidationFailed(f"{name}: column {column!r} is null in row {row}")
    differing = [name for name, expected in columns.items() if frame.schema[name] != expected]
    return frame.select(list(columns)).with_columns(
        pl.col(column).cast(columns[column]) for column in differing
    )

"""Bad input is refused by column and row; input that is merely empty gives empty results."""

from datetime import UTC, datetime

import polars as pl
import pytest

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.simulation import simulate, simulate_many
from quantlab_assets.simulation.frames import (
    CURVE_COLUMNS,
    DIAGNOSTIC_COLUMNS,
    METRIC_COLUMNS,
    TRADE_COLUMNS,
)
from quantlab_assets.simulation.market.candle_book import one_candle_a_moment
from quantlab_tests.simulation.markets import alert_frame, build_strategy, candle_frame

STRATEGY = build_strategy()
ALERTS = alert_frame([{}, {}])
CANDLES = candle_frame([(1, 2, 0.5, 1.5), (1.5, 1.6, 1.4, 1.5), (1.5, 3, 1.5, 2)])
INFINITE, NAN = float("inf"), float("nan")


def refusal(alerts: pl.DataFrame = ALERTS, candles: pl.DataFrame = CANDLES) -> str:
    with pytest.raises(ValidationFailed) as refused:
        simulate(alerts, candles, STRATEGY)
    with pytest.raises(ValidationFailed) as refused_many:
        simulate_many(alerts, candles, [STRATEGY])
    assert str(refused_many.value) == str(refused.value)
    return str(refused.value)


def with_cell(frame: pl.DataFrame, column: str, row: int, value: object) -> pl.DataFrame:
    cells = frame[column].to_list()
    cells[row] = value
    return frame.with_columns(pl.Series(column, cells, dtype=frame.schema[column]))


@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
@pytest.mark.parametrize("price", [0.0, -1.0, NAN, INFINITE, -INFINITE, 1e-60, 1e60])
def test_what_is_no_price(column, price):
    message = refusal(candles=with_cell(CANDLES, column, 1, price))
    assert f"'{column}'" in message
    assert "row 1" in message
    with pytest.raises(ValidationFailed, match="row 1"):
        one_candle_a_moment(with_cell(CANDLES, column, 1, price))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("high", 1.45, "column 'high' is 1.45, below open or close, in row 1"),
        ("low", 1.55, "column 'low' is 1.55, above open or close, in row 1"),
        ("interval_s", 0, "column 'interval_s' is 0, not 1 to 31622400 seconds, in row 1"),
        (
            "interval_s",
            2**62,
            f"column 'interval_s' is {2**62}, not 1 to 31622400 seconds, in row 1",
        ),
        ("ts", datetime(1969, 12, 31, tzinfo=UTC), "column 'ts' is -86400000000 us after 1970"),
        ("ts", datetime(2200, 1, 1, tzinfo=UTC), "outside the years 1970 to 2199, in row 1"),
        ("close", None, "column 'close' is null in row 1"),
        ("ts", None, "column 'ts' is null in row 1"),
        ("token_address", None, "column 'token_address' is null in row 1"),
    ],
)
def test_what_is_no_candle(column, value, said):
    assert said in refusal(candles=with_cell(CANDLES, column, 1, value))


def test_a_volume_may_be_missing():
    for volume in (None, NAN):
        result = simulate(ALERTS, with_cell(CANDLES, "volume", 1, volume), STRATEGY)
        assert result.trades.height == 2


@pytest.mark.parametrize("column", ["known_ts_utc", "alert_ts_utc", "chain", "mint", "alert_id"])
def test_alerts_without_a_value(column):
    assert f"alerts: column '{column}' is null in row 1" in refusal(
        with_cell(ALERTS, column, 1, None)
    )


@pytest.mark.parametrize("column", ["known_ts_utc", "alert_ts_utc"])
@pytest.mark.parametrize("us", [-(2**63), -1, 7_258_118_400_000_000, 2**63 - 1])
def test_alerts_at_impossible_times(column, us):
    times = pl.Series(column, [1, us]).cast(ALERTS.schema[column])
    message = refusal(ALERTS.with_columns(times))
    assert f"alerts: column '{column}' is {us} us after 1970, outside the years" in message
    assert "in row 1" in message


def test_an_alert_given_twice():
    message = refusal(pl.concat([ALERTS, ALERTS[:1]]))
    assert message == "alerts: column 'alert_id' is 'a0' once more in row 2"


@pytest.mark.parametrize("column", ALERTS.columns)
def test_alerts_without_a_column(column):
    assert f"alerts: column '{column}' is missing" in refusal(ALERTS.drop(column))


@pytest.mark.parametrize("column", CANDLES.columns)
def test_candles_without_a_column(column):
    assert f"candles: column '{column}' is missing" in refusal(candles=CANDLES.drop(column))


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        ("ts", pl.Datetime("us")),
        ("ts", pl.Datetime("ms", "UTC")),
        ("ts", pl.Datetime("us", "Europe/Berlin")),
        ("open", pl.Float32()),
        ("interval_s", pl.Float64()),
        ("interval_s", pl.UInt64()),
        ("chain", pl.Categorical()),
        ("token_address", pl.Enum(["MintA"])),
    ],
)
def test_wrong_types(column, dtype):
    if column == "ts" and dtype.time_zone is None:
        wrong = CANDLES.with_columns(ts=pl.Series([datetime(2025, 1, 1)] * 3, dtype=dtype))
    elif column == "ts":
        wrong = CANDLES.with_columns(pl.col("ts").cast(pl.Datetime(dtype.time_unit, "UTC")))
        wrong = wrong.with_columns(pl.col("ts").dt.convert_time_zone(dtype.time_zone))
    else:
        wrong = CANDLES.with_columns(pl.col(column).cast(dtype))
    message = refusal(candles=wrong)
    assert message.startswith(f"candles: column '{column}' must be ")


@pytest.mark.parametrize("not_a_frame", [ALERTS.lazy(), ALERTS.to_arrow(), ALERTS.to_dicts(), None])
def test_what_is_no_frame(not_a_frame):
    kind = type(not_a_frame).__name__
    assert refusal(not_a_frame).startswith(f"alerts: must be a polars DataFrame, not {kind}; ")
    assert refusal(candles=not_a_frame).startswith("candles: must be a polars DataFrame")


def test_what_is_no_strategy():
    with pytest.raises(ValidationFailed, match="strategy: must be a Strategy, not dict; make one"):
        simulate(ALERTS, CANDLES, {"exit": {}})
    with pytest.raises(ValidationFailed, match=r"strategies\.1: must be a Strategy, not str"):
        simulate_many(ALERTS, CANDLES, [STRATEGY, "{}"])


def test_small_integers_are_intervals_too():
    short = CANDLES.with_columns(pl.col("interval_s").cast(pl.Int32))
    assert simulate(ALERTS, short, STRATEGY).trades.equals(
        simulate(ALERTS, CANDLES, STRATEGY).trades
    )


@pytest.mark.parametrize("candles", [CANDLES, CANDLES[:0]])
@pytest.mark.parametrize("alerts", [ALERTS, ALERTS[:0]])
def test_schemas_hold_even_when_empty(alerts, candles):
    result = simulate(alerts, candles, STRATEGY)
    assert result.trades.schema == dict(TRADE_COLUMNS)
    assert result.metrics.schema == dict(METRIC_COLUMNS)
    assert result.curves.schema == dict(CURVE_COLUMNS)
    assert result.diagnostics.schema == dict(DIAGNOSTIC_COLUMNS)
    assert result.trades.height + result.diagnostics.height == alerts.height
    if not candles.height:
        assert set(result.diagnostics["code"]) <= {"no_candles"}


def test_strategies_may_come_from_a_generator():
    assert len(list(simulate_many(ALERTS, CANDLES, (STRATEGY for _ in range(3))))) == 3


def test_no_strategies_no_results():
    assert list(simulate_many(ALERTS, CANDLES, [])) == []

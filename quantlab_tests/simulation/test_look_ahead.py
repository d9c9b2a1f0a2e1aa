"""No decision depends on a candle that opens after it: such candles may say anything."""

from datetime import datetime

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from quantlab_assets.simulation import simulate
from quantlab_tests.simulation.markets import Case, cases

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)
PRICES = ("open", "high", "low", "close")


def poisoned(candles: pl.DataFrame, now: datetime, factor: float) -> pl.DataFrame:
    """All prices of candles that open at `now` or later multiplied."""
    later = pl.col("ts") >= now
    return candles.with_columns(
        pl.when(later).then(pl.col(price) * factor).otherwise(pl.col(price)).alias(price)
        for price in PRICES
    )


def the_past_stays(case: Case, factor: float, data: st.DataObject) -> None:
    times = case.candles["ts"].unique().sort().to_list()
    if not times:
        return
    now = data.draw(st.sampled_from(times))
    before = simulate(case.alerts, case.candles, case.strategy)
    after = simulate(case.alerts, poisoned(case.candles, now, factor), case.strategy)

    left = pl.col("exit_ts") < now
    assert_frame_equal(before.trades.filter(left), after.trades.filter(left), check_exact=True)
    entered = ["alert_id", "entry_ts", "entry_price"]
    assert_frame_equal(
        before.trades.filter(pl.col("entry_ts") < now).select(entered),
        after.trades.filter(pl.col("entry_ts") < now).select(entered),
        check_exact=True,
    )
    if before.trades["exit_ts"].max() == after.trades["exit_ts"].max():
        known = pl.col("ts") < now
        assert_frame_equal(before.curves.filter(known), after.curves.filter(known))


inputs = {"case": cases(), "factor": st.sampled_from([1000.0, 0.001]), "data": st.data()}
test_the_past_stays = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=SLOW
)(given(**inputs)(the_past_stays))
test_the_past_stays_all_night = pytest.mark.nightly(
    pytest.mark.timeout(3600)(
        settings(max_examples=5000, deadline=None, suppress_health_check=SLOW)(
            given(**inputs)(the_past_stays)
        )
    )
)

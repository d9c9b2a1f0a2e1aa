"""The examples in docs/simulation.md are true."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from quantlab_assets.simulation import simulate
from quantlab_assets.simulation.results.metrics import AMBIGUITY_METRIC_NAMES, METRIC_NAMES
from quantlab_tests.simulation import reference
from quantlab_tests.simulation.markets import alert_frame, build_strategy, candle_frame

PAGE = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()
EXAMPLE = re.compile(
    r"```json example\n(?P<strategy>.*?)```.*?"
    r"```text candles\nopen high low close\n(?P<candles>.*?)```.*?"
    r"```text trade\n(?P<trade>.*?)```",
    re.DOTALL,
)
NOON = datetime(2025, 11, 7, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("engine", [simulate, reference.simulate])
@pytest.mark.parametrize("example", list(EXAMPLE.finditer(PAGE)))
def test_example(example, engine):
    """Candles are a minute long from noon, the alert is known at noon, costs are 0 unless given."""
    bars = [tuple(map(float, line.split())) for line in example["candles"].splitlines()]
    result = engine(
        alert_frame([{"known_ts_utc": NOON}]),
        candle_frame(bars, start=NOON),
        build_strategy(**json.loads(example["strategy"])),
    )
    trade = result.trades.row(0, named=True)
    for line in example["trade"].splitlines():
        column, expected = (part.strip() for part in line.split("="))
        value = trade[column]
        if isinstance(value, datetime):
            assert value.strftime("%H:%M") == expected, column
        elif isinstance(value, str):
            assert value == expected, column
        else:
            assert value == pytest.approx(float(expected), abs=1e-12), column


def test_every_way_to_leave_has_an_example():
    shown = set(re.findall(r"exit_reason +=\s*(\w+)", PAGE))
    assert shown == {
        "stop_loss", "breakeven", "trailing", "take_profit", "max_hold", "end_of_data"
    }  # fmt: skip


def test_every_metric_is_defined():
    table = PAGE.split("## Metrics")[1].split("## Diagnostics")[0]
    assert [name for name in METRIC_NAMES + AMBIGUITY_METRIC_NAMES if name not in table] == []


def test_every_diagnostic_code_is_told():
    alerts = alert_frame([{}, {"mint": "Unknown"}])
    codes = simulate(alerts, candle_frame([]), build_strategy()).diagnostics
    assert codes.select(pl.col("code").is_in(["no_candles"]).all()).item()
    told = PAGE.split("## Diagnostics")[1]
    assert all(
        code in told for code in ("no_candles", "no_entry_candle", "entry_expired", "capacity")
    )

"""Coverage and experiments agree on which candles a call takes: what is covered can trade."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.coverage.forward import forward_coverage
from quantlab_assets.domain.slices.plan import SliceWindow
from quantlab_assets.domain.slices.windows import planned_windows, windows_of
from quantlab_assets.handlers.coverage.analyse import coverage_of_day
from quantlab_assets.handlers.experiments.inputs import resolve_networks
from quantlab_tests.handlers.experiments.lab import (
    DUD,
    EVM,
    MINUTE,
    RUNNER,
    T0,
    Call,
    Lab,
    alerts_table,
    create,
    execute,
    line,
    memory_lab,
    publish_alerts,
    publish_candles,
)
from quantlab_tests.handlers.experiments.test_execute import output

NETWORKS = (None, "bsc", "base", "ethereum")
HORIZON_H = 1


@pytest.fixture
def lab() -> Lab:
    return memory_lab()


def on_networks(draw: st.DrawFn, mint: str) -> str | None:
    networks = NETWORKS if mint == EVM else (None, "solana")
    return draw(st.sampled_from(networks))


@st.composite
def markets(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Calls of three tokens, and candles of them on any networks, each network at its own price."""
    mints = st.sampled_from((EVM, RUNNER, DUD))
    calls = [
        Call(mint, T0, network=on_networks(draw, mint), message=number)
        for number, mint in enumerate(draw(st.lists(mints, min_size=1, max_size=8)))
    ]
    rows = set()
    for mint in draw(st.lists(mints, max_size=8)):
        network = on_networks(draw, mint)
        for minute in range(draw(st.integers(1, 70))):
            rows.add((mint, network, minute, 1.0 + NETWORKS.index(network) if mint == EVM else 9.0))
    candles = [
        (mint, "evm" if mint == EVM else "solana", network, 60, T0 + minute * MINUTE, *[price] * 5)
        for mint, network, minute, price in sorted(rows, key=str)
    ]
    return (
        pl.DataFrame(pl.from_arrow(alerts_table(calls))),
        pl.DataFrame(candles, schema=pl.DataFrame(OHLCV_SLICE.empty()).schema, orient="row"),
    )


@given(markets())
@settings(max_examples=100, deadline=None)
def test_coverage_counts_the_candles_that_an_experiment_trades_on(
    market: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    alerts, candles = market
    windows = planned_windows(alerts, candles, SliceWindow())
    coverage = forward_coverage(alerts, candles, windows, None, [HORIZON_H])
    resolved = resolve_networks(alerts, candles)
    ends = T0 + timedelta(hours=HORIZON_H)
    seen = (
        resolved.alerts.select("alert_id", "chain", pl.col("mint").alias("token_address"))
        .join(resolved.candles, on=["chain", "token_address"], how="left")
        .group_by("alert_id")
        .agg(
            pl.col("ts").filter(pl.col("ts") < ends).n_unique().alias("candles"),
            pl.col("close").n_unique().alias("prices"),
            pl.col("ts").count().alias("all"),
        )
    )
    both = coverage.join(seen, on="alert_id", validate="1:1")
    assert both.height == alerts.height
    assert both["actual_candles"].to_list() == both["candles"].to_list()
    assert both.filter(pl.col("grade") == "good").filter(pl.col("all") == 0).is_empty()
    assert both["prices"].max() == 1, "never candles of two networks"
    ambiguous = coverage.filter(pl.col("reason") == "ambiguous_network")
    assert set(ambiguous["alert_id"]) == resolved.unresolved
    assert set(ambiguous["grade"]) <= {"none"}
    assert resolved.mints.equals(alerts.select("alert_id", "mint"))


def coverage_of(lab: Lab, *calls: Call, slices: list[str]) -> dict[str, tuple[str, str]]:
    """The grade and reason of each call over the hour after it, by alert id."""
    artifacts = lab.store.get_artifacts(slices)
    day = coverage_of_day(
        T0.date(),
        pl.DataFrame(pl.from_arrow(alerts_table(calls))),
        lab.store.read_verified(slices),
        datetime(2030, 1, 1, tzinfo=UTC),
        windows=windows_of(artifact.logical_key for artifact in artifacts),
        horizons=[HORIZON_H],
    )
    rows = day.forward.drafts[0].table.to_pylist()
    return {row["alert_id"]: (row["grade"], row["reason"]) for row in rows}


def test_a_few_candles_of_another_network_make_a_call_ambiguous_for_both(lab: Lab) -> None:
    nameless, named = Call(EVM, T0), Call(EVM, T0, network="bsc", message=2)
    publish_alerts(lab.store, nameless, named)
    slices = [
        publish_candles(lab.store, EVM, line(1, 3, 300), network="bsc"),
        publish_candles(lab.store, EVM, [1.0], network="base"),
    ]
    executed = execute(lab, create(lab))
    assert output(lab, executed, "trades")["alert_id"].to_list() == [named.alert_id]
    diagnostics = output(lab, executed, "diagnostics")
    assert diagnostics.select("alert_id", "code").rows() == [
        (nameless.alert_id, "ambiguous_network")
    ]
    assert coverage_of(lab, nameless, named, slices=slices) == {
        nameless.alert_id: ("none", "ambiguous_network"),
        named.alert_id: ("good", "ok"),
    }


def test_candles_of_unknown_network_serve_only_who_has_no_others(lab: Lab) -> None:
    calls = [
        Call(EVM, T0, network="bsc"),
        Call(EVM, T0, network="blast", message=2),
        Call(EVM, T0, message=3),
    ]
    publish_alerts(lab.store, *calls)
    slices = [
        publish_candles(lab.store, EVM, line(1, 3), network="bsc"),
        publish_candles(lab.store, EVM, line(1, 0.1)),
    ]
    trades = output(lab, execute(lab, create(lab)), "trades")
    assert dict(trades.select("alert_id", "exit_reason").iter_rows()) == {
        calls[0].alert_id: "take_profit",
        calls[1].alert_id: "stop_loss",
        calls[2].alert_id: "take_profit",
    }
    assert set(coverage_of(lab, *calls, slices=slices).values()) == {("good", "ok")}

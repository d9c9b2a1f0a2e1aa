"""Coverage and experiments agree on which candles a call takes: what is covered can trade."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_assets.domain.artifacts.records import PublishRequest
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.coverage.forward import forward_coverage
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.experiments.records import ExperimentDefinition
from quantlab_assets.domain.slices.windows import windows_of
from quantlab_assets.handlers.coverage.analyse import coverage_of_day
from quantlab_assets.handlers.experiments.inputs import ResolvedInputs
from quantlab_assets.handlers.experiments.run import read_inputs
from quantlab_tests.handlers.experiments.lab import (
    DUD,
    EVM,
    MINUTE,
    RUNNER,
    T0,
    Call,
    Lab,
    alerts_table,
    candle_request,
    create,
    execute,
    line,
    memory_lab,
    publish_alerts,
    publish_candles,
    real_lab,
)
from quantlab_tests.handlers.experiments.test_execute import output

NETWORKS = (None, "bsc", "base", "ethereum")
HORIZON_H = 1
LATER = T0 + timedelta(days=29)
DAYS = (T0, LATER)
NO_CANDLES = pl.DataFrame(OHLCV_SLICE.empty())


@pytest.fixture
def lab() -> Lab:
    return memory_lab()


def on_networks(draw: st.DrawFn, mint: str) -> str | None:
    networks = NETWORKS if mint == EVM else (None, "solana")
    return draw(st.sampled_from(networks))


@dataclass(frozen=True)
class Market:
    """Calls of three tokens on two days, and the slices of each day on any networks, each network
    at its own price."""

    calls: list[Call]
    slices: dict[datetime, list[PublishRequest]]


@st.composite
def markets(draw: st.DrawFn) -> Market:
    mints, days = st.sampled_from((EVM, RUNNER, DUD)), st.sampled_from(DAYS)
    calls = [
        Call(mint, day, network=on_networks(draw, mint), message=number)
        for number, (mint, day) in enumerate(
            draw(st.lists(st.tuples(mints, days), min_size=1, max_size=8))
        )
    ]
    slices: dict[datetime, dict[str, PublishRequest]] = {day: {} for day in DAYS}
    for mint, day in draw(st.lists(st.tuples(mints, days), max_size=10)):
        network = on_networks(draw, mint)
        price = 1.0 + NETWORKS.index(network) if mint == EVM else 9.0
        closes = [price] * draw(st.integers(1, 70))
        request = candle_request(mint, closes, start=day, network=network, window=70)
        slices[day][request.logical_key] = request
    return Market(calls, {day: list(requests.values()) for day, requests in slices.items()})


def covered(lab: Lab, market: Market, published: dict[datetime, list[str]]) -> pl.DataFrame:
    """The coverage of each day's calls by that day's slices, as the graph makes it."""
    days = []
    for day in DAYS:
        calls = [call for call in market.calls if call.at == day]
        candles = lab.store.read_verified(published[day]) if published[day] else NO_CANDLES
        keys = [artifact.logical_key for artifact in lab.store.get_artifacts(published[day])]
        alerts = pl.DataFrame(pl.from_arrow(alerts_table(calls)))
        days.append(forward_coverage(alerts, candles, windows_of(keys), None, [HORIZON_H]))
    return pl.concat(days)


def frozen(lab: Lab, slices: str | list[str]) -> ExperimentDefinition | None:
    """The definition of an experiment on these slices; None if no call could trade on any."""
    try:
        return create(lab, slices=slices).definition
    except ValidationFailed:
        return None


def candles_traded_on(inputs: ResolvedInputs) -> pl.DataFrame:
    """How many candles each alert has within the horizon, and at how many prices at all."""
    since = pl.col("ts") - pl.col("alert_ts_utc")
    within = (since >= timedelta(0)) & (since < timedelta(hours=HORIZON_H))
    return (
        inputs.alerts.select(
            "alert_id", "alert_ts_utc", "chain", pl.col("mint").alias("token_address")
        )
        .join(inputs.candles, on=["chain", "token_address"], how="left")
        .group_by("alert_id")
        .agg(
            pl.col("ts").filter(within).n_unique().alias("candles"),
            pl.col("close").n_unique().alias("prices"),
        )
    )


@given(markets())
@settings(max_examples=100, deadline=None)
def test_coverage_counts_the_candles_that_an_experiment_trades_on(market: Market) -> None:
    lab = memory_lab()
    for day, chain in product(DAYS, ("evm", "solana")):
        if calls := [call for call in market.calls if (call.at, call.chain) == (day, chain)]:
            publish_alerts(lab.store, *calls)
    published = {
        day: [lab.store.publish_artifact(request).artifact_id for request in requests]
        for day, requests in market.slices.items()
    }
    coverage = covered(lab, market, published)
    ambiguous = set(coverage.filter(pl.col("reason") == "ambiguous_network")["alert_id"])
    assert set(coverage.filter(pl.col("alert_id").is_in(ambiguous))["grade"]) <= {"none"}
    everything = [artifact_id for ids in published.values() for artifact_id in ids]
    for slices in [everything, "auto"] if everything else []:
        definition = frozen(lab, slices)
        if definition is None:
            assert slices == "auto"
            assert set(coverage["grade"]) == {"none"}
            assert not ambiguous
            continue
        inputs = read_inputs(lab.store, definition)
        both = coverage.join(candles_traded_on(inputs), on="alert_id", validate="1:1")
        assert both.height == len(market.calls)
        assert both["actual_candles"].to_list() == both["candles"].to_list()
        assert both["prices"].max() == 1, "never candles of two networks"
        uncovered = set(coverage.filter(pl.col("reason") == "no_slice")["alert_id"])
        assert ambiguous == inputs.unresolved - uncovered
        assert dict(inputs.mints.iter_rows()) == {c.alert_id: c.mint for c in market.calls}


@pytest.mark.parametrize("begins", [timedelta(0), 5 * MINUTE], ids=["covers it", "begins later"])
@pytest.mark.parametrize(
    ("named", "first", "later"),
    [(None, "bsc", "base"), (None, None, "base"), (None, "bsc", None), ("base", None, "base")],
)
def test_slices_of_another_day_on_another_network_change_no_trade(
    tmp_path: Path, named: str | None, first: str | None, later: str | None, begins: timedelta
) -> None:
    lab = real_lab(tmp_path)
    call, later_call = Call(EVM, T0, network=named), Call(EVM, LATER, message=2)
    publish_alerts(lab.store, call)
    publish_alerts(lab.store, later_call)
    slices = [publish_candles(lab.store, EVM, line(1, 3), network=first, start=T0 + begins)]
    alone = output(lab, execute(lab, create(lab)), "trades")
    assert alone["alert_id"].to_list() == [call.alert_id]

    slices += [publish_candles(lab.store, EVM, line(1, 0.1), network=later, start=LATER)]
    both = output(lab, execute(lab, create(lab)), "trades")
    assert both.filter(pl.col("alert_id") == call.alert_id).equals(alone)
    assert both["alert_id"].to_list() == [call.alert_id, later_call.alert_id]
    assert both["exit_reason"].to_list() == ["take_profit", "stop_loss"]
    named_both = output(lab, execute(lab, create(lab, slices=slices, name="by hand")), "trades")
    assert named_both.equals(both)


def test_a_call_that_became_known_after_its_slices_takes_no_other_days_network(lab: Lab) -> None:
    known_late = Call(EVM, T0, known_after=LATER - T0)
    publish_alerts(lab.store, known_late)
    publish_alerts(lab.store, Call(EVM, LATER, message=2, network="base"))
    publish_candles(lab.store, EVM, line(1, 3), network="bsc")
    publish_candles(lab.store, EVM, line(1, 3), network="base", start=LATER)
    executed = execute(lab, create(lab))
    assert output(lab, executed, "diagnostics").select("alert_id", "code").rows() == [
        (known_late.alert_id, "no_entry_candle")
    ]


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

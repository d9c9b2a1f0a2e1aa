"""The research layout: candles that count, views, macros, records and comments."""

import itertools
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from quantlab_assets import open_lake
from quantlab_assets.domain.artifacts.records import LineageInput, PublishRequest
from quantlab_assets.domain.artifacts.seed_types import ALERT_FORWARD_COVERAGE, OHLCV_SLICE
from quantlab_assets.domain.experiments.records import ExperimentDefinition
from quantlab_assets.domain.slices.key import SliceKey
from quantlab_assets.domain.tokens.networks import networks_taken
from quantlab_assets.domain.tokens.token import Token
from quantlab_assets.handlers.projections import build_research
from quantlab_assets.simulation.market.candle_book import one_candle_a_moment
from quantlab_tests.handlers.experiments.lab import (
    DOUBLE_OR_NOTHING,
    DUD,
    EVM,
    MINUTE,
    PROVENANCE,
    RUNNER,
    T0,
    Call,
    Lab,
    line,
    publish_alerts,
    publish_candles,
    real_lab,
)

HOUR = timedelta(hours=1)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return real_lab(tmp_path)


def ask(lab: Lab, query: str, *values: Any) -> list[tuple[Any, ...]]:
    build_research(lab.projections)
    with lab.projections.connect("research") as connection:
        found: list[tuple[Any, ...]] = connection.execute(query, list(values)).fetchall()
        return found


def publish_slice(
    lab: Lab,
    mint: str,
    interval_s: int,
    times: Sequence[datetime],
    prices: Sequence[float],
    volumes: Sequence[float | None],
    network: str | None = None,
) -> None:
    """A slice of flat candles at the given times."""
    chain = "evm" if mint.startswith("0x") else "solana"
    rows = len(times)
    table = pa.table(
        {
            "token_address": [mint] * rows,
            "chain": [chain] * rows,
            "token_chain": [network] * rows,
            "interval_s": [interval_s] * rows,
            "ts": list(times),
            **{name: list(prices) for name in ("open", "high", "low", "close")},
            "volume": list(volumes),
        },
        schema=OHLCV_SLICE.schema,
    )
    token = Token(chain, mint, network)  # type: ignore[arg-type]
    span = timedelta(seconds=interval_s)
    key = SliceKey(token, interval_s, min(times), max(times) + span).format()
    lab.store.publish_artifact(
        PublishRequest(OHLCV_SLICE.name, key, table, PROVENANCE, tags={"token": mint})
    )


def publish_market(lab: Lab, seed: int) -> None:
    """Slices of several intervals that overlap, with holes, ties, unknown and equal volumes."""
    chance = random.Random(seed)
    for mint in (RUNNER, DUD, EVM):
        for interval_s in (60, 300, 900):
            for _ in range(chance.randrange(3)):
                begin = T0 + chance.randrange(8) * 15 * MINUTE
                places = sorted(chance.sample(range(20), 9))
                times = [begin + timedelta(seconds=interval_s * place) for place in places]
                prices = [chance.choice([1.0, 1.5, 2.0]) for _ in times]
                volumes = [chance.choice([None, 1.0, 1.0, 2.0]) for _ in times]
                publish_slice(lab, mint, interval_s, times, prices, volumes)


@pytest.mark.parametrize("seed", range(4))
def test_the_candles_that_count_are_those_of_the_simulation(seed: int, lab: Lab) -> None:
    publish_market(lab, seed)
    for change in range(2):
        build_research(lab.projections)
        with lab.projections.connect("research") as connection:
            slices = connection.sql("FROM ohlcv_slices").pl()
            merged = connection.sql("FROM ohlcv ORDER BY chain, token_address, ts").pl()
        assert_frame_equal(merged, one_candle_a_moment(slices))
        publish_market(lab, seed + 100 * (change + 1))


def test_they_are_those_of_the_lakes_own_candles(tmp_path: Path) -> None:
    lake = open_lake(tmp_path / "lake", create=True)
    publish_market(Lab(lake.store, lake.projections, lake.experiments.tracker), 3)
    merged = lake.sql("FROM ohlcv ORDER BY chain, token_address, ts")
    assert merged.height > 20
    for (mint,), found in merged.partition_by("token_address", as_dict=True).items():
        candles = lake.candles(str(mint), T0 - HOUR, T0 + 99 * HOUR).collect()
        assert_frame_equal(found, candles)


def test_one_address_on_two_networks_is_two_tokens(lab: Lab) -> None:
    publish_slice(lab, EVM, 60, [T0], [1.0], [1.0], network="bsc")
    publish_slice(lab, EVM, 60, [T0], [2.0], [9.0], network="base")
    found = ask(lab, "SELECT token_chain, close FROM ohlcv ORDER BY 1")
    assert found == [("base", 2.0), ("bsc", 1.0)]


def test_the_lakes_own_candles_keep_networks_apart_as_the_table_does(tmp_path: Path) -> None:
    lake = open_lake(tmp_path / "lake", create=True)
    lab = Lab(lake.store, lake.projections, lake.experiments.tracker)
    publish_slice(lab, EVM, 60, [T0, T0 + MINUTE], [1.0, 1.5], [1.0, 1.0], network="bsc")
    publish_slice(lab, EVM, 60, [T0], [2.0], [9.0], network="base")
    publish_slice(lab, EVM, 60, [T0], [3.0], [99.0])
    candles = lake.candles(EVM, T0, T0 + HOUR).collect()
    assert_frame_equal(candles, lake.sql("FROM ohlcv ORDER BY ts, token_chain NULLS FIRST"))
    assert candles["close"].to_list() == [3.0, 2.0, 1.0, 1.5]
    assert lake.candles(EVM, T0 + HOUR, T0 + 2 * HOUR).collect().is_empty()


def test_there_is_no_one_price_of_an_address_on_several_networks(lab: Lab) -> None:
    publish_slice(lab, EVM, 60, [T0], [1.0], [1.0], network="bsc")
    publish_slice(lab, EVM, 60, [T0 + MINUTE], [2.0], [9.0])
    asked = "SELECT price_at($1, $2)"
    assert ask(lab, asked, EVM, T0 + HOUR) == [(1.0,)], "the known network, not the unknown one"
    publish_slice(lab, EVM, 60, [T0], [3.0], [9.0], network="base")
    assert ask(lab, asked, EVM, T0 + HOUR) == [(None,)]


def test_candles_of_unknown_network_are_never_mixed_with_others(lab: Lab) -> None:
    publish_slice(lab, EVM, 60, [T0], [1.0], [1.0], network="bsc")
    publish_slice(lab, EVM, 60, [T0], [2.0], [9.0])
    assert ask(lab, "SELECT close FROM ohlcv ORDER BY 1") == [(1.0,), (2.0,)]


def test_the_price_at_a_moment_is_of_the_network_that_the_call_takes(lab: Lab) -> None:
    """Every set of networks, network named and moment: the macro against the relation."""
    networks = (None, "bsc", "base")
    held = [some for size in range(4) for some in itertools.combinations(networks, size)]
    candles = []
    for number, some in enumerate(held):
        mint = f"0x{number:040x}"
        for place, network in enumerate(some):
            # Networks take turns, so that each is the latest, or the only one so far, at times.
            times = [T0 + MINUTE * (place + len(some) * turn) for turn in range(3)]
            prices = [100.0 * number + 10 * place + turn for turn in range(1, 4)]
            publish_slice(lab, mint, 60, times, prices, [1.0] * 3, network=network)
            candles += [("evm", mint, network, *row) for row in zip(times, prices, strict=True)]
    publish_slice(lab, RUNNER, 60, [T0], [7.0], [1.0], network="solana")
    candles.append(("solana", RUNNER, "solana", T0, 7.0))

    asked = [
        (chain, mint, named, T0 + MINUTE * minute)
        for chain, mint, names in [
            *(("evm", f"0x{n:040x}", (None, "bsc", "base", "blast")) for n in range(len(held))),
            ("solana", RUNNER, (None, "solana")),
        ]
        for named in names
        for minute in range(11)
    ]
    calls = pl.DataFrame(
        [(number, *call) for number, call in enumerate(asked)],
        schema=["call", "chain", "mint", "token_chain", "moment"],
        orient="row",
    )
    frame = pl.DataFrame(
        candles, schema=["chain", "mint", "token_chain", "ts", "close"], orient="row"
    )
    ended = (
        calls.drop("token_chain")
        .join(frame, on=["chain", "mint"])
        .filter(pl.col("ts") + MINUTE <= pl.col("moment"))
    )
    prices = (
        networks_taken(calls, ended, on=["call"])
        .filter(pl.col("outcome") == "taken")
        .join(
            ended.select("call", "ts", "close", pl.col("token_chain").alias("network")),
            on=["call", "network"],
            nulls_equal=True,
        )
        .group_by("call")
        .agg(pl.col("close").sort_by("ts").last())
    )
    expected = calls.join(prices, on="call", how="left").sort("call")

    build_research(lab.projections)
    with lab.projections.connect("research") as connection:
        connection.register("calls", calls.to_arrow())
        found = connection.sql(
            "SELECT call, price_at(mint, moment, named := token_chain) AS close,"
            " price_at(mint, moment) AS unnamed FROM calls ORDER BY call"
        ).pl()
    assert found["close"].to_list() == expected["close"].to_list()
    assert 100 < found["close"].null_count() < 200, "both outcomes, often"
    unnamed = calls["token_chain"].is_null()
    assert found.filter(unnamed)["unnamed"].equals(found.filter(unnamed)["close"])


def test_the_price_at_a_moment_is_of_a_candle_that_had_ended(lab: Lab) -> None:
    publish_candles(lab.store, RUNNER, [1.0, 2.0, 3.0])
    asked = "SELECT price_at($1, $2)"

    def price(at: datetime | str) -> float | None:
        return ask(lab, asked, RUNNER, at)[0][0]  # type: ignore[no-any-return]

    assert price(T0) is None
    assert price(T0 + MINUTE - timedelta(microseconds=1)) is None
    assert price(T0 + MINUTE) == 1.0
    assert price(T0 + 2 * MINUTE - timedelta(microseconds=1)) == 1.0
    assert price(T0 + 2 * MINUTE) == 2.0
    assert price(T0 + 9 * HOUR) == 3.0
    assert price(f"{T0 + MINUTE:%Y-%m-%d %H:%M}") == 1.0
    assert ask(lab, asked, DUD, T0 + HOUR) == [(None,)]


def test_a_price_is_asked_for_every_call_at_once(lab: Lab) -> None:
    publish_candles(lab.store, RUNNER, [1.0, 2.0, 3.0])
    publish_candles(lab.store, EVM, [7.0, 8.0])
    publish_alerts(lab.store, Call(RUNNER, T0 + MINUTE), Call(RUNNER, T0 + 3 * MINUTE, message=2))
    publish_alerts(lab.store, Call(EVM, T0 + HOUR, message=3))
    found = ask(lab, "SELECT price_at(mint, known_ts_utc) FROM alerts ORDER BY known_ts_utc")
    assert found == [(1.0,), (3.0,), (8.0,)]
    for spelling in (EVM.upper(), "0x" + EVM[2:].upper()):
        assert ask(lab, "SELECT price_at($1, $2)", spelling, T0 + HOUR) == [(8.0,)]
        asked = "SELECT count(*) FROM candles($1, $2, $3)"
        assert ask(lab, asked, spelling, T0, T0 + HOUR) == [(2,)]


def test_candles_of_a_token_in_a_span(lab: Lab) -> None:
    publish_candles(lab.store, RUNNER, [1.0, 2.0, 3.0])
    asked = "SELECT ts, close FROM candles($1, $2, $3)"
    found = ask(lab, asked, RUNNER, T0 + MINUTE, T0 + 2 * MINUTE)
    assert found == [(T0 + MINUTE, 2.0)]


def coverage_row(alert: Call, horizon: int, ratio: float, grade: str) -> dict[str, Any]:
    row: dict[str, Any] = {field.name: 1 for field in ALERT_FORWARD_COVERAGE.schema}
    return row | {
        "alert_id": alert.alert_id,
        "chain": alert.chain,
        "mint": alert.mint,
        "caller_name_norm": alert.caller,
        "alert_ts_utc": alert.at,
        "horizon_h": horizon,
        "coverage_ratio": ratio,
        "grade": grade,
        "reason": "ok",
    }


def test_calls_come_with_their_coverage_and_callers_in_sum(lab: Lab) -> None:
    calls = [Call(RUNNER, T0), Call(DUD, T0 + HOUR, message=2), Call(DUD, T0, "eve", message=3)]
    publish_alerts(lab.store, *calls)
    rows = [
        coverage_row(calls[0], 1, 0.5, "poor"),
        coverage_row(calls[0], 24, 1.0, "good"),
        coverage_row(calls[1], 24, 0.5, "poor"),
    ]
    table = pa.Table.from_pylist(rows, schema=ALERT_FORWARD_COVERAGE.schema)
    key = ALERT_FORWARD_COVERAGE.key(day=f"{T0:%Y-%m-%d}")
    lab.store.publish_artifact(PublishRequest(ALERT_FORWARD_COVERAGE.name, key, table, PROVENANCE))
    shown = "SELECT alert_id, coverage_1h, coverage_24h, grade_24h FROM alerts_with_coverage"
    assert sorted(ask(lab, shown)) == sorted(
        [
            (calls[0].alert_id, 0.5, 1.0, "good"),
            (calls[1].alert_id, None, 0.5, "poor"),
            (calls[2].alert_id, None, None, None),
        ]
    )
    summed = (
        "SELECT caller_name_norm, calls, tokens, covered_calls, mean_coverage_24h"
        " FROM caller_summary ORDER BY 1"
    )
    assert ask(lab, summed) == [("bob", 2, 2, 1, 0.75), ("eve", 1, 1, 0, None)]


def test_the_records_of_the_lake_are_there(lab: Lab) -> None:
    candles = publish_candles(lab.store, RUNNER, line(1, 3))
    made = PublishRequest(
        OHLCV_SLICE.name,
        SliceKey(Token("solana", DUD, None), 60, T0, T0 + HOUR).format(),
        OHLCV_SLICE.empty(),
        PROVENANCE,
        inputs=(
            LineageInput(candles),
            LineageInput(input_set_id=lab.store.freeze_inputs([candles])),
        ),
    )
    other = lab.store.publish_artifact(made).artifact_id
    lab.store.supersede(candles, other)
    assert sorted(ask(lab, "SELECT artifact_id, status, row_count FROM artifacts")) == sorted(
        [(candles, "active", 60), (other, "superseded", 0)]
    )
    edges = ask(lab, "SELECT DISTINCT artifact_id, input_id FROM lineage")
    assert edges == [(other, candles)]
    assert ask(lab, "SELECT count(*) FROM lineage") == [(2,)]


def test_experiments_are_there_before_they_have_run(lab: Lab) -> None:
    candles = publish_candles(lab.store, RUNNER, line(1, 3))
    alerts = publish_alerts(lab.store, Call(RUNNER, T0))
    build_research(lab.projections)
    definition = ExperimentDefinition(
        name="first",
        alert_artifact_ids=(alerts,),
        slice_artifact_ids=(candles,),
        strategy=DOUBLE_OR_NOTHING,
        engine_version="1",
    )
    name = lab.tracker.create(definition)[0].experiment_id
    asked = "SELECT experiment_id, name, status, total_trades FROM latest_experiments"
    assert ask(lab, asked) == [(name, "first", "pending", None)]
    inputs = ask(lab, "SELECT artifact_id FROM experiment_inputs ORDER BY 1")
    assert inputs == [(one,) for one in sorted([alerts, candles])]


def test_tables_columns_views_and_macros_say_what_they_are(lab: Lab) -> None:
    silent = ask(
        lab,
        "SELECT table_name FROM duckdb_tables() WHERE comment IS NULL UNION ALL"
        " SELECT view_name FROM duckdb_views() WHERE NOT internal AND comment IS NULL UNION ALL"
        " SELECT function_name FROM duckdb_functions() WHERE NOT internal AND comment IS NULL",
    )
    assert silent == []
    said = ask(
        lab,
        "SELECT comment FROM duckdb_columns() WHERE table_name = 'ohlcv' AND column_name = 'ts'",
    )
    assert said[0][0].startswith("When the candle")
    macros = ask(lab, "SELECT function_name FROM duckdb_functions() WHERE NOT internal")
    assert {name for (name,) in macros} == {"price_at", "candles"}


def test_no_view_is_broken(lab: Lab) -> None:
    build_research(lab.projections)
    with lab.projections.connect("research") as connection:
        views = connection.execute(
            "SELECT view_name FROM duckdb_views() WHERE NOT internal"
        ).fetchall()
        assert len(views) == 7
        for (view,) in views:
            assert isinstance(connection.sql(f"FROM {view}").pl(), pl.DataFrame)


def test_nothing_is_built_while_nothing_changes(lab: Lab) -> None:
    publish_candles(lab.store, RUNNER, line(1, 3))
    first = build_research(lab.projections)
    inode = first.path.stat().st_ino
    assert build_research(lab.projections).built_at == first.built_at
    publish_candles(lab.store, RUNNER, line(1, 3))  # Once more: only the event is new.
    again = build_research(lab.projections)
    assert again.path.stat().st_ino != inode
    assert again.rows == first.rows

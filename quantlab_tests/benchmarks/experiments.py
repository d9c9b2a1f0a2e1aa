"""Figures of experiments: `python -m quantlab_tests.benchmarks experiments [--quick]`.

Executing is held against the same work by hand, warm, in the same process: hash every file, read
them all with Polars, simulate. The ledger is asked with many experiments in it, of few distinct
sets of inputs: most experiments ask another question of the same data.
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from base58 import b58encode

from quantlab_assets.adapters.manifest.tables import experiment_events
from quantlab_assets.adapters.manifest.tables import experiments as table
from quantlab_assets.domain.artifacts.records import PublishRequest
from quantlab_assets.domain.artifacts.seed_types import ALERTS, OHLCV_SLICE
from quantlab_assets.domain.experiments.records import ExperimentDefinition, ExperimentFilter
from quantlab_assets.domain.slices.key import SliceKey
from quantlab_assets.domain.tokens.token import Token
from quantlab_assets.handlers.experiments.check_lookahead import check_lookahead
from quantlab_assets.handlers.experiments.create import create_experiment
from quantlab_assets.handlers.experiments.execute import execute_experiment
from quantlab_assets.handlers.experiments.inputs import ALERT_COLUMNS, CANDLE_COLUMNS
from quantlab_assets.handlers.experiments.reproduce import reproduce_experiment
from quantlab_assets.simulation import engine_version, simulate
from quantlab_tests.handlers.experiments.lab import (
    DOUBLE_OR_NOTHING,
    MINUTE,
    PROVENANCE,
    T0,
    Call,
    Lab,
    alerts_table,
    real_lab,
)

CANDLES = 2_880
INPUTS = 4_000
SETS = 4
ROUNDS = 3


def main(argv: Sequence[str]) -> None:
    """Print the figures; `--quick` with a tenth of everything."""
    parser = argparse.ArgumentParser(prog="benchmarks experiments", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parts = 10 if parser.parse_args(argv).quick else 1
    with tempfile.TemporaryDirectory() as folder:
        executing(Path(folder) / "execute", slices=3_641 // parts, alerts=5_000 // parts)
        ledger(Path(folder) / "ledger", experiments=10_000 // parts, inputs=INPUTS // parts)


def executing(root: Path, *, slices: int, alerts: int) -> None:
    """Execute, reproduce and check an experiment over fresh random walks."""
    lab = real_lab(root)
    mints = publish_walks(lab, slices)
    publish_calls(lab, mints, alerts)
    record, _ = create_experiment(
        lab.store,
        lab.tracker,
        name="benchmark",
        strategy=DOUBLE_OR_NOTHING,
        alerts="all",
        slices="auto",
        engine_version=engine_version(),
    )
    definition = record.definition
    print(f"execute: {slices:,} slices x {CANDLES:,} candles, {alerts:,} alerts")
    by_hand(root, lab, definition)
    ratios, totals, hands = [], [], []
    for number in range(ROUNDS):
        child = replace(definition, params={"round": number})
        name = lab.tracker.create(child)[0].experiment_id
        hand = timed(lambda: by_hand(root, lab, definition))
        total = timed(
            lambda name=name: execute_experiment(
                lab.store, lab.projections, lab.tracker, name, provenance=PROVENANCE
            )
        )
        ratios.append(total / hand)
        totals.append(total)
        hands.append(hand)
    show("verify + read + simulate by hand", statistics.median(hands), "")
    show("execute", statistics.median(totals), "")
    print(f"  {'execute / by hand':<44}{statistics.median(ratios):>10.2f} x    (at most 2.5)")
    verdicts = []
    took = timed(
        lambda: verdicts.append(reproduce_experiment(lab.store, lab.tracker, name).verdict)
    )
    show(f"reproduce: {verdicts[0]}", took, "")
    checks = []
    took = timed(lambda: checks.append(check_lookahead(lab.store, lab.tracker, name)))
    show(f"check-lookahead, {checks[0].simulations:,} altered futures", took, "")


def by_hand(root: Path, lab: Lab, definition: ExperimentDefinition) -> None:
    """What somebody would write who only wants the trades."""
    frames = []
    for ids, columns in (
        (definition.alert_artifact_ids, ALERT_COLUMNS),
        (definition.slice_artifact_ids, CANDLE_COLUMNS),
    ):
        artifacts = lab.store.get_artifacts(ids)
        paths = [root / "artifacts" / artifact.path for artifact in artifacts]
        for artifact, path in zip(artifacts, paths, strict=True):
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            assert artifact.file_hash == f"sha256:{found}"
        frames.append(pl.read_parquet(paths, columns=list(columns)))
    simulate(frames[0], frames[1], definition.strategy)


def ledger(root: Path, *, experiments: int, inputs: int) -> None:
    """Time each operation of the ledger once it holds many experiments."""
    lab = real_lab(root)
    ids = publish_tiny_slices(lab, inputs + SETS)
    manifest = root / "manifest" / "manifest.sqlite"
    base = ExperimentDefinition(
        name="one of many",
        alert_artifact_ids=(),
        slice_artifact_ids=tuple(ids[:inputs]),
        strategy=DOUBLE_OR_NOTHING,
        engine_version=engine_version(),
    )
    sets = [tuple(sorted(ids[shift : shift + inputs])) for shift in range(SETS)]
    for members in sets:
        lab.tracker.create(replace(base, slice_artifact_ids=members))
    before = manifest.stat().st_size
    names = fill(lab, experiments)
    grown = (manifest.stat().st_size - before) / experiments
    created = [
        timed(
            partial(lab.tracker.create, replace(base, slice_artifact_ids=sets[0], params={"n": n}))
        )
        for n in range(20)
    ]
    commits = [timed(partial(commit, lab, names[n])) for n in range(20)]
    print(f"\nledger: {experiments:,} experiments of {inputs:,} inputs, {SETS} distinct sets")
    show("one durable transaction, for comparison", statistics.median(commits), "")
    show("create", statistics.median(created), "under 10 ms")
    print(f"  {'manifest growth, an experiment':<44}{grown:>10,.0f} bytes")
    sample = names[:: max(1, experiments // 20)][:20]
    some = ids[inputs // 2 : inputs // 2 + 3]
    operations: dict[str, Callable[[str], object]] = {
        "get": lab.tracker.get,
        "events": lab.tracker.events,
        "resolve_id": lambda name: lab.tracker.resolve_id(name[:12]),
        "superseded_inputs": lab.tracker.superseded_inputs,
        "list, the newest 20": lambda _: lab.tracker.list(limit=20),
        "list by status, the newest 20": lambda _: lab.tracker.list(
            ExperimentFilter(status="pending"), limit=20
        ),
        "start": lambda name: lab.tracker.update_status(name, "running"),
        "store results": lambda name: lab.tracker.store_results(name, {"trades": ids[0]}),
    }
    for title, operation in operations.items():
        seconds = [timed(partial(operation, name)) for name in sample]
        show(title, statistics.median(seconds), "under 10 ms")
    took = timed(lambda: lab.tracker.find_by_input_artifacts([ids[0]]))
    found = len(lab.tracker.find_by_input_artifacts([ids[0]]))
    show(f"find by inputs: {found:,} experiments found", took, "")
    show("find by inputs: none found", timed(lambda: lab.tracker.find_by_input_artifacts([])), "")
    took = timed(lambda: lab.tracker.find_by_input_artifacts(some, match="all"))
    show("find by inputs: all of three", took, "")
    show(f"list, all {experiments:,}", timed(lab.tracker.list), "")


def fill(lab: Lab, experiments: int) -> list[str]:
    """Copy the experiments of the ledger until there are so many, at once; their ids."""
    with lab.store.database.writing() as connection:
        held = connection.execute(table.select()).mappings().all()
        rows = [
            {**held[n % len(held)], "experiment_id": experiment_id(n), "created_at": n}
            for n in range(experiments)
        ]
        connection.execute(table.insert(), rows)
        connection.execute(
            experiment_events.insert(),
            [
                {"experiment_id": row["experiment_id"], "at": n, "new_status": "pending"}
                for n, row in enumerate(rows)
            ],
        )
    return [row["experiment_id"] for row in rows]


def experiment_id(number: int) -> str:
    """An id like any other: no two begin alike."""
    return f"exp-{hashlib.sha256(str(number).encode()).hexdigest()[:16]}"


def commit(lab: Lab, name: str) -> None:
    """The least that a change of the ledger can cost on this disk."""
    with lab.store.database.writing() as connection:
        connection.execute(table.update().where(table.c.experiment_id == name).values(name="new"))


def publish_walks(lab: Lab, slices: int) -> list[str]:
    """A random walk of one-minute candles for each of so many tokens."""
    generator = np.random.default_rng(1)
    mints = [b58encode(b"\x01" + generator.bytes(31)).decode() for _ in range(slices)]
    begin = int(T0.timestamp()) * 1_000_000
    ts = pa.array(begin + np.arange(CANDLES) * 60_000_000, pa.timestamp("us", tz="UTC"))

    def request(mint: str) -> PublishRequest:
        close = np.exp(np.cumsum(generator.normal(0, 0.01, CANDLES)))
        open_ = np.concatenate(([1.0], close[:-1]))
        wicks = 1 + generator.random((2, CANDLES)) * 0.005
        columns = {
            "token_address": [mint] * CANDLES,
            "chain": ["solana"] * CANDLES,
            "token_chain": pa.nulls(CANDLES, pa.string()),
            "interval_s": np.full(CANDLES, 60),
            "ts": ts,
            "open": open_,
            "high": np.maximum(open_, close) * wicks[0],
            "low": np.minimum(open_, close) / wicks[1],
            "close": close,
            "volume": generator.random(CANDLES) * 1e4,
        }
        key = SliceKey(Token("solana", mint, None), 60, T0, T0 + CANDLES * MINUTE).format()
        rows = pa.table(columns, schema=OHLCV_SLICE.schema)
        return PublishRequest(OHLCV_SLICE.name, key, rows, PROVENANCE)

    for start in range(0, slices, 500):
        lab.store.publish_many([request(mint) for mint in mints[start : start + 500]])
    return mints


def publish_calls(lab: Lab, mints: Sequence[str], alerts: int) -> None:
    """So many calls, all within a day."""
    generator = np.random.default_rng(2)
    after = generator.integers(0, 43_200, alerts).tolist()
    calls = [
        Call(
            mints[n % len(mints)],
            T0 + timedelta(seconds=after[n]),
            caller=f"caller {n % 50}",
            message=n + 1,
        )
        for n in range(alerts)
    ]
    key = ALERTS.key(day=f"{T0:%Y-%m-%d}", chain="solana")
    lab.store.publish_artifact(PublishRequest(ALERTS.name, key, alerts_table(calls), PROVENANCE))


def publish_tiny_slices(lab: Lab, count: int) -> list[str]:
    """Slices of one candle; the ledger does not read them."""
    generator = np.random.default_rng(3)
    requests = []
    for _ in range(count):
        mint = b58encode(b"\x01" + generator.bytes(31)).decode()
        row = {
            "token_address": mint,
            "chain": "solana",
            "token_chain": None,
            "interval_s": 60,
            "ts": T0,
            **dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0),
        }
        rows = pa.Table.from_pylist([row], schema=OHLCV_SLICE.schema)
        key = SliceKey(Token("solana", mint, None), 60, T0, T0 + MINUTE).format()
        requests.append(PublishRequest(OHLCV_SLICE.name, key, rows, PROVENANCE))
    published = []
    for start in range(0, count, 1_000):
        published += lab.store.publish_many(requests[start : start + 1_000])
    return sorted(result.artifact_id for result in published)


def timed(run: Callable[[], object]) -> float:
    """Seconds that it takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def show(title: str, seconds: float, goal: str) -> None:
    """One line of the report."""
    held = f"    ({goal})" if goal else ""
    print(f"  {title:<44}{seconds * 1e3:>10.1f} ms{held}", flush=True)

"""Figures of projections: `python -m quantlab_tests.benchmarks projections [--quick]`.

Building is held against a bare `CREATE TABLE AS SELECT ... FROM read_parquet([...])` of the same
files in the same order, to a file, with as many threads. Adding is held against building anew what
comes out of it. A question for the candles of one token is held against the same question to a copy
with an index on token and time.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from base58 import b58encode

from quantlab_assets.adapters.duckdb.plan import in_order
from quantlab_assets.adapters.manifest.as_tables import ManifestRecords
from quantlab_assets.domain.artifacts.records import PublishRequest
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.slices.key import SliceKey
from quantlab_assets.domain.tokens.token import Token
from quantlab_assets.handlers.projections import build_research, research_request
from quantlab_assets.ports.projection_builder import ProjectionRequest, ProjectionTable
from quantlab_tests.benchmarks._turns import ratio, show, take_turns
from quantlab_tests.handlers.experiments.lab import MINUTE, PROVENANCE, T0, Lab, real_lab

ROWS = 2_000
ROUNDS = 5
AT_ONCE = 200
ASKED = 100


def main(argv: Sequence[str]) -> None:
    """Print the figures; `--quick` with a tenth of the artifacts."""
    parser = argparse.ArgumentParser(prog="benchmarks projections", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the artifacts")
    count = 400 if parser.parse_args(argv).quick else 4_000
    with tempfile.TemporaryDirectory() as folder:
        lab = real_lab(Path(folder))
        few = count // 100
        ids = [*publish_walks(lab, count - few, seed=1), *publish_walks(lab, few, seed=2)]
        print(f"{count:,} slices x {ROWS:,} candles, {os.cpu_count()} cores")
        building(lab, Path(folder), ids)
        growing(lab, Path(folder), ids)
        asking(lab, ids)
        research(lab, Path(folder))


def building(lab: Lab, root: Path, ids: Sequence[str]) -> None:
    """A build from nothing, without and with the check of every file's hash."""
    arrivals = ManifestRecords(lab.store.database).arrivals(ids)
    placed = in_order(lab.store.get_artifacts(ids), arrivals)
    files = [str(root / "artifacts" / artifact.path) for artifact in placed]
    for name, verify in (("unchecked", False), ("checked", True)):
        lab.projections.build(of_slices(ids, name, verify=verify))

    def bare() -> None:
        path = root / "bare.duckdb"
        path.unlink(missing_ok=True)
        with duckdb.connect(str(path)) as connection:
            connection.execute(
                "CREATE TABLE candles AS SELECT * FROM read_parquet($1)", [files]
            ).fetchall()

    timings = take_turns(
        {
            "bare CREATE TABLE AS": bare,
            "build": lambda: lab.projections.rebuild("unchecked"),
            "build, hashes checked": lambda: lab.projections.rebuild("checked"),
        },
        ROUNDS,
    )
    show(
        "building from nothing",
        timings,
        {
            "build / bare": ("build", "bare CREATE TABLE AS", "at most 1.15"),
            "checked / bare": ("build, hashes checked", "bare CREATE TABLE AS", "at most 1.5"),
        },
    )
    with (
        duckdb.connect(str(root / "bare.duckdb"), read_only=True) as connection,
        lab.projections.connect("checked") as built,
    ):
        connection.execute("SET TimeZone = 'UTC'").fetchall()
        sample = "SELECT * FROM candles LIMIT 100000"
        assert connection.sql(sample).to_arrow_table().equals(built.sql(sample).to_arrow_table())


def growing(lab: Lab, root: Path, ids: Sequence[str]) -> None:
    """Adding one artifact in a hundred to a projection of the others."""
    few = len(ids) // 100
    before, after = of_slices(ids[:-few], "grows"), of_slices(ids, "grows")
    restore = snapshot(lab, root, "grows", lambda: lab.projections.build(before))
    added, anew = [], []
    for _ in range(ROUNDS):
        restore()
        added.append(timed(lambda: lab.projections.build(after)))
        anew.append(timed(lambda: lab.projections.rebuild("grows")))
    shown("adding 1 %", {"adding": added, "building anew": anew}, "adding / anew", "at most 0.08")


def asking(lab: Lab, ids: Sequence[str]) -> None:
    """The candles of one token, as projections are laid out and with an index."""
    plain = lab.projections.build(of_slices(ids, "plain"))
    indexed = lab.projections.build(of_slices(ids, "indexed", (("token_address", "ts"),)))
    tokens = [key.logical_key.split("/")[0][6:] for key in lab.store.get_artifacts(ids)]
    picked = np.random.default_rng(1).choice(tokens, ASKED).tolist()
    with (
        lab.projections.connect("plain") as first,
        lab.projections.connect("indexed") as second,
    ):

        def ask(connection: duckdb.DuckDBPyConnection) -> Callable[[], None]:
            def one() -> None:
                for token in picked:
                    found = connection.sql(
                        "SELECT * FROM candles WHERE token_address = $1 ORDER BY ts", params=[token]
                    ).to_arrow_table()
                    assert found.num_rows == ROWS

            return one

        timings = take_turns({"in order": ask(first), "indexed": ask(second)}, ROUNDS)
    print("\nthe candles of one token")
    for name, seconds in timings.items():
        took = statistics.median(seconds) / ASKED * 1e3
        print(f"  {name:<58}{took:>10.2f} ms    (at most 5 ms)")
    asked = ratio(timings, "in order", "indexed")
    print(f"  {'in order / indexed':<58}{asked:>10.2f} x    (at most 2)")
    share = plain.size / indexed.size
    print(f"  {'size / size indexed':<58}{share:>10.2f} x    (at most 0.5)")


def research(lab: Lab, root: Path) -> None:
    """The research projection: candles that count, records, views and macros too."""
    restore = snapshot(lab, root, "research", lambda: build_research(lab.projections))
    few = max(1, len(lab.store.list_artifacts().artifacts) // 100)
    publish_walks(lab, few, seed=3)
    added, anew, asked = [], [], []
    for _ in range(ROUNDS):
        restore()
        added.append(timed(lambda: lab.projections.build(research_request())))
        asked.append(timed(lambda: lab.projections.build(research_request())))
        anew.append(timed(lambda: lab.projections.rebuild("research")))
    shown(
        "research, after 1 % was published",
        {"bringing up to date": added, "building anew": anew, "when nothing changed": asked},
        "up to date / anew",
        "",
    )


def snapshot(lab: Lab, root: Path, name: str, build: Callable[[], object]) -> Callable[[], None]:
    """Build, and return what puts the projection back as it was then. Built files never change."""
    build()
    kept = root / f"kept-{name}"
    kept.mkdir()
    places = [root / "cache" / f"{name}{suffix}" for suffix in (".duckdb", ".json")]
    for place in places:
        os.link(place, kept / place.name)

    def restore() -> None:
        for place in places:
            place.unlink()
            os.link(kept / place.name, place)

    return restore


def publish_walks(lab: Lab, count: int, *, seed: int) -> list[str]:
    """Random walks of as many fresh tokens, in no order of tokens; the ids in order of arrival."""
    draw = np.random.default_rng(seed)
    ids: list[str] = []
    for start in range(0, count, AT_ONCE):
        requests = [walk(draw) for _ in range(min(AT_ONCE, count - start))]
        ids += [result.artifact_id for result in lab.store.publish_many(requests)]
    return ids


def walk(draw: np.random.Generator) -> PublishRequest:
    """One token's candles of a minute."""
    mint = b58encode(draw.bytes(32)).decode()
    close = 1e-3 * np.exp(np.cumsum(draw.normal(0, 0.01, ROWS)))
    opened = np.concatenate((close[:1], close[:-1]))
    spread = np.exp(np.abs(draw.normal(0, 0.004, (2, ROWS))))
    table = pa.table(
        {
            "token_address": [mint] * ROWS,
            "chain": ["solana"] * ROWS,
            "token_chain": ["solana"] * ROWS,
            "interval_s": np.full(ROWS, 60),
            "ts": pa.array([T0 + i * MINUTE for i in range(ROWS)], OHLCV_SLICE.schema[4].type),
            "open": opened,
            "high": np.maximum(opened, close) * spread[0],
            "low": np.minimum(opened, close) / spread[1],
            "close": close,
            "volume": draw.lognormal(3, 1, ROWS),
        },
        schema=OHLCV_SLICE.schema,
    )
    key = SliceKey(Token("solana", mint, "solana"), 60, T0, T0 + ROWS * MINUTE).format()
    return PublishRequest(OHLCV_SLICE.name, key, table, PROVENANCE)


def of_slices(
    ids: Sequence[str],
    name: str,
    indexes: tuple[tuple[str, ...], ...] = (),
    *,
    verify: bool = True,
) -> ProjectionRequest:
    """A projection of one table of candles."""
    table = ProjectionTable("candles", OHLCV_SLICE.name, tuple(ids), indexes=indexes)
    return ProjectionRequest((table,), name, verify=verify)


def timed(run: Callable[[], object]) -> float:
    """How many seconds it takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def shown(title: str, timings: dict[str, list[float]], name: str, goal: str) -> None:
    """Print the median times, and how the first two compare."""
    first, second = list(timings)[:2]
    show(title, timings, {name: (first, second, goal)})

"""Figures of the artifact store: `python -m quantlab_tests.benchmarks store [--quick]`.

Variants that are compared do the same work and take turns in one process; a ratio is the median of
the ratios of the rounds. Tables are candles: one token, times a minute apart, random prices. Files
are written to the temporary folder (`TMPDIR`), so that syncs cost what they cost there.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.adapters.manifest.tables import artifacts
from quantlab_assets.adapters.objects.layout import parquet_path
from quantlab_assets.adapters.objects.parquet import encode
from quantlab_assets.adapters.objects.writers import PARALLEL
from quantlab_assets.adapters.upkeep.audit import audit
from quantlab_assets.domain.artifacts.canonical_order import canonical_table, in_canonical_order
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.records import Provenance, PublishRequest
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_tests.benchmarks._turns import ratio, show, take_turns

T = TypeVar("T")
START = datetime(2025, 5, 1, tzinfo=UTC)
WRITER = Provenance(writer_name="benchmark", writer_version="1")
SIDECAR = bytes(1500)
BATCH = 500
WIDE = ArtifactType(
    name="seven_columns",
    schema_version=1,
    schema=pa.schema(
        [
            pa.field("token", pa.string(), nullable=False),
            pa.field("ts", pa.timestamp("us", tz="UTC"), nullable=False),
            *(pa.field(name, pa.float64()) for name in ("open", "high", "low", "close", "volume")),
        ]
    ),
    sort_keys=("token", "ts"),
    keys=("day={day}",),
    time_column="ts",
)


def seven_columns(rows: int, seed: int) -> pa.Table:
    """A table of a token, a time and five numbers."""
    drawn = np.random.default_rng(seed)
    times = np.arange(rows, dtype=np.int64) * 60_000_000 + int(START.timestamp() * 1e6)
    token = f"So1{seed:041d}"
    return pa.table(
        [
            pa.array([token] * rows),
            pa.array(times).cast(pa.timestamp("us", tz="UTC")),
            *(pa.array(drawn.random(rows)) for _ in range(5)),
        ],
        schema=WIDE.schema,
    )


def candles(number: int, rows: int = 2_000) -> PublishRequest:
    """A slice of candles of a token of its own."""
    drawn = np.random.default_rng(number)
    base = np.cumprod(1 + drawn.normal(0, 0.01, rows))
    digits = np.base_repr(number + 33**5, 33).upper()
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
    token = "".join(alphabet[int(digit, 33)] for digit in digits).rjust(44, "1")
    times = np.arange(rows, dtype=np.int64) * 60_000_000 + int(START.timestamp() * 1e6)
    columns = {
        "token_address": pa.array([token] * rows),
        "chain": pa.array(["solana"] * rows),
        "token_chain": pa.array(["solana"] * rows),
        "interval_s": pa.array(np.full(rows, 60, dtype=np.int64)),
        "ts": pa.array(times).cast(pa.timestamp("us", tz="UTC")),
        "open": pa.array(base),
        "high": pa.array(base * 1.01),
        "low": pa.array(base * 0.99),
        "close": pa.array(base),
        "volume": pa.array(drawn.random(rows) * 1e4),
    }
    end = START + timedelta(minutes=rows)
    key = OHLCV_SLICE.key(
        **{
            "token": token,
            "res": "1m",
            "from": f"{START:%Y-%m-%dT%H:%M:%SZ}",
            "to": f"{end:%Y-%m-%dT%H:%M:%SZ}",
        }
    )
    table = pa.table(
        [columns[name] for name in OHLCV_SLICE.schema.names], schema=OHLCV_SLICE.schema
    )
    return PublishRequest("ohlcv_slice_v2", key, table, WRITER)


def new_lake(folder: Path, types: TypeRegistry | None = None) -> ParquetStore:
    """An empty lake in a folder of its own under `folder`."""
    root = folder / uuid.uuid4().hex
    return ParquetStore.at(
        artifacts_root=root / "artifacts",
        manifest=root / "manifest" / "manifest.sqlite",
        staging=root / "staging",
        types=types or TypeRegistry(),
        create=True,
    )


def sha256_of_buffers(table: pa.Table) -> None:
    """The least that a hash of these bytes can cost."""
    hashed = hashlib.sha256()
    for column in table.columns:
        for chunk in column.chunks:
            for buffer in chunk.buffers():
                if buffer is not None:
                    hashed.update(buffer)
    hashed.digest()


def each(work: Callable[[T], object], things: Sequence[T]) -> None:
    """Do it to all of them."""
    for one in things:
        work(one)


def sha256_of(data: bytes) -> str:
    """SHA-256 of bytes in memory."""
    return hashlib.sha256(data).hexdigest()


def hashing(rounds: int, quick: bool) -> None:
    """The content hash against SHA-256 of the same buffers."""
    large = seven_columns(200_000 if quick else 1_000_000, 1)
    several = [seven_columns(2_000, i) for i in range(50 if quick else 500)]
    for title, tables, goal in (
        (f"content_hash of {large.num_rows:,} x 7 rows", [large], "<= 1.3"),
        (f"content_hash of {len(several)} tables of 2,000 rows", several, "<= 2"),
    ):
        timings = take_turns(
            {
                "sha256 of the buffers": partial(each, sha256_of_buffers, tables),
                "content_hash": partial(each, content_hash, tables),
            },
            rounds,
        )
        show(
            title,
            timings,
            {"content_hash / sha256": ("content_hash", "sha256 of the buffers", goal)},
        )


def write_synced(folder: Path, data: bytes) -> None:
    """A file, durable under its name but for the folder."""
    descriptor = os.open(folder / uuid.uuid4().hex, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publishing(rounds: int, requests: Sequence[PublishRequest], folder: Path) -> None:
    """Durable publishing against encoding and writing the same bytes; and dedupe hits."""
    tables = [one.table for one in requests if isinstance(one.table, pa.Table)]
    ready = [(canonical_table(one, OHLCV_SLICE), "sha256:" + "0" * 64) for one in tables]

    def bare(threads: int) -> None:
        into = folder / uuid.uuid4().hex
        into.mkdir()
        with ThreadPoolExecutor(threads) as pool:
            written = []
            for table, hashed in ready:
                data = encode(table, OHLCV_SLICE, hashed)
                for each in (data, SIDECAR):
                    if threads == 1:
                        write_synced(into, each)
                    else:
                        written.append(pool.submit(write_synced, into, each))
            for one in written:
                one.result()
        shutil.rmtree(into)

    def publish() -> None:
        store = new_lake(folder)
        for start in range(0, len(requests), BATCH):
            store.publish_many(requests[start : start + BATCH])
        shutil.rmtree(store.files_on_disk.root.parent)

    one, many = "encode, write and fsync, one thread", f"the same with {PARALLEL} writing threads"
    timings = take_turns(
        {one: lambda: bare(1), many: lambda: bare(PARALLEL), "publish_many": publish},
        rounds,
        warm=False,
    )
    show(
        f"{len(requests):,} artifacts of 2,000 rows, published durably in batches of {BATCH}",
        timings,
        {
            "publish_many / one thread": ("publish_many", one, "<= 1.6"),
            f"publish_many / {PARALLEL} threads": ("publish_many", many, "<= 1.6"),
        },
    )

    batch = requests[:BATCH]
    store = new_lake(folder)
    store.publish_many(batch)

    def order_and_hash() -> None:
        for request in batch:
            assert isinstance(request.table, pa.Table)
            in_canonical_order(request.table, OHLCV_SLICE)
            content_hash(request.table)

    timings = take_turns(
        {"order check + hash": order_and_hash, "dedupe hits": lambda: store.publish_many(batch)},
        rounds,
    )
    show(
        f"a batch of {len(batch)} dedupe hits",
        timings,
        {"dedupe / (order check + hash)": ("dedupe hits", "order check + hash", "<= 2")},
    )


def listing(rounds: int, count: int, folder: Path) -> None:
    """A page of the newest artifacts of a large lake, in the process and from the shell."""
    lake = folder / "listed"
    store = ParquetStore.at(
        artifacts_root=lake / "artifacts",
        manifest=lake / "manifest" / "manifest.sqlite",
        staging=lake / "staging",
        types=TypeRegistry(),
        create=True,
    )
    with store.database.writing() as connection:
        connection.execute(
            artifacts.insert(),
            [
                {
                    "artifact_id": f"{i:032x}",
                    "sequence": i + 1,
                    "artifact_type": "alerts_v1" if i % 10 else "ohlcv_slice_v2",
                    "schema_version": 1,
                    "logical_key": f"key={i}",
                    "status": "active" if i % 3 else "superseded",
                    "keeps_many": False,
                    "path": parquet_path("alerts_v1", 1, f"{i:032x}"),
                    "file_hash": f"sha256:{i:064x}",
                    "file_size": 80_000,
                    "content_hash": f"sha256:{i:064x}",
                    "row_count": 2_000,
                    "created_at": 1_746_100_800_000_000 + i,
                }
                for i in range(count)
            ],
        )
    store.list_artifacts(limit=100)
    timings = take_turns(
        {"list_artifacts(limit=100)": lambda: store.list_artifacts(limit=100)}, rounds
    )
    show(f"a page of 100 among {count:,} artifacts (< 50 ms)", timings, {})

    command = [sys.executable, "-m", "quantlab_assets.cli.main", "--lake", str(lake)]
    script = Path(sys.executable).with_name("quantlab")
    if script.exists():
        command = [str(script)]
    listed = [*command, "artifacts", "list", "--limit", "100", "--format", "json"]
    environment = {**os.environ, "QUANTLAB_LAKE": str(lake)}
    run: Callable[[list[str]], object] = lambda it: subprocess.run(  # noqa: E731
        it, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    floor = "python -c 'import sqlalchemy'"
    try:
        timings = take_turns(
            {
                floor: lambda: run([sys.executable, "-c", "import sqlalchemy"]),
                "quantlab artifacts list --limit 100": lambda: run(listed),
            },
            rounds,
        )
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        print(f"  the command could not be run: {error}")
        return
    show(
        "the command",
        timings,
        {"command / import": ("quantlab artifacts list --limit 100", floor, "< 2")},
    )


def verifying(rounds: int, quick: bool, folder: Path) -> None:
    """An audit with two threads against SHA-256 of the same bytes in memory with one."""
    for rows, files, goal in (
        (20_000, 20 if quick else 150, 70),
        (1_600, 100 if quick else 1_000, 40),
    ):
        store = new_lake(folder, TypeRegistry([WIDE]))
        start = datetime(1970, 1, 1, tzinfo=UTC)
        store.publish_many(
            [
                PublishRequest(
                    WIDE.name,
                    f"day={start + timedelta(days=i):%Y-%m-%d}",
                    seven_columns(rows, i),
                    WRITER,
                )
                for i in range(files)
            ]
        )
        held = [store.files_on_disk.read(one.path) for one in store.list_artifacts().artifacts]
        size = sum(map(len, held)) / files
        timings = take_turns(
            {
                "sha256 in memory, one thread": partial(each, sha256_of, held),
                "audit, two threads": partial(audit, store, threads=2),
            },
            rounds,
        )
        show(f"verify {files} files of {size / 1e3:.0f} kB", timings, {})
        speed = 100 * ratio(timings, "sha256 in memory, one thread", "audit, two threads")
        print(
            f"  {'speed of the audit / of sha256':<58}{speed:>10.0f} %    (>= {goal})", flush=True
        )


def main(argv: list[str]) -> None:
    """Print every figure; `--quick` does with less data and fewer rounds."""
    parser = argparse.ArgumentParser(prog="store", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--artifacts", type=int, help="how many to publish (default 4899)")
    arguments = parser.parse_args(argv)
    quick: bool = arguments.quick
    rounds = 3 if quick else 5
    count = arguments.artifacts or (300 if quick else 4_899)
    hashing(rounds, quick)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listing(rounds, 100_000, folder)
        verifying(rounds, quick, folder)
        publishing(rounds, [candles(i) for i in range(count)], folder)

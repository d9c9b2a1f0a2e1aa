"""`ohlcv_slices` over a range while its source, its process or its disk fails."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantlab_assets import open_lake
from quantlab_assets.adapters.candle_folder.intake import GivenFiles
from quantlab_assets.adapters.clickhouse import CandleInserter, Connection, TableMapping, connection
from quantlab_assets.domain.errors import StoreUnavailable
from quantlab_assets.handlers.ingest.candles import ingest_candles
from quantlab_assets.sample import sample_path
from quantlab_tests.adapters.artifact_store.scenes import clean
from quantlab_tests.adapters.clickhouse.engine import embedded, new_database
from quantlab_tests.adapters.clickhouse.loopback import ROWS, LoopbackServer, loopback
from quantlab_tests.conftest import LAKE_VARIABLES, ROOT
from quantlab_tests.e2e.test_graph_backfill import DAYS, FIRST, LAST, filled, run

SLICES = "ohlcv_slices"


@pytest.fixture(scope="module")
def database() -> str:
    """The sample's candles in a table."""
    name = new_database()
    target = CandleInserter(Connection(embedded(name)), TableMapping())
    ingest_candles(GivenFiles([sample_path() / "candles"]), target, lambda _: None)
    return name


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with loopback() as running:
        yield running


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with the calls of nine days, and no slices."""
    lake = filled(tmp_path_factory.mktemp("called"))
    run(lake, ["telegram_messages", "alerts"], FIRST, LAST)
    return lake


@pytest.fixture(scope="module")
def whole(called: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str] | None]:
    """The slices of each day that files give in one go."""
    lake = tmp_path_factory.mktemp("whole") / "lake"
    shutil.copytree(called, lake)
    run(lake, [SLICES], FIRST, LAST)
    found = heads(lake)
    assert None not in found.values()
    assert sum(bool(held) for held in found.values()) >= 3
    return found


@pytest.fixture
def lake(called: Path, tmp_path: Path) -> Path:
    shutil.copytree(called, tmp_path / "lake")
    return tmp_path / "lake"


def heads(lake: Path) -> dict[str, list[str] | None]:
    found = open_lake(lake).store.get_heads(SLICES, DAYS)
    return {
        day: None if held is None else sorted(one.artifact_id for one in held)
        for day, held in found.items()
    }


def whole_days(lake: Path, whole: dict[str, list[str] | None]) -> list[str]:
    """The days that are there, all of them as they should be, and nothing half-written."""
    partly = heads(lake)
    done = [day for day in DAYS if partly[day] is not None]
    assert {day: partly[day] for day in done} == {day: whole[day] for day in done}
    assert clean(open_lake(lake).store)
    return done


def test_a_source_that_goes_down_midway_leaves_whole_days_and_the_rest_resumes(
    lake: Path,
    whole: dict[str, list[str] | None],
    server: LoopbackServer,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "PAUSES_S", (0.01,))
    monkeypatch.setenv("QUANTLAB_CANDLES", server.dsn(database))
    server.faults = ["none", "none", "none", *(["reset"] * 20)]

    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        run(lake, [SLICES], FIRST, LAST)

    done = whole_days(lake, whole)
    missing = sorted(set(DAYS) - set(done))
    assert any(whole[day] for day in done)
    assert any(whole[day] for day in missing)

    server.faults = []
    run(lake, [SLICES], missing[0], LAST)

    # What ClickHouse gives in two goes is what files gave in one.
    assert heads(lake) == whole


RANGE = """
import sys
from pathlib import Path
from quantlab_tests.e2e.test_graph_backfill import FIRST, LAST, run
run(Path(sys.argv[1]), ["ohlcv_slices"], FIRST, LAST)
"""


def test_a_process_that_is_killed_midway_leaves_whole_days_and_the_rest_resumes(
    lake: Path, whole: dict[str, list[str] | None], server: LoopbackServer, database: str
) -> None:
    server.faults = ["none", "none", "none", "hang"]
    kept = {name: value for name, value in os.environ.items() if name not in LAKE_VARIABLES}
    environment = {**kept, "PYTHONPATH": str(ROOT), "QUANTLAB_CANDLES": server.dsn(database)}
    child = subprocess.Popen([sys.executable, "-c", RANGE, str(lake)], env=environment)
    watch = threading.Timer(60, child.kill)
    watch.start()
    while sum(ROWS in query for query in server.queries) < 4 and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait(30) == -signal.SIGKILL
    watch.cancel()

    assert 0 < len(whole_days(lake, whole)) < len(DAYS)

    run(lake, [SLICES], FIRST, LAST)  # from files this time: the source makes no difference

    assert heads(lake) == whole


def test_a_disk_that_fills_up_midway_leaves_whole_days_and_the_rest_resumes(
    lake: Path, whole: dict[str, list[str] | None]
) -> None:
    # No file may grow beyond this: the manifest does, after a few days.
    limit = (lake / "manifest" / "manifest.sqlite").stat().st_size + 20_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(StoreUnavailable, match=r"disk|File too large"):
            run(lake, [SLICES], FIRST, LAST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert len(whole_days(lake, whole)) < len(DAYS)

    run(lake, [SLICES], FIRST, LAST)

    assert heads(lake) == whole

"""The engine's version follows its sources, and its import is cheap."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

import quantlab_assets
from quantlab_assets.simulation import engine_version, simulate
from quantlab_assets.simulation.version import version_of
from quantlab_assets.simulation.walk import kernel
from quantlab_tests.simulation.markets import alert_frame, build_strategy, candle_frame

PACKAGE = Path(quantlab_assets.__file__).parent


def test_version_is_package_version_and_digest():
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\+[0-9a-f]{64}", engine_version())
    assert engine_version() == version_of(PACKAGE)


def test_any_source_that_decides_a_result_changes_it(tmp_path):
    copy = tmp_path / "package"
    shutil.copytree(PACKAGE / "simulation", copy / "simulation")
    (copy / "domain" / "experiments").mkdir(parents=True)
    beside = ("domain/experiments/strategy.py", "domain/time_us.py")
    for name in beside:
        shutil.copy(PACKAGE / name, copy / name)
    assert version_of(copy) == engine_version()
    for name in ("simulation/walk/kernel.py", *beside):
        with (copy / name).open("a") as source:
            source.write("# changed\n")
        assert version_of(copy) != engine_version()
        shutil.copy(PACKAGE / name, copy / name)
    assert version_of(copy) == engine_version()


def test_import_is_cheap_and_stays_inside_its_layer():
    script = (
        "import sys, quantlab_assets.simulation as s; s.engine_version(); "
        "assert not {'numba', 'polars'} & set(sys.modules); s.simulate; "
        "assert not {'dagster', 'duckdb', 'pandera', 'sqlalchemy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_compiled_code_of_another_engine_is_not_used():
    """numba stamps compiled loops by their own file; here it is by the whole engine."""
    cache_file = kernel.run_exits._cache._cache_file
    overloads = {"key": "data.nbc"}
    cache_file_of_another = type(cache_file)(str(cache_file._cache_path), "stamp_test", "another")
    own = type(cache_file)(str(cache_file._cache_path), "stamp_test", cache_file._source_stamp)
    cache_file_of_another._save_index(overloads)
    try:
        assert cache_file_of_another._load_index() == overloads
        assert own._load_index() == {}
    finally:
        Path(own._index_path).unlink()
    assert cache_file._source_stamp == engine_version()


INTERPRETED = """
import sys
from pathlib import Path
import polars as pl
from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_assets.simulation import simulate

folder = Path(sys.argv[1])
frames = [pl.read_parquet(folder / name) for name in ("alerts.parquet", "candles.parquet")]
result = simulate(*frames, Strategy.from_json((folder / "strategy.json").read_text()))
result.metrics.write_parquet(folder / "metrics.parquet")
"""


def test_the_rules_are_the_same_without_the_compiler(tmp_path):
    """For a debugger or a coverage run: `NUMBA_DISABLE_JIT=1`."""
    alerts = alert_frame([{}])
    candles = candle_frame([(100, 110, 90, 105), (105, 160, 100, 155), (155, 156, 40, 50)])
    strategy = build_strategy(
        exit={"stop_loss_pct": 0.2, "take_profits": [{"gain_pct": 0.5, "fraction": 0.5}]}
    )
    alerts.write_parquet(tmp_path / "alerts.parquet")
    candles.write_parquet(tmp_path / "candles.parquet")
    (tmp_path / "strategy.json").write_text(strategy.canonical_json())
    subprocess.run(
        [sys.executable, "-c", INTERPRETED, str(tmp_path)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        check=True,
    )
    interpreted = pl.read_parquet(tmp_path / "metrics.parquet")
    assert_frame_equal(interpreted, simulate(alerts, candles, strategy).metrics, check_exact=True)

"""The engine's version follows its sources, and its import is cheap."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import quantlab_assets
from quantlab_assets.simulation import engine_version, kernel
from quantlab_assets.simulation.version import version_of

PACKAGE = Path(quantlab_assets.__file__).parent


def test_version_is_package_version_and_digest():
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\+[0-9a-f]{64}", engine_version())
    assert engine_version() == version_of(PACKAGE)


def test_any_source_that_decides_a_result_changes_it(tmp_path):
    copy = tmp_path / "package"
    shutil.copytree(PACKAGE / "simulation", copy / "simulation")
    (copy / "domain").mkdir()
    shutil.copy(PACKAGE / "domain" / "strategy.py", copy / "domain")
    assert version_of(copy) == engine_version()
    for name in ("simulation/kernel.py", "domain/strategy.py"):
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

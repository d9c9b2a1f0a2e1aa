"""The dataset's folder: replaced whole, and never at the cost of anybody's files."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest

from quantlab_assets.adapters import candle_dataset
from quantlab_assets.adapters.candle_dataset import MARKER, CandleDatasetFolder
from quantlab_assets.domain.errors import Conflict, StoreUnavailable
from quantlab_tests.conftest import ROOT
from quantlab_tests.contracts.test_candle_dataset import OTHER, RECIPE, candles

KILLED = """
import os, signal, sys
from pathlib import Path
from quantlab_assets.adapters.candle_dataset import CandleDatasetFolder
from quantlab_tests.contracts.test_candle_dataset import OTHER, candles
with CandleDatasetFolder(Path(sys.argv[1])).replace(OTHER) as writer:
    writer.write(0, "2025-11", candles(5))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of seven candles."""
    folder = tmp_path / "candles"
    with CandleDatasetFolder(folder).replace(RECIPE) as writer:
        writer.write(0, "2025-11", candles(3))
        writer.write(2, "2025-11", candles(4, "U"))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_other_tools_read_it_by_its_partitions(folder: Path) -> None:
    glob = f"{folder}/**/*.parquet"
    counted = duckdb.sql(
        f"select bucket, month, count(*) from read_parquet('{glob}', hive_partitioning = true) "
        "group by all order by all"
    ).fetchall()

    assert [(bucket, str(month), rows) for bucket, month, rows in counted] == [
        (0, "2025-11", 3),
        (2, "2025-11", 4),
    ]
    frame = pl.scan_parquet(glob, hive_partitioning=True).collect()
    assert frame.filter(bucket=2)["token_address"].unique().to_list() == ["U"]


def test_the_same_candles_are_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    with CandleDatasetFolder(again).replace(RECIPE) as writer:
        writer.write(0, "2025-11", candles(3))
        writer.write(2, "2025-11", candles(4, "U"))

    assert contents(again) == contents(folder)


def test_nothing_is_left_beside_it(folder: Path) -> None:
    with CandleDatasetFolder(folder).replace(OTHER) as writer:
        writer.write(0, "2025-11", candles(3))

    assert [path.name for path in folder.parent.iterdir()] == ["candles"]


def test_where_places_cannot_be_changed_in_one_step_it_takes_two(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candle_dataset, "_exchange", lambda _first, _second: False)

    with CandleDatasetFolder(folder).replace(OTHER) as writer:
        writer.write(1, "2025-11", candles(1))

    content = CandleDatasetFolder(folder).content()
    assert content is not None
    assert content.recipe == OTHER
    assert [path.name for path in folder.parent.iterdir()] == ["candles"]


def test_killed_between_the_two_steps_the_old_one_comes_back(folder: Path) -> None:
    before = contents(folder)
    folder.rename(folder.with_name(".candles.quantlab-old"))

    with (
        pytest.raises(RuntimeError, match="given up"),
        CandleDatasetFolder(folder).replace(OTHER),
    ):
        raise RuntimeError("given up")

    assert contents(folder) == before


def test_killed_in_between_the_old_one_stays_and_the_next_export_clears_up(folder: Path) -> None:
    before = contents(folder)

    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
    )

    assert done.returncode == -signal.SIGKILL
    assert contents(folder) == before
    with CandleDatasetFolder(folder).replace(OTHER) as writer:
        writer.write(0, "2025-11", candles(5))
    assert [path.name for path in folder.parent.iterdir()] == ["candles"]


@pytest.mark.parametrize("name", ["notes.txt", "bucket=0/extra.parquet", "deep/er/x"])
def test_somebodys_files_are_refused_and_kept(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine")

    with (
        pytest.raises(Conflict, match="not the dataset's"),
        CandleDatasetFolder(folder).replace(OTHER),
    ):
        pass

    assert (folder / name).read_text() == "mine"


def test_a_folder_that_is_no_dataset_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")

    for name, reason in (("mine", "no dataset of quantlab"), ("file", "is a file")):
        with (
            pytest.raises(Conflict, match=reason),
            CandleDatasetFolder(tmp_path / name).replace(OTHER),
        ):
            pass
        with pytest.raises(Conflict, match=reason):
            CandleDatasetFolder(tmp_path / name).content()

    assert (tmp_path / "mine" / "thesis.tex").read_text() == "mine"


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "candles").mkdir()

    with CandleDatasetFolder(tmp_path / "candles").replace(RECIPE) as writer:
        writer.write(0, "2025-11", candles(1))

    assert (tmp_path / "candles" / MARKER).is_file()


def test_a_dataset_with_a_file_missing_is_no_dataset_any_more(folder: Path) -> None:
    (folder / "bucket=0" / "month=2025-11" / "candles.parquet").unlink()

    assert CandleDatasetFolder(folder).content() is None


def test_two_exports_at_once_are_refused(folder: Path) -> None:
    with (
        CandleDatasetFolder(folder).replace(OTHER),
        pytest.raises(Conflict, match="another process"),
        CandleDatasetFolder(folder).replace(RECIPE),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(StoreUnavailable, match="cannot write the dataset"),
        CandleDatasetFolder(tmp_path / "file" / "candles").replace(RECIPE),
    ):
        pass

"""DuckDB is disposable: a lake without its `.duckdb` files has lost nothing."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl

from quantlab_assets import open_lake


def known(folder: Path) -> dict[str, Any]:
    """Every row of every table and view of research, and the experiments of the ledger."""
    lake = open_lake(folder)
    names = lake.sql("show tables")["name"]
    tables = {name: lake.sql(f"select * from {name} order by all") for name in names}
    return {**tables, "experiments": [e.experiment_id for e in lake.experiments.list()]}


def test_every_duckdb_file_can_be_deleted_and_nothing_is_lost(
    demo_lake: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "lake"
    shutil.copytree(demo_lake, folder)
    before = known(folder)
    assert before["alerts"].height == 29

    files = sorted(folder.rglob("*.duckdb"))
    for file in files:
        file.unlink()
    after = known(folder)

    assert files
    assert before.keys() == after.keys()
    for name, rows in before.items():
        same = rows.equals(after[name]) if isinstance(rows, pl.DataFrame) else rows == after[name]
        assert same, name

"""What the connection of a build can do: write its own file, read its artifacts, nothing else."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantlab_assets.adapters.duckdb import ProjectionLimits
from quantlab_assets.adapters.duckdb.connections import open_for_build, open_for_reading

ODD = 'it\'s "odd"'
"""A folder whose name would end a literal and an identifier."""

LIMITS = ProjectionLimits(memory="200MB", threads=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "mine.parquet")
    pq.write_table(pa.table({"a": [3]}), tmp_path / "other.parquet")
    (tmp_path / "secret.txt").write_text("secret")
    duckdb.connect(str(tmp_path / "other.duckdb")).close()
    return tmp_path


@pytest.fixture
def connection(root: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    (root / ODD).mkdir()
    opened = open_for_build(
        root / ODD / "built.duckdb",
        artifact_files=[root / "mine.parquet"],
        spill=root / "spill",
        limits=LIMITS,
    )
    yield opened
    opened.close()


def test_it_reads_its_artifacts_and_writes_its_file(
    connection: duckdb.DuckDBPyConnection, root: Path
) -> None:
    mine = str(root / "mine.parquet")
    connection.execute("CREATE TABLE t AS SELECT * FROM read_parquet($1)", [[mine]]).fetchall()
    connection.execute("CHECKPOINT").fetchall()
    connection.close()
    path = root / ODD / "built.duckdb"
    with open_for_reading(path, links=root / "links", limits=LIMITS) as reader:
        assert reader.execute("FROM t").fetchall() == [(1,), (2,)]


NO_FILES = "file system operations are disabled by configuration"
LOCKED = "the configuration has been locked"


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT * FROM read_parquet('{root}/other.parquet')", NO_FILES),
        ("SELECT * FROM read_parquet('{root}/*.parquet')", NO_FILES),
        ("SELECT * FROM read_text('{root}/secret.txt')", NO_FILES),
        ("SELECT * FROM glob('{root}/*')", NO_FILES),
        ("ATTACH '{root}/other.duckdb' AS other", NO_FILES),
        ("ATTACH '{root}/new.duckdb' AS new", NO_FILES),
        ("COPY (SELECT 1) TO '{root}/out.csv'", NO_FILES),
        ("COPY (SELECT 1) TO '{root}/mine.parquet'", NO_FILES),
        ("INSTALL httpfs", NO_FILES),
        ("LOAD httpfs", "Loading external extensions is disabled through configuration"),
        ("SET enable_external_access = true", LOCKED),
        ("SET lock_configuration = false", LOCKED),
        ("SET memory_limit = '1TB'", LOCKED),
        ("SET threads = 64", LOCKED),
    ],
)
def test_it_does_nothing_else(
    statement: str, says: str, connection: duckdb.DuckDBPyConnection, root: Path
) -> None:
    before = {path: path.stat().st_size for path in root.iterdir()}
    with pytest.raises(duckdb.Error, match=says):
        connection.execute(statement.format(root=root)).fetchall()
    assert {path: path.stat().st_size for path in root.iterdir()} == before


def test_it_is_limited_from_the_first_statement(connection: duckdb.DuckDBPyConnection) -> None:
    asked = "SELECT current_setting($1)"
    assert connection.execute(asked, ["threads"]).fetchall() == [(1,)]
    assert connection.execute(asked, ["TimeZone"]).fetchall() == [("UTC",)]
    assert connection.execute(asked, ["memory_limit"]).fetchall()[0][0] == "190.7 MiB"
    assert connection.execute(asked, ["autoload_known_extensions"]).fetchall() == [(False,)]

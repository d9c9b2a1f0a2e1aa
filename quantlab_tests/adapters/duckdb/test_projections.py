"""Projections as files: exact, disposable, locked down, and safe to kill while they are built."""

import hashlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantlab_assets.adapters.duckdb import DuckdbProjections, ProjectionLimits
from quantlab_assets.adapters.duckdb.limits import watched
from quantlab_assets.adapters.duckdb.query import QuerySession
from quantlab_assets.domain.artifacts.canonical_order import canonical_table
from quantlab_assets.domain.artifacts.identity import artifact_id_of
from quantlab_assets.domain.artifacts.records import Artifact
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.seed_types import (
    ALERTS,
    EXPERIMENT_METRICS,
    OHLCV_SLICE,
    SEED_TYPES,
)
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import (
    IntegrityError,
    NotFound,
    StoreUnavailable,
    ValidationFailed,
)
from quantlab_assets.ports.projection_builder import ProjectionRequest, ProjectionTable

HOSTILE = ["", "a\x00b", "'; DROP TABLE t; --", "Zoë 🚀", '"', "ß", None]


class Folder:
    """As much of a store as a projection needs: Parquet files in canonical order, otherwise
    unchecked, and their records."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.held: dict[str, tuple[Artifact, Path]] = {}

    def add(self, artifact_type: ArtifactType, table: pa.Table, key: str) -> str:
        artifact_id = artifact_id_of(artifact_type.name, 1, key, str(len(self.held)))
        path = self.root / f"{artifact_id}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(canonical_table(table, artifact_type), path, compression="zstd")
        artifact = Artifact(
            artifact_id=artifact_id,
            artifact_type=artifact_type.name,
            schema_version=artifact_type.schema_version,
            logical_key=key,
            status="active",
            path=path.name,
            file_hash=_sha256(path),
            file_size=path.stat().st_size,
            content_hash="sha256:" + "0" * 64,
            row_count=table.num_rows,
            min_ts=None,
            max_ts=None,
            created_at=datetime(2025, 11, 7, tzinfo=UTC),
        )
        self.held[artifact_id] = (artifact, path)
        return artifact_id

    def get_artifacts(self, artifact_ids: Sequence[str]) -> list[Artifact]:
        missing = [i for i in artifact_ids if i not in self.held]
        if missing:
            raise NotFound(f"no artifacts {missing}")
        return [self.held[i][0] for i in artifact_ids]

    def files(self, artifact_ids: Sequence[str], *, verify: bool) -> list[Path]:
        for artifact_id in artifact_ids:
            artifact, path = self.held[artifact_id]
            if verify and _sha256(path) != artifact.file_hash:
                raise IntegrityError(f"artifact {artifact_id} is damaged")
        return [self.held[i][1] for i in artifact_ids]


def _sha256(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "artifacts")


@pytest.fixture
def projections(tmp_path: Path, folder: Folder) -> DuckdbProjections:
    return make_projections(tmp_path, folder)


def make_projections(
    tmp_path: Path, folder: Folder, *, limits: ProjectionLimits | None = None
) -> DuckdbProjections:
    return DuckdbProjections(tmp_path / "cache", folder, folder, TypeRegistry(), limits)  # type: ignore[arg-type]


def hostile_rows(artifact_type: ArtifactType, salt: int) -> pa.Table:
    """Rows of a type with every awkward value its columns can hold; order and values by `salt`."""
    count = 50

    def column(field: pa.Field, number: int) -> pa.Array:
        kind = field.type
        picks = [(row * 7 + number * 3 + salt) % 11 for row in range(count)]
        if pa.types.is_string(kind):
            values: list[object] = [HOSTILE[p % len(HOSTILE)] for p in picks]
        elif pa.types.is_floating(kind):
            floats = [math.nan, -math.inf, math.inf, 1e-308, 0.1 + 0.2, -0.0, None]
            values = [floats[p % len(floats)] for p in picks]
        elif pa.types.is_int64(kind):
            values = [[2**63 - 1, -(2**63), 0, p, None][p % 5] for p in picks]
        elif pa.types.is_boolean(kind):
            values = [[True, False, None][p % 3] for p in picks]
        elif pa.types.is_date32(kind):
            values = [[date(1, 1, 1), date(9999, 12, 31), None][p % 3] for p in picks]
        else:
            micros = [0, -1, 1_762_500_000_123_456, 253_402_214_399_999_999, None]
            values = [micros[p % 5] for p in picks]
        if not field.nullable:
            filler = next(value for value in values if value is not None)
            values = [filler if value is None else value for value in values]
        return pa.array(values, kind)

    columns = [column(field, number) for number, field in enumerate(artifact_type.schema)]
    return pa.Table.from_arrays(columns, schema=artifact_type.schema)


def metrics(value: float) -> pa.Table:
    return pa.table(
        {
            "scope": ["all"],
            "scope_value": ["all"],
            "metric_name": ["win_rate"],
            "metric_value": [value],
        }
    )


def request(*tables: ProjectionTable, name: str | None = None) -> ProjectionRequest:
    return ProjectionRequest(tables=tables, projection_id=name)


def rows_of(projections: DuckdbProjections, projection_id: str, table: str) -> pa.Table:
    with projections.connect(projection_id) as connection:
        found: pa.Table = connection.sql(f"SELECT * FROM {table}").to_arrow_table()
        return found


def ask(projections: DuckdbProjections, projection_id: str, query: str) -> pl.DataFrame:
    with projections.connect(projection_id) as connection, QuerySession(connection) as session:
        return session.frame(query)


def as_text(table: pa.Table) -> list[str]:
    """Rows as text, so that NaN equals NaN."""
    return [repr(row) for row in table.to_pylist()]


@pytest.mark.parametrize("artifact_type", SEED_TYPES, ids=lambda t: t.name)
def test_a_rebuild_has_the_rows_of_the_build_and_of_the_artifacts(
    artifact_type: ArtifactType, tmp_path: Path, folder: Folder
) -> None:
    tables = [canonical_table(hostile_rows(artifact_type, n), artifact_type) for n in (1, 2, 3)]
    ids = tuple(folder.add(artifact_type, table, f"k{i}") for i, table in enumerate(tables))
    one = make_projections(tmp_path, folder, limits=ProjectionLimits(threads=1))
    built = one.build(request(ProjectionTable("t", artifact_type.name, ids)))
    first = rows_of(one, built.projection_id, "t")

    built.path.unlink()
    assert not one.exists(built.projection_id)
    four = make_projections(tmp_path, folder, limits=ProjectionLimits(threads=4))
    four.rebuild(built.projection_id)
    second = rows_of(four, built.projection_id, "t")

    assert second.schema == first.schema
    assert [f.type for f in first.schema] == [f.type for f in artifact_type.schema]
    assert as_text(second) == as_text(first)
    assert sorted(as_text(first)) == sorted(as_text(pa.concat_tables(tables)))


def test_rows_stand_in_the_order_of_their_type(
    projections: DuckdbProjections, folder: Folder
) -> None:
    table = hostile_rows(EXPERIMENT_METRICS, 5)
    ids = (folder.add(EXPERIMENT_METRICS, table, "k"),)
    built = projections.build(request(ProjectionTable("t", EXPERIMENT_METRICS.name, ids)))

    expected = sorted(
        table.select(["scope", "scope_value", "metric_name"]).to_pylist(),
        key=lambda row: [value.encode() for value in row.values()],
    )
    got = rows_of(projections, built.projection_id, "t")
    assert got.select(["scope", "scope_value", "metric_name"]).to_pylist() == expected


def test_times_are_utc_and_exact(
    projections: DuckdbProjections, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Australia/Sydney")
    time.tzset()
    try:
        ids = (folder.add(OHLCV_SLICE, hostile_rows(OHLCV_SLICE, 1), "k"),)
        built = projections.build(request(ProjectionTable("ohlcv", OHLCV_SLICE.name, ids)))
        with projections.connect(built.projection_id) as connection:
            (text,) = connection.execute(
                "SELECT ts::VARCHAR FROM ohlcv WHERE epoch_us(ts) = 1762500000123456 LIMIT 1"
            ).fetchall()[0]
        assert text == "2025-11-07 07:20:00.123456+00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_folder_named_like_a_column_or_a_pattern_above_the_lake_changes_nothing(
    tmp_path: Path,
) -> None:
    odd = tmp_path / "chain=oops" / "la[k]e *"
    folder = Folder(odd / "artifacts")
    ids = (folder.add(OHLCV_SLICE, hostile_rows(OHLCV_SLICE, 1), "k"),)
    projections = make_projections(odd, folder)
    built = projections.build(request(ProjectionTable("t", OHLCV_SLICE.name, ids)))

    chains = set(rows_of(projections, built.projection_id, "t")["chain"].to_pylist())
    assert "oops" not in chains
    assert built.rows == {"t": 50}


REFUSED_NAME = "use 1 to 63 lower-case|there is no such column|have no field"


@pytest.mark.parametrize(
    "name",
    [
        "x as select 1; drop table y; --",
        'a"b',
        "../../etc/x",
        "a/b",
        "A",
        "1a",
        "",
        "a b",
        "a\n",
        "é",
        "x" * 64,
        ".hidden",
    ],
)
def test_no_name_reaches_sql_or_the_file_system(
    name: str, projections: DuckdbProjections, folder: Folder, tmp_path: Path
) -> None:
    good = (
        folder.add(EXPERIMENT_METRICS, metrics(0.5), "experiment=exp-0000000000000000/metrics"),
    )
    kind = EXPERIMENT_METRICS.name
    before = sorted(tmp_path.rglob("*"))
    attempts: list[Callable[[], object]] = [
        lambda: projections.build(request(ProjectionTable(name, kind, good))),
        lambda: projections.build(request(ProjectionTable("t", kind, good), name=name)),
        lambda: projections.build(request(ProjectionTable("t", kind, good, indexes=((name,),)))),
        lambda: projections.build(
            request(ProjectionTable("t", kind, good, key_columns=((name, "experiment"),)))
        ),
        lambda: projections.build(
            request(ProjectionTable("t", kind, good, key_columns=(("e", name),)))
        ),
        lambda: projections.rebuild(name),
        lambda: projections.dispose(name),
        lambda: projections.exists(name),
        lambda: projections.connect(name),
    ]
    for attempt in attempts:
        with pytest.raises(ValidationFailed, match=REFUSED_NAME):
            attempt()
    assert sorted(tmp_path.rglob("*")) == before


def test_keywords_are_fine_as_names(projections: DuckdbProjections, folder: Folder) -> None:
    ids = (folder.add(EXPERIMENT_METRICS, metrics(0.5), "k"),)
    built = projections.build(
        request(
            ProjectionTable("select", EXPERIMENT_METRICS.name, ids, indexes=(("scope",),)),
            name="table",
        )
    )
    assert rows_of(projections, built.projection_id, '"select"').num_rows == 1


def test_a_damaged_artifact_is_refused_before_duckdb_reads_it(
    projections: DuckdbProjections, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact_id = folder.add(EXPERIMENT_METRICS, metrics(0.5), "k")
    path = folder.held[artifact_id][1]
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    opened: list[object] = []
    monkeypatch.setattr(duckdb, "connect", lambda *a, **k: opened.append(a))

    with pytest.raises(IntegrityError, match=artifact_id):
        projections.build(request(ProjectionTable("t", EXPERIMENT_METRICS.name, (artifact_id,))))
    assert opened == []
    assert list(projections.list()) == []


def test_an_artifact_with_fewer_rows_than_recorded_is_refused(
    projections: DuckdbProjections, folder: Folder
) -> None:
    artifact_id = folder.add(EXPERIMENT_METRICS, metrics(0.5), "k")
    artifact, path = folder.held[artifact_id]
    pq.write_table(EXPERIMENT_METRICS.empty(), path)
    with pytest.raises(IntegrityError, match="its artifacts have 1 rows, DuckDB read 0"):
        projections.build(
            ProjectionRequest(
                (ProjectionTable("t", EXPERIMENT_METRICS.name, (artifact_id,)),), verify=False
            )
        )
    assert artifact.row_count == 1


READ_ONLY = "attached in read-only mode"
NO_FILES = "file system operations are disabled by configuration"
LOCKED = "the configuration has been locked"


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("CREATE TABLE z (a INTEGER)", READ_ONLY),
        ("INSERT INTO t SELECT * FROM t", READ_ONLY),
        ("DELETE FROM t", READ_ONLY),
        ("DROP TABLE t", READ_ONLY),
        ("ALTER TABLE t RENAME TO u", READ_ONLY),
        ("ATTACH '{other}' AS other", NO_FILES),
        ("ATTACH '{own}' AS own", NO_FILES),
        ("COPY t TO '{out}'", NO_FILES),
        ("COPY t TO '{cache}/out.csv'", NO_FILES),
        ("EXPORT DATABASE '{out}'", NO_FILES),
        ("SELECT * FROM read_text('{secret}')", NO_FILES),
        ("SELECT * FROM '{secret}'", NO_FILES),
        ("SELECT * FROM read_parquet('{artifact}')", NO_FILES),
        ("SELECT * FROM glob('{cache}/*')", NO_FILES),
        ("SET enable_external_access = true", LOCKED),
        ("SET memory_limit = '1TB'", LOCKED),
        ("SET temp_directory = '{out}'", LOCKED),
        ("INSTALL httpfs", NO_FILES),
        ("LOAD httpfs", "Loading external extensions is disabled through configuration"),
        ("SELECT * FROM rows", "Table with name rows does not exist"),
    ],
)
def test_a_reader_can_neither_write_nor_reach_other_files(
    statement: str, says: str, projections: DuckdbProjections, folder: Folder, tmp_path: Path
) -> None:
    artifact_id = folder.add(EXPERIMENT_METRICS, metrics(0.5), "k")
    built = projections.build(
        request(ProjectionTable("t", EXPERIMENT_METRICS.name, (artifact_id,)))
    )
    before = built.path.read_bytes()
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    duckdb.connect(str(tmp_path / "other.duckdb")).close()
    rows = metrics(1.0)
    sql = statement.format(
        other=tmp_path / "other.duckdb",
        own=built.path,
        out=tmp_path / "out",
        cache=tmp_path / "cache",
        secret=secret,
        artifact=folder.held[artifact_id][1],
    )

    with (
        projections.connect(built.projection_id) as connection,
        pytest.raises(duckdb.Error, match=says),
    ):
        connection.execute(sql).fetchall()

    assert rows.num_rows == 1
    assert built.path.read_bytes() == before
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "cache" / "out.csv").exists()


def test_a_query_that_duckdb_refuses_is_a_validation_error_of_one_line(
    projections: DuckdbProjections, folder: Folder
) -> None:
    ids = (folder.add(EXPERIMENT_METRICS, metrics(0.5), "k"),)
    built = projections.build(request(ProjectionTable("t", EXPERIMENT_METRICS.name, ids)))
    found = ask(projections, built.projection_id, "SELECT metric_value AS v FROM t")
    assert found["v"].to_list() == [0.5]
    with pytest.raises(ValidationFailed, match='column "nothing" not found') as refused:
        ask(projections, built.projection_id, "SELECT nothing FROM t")
    assert "\n" not in str(refused.value)


def test_a_query_gives_durations_big_numbers_and_times_as_polars_has_them(
    projections: DuckdbProjections, folder: Folder
) -> None:
    ids = (folder.add(EXPERIMENT_METRICS, metrics(0.5), "k"),)
    built = projections.build(request(ProjectionTable("t", EXPERIMENT_METRICS.name, ids)))
    found = ask(
        projections,
        built.projection_id,
        """SELECT INTERVAL 90 MINUTE AS "a ""b", sum(2::BIGINT) AS s,
           TIMESTAMPTZ '2025-11-07 10:00:00+00' AS ts, INTERVAL 1 DAY AS d FROM t""",
    )
    assert found.row(0) == (
        timedelta(minutes=90),
        2,
        datetime(2025, 11, 7, 10, tzinfo=UTC),
        timedelta(days=1),
    )
    ordered = ask(
        projections,
        built.projection_id,
        "SELECT n, to_seconds(n) AS i FROM range(300000) r(n) ORDER BY hash(n), n",
    )
    unordered = ordered.sort("n")
    assert not ordered.equals(unordered)
    plain = ask(
        projections, built.projection_id, "SELECT n FROM range(300000) r(n) ORDER BY hash(n), n"
    )
    assert ordered["n"].equals(plain["n"])


def test_the_file_on_disk_is_write_protected(
    projections: DuckdbProjections, folder: Folder
) -> None:
    ids = (folder.add(EXPERIMENT_METRICS, metrics(0.5), "k"),)
    built = projections.build(request(ProjectionTable("t", EXPERIMENT_METRICS.name, ids)))
    assert built.path.stat().st_mode & 0o222 == 0


def test_readers_keep_what_they_opened_and_later_ones_see_the_new_build(
    projections: DuckdbProjections, folder: Folder
) -> None:
    """DuckDB would hand the second reader of one process the file that was replaced."""
    old = (folder.add(EXPERIMENT_METRICS, metrics(1.0), "k"),)
    new = (folder.add(EXPERIMENT_METRICS, metrics(2.0), "k"),)
    kind = EXPERIMENT_METRICS.name
    projections.build(request(ProjectionTable("t", kind, old), name="mine"))
    with projections.connect("mine") as earlier:
        projections.build(request(ProjectionTable("t", kind, new), name="mine"))
        with projections.connect("mine") as later:
            assert earlier.execute("SELECT metric_value FROM t").fetchall() == [(1.0,)]
            assert later.execute("SELECT metric_value FROM t").fetchall() == [(2.0,)]
            projections.dispose("mine")
            assert later.execute("SELECT metric_value FROM mine.t").fetchall() == [(2.0,)]


def test_nothing_is_left_beside_the_two_files(
    projections: DuckdbProjections, folder: Folder, tmp_path: Path
) -> None:
    ids = (folder.add(EXPERIMENT_METRICS, metrics(1.0), "k"),)
    projections.build(request(ProjectionTable("t", EXPERIMENT_METRICS.name, ids), name="mine"))
    with projections.connect("mine"):
        pass
    assert files_in(tmp_path / "cache") == ["mine.duckdb", "mine.json"]
    projections.dispose("mine")
    assert files_in(tmp_path / "cache") == []


@pytest.mark.parametrize("way", ["from nothing", "by a change"])
def test_a_projection_is_on_the_disk_before_it_has_its_name(
    way: str,
    projections: DuckdbProjections,
    folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a machine that loses power comes back with a record of pages that were never written."""
    ids = [folder.add(EXPERIMENT_METRICS, metrics(float(n)), f"k{n}") for n in range(3)]

    def build(*chosen: str) -> Path:
        wanted = request(ProjectionTable("t", EXPERIMENT_METRICS.name, chosen), name="mine")
        return projections.build(wanted).path

    if way == "by a change":
        build(*ids[:2])
    seen: list[tuple[str, str, int]] = []
    sync, replace = os.fsync, os.replace

    def recorded_sync(descriptor: int) -> None:
        sync(descriptor)
        seen.append(("sync", *_name_and_time(Path(f"/proc/self/fd/{descriptor}").resolve())))

    def recorded_replace(source: Path, target: Path) -> None:
        seen.append(("name", *_name_and_time(source)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_sync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    path = build(*ids)
    monkeypatch.undo()

    last = [event for event in seen if event[1] != "mine.duckdb" or event[2] == _time(path)]
    # DuckDB syncs the file too, on a fast machine at the same time by its clock.
    assert [event for event, _ in groupby(event[:2] for event in last)] == [
        ("sync", "mine.duckdb"),
        ("sync", "record.json"),
        ("name", "record.json"),
        ("name", "mine.duckdb"),
        ("sync", "cache"),
    ]


def _name_and_time(path: Path) -> tuple[str, int]:
    return path.name, _time(path)


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns


def files_in(cache: Path) -> list[str]:
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file())


def test_a_record_of_another_build_never_answers_for_an_old_file(
    projections: DuckdbProjections, folder: Folder
) -> None:
    """As after a crash between putting the record and the database in place."""
    kind = EXPERIMENT_METRICS.name
    old = (folder.add(EXPERIMENT_METRICS, metrics(1.0), "k"),)
    new = (folder.add(EXPERIMENT_METRICS, metrics(2.0), "k"),)
    first = projections.build(request(ProjectionTable("t", kind, old), name="mine"))
    database = first.path.read_bytes()
    projections.build(request(ProjectionTable("t", kind, new), name="mine"))
    first.path.unlink()
    first.path.write_bytes(database)

    projections.build(request(ProjectionTable("t", kind, new), name="mine"))
    assert rows_of(projections, "mine", "t")["metric_value"].to_pylist() == [2.0]


def test_a_damaged_record_or_file_is_built_over(
    projections: DuckdbProjections, folder: Folder
) -> None:
    ids = (folder.add(EXPERIMENT_METRICS, metrics(1.0), "k"),)
    wanted = request(ProjectionTable("t", EXPERIMENT_METRICS.name, ids), name="mine")
    built = projections.build(wanted)
    built.path.with_suffix(".json").write_text("{")
    assert not projections.exists("mine")
    projections.build(wanted)
    built.path.unlink()
    built.path.write_bytes(b"no database")
    with pytest.raises(IntegrityError, match="rebuild"), projections.connect("mine"):
        pass
    projections.rebuild("mine")
    assert rows_of(projections, "mine", "t").num_rows == 1


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (ProjectionLimits(memory="1MB", threads=1), "limits"),
        (ProjectionLimits(size="1KB"), "1KB is the limit"),
        (ProjectionLimits(free_disk="900TB"), "free disk space"),
    ],
    ids=["memory", "size", "disk"],
)
def test_a_build_beyond_its_limits_says_so_and_leaves_nothing(
    limits: ProjectionLimits, what: str, tmp_path: Path, folder: Folder
) -> None:
    table = pa.concat_tables([hostile_rows(OHLCV_SLICE, salt) for salt in range(300)])
    ids = (folder.add(OHLCV_SLICE, table, "k"),)
    tight = make_projections(tmp_path, folder, limits=limits)
    with pytest.raises(StoreUnavailable, match=what):
        tight.build(request(ProjectionTable("t", OHLCV_SLICE.name, ids), name="big"))
    assert files_in(tmp_path / "cache") == []


def test_a_build_that_outgrows_its_limit_is_stopped(
    tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of rows that Parquet packs better than anybody expects."""
    module = "quantlab_assets.adapters.duckdb"
    monkeypatch.setattr(f"{module}.build.expected_size", lambda *_, **__: 0)
    ids = (folder.add(OHLCV_SLICE, hostile_rows(OHLCV_SLICE, 1), "k"),)
    tight = make_projections(tmp_path, folder, limits=ProjectionLimits(size="1KB"))
    with pytest.raises(StoreUnavailable, match="more than 1KB"):
        tight.build(request(ProjectionTable("t", OHLCV_SLICE.name, ids), name="big"))
    assert files_in(tmp_path / "cache") == []


def test_a_long_build_is_stopped_in_its_midst(
    tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantlab_assets.adapters.duckdb.limits.LOOK_EVERY_S", 0.01)
    connection = duckdb.connect()
    begun = time.monotonic()
    with (
        pytest.raises(StoreUnavailable, match="900TB left"),
        watched("mine", connection, tmp_path, ProjectionLimits(free_disk="900TB")),
    ):
        connection.execute("SELECT count(*) FROM range(10_000_000_000) a, range(1000) b").fetchall()
    assert time.monotonic() - begun < 30
    connection.close()


@pytest.mark.parametrize("size", ["", "many", "4", "-1GB", "1e9GB", "4 GB; DROP"])
def test_a_limit_that_is_no_size_is_refused(size: str) -> None:
    with pytest.raises(ValidationFailed, match="no size"):
        ProjectionLimits(cache=size)


KILLED_BUILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import quantlab_assets.adapters.duckdb.build as module
from quantlab_tests.adapters.duckdb.test_projections import (
    EXPERIMENT_METRICS, Folder, ProjectionTable, make_projections, metrics, request)

root = Path(sys.argv[1])
folder = Folder(root / "other")
ids = (folder.add(EXPERIMENT_METRICS, metrics(9.0), "killed"),)

def hang(*_):
    print("here", flush=True)
    time.sleep(60)

target = sys.argv[2]
if target == "sync":
    real = module.sync
    module.sync = lambda path: hang() if path.is_dir() else real(path)
elif target == "record":
    module.write_record = hang
else:
    real = module.create_table
    module.create_table = lambda *a: (real(*a), hang())
make_projections(root, folder).build(
    request(ProjectionTable("t", EXPERIMENT_METRICS.name, ids), name="mine"))
"""


@pytest.fixture(params=["table", "record", "sync"])
def killed_build(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    def kill() -> str:
        stage = str(request.param)
        here = str(Path(__file__).resolve().parents[2])
        with subprocess.Popen(
            [sys.executable, "-c", KILLED_BUILD, str(tmp_path), stage, here],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n"
            os.kill(process.pid, signal.SIGKILL)
        return stage

    return kill


def test_a_build_killed_at_any_stage_breaks_nothing(
    killed_build: Callable[[], str], projections: DuckdbProjections, folder: Folder, tmp_path: Path
) -> None:
    ids = (folder.add(EXPERIMENT_METRICS, metrics(1.0), "k"),)
    wanted = request(ProjectionTable("t", EXPERIMENT_METRICS.name, ids), name="mine")
    projections.build(wanted)

    stage = killed_build()

    in_place = 9.0 if stage == "sync" else 1.0
    assert rows_of(projections, "mine", "t")["metric_value"].to_pylist() == [in_place]
    other = request(ProjectionTable("t", EXPERIMENT_METRICS.name, ids), name="another")
    projections.build(other)
    assert [f for f in files_in(tmp_path / "cache") if f.startswith(".")] == []
    projections.build(wanted)
    assert rows_of(projections, "mine", "t")["metric_value"].to_pylist() == [1.0]


def test_two_processes_building_one_projection_do_not_disturb_each_other(
    tmp_path: Path, folder: Folder
) -> None:
    ids = tuple(
        folder.add(OHLCV_SLICE, hostile_rows(OHLCV_SLICE, salt), f"k{salt}") for salt in range(4)
    )
    wanted = request(ProjectionTable("t", OHLCV_SLICE.name, ids))
    from concurrent.futures import ThreadPoolExecutor

    def build(_: int) -> int:
        mine = make_projections(tmp_path, folder)
        built = mine.build(wanted)
        return int(rows_of(mine, built.projection_id, "t").num_rows)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(build, range(8))) == [200] * 8


@pytest.mark.parametrize("column", ["rowid", "file_row_number"])
def test_a_column_with_a_name_that_duckdb_gives_itself_is_refused(
    column: str, tmp_path: Path, folder: Folder
) -> None:
    odd = ArtifactType(
        name="odd",
        schema_version=1,
        schema=pa.schema([pa.field(column, pa.int64())]),
        sort_keys=(column,),
        keys=("day={day}",),
    )
    types = TypeRegistry((ALERTS, odd))
    projections = DuckdbProjections(tmp_path / "cache", folder, folder, types)  # type: ignore[arg-type]
    with pytest.raises(ValidationFailed, match=column):
        projections.build(request(ProjectionTable("t", "odd", ())))


def test_an_unknown_column_type_is_refused(tmp_path: Path, folder: Folder) -> None:
    odd = ArtifactType(
        name="odd",
        schema_version=1,
        schema=pa.schema([pa.field("a", pa.decimal128(10, 2))]),
        sort_keys=("a",),
        keys=("day={day}",),
    )
    types = TypeRegistry((ALERTS, odd))
    projections = DuckdbProjections(tmp_path / "cache", folder, folder, types)  # type: ignore[arg-type]
    with pytest.raises(ValidationFailed, match="decimal"):
        projections.build(request(ProjectionTable("t", "odd", ())))

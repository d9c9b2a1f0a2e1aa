"""Whichever way a manifest comes to the newest version, it has one schema, and loses nothing."""

import re
import sqlite3
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, create_engine

from quantlab_assets.adapters.manifest import tables
from quantlab_assets.adapters.manifest.engine import ManifestDatabase
from quantlab_assets.adapters.manifest.migrations import MANIFEST, Migration, Schema, advance
from quantlab_assets.domain.errors import StoreUnavailable

NEXT = MANIFEST.newest + 1
_CHECK = re.compile(r"CONSTRAINT \w+ CHECK \((?:[^()]|\([^()]*\))*\)")


def with_one_more_column() -> Schema:
    """The schema that adding a column to `experiments` would make, as `migrations` asks for it."""
    assert tables.__spec__
    assert tables.__spec__.loader
    changed = module_from_spec(tables.__spec__)  # tables of its own, those of the program stay
    tables.__spec__.loader.exec_module(changed)
    changed.experiments.append_column(Column("archived_at", BigInteger))
    step = Migration(NEXT, "ALTER TABLE experiments ADD COLUMN archived_at BIGINT;")
    return Schema(changed.metadata, (*MANIFEST.steps, step))


def make_old(path: Path, version: int, steps: Any = MANIFEST.steps) -> Path:
    """A manifest as the program of that version left it: its steps applied, with a row in it."""
    with sqlite3.connect(path) as connection:
        for step in steps:
            if step.version <= version:
                connection.executescript(step.script)
                connection.execute("INSERT INTO schema_migrations VALUES (?, 0)", (step.version,))
        connection.execute("INSERT INTO sources VALUES ('sha256:00', 'result.json', 1, 'telegram')")
    connection.close()
    return path


def schema_of(path: Path) -> dict[str, Any]:
    """All that SQLite enforces and looks up by, however the statements were written."""
    connection = sqlite3.connect(path)
    made = dict(
        connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name")
    )
    schema: dict[str, Any] = {}
    for table, sql in made.items():
        indexes = {}
        for _, name, unique, origin, partial in connection.execute(f"PRAGMA index_list({table})"):
            (where,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,))
            columns = connection.execute(f"PRAGMA index_xinfo({name})").fetchall()
            indexes[name] = (unique, origin, partial, columns, _words(where[0]))
        schema[table] = {
            "columns": connection.execute(f"PRAGMA table_xinfo({table})").fetchall(),
            "indexes": indexes,
            "references": sorted(
                row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({table})")
            ),
            "checks": sorted(_CHECK.findall(" ".join(sql.split()))),
        }
    connection.close()
    return schema


def _words(sql: str | None) -> list[str]:
    return (sql or "").split()


def versions_of(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT version FROM schema_migrations ORDER BY version").fetchall()
    connection.close()
    return [version for (version,) in rows]


def test_the_frozen_steps_lead_to_the_tables_of_today(tmp_path: Path) -> None:
    ManifestDatabase.open(tmp_path / "new.sqlite", create=True)
    old = make_old(tmp_path / "old.sqlite", version=1)
    ManifestDatabase.open(old)

    assert schema_of(old) == schema_of(tmp_path / "new.sqlite")
    assert set(schema_of(old)) == set(MANIFEST.tables.tables)


def test_an_old_a_half_migrated_and_a_new_manifest_come_to_one_schema(tmp_path: Path) -> None:
    schema = with_one_more_column()
    old = make_old(tmp_path / "old.sqlite", version=1)
    half = make_old(tmp_path / "half.sqlite", version=MANIFEST.newest)
    new = tmp_path / "new.sqlite"

    for path in (old, half, new):
        assert ManifestDatabase.open(path, create=path == new, schema=schema).version() == NEXT
        assert versions_of(path) == list(range(1, NEXT + 1))

    assert schema_of(old) == schema_of(half) == schema_of(new)
    assert "archived_at" in [column[1] for column in schema_of(new)["experiments"]["columns"]]
    for path in (old, half):
        with ManifestDatabase.open(path, schema=schema).reading() as connection:
            assert connection.exec_driver_sql("SELECT name FROM sources").scalar_one()


def test_of_two_active_schema_versions_of_a_key_the_newest_stays(tmp_path: Path) -> None:
    path = make_old(tmp_path / "old.sqlite", version=2)
    connection = sqlite3.connect(path)
    for number, version in enumerate((1, 3, 2)):
        connection.execute(
            "INSERT INTO artifacts (artifact_id, sequence, artifact_type, schema_version,"
            " logical_key, status, keeps_many, path, file_hash, file_size, content_hash, row_count,"
            " created_at) VALUES (?, ?, 'notes', ?, 'chat=1', 'active', 0, ?, 'x', 1, 'y', 1, 0)",
            (str(version) * 32, 100 + number, version, f"p{version}"),
        )
    connection.commit()
    connection.close()

    with ManifestDatabase.open(path).reading() as migrated:
        active = "SELECT artifact_id FROM artifacts WHERE status = 'active'"
        assert migrated.exec_driver_sql(f"{active} AND logical_key = 'chat=1'").all() == [
            ("3" * 32,)
        ]
        replaced = migrated.exec_driver_sql(
            "SELECT new_id, old_id FROM supersedes WHERE reason = 'newer_version' ORDER BY old_id"
        )
        assert replaced.all() == [("3" * 32, "1" * 32), ("3" * 32, "2" * 32)]


def test_what_differs_is_seen() -> None:
    """The comparison of the tests above: a step that forgets its column does not pass."""
    forgetful = Schema(with_one_more_column().tables, (*MANIFEST.steps, Migration(NEXT, "")))
    assert forgetful.newest == NEXT
    for change in (
        "ALTER TABLE sources ADD COLUMN more TEXT",
        "DROP INDEX tags_by_value",
        "DROP INDEX one_active_per_key; CREATE UNIQUE INDEX one_active_per_key"
        " ON artifacts (artifact_type, schema_version, logical_key)",
        "DROP TABLE lineage; CREATE TABLE lineage (lineage_id INTEGER NOT NULL PRIMARY KEY)",
        "DROP TABLE tombstones; CREATE TABLE tombstones (artifact_id TEXT NOT NULL, at BIGINT NOT"
        " NULL, reason TEXT NOT NULL, PRIMARY KEY (artifact_id))",
    ):
        assert _changed(change), change


def _changed(script: str) -> bool:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = make_old(Path(folder) / "a.sqlite", version=MANIFEST.newest)
        before = schema_of(path)
        with sqlite3.connect(path) as connection:
            connection.executescript(script)
        connection.close()
        return schema_of(path) != before


def test_a_step_that_fails_leaves_the_steps_before_it(tmp_path: Path) -> None:
    broken = Migration(NEXT + 1, "CREATE TABLE more (a); CREATE TABLE more (a);")
    one_more = with_one_more_column()
    schema = Schema(one_more.tables, (*one_more.steps, broken))
    old = make_old(tmp_path / "old.sqlite", version=1)

    with pytest.raises(StoreUnavailable, match="more already exists"):
        ManifestDatabase.open(old, schema=schema)

    assert versions_of(old) == list(range(1, NEXT + 1))
    assert "more" not in schema_of(old)
    assert ManifestDatabase.open(old, schema=one_more).version() == NEXT


def test_a_step_is_taken_once_by_however_many(tmp_path: Path) -> None:
    schema = with_one_more_column()
    old = make_old(tmp_path / "old.sqlite", version=1)
    first, second = (create_engine(f"sqlite:///{old}") for _ in range(2))
    for _ in schema.steps:
        for engine in (first, second):
            with engine.begin() as connection:
                advance(connection, schema)
    assert versions_of(old) == list(range(1, NEXT + 1))


def test_the_steps_are_numbered_from_one() -> None:
    assert [step.version for step in MANIFEST.steps] == list(range(1, MANIFEST.newest + 1))
    assert all(isinstance(step.script, str) and step.statements() for step in MANIFEST.steps)

"""The manifest database: connections and transactions. SQLite's peculiarities live here, and only
here; which tables there are, and how old files come to have them, is in `tables` and `migrations`.

Many processes use one manifest. Every write transaction begins with BEGIN IMMEDIATE, so that it
waits for the lock instead of failing when it first writes; a read transaction never turns into a
write one. Connections are not kept: the lock on the file is held no longer than a transaction, and
a forked or spawned process has nothing to inherit.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import IntegrityError as ConstraintError
from sqlalchemy.pool import NullPool

from quantlab_assets.adapters.manifest.migrations import MANIFEST, Schema, advance, version_of
from quantlab_assets.domain.errors import (
    IntegrityError,
    QuantlabError,
    StoreUnavailable,
    ValidationFailed,
)

BUSY_TIMEOUT_S: Final = 30.0
IN_LIST: Final = 900
"""How many values one IN list may have: under the oldest limit of SQLite on bound variables."""

MOST_ROWS: Final = 1 << 62
"""No table has as many: a larger limit, which SQLite cannot take, cuts nothing either."""

WAL_IS_SAFE: Final = sqlite3.sqlite_version_info >= (3, 51, 3)
"""SQLite 3.7.0 to 3.51.2 can corrupt a WAL database that two connections write to."""

T = TypeVar("T")

Transaction: TypeAlias = Connection
"""A transaction of the manifest, as those hold it who only hand it on to functions of this folder:
`with database.writing() as transaction`."""


def utc_now() -> datetime:
    """The wall clock: it dates events, and reaches no content."""
    return datetime.now(UTC)


def in_lists(values: Iterable[T]) -> Iterator[list[T]]:
    """The distinct values in lists short enough for IN."""
    distinct = list(dict.fromkeys(values))
    for start in range(0, len(distinct), IN_LIST):
        yield distinct[start : start + IN_LIST]


def insert_missing(table: Table) -> Insert:
    """An INSERT that leaves rows alone whose key is there already."""
    return sqlite_insert(table).on_conflict_do_nothing()


def insert_or_set(table: Table, key: Sequence[str], changed: Sequence[str]) -> Insert:
    """An INSERT that sets the `changed` columns of rows whose key is there already."""
    statement = sqlite_insert(table)
    return statement.on_conflict_do_update(
        index_elements=list(key), set_={name: statement.excluded[name] for name in changed}
    )


class ManifestDatabase:
    """A manifest file. Use `open`; it is safe to share between threads and to use after a fork."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path = path
        self.engine = engine

    @classmethod
    def open(
        cls, path: Path, *, create: bool = False, schema: Schema = MANIFEST
    ) -> "ManifestDatabase":
        """Open a manifest, bringing an older one up to date; `create` makes a missing one.

        Raises `StoreUnavailable` if it is missing, or newer than this program, `IntegrityError` if
        the file is no manifest.
        """
        if create:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreUnavailable(f"cannot create {path.parent}: {error.strerror}") from error
        elif not path.is_file():
            raise StoreUnavailable(f"no manifest at {path}: run `quantlab init`, or name the lake")
        database = cls(path, _engine(path, create=create))
        database._bring_up_to_date(schema, create=create)
        return database

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read transaction: one consistent state. Keep it short, it holds up writers.

        Raises `StoreUnavailable`, `IntegrityError`, `ValidationFailed` for text that is not UTF-8.
        """
        with self._transaction(immediate=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The one write transaction at a time; commits on leaving, rolls back on an exception.

        Raises `StoreUnavailable`, `IntegrityError`.
        """
        with self._transaction(immediate=True) as connection:
            yield connection

    def version(self) -> int:
        """The schema version of the file, 0 for an empty one."""
        with self.reading() as connection:
            return version_of(connection)

    @contextmanager
    def _transaction(self, *, immediate: bool) -> Iterator[Connection]:
        engine = self.engine.execution_options(quantlab_immediate=immediate)
        try:
            with engine.begin() as connection:
                # The first statement begins the transaction; do it before the caller thinks it has.
                connection.exec_driver_sql("SELECT 1")
                yield connection
        except ConstraintError:
            raise
        except UnicodeEncodeError as error:
            # A surrogate, as undecodable bytes of a command line become.
            raise ValidationFailed(f"{error.object[:60]!r} is not UTF-8 text") from error
        except DatabaseError as error:
            raise self._translated(error) from error

    def _translated(self, error: DatabaseError) -> QuantlabError:
        what = " ".join(str(error.orig).split())
        if "malformed" in what or "not a database" in what:
            return IntegrityError(f"manifest {self.path} is damaged ({what}): restore a backup")
        if isinstance(error, OperationalError):
            if "locked" in what:
                what = f"another process has held its lock for {BUSY_TIMEOUT_S:.0f} s"
            return StoreUnavailable(f"manifest {self.path} cannot be used: {what}")
        return StoreUnavailable(f"manifest {self.path} refused a statement: {what}")

    def _bring_up_to_date(self, schema: Schema, *, create: bool) -> None:
        version = self.version()
        if version == 0 and not create:
            raise StoreUnavailable(f"{self.path} is no manifest: run `quantlab init`")
        while version < schema.newest:
            # Each step looks again: another process may have taken it before the lock was ours.
            with self.writing() as connection:
                version = advance(connection, schema)
        if version > schema.newest:
            raise StoreUnavailable(
                f"manifest {self.path} has version {version}, this program knows up to"
                f" {schema.newest}: upgrade quantlab"
            )


def _engine(path: Path, *, create: bool) -> Engine:
    uri = f"file:{quote(str(path.absolute()))}?mode={'rwc' if create else 'rw'}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA journal_mode = {'WAL' if WAL_IS_SAFE else 'TRUNCATE'}")
    except UnicodeDecodeError as error:
        # SQLite names the broken statement of the schema in its error, byte for byte.
        raise IntegrityError(
            "the manifest is damaged (its schema is no UTF-8 text): restore a backup"
        ) from error
    finally:
        cursor.close()


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("quantlab_immediate", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

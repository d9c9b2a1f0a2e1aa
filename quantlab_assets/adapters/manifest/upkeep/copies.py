"""A manifest as a file: copied while it is used, and checked page by page.

SQLite's own backup reads a consistent state however many write meanwhile; a plain copy of the file
may catch it between two pages of one transaction. Where copies go, and what stands beside them, is
in `adapters.upkeep.backup`.
"""

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

from quantlab_assets.adapters.manifest.engine import BUSY_TIMEOUT_S
from quantlab_assets.adapters.manifest.migrations import MANIFEST
from quantlab_assets.domain.errors import IntegrityError, StoreUnavailable


def check_manifest(path: Path) -> int:
    """How many artifacts a manifest file knows, after SQLite has checked every page of it.

    Raises `IntegrityError` if it is damaged or is something else, `StoreUnavailable` if it is of a
    newer program.
    """
    try:
        with contextlib.closing(_connect(path)) as connection:
            result = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if result != "ok":
                raise IntegrityError(f"{path} is damaged: {result}")
            if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
                raise IntegrityError(f"{path} is damaged: rows refer to rows that are not there")
            version = connection.execute("SELECT max(version) FROM schema_migrations").fetchone()[0]
            if version is None or version > MANIFEST.newest:
                raise StoreUnavailable(
                    f"{path} has schema version {version}, this program knows up to"
                    f" {MANIFEST.newest}: upgrade quantlab"
                )
            return int(connection.execute("SELECT count(*) FROM artifacts").fetchone()[0])
    except sqlite3.DatabaseError as error:
        raise IntegrityError(f"{path} is no whole manifest: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
    )


def copy_database(source: Path, target: Path) -> None:
    """Copy a consistent state of a database. Raises `IntegrityError`, `StoreUnavailable`."""
    try:
        with (
            contextlib.closing(
                sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)
            ) as from_,
            contextlib.closing(sqlite3.connect(target)) as to,
        ):
            from_.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000:.0f}")
            from_.backup(to)
            # A copy is one file, whatever journal its source has.
            to.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"cannot copy {source}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise IntegrityError(f"{source} is damaged: {error}") from error

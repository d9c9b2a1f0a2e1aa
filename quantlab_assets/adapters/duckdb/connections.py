"""The only two ways a DuckDB file is opened: to build it, and to read it.

Both see no file but their own (and, while building, exactly the artifact files of the request),
load no extension, stay within their limits of memory and disk, and cannot change any of that
afterwards. Times are read as UTC whatever the machine's zone.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import duckdb

from quantlab_assets.adapters.duckdb.identifiers import quoted, text_literal
from quantlab_assets.adapters.duckdb.limits import ProjectionLimits
from quantlab_assets.domain.errors import IntegrityError, NotFound

ROW_GROUP_ROWS: Final = 16_384
"""Rows that one entry of a zone map speaks for. Of the tokens of one stretch of arrivals only few
are in so many rows; with DuckDB's own 122,880 most of a growing table is read for each token."""

_VERSION: Final = tuple(int(part) for part in duckdb.__version__.split(".")[:2])

_NO_EXTENSIONS: Final = {
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
}

_WITHOUT_SYNC: Final = {"fsync_mode": "NONE"} if _VERSION >= (2,) else {}
"""Before DuckDB 2 there is no such setting: the database is synced at each commit, too."""


def open_for_build(
    path: Path, *, artifact_files: Sequence[Path], spill: Path, limits: ProjectionLimits
) -> duckdb.DuckDBPyConnection:
    """The database at `path`, made if it is not there, that may read the artifact files and
    nothing else.

    What is committed is in the file at once, not in a log beside it. It is not yet on the disk:
    nobody sees the file before it is finished, so its maker syncs it once, then.
    """
    connection = duckdb.connect(config=dict(_NO_EXTENSIONS))
    try:
        name = quoted(path.stem, "projection")
        attach = f"ATTACH {text_literal(str(path))} AS {name} (ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
        run(connection, attach)
        run(connection, f"USE {name}")
    except BaseException:
        connection.close()
        raise
    _lock_down(
        connection,
        limits,
        {
            "temp_directory": str(spill),
            "max_temp_directory_size": limits.temporary_disk,
            "allowed_paths": [str(file) for file in artifact_files],
            **_WITHOUT_SYNC,
            "checkpoint_threshold": "1KB",
        },
    )
    return connection


def open_for_reading(
    path: Path, *, links: Path, limits: ProjectionLimits
) -> duckdb.DuckDBPyConnection:
    """The database at `path` as it is now, read-only.

    DuckDB shares one open database between all connections of a process to one path: a reader that
    came after a rebuild would be handed the file that was replaced. So each reader opens the file
    under a name of its own, a hard link in `links` that is gone again before this returns.
    Queries cannot spill to disk, since DuckDB lets SQL write into a spill folder.

    Raises `NotFound`, and `IntegrityError` for a file that is no DuckDB database.
    """
    links.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=links))
    try:
        link = folder / path.name
        try:
            os.link(path, link)
        except FileNotFoundError:
            raise NotFound(f"projection {path.stem} is not built; build it first") from None
        except OSError:
            # No hard links here, or none to another user's file: readable all the same.
            link = path
        try:
            connection = duckdb.connect(str(link), read_only=True, config=dict(_NO_EXTENSIONS))
        except duckdb.Error as error:
            raise IntegrityError(
                f"projection {path.stem} cannot be read ({first_line(error)}); rebuild it"
            ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _lock_down(connection, limits, {"temp_directory": ""})
    return connection


def run(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Run a statement to its end; a result that nobody fetches may stay half done."""
    connection.execute(statement).fetchall()


def first_line(error: Exception) -> str:
    """The first line of DuckDB's message; the rest repeats the statement."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _lock_down(
    connection: duckdb.DuckDBPyConnection, limits: ProjectionLimits, settings: dict[str, Any]
) -> None:
    try:
        for name, value in {
            "TimeZone": "UTC",
            # DuckDB would draw one on stdout, into the data.
            "enable_progress_bar": False,
            "memory_limit": limits.memory,
            **({} if limits.threads is None else {"threads": limits.threads}),
            **settings,
            "enable_external_access": False,
            "lock_configuration": True,
        }.items():
            connection.execute(f"SET {name} = $1", [value]).fetchall()
    except BaseException:
        connection.close()
        raise

"""The folder of projections: what is built, who reads or builds it, and what goes when it is full.

`<id>.duckdb` is a projection and `<id>.json` beside it the record of what was built; `.building`
has one working folder and one lock a projection, `.reading` the links and locks of readers. What
is in the files is said by `build`, not here.
"""

import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb

from quantlab_assets.adapters.duckdb.connections import open_for_reading
from quantlab_assets.adapters.duckdb.limits import ProjectionLimits, size_in_bytes
from quantlab_assets.adapters.duckdb.record import ProjectionRecord, read_record
from quantlab_assets.adapters.file_lock import exclusive, shared
from quantlab_assets.domain.errors import NotFound, StoreUnavailable, ValidationFailed

_LINK_LIFETIME_S: Final = 60.0


class ProjectionCache:
    """The folder `root`, which need not exist yet. Names that it is given are checked already."""

    def __init__(self, root: Path, limits: ProjectionLimits) -> None:
        self.root = root
        self._limits = limits
        self._building = root / ".building"
        self._reading = root / ".reading"

    def database(self, projection_id: str) -> Path:
        """Where the projection is, or would be."""
        return self.root / f"{projection_id}.duckdb"

    def record_file(self, projection_id: str) -> Path:
        """Where its record is, or would be."""
        return self.root / f"{projection_id}.json"

    def record(self, projection_id: str) -> ProjectionRecord | None:
        """The projection's record, also if its database is gone or is another one."""
        record = read_record(self.record_file(projection_id))
        if record is None or record.request.projection_id != projection_id:
            return None
        return record

    def record_of_database(self, projection_id: str) -> ProjectionRecord | None:
        """The projection's record, if it describes the database that is there."""
        record = self.record(projection_id)
        if record is None or not record.describes(self.database(projection_id)):
            return None
        return record

    def records(self) -> Sequence[ProjectionRecord]:
        """The records of all that is built, by name."""
        records = [read_record(path) for path in sorted(self.root.glob("*.json"))]
        return [
            record
            for record in records
            if record is not None and _is_file(self.database(record.projection_id))
        ]

    def is_built(self, projection_id: str) -> bool:
        """Whether there are a database and a record that can be read."""
        return (
            _is_file(self.database(projection_id))
            and read_record(self.record_file(projection_id)) is not None
        )

    def last_used(self, record: ProjectionRecord) -> datetime:
        """When it was built or connected to: readers touch the record, never the database."""
        try:
            status = self.record_file(record.projection_id).stat()
        except FileNotFoundError:
            return record.built_at
        return datetime.fromtimestamp(status.st_mtime, UTC)

    @contextmanager
    def reading(self, projection_id: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection to the projection as it is now. Raises `NotFound`."""
        path = self.database(projection_id)
        if not _is_file(path):
            raise NotFound(f"projection {projection_id} is not built; build it first")
        with ExitStack() as stack:
            with suppress(OSError):  # A cache that may not be written can be read all the same.
                self._reading.mkdir(exist_ok=True)
                stack.enter_context(shared(self._reading / f"{projection_id}.open"))
                os.utime(self.record_file(projection_id))
            connection = open_for_reading(path, links=self._reading, limits=self._limits)
            try:
                yield connection
            finally:
                connection.close()

    @contextmanager
    def building(self, projection_id: str) -> Iterator[Path]:
        """The projection's own working folder, empty, under its lock; gone afterwards."""
        if "?" in str(self._building):
            raise ValidationFailed(
                f"projection cache {self.root}: DuckDB keeps no database under a path with '?';"
                " move the cache"
            )
        try:
            self._building.mkdir(parents=True, exist_ok=True)
            with exclusive(self._building / f"{projection_id}.lock"):
                self.sweep()
                work = self._building / projection_id
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir()
                try:
                    yield work
                finally:
                    shutil.rmtree(work, ignore_errors=True)
        except OSError as error:
            raise StoreUnavailable(
                f"projection cache {self.root}: {error.strerror or error}"
            ) from error

    def sweep(self) -> None:
        """Remove what killed builds and killed readers left behind."""
        if not self._building.is_dir():
            return
        for name in {path.name.removesuffix(".lock") for path in self._building.iterdir()}:
            with exclusive(self._building / f"{name}.lock", wait=False) as ours:
                if ours:
                    shutil.rmtree(self._building / name, ignore_errors=True)
        for link in self._reading.glob("*"):
            try:
                if time.time() - link.stat().st_mtime <= _LINK_LIFETIME_S:
                    continue
            except FileNotFoundError:
                continue
            if link.suffix == ".open":
                with exclusive(link, wait=False):
                    pass  # No reader had it: the lock's file is gone now.
            else:
                shutil.rmtree(link, ignore_errors=True)

    def delete(self, projection_id: str) -> None:
        """Delete database and record, under the lock of `building`."""
        for path in (self.database(projection_id), self.record_file(projection_id)):
            path.unlink(missing_ok=True)

    def reclaim(self, just_built: str) -> None:
        """Delete the least recently used projections until the cache is within its budget.

        Their requests stay in the manifest, so that `rebuild` brings them back. What is open or
        being built stays, and so does the one just built.
        """
        budget = size_in_bytes(self._limits.cache)
        if sum(path.lstat().st_size for path in self.root.glob("*.duckdb")) <= budget:
            return
        records = {record.projection_id: record for record in self.records()}
        last_used = {name: self.last_used(record) for name, record in records.items()}
        excess = sum(record.file_size for record in records.values()) - budget
        for name in sorted(records, key=lambda name: (last_used[name], name)):
            if excess <= 0:
                return
            if name == just_built:
                continue
            with (
                exclusive(self._building / f"{name}.lock", wait=False) as idle,
                self._unread(name) as unread,
            ):
                if idle and unread and self.last_used(records[name]) == last_used[name]:
                    self.delete(name)
                    excess -= records[name].file_size

    @contextmanager
    def _unread(self, projection_id: str) -> Iterator[bool]:
        """Whether nobody has the projection open; new readers wait until this is left."""
        self._reading.mkdir(exist_ok=True)
        with exclusive(self._reading / f"{projection_id}.open", wait=False) as unread:
            yield unread


def _is_file(path: Path) -> bool:
    """Whether there is a file, and not a link to one somewhere else."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False

"""Refused raw files, and damaged files that were moved aside, as the manifest records them.

Damaged files are moved in `adapters.upkeep.repair`; nothing here touches a file.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from quantlab_assets.adapters.manifest.engine import ManifestDatabase, utc_now
from quantlab_assets.adapters.manifest.tables import quarantined_files
from quantlab_assets.domain.time_us import from_us, to_us
from quantlab_assets.ports.inbox import QuarantinedFile


class ManifestQuarantine:
    """Implements `FileQuarantine` over the manifest."""

    def __init__(self, database: ManifestDatabase, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def record(self, path: str, reason: str) -> bool:
        """See `FileQuarantine`."""
        table = quarantined_files
        with self._database.writing() as connection:
            same = select(table.c.quarantine_id).where(
                table.c.path == path, table.c.reason == reason
            )
            if connection.execute(same).first() is not None:
                return False
            connection.execute(
                table.insert().values(
                    path=path,
                    moved_to=path,  # it stays where it is
                    reason=reason,
                    at=to_us(self._clock()),
                )
            )
            return True

    def list(self) -> Sequence[QuarantinedFile]:
        """See `FileQuarantine`."""
        table = quarantined_files
        query = select(table.c.path, table.c.reason, table.c.at).order_by(table.c.quarantine_id)
        with self._database.reading() as connection:
            return [
                QuarantinedFile(path, reason, from_us(at))
                for path, reason, at in connection.execute(query)
            ]


def record_move(
    connection: Connection,
    path: str,
    *,
    moved_to: str,
    artifact_id: str,
    reason: str,
    at: datetime,
) -> None:
    """A damaged file of an artifact was moved out of its place."""
    connection.execute(
        quarantined_files.insert().values(
            path=path, moved_to=moved_to, artifact_id=artifact_id, reason=reason, at=to_us(at)
        )
    )

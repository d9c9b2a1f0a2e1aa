"""What projections were asked for, as the manifest records it.

How a projection is built is not known here.
"""

from sqlalchemy import select

from quantlab_assets.adapters.manifest.engine import ManifestDatabase, insert_or_set
from quantlab_assets.adapters.manifest.tables import projection_requests


class ManifestRequests:
    """Implements `ProjectionRequests` over the manifest."""

    def __init__(self, database: ManifestDatabase) -> None:
        self._database = database

    def remember(self, projection_id: str, request_json: str) -> None:
        """See `ProjectionRequests`. What is there already is not written again."""
        if self.recall(projection_id) == request_json:
            return
        statement = insert_or_set(projection_requests, ["projection_id"], ["request_json"])
        with self._database.writing() as connection:
            connection.execute(
                statement.values(projection_id=projection_id, request_json=request_json)
            )

    def recall(self, projection_id: str) -> str | None:
        """See `ProjectionRequests`."""
        table = projection_requests
        kept = select(table.c.request_json).where(table.c.projection_id == projection_id)
        with self._database.reading() as connection:
            return connection.scalar(kept)

    def forget(self, projection_id: str) -> None:
        """See `ProjectionRequests`."""
        if self.recall(projection_id) is None:
            return
        table = projection_requests
        with self._database.writing() as connection:
            connection.execute(table.delete().where(table.c.projection_id == projection_id))

"""How much of what the manifest holds: counted by the database, however large the lake.

What files take on the disk is measured in `adapters.upkeep.diagnosis`.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from quantlab_assets.adapters.manifest.engine import ManifestDatabase
from quantlab_assets.adapters.manifest.tables import artifacts, experiments
from quantlab_assets.domain.assets import ALERTS, ASSETS
from quantlab_assets.domain.time_us import from_us


@dataclass(frozen=True, slots=True)
class ArtifactCount:
    """Artifacts of one type and status: how many, their rows, and their Parquet files' bytes."""

    artifact_type: str
    status: str
    artifacts: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Census:
    """One consistent count. `newest_alert` is the time of the last call in an active artifact."""

    artifacts: tuple[ArtifactCount, ...]
    experiments: dict[str, int]
    newest_alert: datetime | None


def take_census(database: ManifestDatabase) -> Census:
    """Count the manifest in one read transaction; sorted by type and status.

    Raises `StoreUnavailable`, `IntegrityError`.
    """
    by_type = (
        select(
            artifacts.c.artifact_type,
            artifacts.c.status,
            func.count(),
            func.sum(artifacts.c.row_count),
            func.sum(artifacts.c.file_size),
        )
        .group_by(artifacts.c.artifact_type, artifacts.c.status)
        .order_by(artifacts.c.artifact_type, artifacts.c.status)
    )
    by_status = (
        select(experiments.c.status, func.count())
        .group_by(experiments.c.status)
        .order_by(experiments.c.status)
    )
    newest = (
        select(func.max(artifacts.c.max_ts))
        .where(artifacts.c.artifact_type == ASSETS.type_of(ALERTS))
        .where(artifacts.c.status == "active")
    )
    with database.reading() as connection:
        newest_micros = connection.execute(newest).scalar_one()
        return Census(
            artifacts=tuple(ArtifactCount(*row) for row in connection.execute(by_type)),
            experiments={row[0]: row[1] for row in connection.execute(by_status)},
            newest_alert=None if newest_micros is None else from_us(newest_micros),
        )

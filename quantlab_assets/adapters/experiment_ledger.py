"""The ledger of experiments, in the manifest database beside the artifacts it speaks of.

A row holds what decides the result, except the ids of its inputs: those are input sets, stored
once however many experiments share them. Every change of status is checked and written in one
transaction with an event, so a status never moves without a trace and two processes cannot both
start one run.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, func, select

from quantlab_assets.adapters.parquet_store.database import (
    ManifestDatabase,
    from_micros,
    in_lists,
    to_micros,
)
from quantlab_assets.adapters.parquet_store.schema import (
    experiment_events,
    experiments,
    input_set_members,
)
from quantlab_assets.domain.artifacts import canonical_json
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.domain.experiments import (
    AlertFilters,
    ExperimentDefinition,
    ExperimentFilter,
    ExperimentRecord,
    ExperimentStatus,
    check_transition,
)
from quantlab_assets.domain.strategy import Strategy
from quantlab_assets.ports.artifact_store import ArtifactStore


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ExperimentLedger:
    """`ExperimentTracker` over the manifest database. `clock` tells when things happened."""

    def __init__(
        self,
        database: ManifestDatabase,
        store: ArtifactStore,
        *,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._database = database
        self._store = store
        self._clock = clock

    def create(self, definition: ExperimentDefinition) -> tuple[ExperimentRecord, bool]:
        """Record an experiment; True if it is new, False if the same one was there already.

        Raises `NotFound` naming inputs that do not exist.
        """
        experiment_id = definition.experiment_id
        # Frozen first: a set nobody refers to does no harm, an experiment without its set would.
        values = {
            "experiment_id": experiment_id,
            "name": definition.name,
            "status": "pending",
            "definition_json": _definition_json(definition),
            "alert_set_id": self._store.freeze_inputs(definition.alert_artifact_ids),
            "slice_set_id": self._store.freeze_inputs(definition.slice_artifact_ids),
            "input_set_id": self._store.freeze_inputs(definition.input_ids),
            "engine_version": definition.engine_version,
            "created_at": to_micros(self._clock()),
        }
        with self._database.writing() as connection:
            known = select(experiments.c.experiment_id).where(
                experiments.c.experiment_id == experiment_id
            )
            created = connection.execute(known).first() is None
            if created:
                connection.execute(experiments.insert().values(values))
                self._log(connection, experiment_id, None, "pending", None)
        return self.get(experiment_id), created

    def get(self, experiment_id: str) -> ExperimentRecord:
        """The experiment. Raises `NotFound`."""
        with self._database.reading() as connection:
            row = _row(connection, experiment_id)
        return self._records([row])[0]

    def list(self, where: ExperimentFilter | None = None) -> Sequence[ExperimentRecord]:
        """Experiments that match, newest first; all of them."""
        wanted = where or ExperimentFilter()
        query = _newest_first()
        if wanted.status is not None:
            query = query.where(experiments.c.status == wanted.status)
        if wanted.name is not None:
            query = query.where(experiments.c.name == wanted.name)
        if wanted.created_from is not None:
            query = query.where(experiments.c.created_at >= to_micros(wanted.created_from))
        if wanted.created_to is not None:
            query = query.where(experiments.c.created_at <= to_micros(wanted.created_to))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return self._records(rows)

    def update_status(
        self, experiment_id: str, status: ExperimentStatus, *, error: str | None = None
    ) -> ExperimentRecord:
        """Move to another status. Raises `NotFound`, and `Conflict` if it may not follow."""
        self._move(experiment_id, status, error=error)
        return self.get(experiment_id)

    def store_results(self, experiment_id: str, outputs: Mapping[str, str]) -> ExperimentRecord:
        """Record the output artifacts by part and complete the running experiment.

        Raises `NotFound` (the experiment, or an output), `Conflict`.
        """
        self._store.get_artifacts(sorted(set(outputs.values())))
        self._move(experiment_id, "completed", outputs=outputs)
        return self.get(experiment_id)

    def find_by_input_artifacts(
        self, artifact_ids: Sequence[str], *, match: Literal["any", "all"] = "any"
    ) -> Sequence[ExperimentRecord]:
        """Experiments that froze any (or all) of the artifacts, newest first."""
        wanted = set(artifact_ids)
        member = input_set_members.c
        with self._database.reading() as connection:
            held: dict[str, int] = {}
            for ids in in_lists(sorted(wanted)):
                counts = (
                    select(member.input_set_id, func.count())
                    .where(member.artifact_id.in_(ids))
                    .where(member.input_set_id.in_(select(experiments.c.input_set_id)))
                    .group_by(member.input_set_id)
                )
                for set_id, count in connection.execute(counts).all():
                    held[set_id] = held.get(set_id, 0) + count
            matching = {s for s, count in held.items() if match == "any" or count == len(wanted)}
            rows = [
                row
                for sets in in_lists(sorted(matching))
                for row in connection.execute(
                    _newest_first().where(experiments.c.input_set_id.in_(sets))
                ).all()
            ]
        rows.sort(key=lambda row: (-row.created_at, row.experiment_id))
        return self._records(rows)

    def _move(
        self,
        experiment_id: str,
        status: ExperimentStatus,
        *,
        error: str | None = None,
        outputs: Mapping[str, str] | None = None,
    ) -> None:
        now = to_micros(self._clock())
        changes: dict[str, Any] = {"status": status, "error": error}
        if status == "running":
            changes["started_at"] = now
        if status == "completed":
            changes["completed_at"] = now
        if outputs is not None:
            changes["outputs_json"] = canonical_json(dict(outputs)).decode()
        with self._database.writing() as connection:
            old: ExperimentStatus = _row(connection, experiment_id).status
            check_transition(experiment_id, old, status)
            connection.execute(
                experiments.update()
                .where(experiments.c.experiment_id == experiment_id)
                .values(changes)
            )
            self._log(connection, experiment_id, old, status, error)

    def _log(
        self,
        connection: Connection,
        experiment_id: str,
        old: ExperimentStatus | None,
        new: ExperimentStatus,
        detail: str | None,
    ) -> None:
        connection.execute(
            experiment_events.insert().values(
                experiment_id=experiment_id,
                at=to_micros(self._clock()),
                old_status=old,
                new_status=new,
                detail=detail,
            )
        )

    def _records(self, rows: Sequence[Row[Any]]) -> tuple[ExperimentRecord, ...]:
        sets = {
            set_id: self._store.get_input_set(set_id)
            for set_id in {s for row in rows for s in (row.alert_set_id, row.slice_set_id)}
        }
        return tuple(
            _record(row, alerts=sets[row.alert_set_id], slices=sets[row.slice_set_id])
            for row in rows
        )


def _newest_first() -> Select[Any]:
    return select(experiments).order_by(
        experiments.c.created_at.desc(), experiments.c.experiment_id
    )


def _row(connection: Connection, experiment_id: str) -> Row[Any]:
    query = select(experiments).where(experiments.c.experiment_id == experiment_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"no experiment {experiment_id[:80]}; list the experiments to see their ids")
    return row


def _definition_json(definition: ExperimentDefinition) -> str:
    """What decides the result, without the inputs, which are sets, and the engine, a column."""
    return canonical_json(
        {
            "strategy": definition.strategy.model_dump(mode="json"),
            "filters": definition.filters.canonical(),
            "params": dict(definition.params),
            "min_coverage": definition.min_coverage,
        }
    ).decode()


def _record(row: Row[Any], *, alerts: tuple[str, ...], slices: tuple[str, ...]) -> ExperimentRecord:
    held = json.loads(row.definition_json)
    filters = held["filters"]
    return ExperimentRecord(
        experiment_id=row.experiment_id,
        definition=ExperimentDefinition(
            name=row.name,
            alert_artifact_ids=alerts,
            slice_artifact_ids=slices,
            strategy=Strategy.from_json(json.dumps(held["strategy"])),
            engine_version=row.engine_version,
            filters=AlertFilters(
                start=_moment(filters["start"]),
                end=_moment(filters["end"]),
                caller_name_norm=filters["caller_name_norm"],
                chain=filters["chain"],
                first_call_only=filters["first_call_only"],
            ),
            params=held["params"],
            min_coverage=held["min_coverage"],
        ),
        status=row.status,
        created_at=from_micros(row.created_at),
        started_at=None if row.started_at is None else from_micros(row.started_at),
        completed_at=None if row.completed_at is None else from_micros(row.completed_at),
        error=row.error,
        outputs=json.loads(row.outputs_json) if row.outputs_json else {},
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

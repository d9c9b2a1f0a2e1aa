"""Rows of the ledger as records, and back; the queries that several of its questions share.

Which change of status is allowed is decided in `tracker`.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from quantlab_assets.adapters.manifest.tables import (
    artifacts,
    experiment_events,
    experiments,
    input_set_members,
)
from quantlab_assets.domain.artifacts.identity import canonical_json
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.domain.experiments.records import (
    AlertFilters,
    ExperimentDefinition,
    ExperimentEvent,
    ExperimentFilter,
    ExperimentRecord,
    ExperimentStatus,
)
from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_assets.domain.time_us import from_us, to_us


def experiment_row(connection: Connection, experiment_id: str) -> Row[Any]:
    """The row of an experiment. Raises `NotFound`."""
    query = select(experiments).where(experiments.c.experiment_id == experiment_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"no experiment {experiment_id[:80]}; list the experiments to see their ids")
    return row


def newest_first() -> Select[Any]:
    """All experiments, the newest first."""
    return select(experiments).order_by(
        experiments.c.created_at.desc(), experiments.c.experiment_id
    )


def filtered(query: Select[Any], wanted: ExperimentFilter) -> Select[Any]:
    """The query with the conditions of a filter."""
    if wanted.status is not None:
        query = query.where(experiments.c.status == wanted.status)
    if wanted.name is not None:
        query = query.where(experiments.c.name == wanted.name)
    if wanted.created_from is not None:
        query = query.where(experiments.c.created_at >= to_us(wanted.created_from))
    if wanted.created_to is not None:
        query = query.where(experiments.c.created_at <= to_us(wanted.created_to))
    if wanted.parent_id is not None:
        query = query.where(experiments.c.parent_id == wanted.parent_id)
    if wanted.stale is not None:
        stale = experiments.c.input_set_id.in_(sets_with_superseded())
        query = query.where(stale if wanted.stale else ~stale)
    return query


def sets_with_superseded() -> Select[Any]:
    """Sets of which a member has been superseded. Written so that SQLite looks the superseded ones
    up in a set: there are few of them, and thousands of members."""
    superseded = select(artifacts.c.artifact_id).where(artifacts.c.status == "superseded")
    return (
        select(input_set_members.c.input_set_id)
        .where(input_set_members.c.artifact_id.in_(superseded))
        .distinct()
    )


def to_record(
    row: Row[Any], *, alerts: tuple[str, ...], slices: tuple[str, ...], stale: bool
) -> ExperimentRecord:
    """The record of a row of `experiments`; `alerts` and `slices` are the members of its sets."""
    return ExperimentRecord(
        experiment_id=row.experiment_id,
        definition=to_definition(
            row.name,
            json.loads(row.definition_json),
            row.engine_version,
            alerts=alerts,
            slices=slices,
        ),
        status=row.status,
        created_at=from_us(row.created_at),
        started_at=None if row.started_at is None else from_us(row.started_at),
        completed_at=None if row.completed_at is None else from_us(row.completed_at),
        error=row.error,
        outputs=json.loads(row.outputs_json) if row.outputs_json else {},
        parent_id=row.parent_id,
        stale=stale,
    )


def to_definition(
    name: str,
    document: Mapping[str, Any],
    engine_version: str,
    *,
    alerts: tuple[str, ...],
    slices: tuple[str, ...],
) -> ExperimentDefinition:
    """The definition that was frozen as JSON, with the ids that stand in sets."""
    filters = document["filters"]
    return ExperimentDefinition(
        name=name,
        alert_artifact_ids=alerts,
        slice_artifact_ids=slices,
        strategy=_strategy(json.dumps(document["strategy"])),
        engine_version=engine_version,
        filters=AlertFilters(
            start=_moment(filters["start"]),
            end=_moment(filters["end"]),
            caller_name_norm=filters["caller_name_norm"],
            chain=filters["chain"],
            first_call_only=filters["first_call_only"],
        ),
        params=document["params"],
        min_coverage=document["min_coverage"],
    )


def definition_json(definition: ExperimentDefinition) -> str:
    """What decides the result, without the inputs, which are sets, and the engine, a column."""
    return canonical_json(
        {
            "strategy": definition.strategy.model_dump(mode="json"),
            "filters": definition.filters.canonical(),
            "params": dict(definition.params),
            "min_coverage": definition.min_coverage,
        }
    ).decode()


def to_event(row: Row[Any]) -> ExperimentEvent:
    """The record of a row of `experiment_events`."""
    ended_early = row.new_status in ("failed", "cancelled")
    return ExperimentEvent(
        at=from_us(row.at),
        old_status=row.old_status,
        new_status=row.new_status,
        error=row.detail if ended_early else None,
        details=json.loads(row.detail) if row.detail and not ended_early else {},
    )


def insert_event(
    connection: Connection,
    experiment_id: str,
    at: datetime,
    old: ExperimentStatus | None,
    new: ExperimentStatus,
    error: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """A change of status, with the error that ended a run or else its details."""
    kept = canonical_json(dict(details)).decode() if details else None
    connection.execute(
        experiment_events.insert().values(
            experiment_id=experiment_id,
            at=to_us(at),
            old_status=old,
            new_status=new,
            detail=error if error is not None else kept,
        )
    )


@lru_cache(maxsize=256)
def _strategy(text: str) -> Strategy:
    return Strategy.from_json(text)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

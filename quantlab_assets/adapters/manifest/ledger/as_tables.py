"""The ledger as Arrow tables, for projections. Times are UTC, rows stand in order of their keys.

Tables: `experiments`, `input_sets` (a row for each member of a set that an experiment froze),
`experiment_outputs`, `experiment_events`. Artifacts as tables are in `manifest.as_tables`.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa
from sqlalchemy import Connection, Row, func, select

from quantlab_assets.adapters.manifest.tables import (
    artifacts,
    experiment_events,
    experiments,
    input_set_members,
)

FORMAT: Final = 1
"""Of the tables: a projection of an older format is built anew."""

_TS: Final = pa.timestamp("us", tz="UTC")
SCHEMAS: Final = {
    "experiments": pa.schema(
        [
            ("experiment_id", pa.string()),
            ("name", pa.string()),
            ("status", pa.string()),
            ("created_at", _TS),
            ("started_at", _TS),
            ("completed_at", _TS),
            ("parent_id", pa.string()),
            ("stale", pa.bool_()),
            ("engine_version", pa.string()),
            ("input_set_id", pa.string()),
            ("strategy_json", pa.string()),
            ("filters_json", pa.string()),
            ("params_json", pa.string()),
            ("min_coverage", pa.float64()),
            ("error", pa.string()),
        ]
    ),
    "input_sets": pa.schema([("input_set_id", pa.string()), ("artifact_id", pa.string())]),
    "experiment_outputs": pa.schema(
        [("experiment_id", pa.string()), ("part", pa.string()), ("artifact_id", pa.string())]
    ),
    "experiment_events": pa.schema(
        [
            ("experiment_id", pa.string()),
            ("event_id", pa.int64()),
            ("at", _TS),
            ("old_status", pa.string()),
            ("new_status", pa.string()),
            ("detail", pa.string()),
        ]
    ),
}


def ledger_state(connection: Connection) -> dict[str, Any]:
    """What the projection depends on: the last event, and which inputs are superseded."""
    gone = connection.scalars(
        select(artifacts.c.artifact_id)
        .where(artifacts.c.status == "superseded")
        .order_by(artifacts.c.artifact_id)
    )
    return {
        "format": FORMAT,
        "last_event": connection.scalar(select(func.max(experiment_events.c.event_id))),
        "experiments": connection.scalar(select(func.count()).select_from(experiments)),
        "superseded": hashlib.sha256("".join(gone).encode()).hexdigest(),
    }


def ledger_tables(connection: Connection) -> dict[str, pa.Table]:
    """The ledger as tables, in the order of their keys."""
    experiment_rows = connection.execute(
        select(experiments).order_by(experiments.c.experiment_id)
    ).all()
    definitions = [json.loads(row.definition_json) for row in experiment_rows]
    stale = set(
        connection.scalars(
            select(input_set_members.c.input_set_id)
            .join(artifacts, artifacts.c.artifact_id == input_set_members.c.artifact_id)
            .where(artifacts.c.status == "superseded")
            .distinct()
        )
    )
    rows = [
        {
            **{
                name: getattr(row, name)
                for name in SCHEMAS["experiments"].names
                if name in row._fields
            },
            "stale": row.input_set_id in stale,
            "strategy_json": json.dumps(frozen["strategy"], sort_keys=True),
            "filters_json": json.dumps(frozen["filters"], sort_keys=True),
            "params_json": json.dumps(frozen["params"], sort_keys=True),
            "min_coverage": frozen["min_coverage"],
        }
        for row, frozen in zip(experiment_rows, definitions, strict=True)
    ]
    outputs = [
        {"experiment_id": row.experiment_id, "part": part, "artifact_id": artifact_id}
        for row in experiment_rows
        for part, artifact_id in sorted(json.loads(row.outputs_json or "{}").items())
    ]
    used = select(experiments.c.input_set_id)
    members = connection.execute(
        select(input_set_members)
        .where(input_set_members.c.input_set_id.in_(used))
        .order_by(input_set_members.c.input_set_id, input_set_members.c.artifact_id)
    ).all()
    events = connection.execute(
        select(experiment_events).order_by(experiment_events.c.event_id)
    ).all()
    return {
        "experiments": pa.Table.from_pylist(rows, schema=SCHEMAS["experiments"]),
        "input_sets": _table("input_sets", members),
        "experiment_outputs": pa.Table.from_pylist(outputs, schema=SCHEMAS["experiment_outputs"]),
        "experiment_events": _table("experiment_events", events),
    }


def _table(name: str, rows: Sequence[Row[Any]]) -> pa.Table:
    ask: Callable[[Row[Any], str], Any] = getattr
    return pa.table(
        {field: [ask(row, field) for row in rows] for field in SCHEMAS[name].names},
        schema=SCHEMAS[name],
    )

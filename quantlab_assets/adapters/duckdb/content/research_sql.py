"""What the `research` layout adds to the tables of artifacts, so that a first query works.

Merged candles, the records of the manifest and the ledger, views, macros, and comments on all of
it (docs/projections.md describes the result). Candles are kept once, in `stored.candles`, with a
flag on the rows that count: `ohlcv_slices` shows all of them, `ohlcv` those that count.

Names in its SQL are constants of this package, or come quoted from `identifiers`: hence S608.
"""

from collections.abc import Collection, Mapping
from typing import Final

import duckdb
import pyarrow as pa

from quantlab_assets.adapters.duckdb.connections import run
from quantlab_assets.adapters.duckdb.identifiers import quoted, text_literal
from quantlab_assets.domain.artifacts.column_comments import column_comment
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.assets import (
    ALERTS,
    ASSETS,
    FORWARD_COVERAGE,
    METRICS,
    SLICES,
    TRADES,
)
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.tokens.token import folded_address_sql
from quantlab_assets.ports.projection_builder import ProjectionRequest, ProjectionTable

CANDLES: Final = SLICES
"""The table of candles in a request of this layout."""

STORED_SCHEMA: Final = "stored"
STORED_CANDLES: Final = f"{STORED_SCHEMA}.candles"
COUNTS: Final = "counts"
ADDRESS: Final = "token_address"

STORED: Final = (STORED_CANDLES, COUNTS)
"""Where the rows of `ohlcv_slices` are, and the flag they have there."""

NEEDED: Final[Mapping[str, str]] = {
    name: ASSETS.type_of(name) for name in (ALERTS, CANDLES, FORWARD_COVERAGE, TRADES, METRICS)
}
"""The tables that views and macros are made of, with the types they hold."""

_COLUMNS: Final = ", ".join(quoted(field.name, "column") for field in OHLCV_SLICE.schema)

_VIEWS: Final[Mapping[str, tuple[str, str]]] = {
    CANDLES: (
        f"SELECT {_COLUMNS} FROM {STORED_CANDLES}",  # noqa: S608
        "Every candle of every slice; slices of a token may overlap.",
    ),
    "ohlcv": (
        f"SELECT {_COLUMNS} FROM {STORED_CANDLES} WHERE {COUNTS}",  # noqa: S608
        "One candle a token, network and moment: the finest interval, as a simulation takes them.",
    ),
    "alerts_with_coverage": (
        """
        SELECT a.*, c.* EXCLUDE (covered_alert_id)
        FROM alerts a
        LEFT JOIN (
            SELECT alert_id AS covered_alert_id,
                   max(coverage_ratio) FILTER (horizon_h = 1) AS coverage_1h,
                   max(coverage_ratio) FILTER (horizon_h = 4) AS coverage_4h,
                   max(coverage_ratio) FILTER (horizon_h = 24) AS coverage_24h,
                   max(coverage_ratio) FILTER (horizon_h = 48) AS coverage_48h,
                   max(grade) FILTER (horizon_h = 24) AS grade_24h,
                   max(reason) FILTER (horizon_h = 24) AS reason_24h
            FROM alert_forward_coverage GROUP BY alert_id
        ) c ON c.covered_alert_id = a.alert_id
        """,
        "Calls with how well candles cover the hours after them; null where that is not known.",
    ),
    "caller_summary": (
        """
        SELECT caller_name_norm,
               count(*) AS calls,
               count(DISTINCT (chain, mint)) AS tokens,
               min(alert_ts_utc) AS first_call,
               max(alert_ts_utc) AS last_call,
               count(*) FILTER (grade_24h = 'good') AS covered_calls,
               avg(coverage_24h) AS mean_coverage_24h
        FROM alerts_with_coverage GROUP BY caller_name_norm
        """,
        "Callers: how many calls, of how many tokens, since when, and how many have candles.",
    ),
    "experiment_inputs": (
        """
        SELECT experiment_id, artifact_id
        FROM experiments JOIN input_sets USING (input_set_id)
        """,
        "The artifacts that each experiment froze.",
    ),
    "latest_experiments": (
        """
        SELECT e.experiment_id, e.name, e.status, e.stale, e.created_at, e.completed_at,
               m.alerts_seen, m.total_trades, m.win_rate, m.total_net_pnl, m.expectancy,
               m.max_drawdown, m.sharpe
        FROM experiments e
        LEFT JOIN (
            SELECT experiment_id,
                   max(metric_value) FILTER (metric_name = 'alerts_seen') AS alerts_seen,
                   max(metric_value) FILTER (metric_name = 'total_trades') AS total_trades,
                   max(metric_value) FILTER (metric_name = 'win_rate') AS win_rate,
                   max(metric_value) FILTER (metric_name = 'total_net_pnl') AS total_net_pnl,
                   max(metric_value) FILTER (metric_name = 'expectancy') AS expectancy,
                   max(metric_value) FILTER (metric_name = 'max_drawdown') AS max_drawdown,
                   max(metric_value) FILTER (metric_name = 'sharpe') AS sharpe
            FROM experiment_metrics WHERE scope = 'all' GROUP BY experiment_id
        ) m ON m.experiment_id = e.experiment_id
        ORDER BY e.created_at DESC, e.experiment_id
        """,
        "Experiments, newest first, with what they came to over all their trades.",
    ),
    "lineage": (
        """
        SELECT artifact_id, input_id, role, publication_id FROM lineage_inputs
        UNION ALL
        SELECT f.artifact_id, s.artifact_id, f.role, f.publication_id
        FROM lineage_input_sets f JOIN input_sets s USING (input_set_id)
        """,
        "What each artifact was made from: one row for each input of each publication.",
    ),
}

_SHOWN_BY: Final[Mapping[str, str]] = {"ohlcv": CANDLES}
"""Views that show rows of a table as they are, whose columns mean the same."""

_NETWORK: Final = "CASE WHEN p.chain = 'solana' THEN 'solana' ELSE p.token_chain END"
"""The network of a candle, as `domain/tokens/networks.py` has it."""

_MACROS: Final[Mapping[str, tuple[str, str]]] = {
    "MACRO price_at": (
        f"""
        MACRO price_at(token, moment, named := NULL) AS (
            SELECT CASE WHEN bool_or({_NETWORK} = named)
                        THEN arg_max(p.close, p.ts) FILTER ({_NETWORK} = named)
                        WHEN named IS NOT NULL OR max({_NETWORK}) IS NULL
                        THEN arg_max(p.close, p.ts) FILTER ({_NETWORK} IS NULL)
                        WHEN min({_NETWORK}) = max({_NETWORK})
                        THEN arg_max(p.close, p.ts) FILTER ({_NETWORK} IS NOT NULL) END
            FROM ohlcv p
            WHERE p.token_address = {folded_address_sql("token")}
              AND p.ts <= moment::TIMESTAMPTZ
              AND p.ts + to_seconds(p.interval_s) <= moment::TIMESTAMPTZ
        )
        """,  # noqa: S608
        "price_at(mint, ts, named := token_chain): the close of the latest candle that had ended by"
        " then, so nothing later is known to it, of the network that a call naming this one (or"
        " none) takes; null before the first, and where several networks have candles and none is"
        " named.",
    ),
    "MACRO TABLE candles": (
        f"""
        MACRO candles(token, from_ts, to_ts) AS TABLE
            SELECT * FROM ohlcv c
            WHERE c.token_address = {folded_address_sql("token")}
              AND c.ts >= from_ts::TIMESTAMPTZ AND c.ts < to_ts::TIMESTAMPTZ
            ORDER BY c.ts, c.token_chain
        """,  # noqa: S608
        "candles(mint, from, to): the candles of a token that count and begin in [from, to).",
    ),
}

_RECORD_COMMENTS: Final[Mapping[str, str]] = {
    "artifacts": "Every artifact of the lake, of any status; what the other tables are made of.",
    "artifact_tags": "The tags of artifacts.",
    "artifact_sources": "The raw files that artifacts were made from.",
    "lineage_inputs": "Artifacts that were inputs by themselves; ask the view lineage.",
    "lineage_input_sets": "Frozen sets that were inputs; ask the view lineage.",
    "input_sets": "The artifacts of each frozen set of inputs.",
    "experiments": "Every experiment of the ledger, of any status.",
    "experiment_outputs": "The artifacts that each experiment published.",
    "experiment_events": "What happened to each experiment, and when.",
}

_ARTIFACT_ID: Final = "The artifact: the same data under the same key has the same id."
_INPUT_ID: Final = "Artifact that was an input."
_LINEAGE_COLUMNS: Final[Mapping[str, str]] = {
    "artifact_id": "Artifact that was made.",
    "role": "loaded: it was read; declared: it was named as a dependency.",
    "publication_id": "Number of the publication that says so.",
}
_EXPERIMENT_COLUMNS: Final[Mapping[str, str]] = {
    "name": "Label of the experiment; it does not change the id.",
    "status": "State: pending, running, completed, failed or cancelled.",
    "stale": "An input was superseded since.",
    "created_at": "When it was created, UTC.",
    "completed_at": "When it ended, UTC; null before.",
}

_COLUMN_COMMENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "artifacts": {
        "artifact_id": _ARTIFACT_ID,
        "artifact_type": "Type of the artifact, such as alerts_v1.",
        "schema_version": "Version of the type's schema that its file is in.",
        "logical_key": "What the artifact is about, in the grammar of its type.",
        "status": "State of the artifact: active, superseded, ...",
        "row_count": "Rows it holds.",
        "min_ts": "Earliest time in its type's time column, UTC; null without one.",
        "max_ts": "Latest time in its type's time column, UTC; null without one.",
        "created_at": "When it was published first, UTC.",
        "purged_at": "When its file was deleted, UTC; null while it is there.",
        "file_size": "Size of its file in bytes.",
        "path": "Its file, below the folder of the lake.",
        "file_hash": "Hash of the file's bytes.",
        "content_hash": "Hash of the rows, however they are stored.",
    },
    "artifact_tags": {
        "artifact_id": _ARTIFACT_ID,
        "name": "Name of the tag.",
        "value": "Value of the tag.",
    },
    "artifact_sources": {
        "artifact_id": _ARTIFACT_ID,
        "sha256": "Hash of the raw file's bytes.",
        "name": "Name of the raw file.",
        "kind": "Kind of the raw file.",
        "size": "Size of the raw file in bytes.",
    },
    "lineage": {
        **_LINEAGE_COLUMNS,
        "input_id": _INPUT_ID,
    },
    "lineage_inputs": {
        **_LINEAGE_COLUMNS,
        "input_id": _INPUT_ID,
    },
    "lineage_input_sets": {
        **_LINEAGE_COLUMNS,
        "input_set_id": "Frozen set that was an input.",
    },
    "input_sets": {
        "input_set_id": "Frozen set of artifacts: the same ones have the same id.",
        "artifact_id": "Artifact in the set.",
    },
    "experiments": {
        **_EXPERIMENT_COLUMNS,
        "started_at": "When it last began to run, UTC; null before.",
        "parent_id": "Experiment that this one was made from, null if none.",
        "engine_version": "Version of the simulation that it is, or was, run with.",
        "input_set_id": "Frozen set of all its inputs.",
        "filters_json": "Which calls count, as canonical JSON.",
        "params_json": "What was recorded beside, as canonical JSON.",
        "min_coverage": "Least share of candles a slice must have to be run on, a fraction; null:"
        " any.",
        "error": "Why it failed, null if it did not.",
    },
    "experiment_inputs": {"artifact_id": "Artifact that the experiment froze."},
    "experiment_outputs": {
        "part": "Part of the result: trades, metrics, curves, ...",
        "artifact_id": "Artifact that holds the part.",
    },
    "experiment_events": {
        "event_id": "Number of the change, ascending.",
        "at": "When the status changed, UTC; the name is a keyword and needs quotes.",
        "old_status": "Status before, null at creation.",
        "new_status": "Status from then on.",
        "detail": "What there is to say of the change, null if nothing.",
    },
    "alerts_with_coverage": {
        "coverage_1h": "Share of the candles of the hour after the call that are there.",
        "coverage_4h": "Share of the candles of the 4 hours after the call that are there.",
        "coverage_24h": "Share of the candles of the 24 hours after the call that are there.",
        "coverage_48h": "Share of the candles of the 48 hours after the call that are there.",
        "grade_24h": "Grade of the 24 hours after the call: good, partial, poor or none.",
        "reason_24h": "Why candles of the 24 hours after the call are missing.",
    },
    "caller_summary": {
        "calls": "Calls of the caller.",
        "tokens": "Different tokens called.",
        "first_call": "When the caller's first call was posted, UTC.",
        "last_call": "When the caller's last call was posted, UTC.",
        "covered_calls": "Calls whose next 24 hours are graded good.",
        "mean_coverage_24h": "Mean share of the candles of the 24 hours after a call that are"
        " there, a fraction.",
    },
    "latest_experiments": {
        **_EXPERIMENT_COLUMNS,
        "alerts_seen": "Calls that the experiment considered; null without a result.",
        "total_trades": "Trades; null without a result.",
        "win_rate": "Share of the trades that won, a fraction; null without trades.",
        "total_net_pnl": "Profit of all trades after costs; null without a result.",
        "expectancy": "Mean profit of a trade after costs; null without trades.",
        "max_drawdown": "Largest fall from the highest equity, as a fraction of it; null without"
        " trades.",
        "sharpe": "Mean over standard deviation of daily returns, a year's; null where undefined.",
    },
}
"""Columns of records and views, by table; those that artifacts have are in `column_comments`."""


def is_stored(request: ProjectionRequest, table: ProjectionTable) -> bool:
    """Whether the rows of the table are in `stored.candles`, and a view has its name."""
    return request.layout == "research" and table.name == CANDLES


def create_schema(connection: duckdb.DuckDBPyConnection) -> None:
    """Make room for what is stored under other names than it is asked for."""
    run(connection, f"CREATE SCHEMA {STORED_SCHEMA}")


def check_tables(tables: Collection[ProjectionTable]) -> None:
    """Raise `ValidationFailed` unless the tables are those that the layout is made of."""
    types = {table.name: table.artifact_type for table in tables}
    for name, artifact_type in NEEDED.items():
        if types.get(name) != artifact_type:
            raise ValidationFailed(
                f"the research layout needs a table {name} of type {artifact_type}; add it, or"
                " ask for the plain layout"
            )
    for name in sorted((set(_VIEWS) | set(_RECORD_COMMENTS)) - set(NEEDED)):
        if name in types:
            raise ValidationFailed(
                f"table {name}: the research layout has one of that name; choose another"
            )


def write_records(connection: duckdb.DuckDBPyConnection, records: Mapping[str, pa.Table]) -> None:
    """Put the records of the lake in place of those that are there."""
    for name, table in records.items():
        target = quoted(name, "table")
        connection.register("quantlab_records", table)
        run(connection, f"CREATE OR REPLACE TABLE {target} AS SELECT * FROM quantlab_records")  # noqa: S608
        connection.unregister("quantlab_records")
        run(connection, f"COMMENT ON TABLE {target} IS {text_literal(_RECORD_COMMENTS[name])}")
        _comment_columns(connection, name)


def write_views(connection: duckdb.DuckDBPyConnection, types: Mapping[str, str]) -> None:
    """Create views and macros over the tables that are there, and comment on everything.

    `types` has the artifact type of each table of artifacts, by the table's name.
    """
    for name, (query, comment) in _VIEWS.items():
        run(connection, f"CREATE VIEW {quoted(name, 'view')} AS {query}")
        run(connection, f"COMMENT ON VIEW {quoted(name, 'view')} IS {text_literal(comment)}")
    for kind, (definition, comment) in _MACROS.items():
        run(connection, f"CREATE {definition}")
        run(connection, f"COMMENT ON {kind} IS {text_literal(comment)}")
    of_views = {view: types[table] for view, table in _SHOWN_BY.items()}
    for name in sorted({*types, *_VIEWS}):
        _comment_columns(connection, name, {**types, **of_views}.get(name))
    run(
        connection,
        f"COMMENT ON TABLE {STORED_CANDLES} IS"
        " 'The rows of ohlcv_slices, with a flag on those of ohlcv; ask these views.'",
    )


def _comment_columns(
    connection: duckdb.DuckDBPyConnection, name: str, artifact_type: str | None = None
) -> None:
    columns = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE schema_name = 'main' AND table_name = $1",
        [name],
    ).fetchall()
    for (column,) in columns:
        own = _COLUMN_COMMENTS.get(name, {}).get(column)
        comment = own or column_comment(artifact_type, column)
        if comment is not None:
            target = f"{quoted(name, 'table')}.{quoted(column, 'column')}"
            run(connection, f"COMMENT ON COLUMN {target} IS {text_literal(comment)}")

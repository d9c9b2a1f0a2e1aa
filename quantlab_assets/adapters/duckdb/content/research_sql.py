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

_COLUMN_COMMENTS: Final[Mapping[str, str]] = {
    "alert_id": "The call: <chat>:<message>:<mint>.",
    "alert_ts_utc": "When the message was written.",
    "known_ts_utc": "When the token's address was known; nobody could have bought before.",
    "chain": "Family of networks: solana or evm.",
    "token_chain": "Network, null where it is not known: an EVM address does not tell.",
    "mint": "Address of the token called.",
    "token_address": "Address of the token.",
    "caller_name": "Name of the caller as written.",
    "caller_name_norm": "Name of the caller in one spelling; group by this.",
    "mint_source": "Where the address was found: text, link or bot_reply.",
    "card_price_usd": "Price on the bot's card; it may be later than the call (card_leaks).",
    "card_mcap_usd": "Market capitalisation on the bot's card; it may be later than the call.",
    "card_asof_ts_utc": "When the card was written or last edited.",
    "card_leaks": "The card is known to be later than the call.",
    "interval_s": "Length of a candle in seconds.",
    "ts": "When the candle, or the point of the curve, begins.",
    "open": "First price of the candle.",
    "high": "Highest price of the candle.",
    "low": "Lowest price of the candle.",
    "close": "Last price of the candle; known only at ts + interval_s.",
    "volume": "Volume in quote currency, null where it is not known.",
    "horizon_h": "Hours after the call; negative ones are before it.",
    "expected_candles": "Candles there should be in the horizon.",
    "actual_candles": "Candles there are.",
    "traded_candles": "Candles with a volume above zero.",
    "coverage_ratio": "Actual candles over expected ones.",
    "grade": "good, partial or poor.",
    "reason": "Why candles are missing.",
    "coverage_1h": "Share of the candles of the hour after the call that are there.",
    "coverage_4h": "Share of the candles of the 4 hours after the call that are there.",
    "coverage_24h": "Share of the candles of the 24 hours after the call that are there.",
    "coverage_48h": "Share of the candles of the 48 hours after the call that are there.",
    "experiment_id": "The experiment; the same one has the same id in every lake.",
    "entry_price": "Price of the fill, without costs.",
    "exit_price": "Price of the exits, weighted by fraction, without costs.",
    "exit_reason": "Why the last part was sold.",
    "net_pnl": "Profit in units of the stake, after costs.",
    "net_return": "Profit over stake, after costs; 0.1 is 10 %.",
    "gross_pnl": "Profit before costs.",
    "metric_value": "Null where the metric is undefined.",
    "equity": "Capital with open positions at their last known price.",
    "drawdown": "Fall from the highest equity so far.",
    "artifact_id": "Identity of an artifact: the same data under the same key has the same id.",
    "input_id": "Artifact that was an input.",
    "role": "loaded: it was read; declared: it was named as a dependency.",
    "stale": "An input was superseded since.",
    "status": "State of the artifact or experiment.",
    "logical_key": "What the artifact is about, in the grammar of its type.",
    "content_hash": "Hash of the rows, however they are stored.",
    "created_at": "When it was made.",
}


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


def write_views(connection: duckdb.DuckDBPyConnection, tables: Collection[str]) -> None:
    """Create views and macros over the tables that are there, and comment on everything."""
    for name, (query, comment) in _VIEWS.items():
        run(connection, f"CREATE VIEW {quoted(name, 'view')} AS {query}")
        run(connection, f"COMMENT ON VIEW {quoted(name, 'view')} IS {text_literal(comment)}")
    for kind, (definition, comment) in _MACROS.items():
        run(connection, f"CREATE {definition}")
        run(connection, f"COMMENT ON {kind} IS {text_literal(comment)}")
    for name in sorted({*tables, *_VIEWS}):
        _comment_columns(connection, name)
    run(
        connection,
        f"COMMENT ON TABLE {STORED_CANDLES} IS"
        " 'The rows of ohlcv_slices, with a flag on those of ohlcv; ask these views.'",
    )


def _comment_columns(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    columns = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE schema_name = 'main' AND table_name = $1",
        [name],
    ).fetchall()
    for (column,) in columns:
        comment = _COLUMN_COMMENTS.get(column)
        if comment is not None:
            target = f"{quoted(name, 'table')}.{quoted(column, 'column')}"
            run(connection, f"COMMENT ON COLUMN {target} IS {text_literal(comment)}")

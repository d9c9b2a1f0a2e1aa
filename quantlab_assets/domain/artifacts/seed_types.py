"""The artifact types that every lake knows: what each kind of Parquet artifact holds, exactly.

All timestamps are UTC microseconds; ids, counts and row numbers are int64; prices and ratios
float64. Their value rules are in `value_rules`; what declares a type is in `type`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from quantlab_assets.domain.artifacts.type import ArtifactType, Upgrade
from quantlab_assets.domain.telegram.chats import chat_bucket

if TYPE_CHECKING:
    import polars as pl

TS = pa.timestamp("us", tz="UTC")


def _type(
    name: str,
    columns: str,
    sort_keys: str,
    keys: str | tuple[str, ...],
    *,
    description: str,
    version: int = 1,
    time_column: str | None = None,
    dictionary: str = "",
    upgrade: Upgrade | None = None,
) -> ArtifactType:
    """Build a type from a compact column list: `name:type`, and `?` at its end for nullable."""
    kinds = {
        "utf8": pa.string(),
        "i64": pa.int64(),
        "f64": pa.float64(),
        "bool": pa.bool_(),
        "ts": TS,
        "date": pa.date32(),
    }
    fields = []
    for column in columns.split():
        column_name, kind = column.split(":")
        fields.append(pa.field(column_name, kinds[kind.rstrip("?")], nullable=kind.endswith("?")))
    return ArtifactType(
        name=name,
        schema_version=version,
        schema=pa.schema(fields),
        sort_keys=tuple(sort_keys.split()),
        keys=(keys,) if isinstance(keys, str) else keys,
        time_column=time_column,
        dictionary_columns=tuple(dictionary.split()),
        description=description,
        upgrade=upgrade,
    )


def _bucket_key(fields: Mapping[str, str]) -> str:
    return f"day={fields['day']}/bucket={chat_bucket(int(fields['chat']))}"


def _basis_of_alert() -> "pl.Expr":
    """How the time of a call is known, in rows that were written before that was kept."""
    import polars as pl

    return (
        pl.when(pl.col("mint_source") == "bot_reply")
        .then(pl.lit("bot_reply"))
        .when(pl.col("known_ts_utc") == pl.col("alert_ts_utc"))
        .then(pl.lit("posted"))
        .otherwise(pl.lit("unproven_edit"))
    )


def _caller_of_alert() -> "pl.Expr":
    """The key of a caller in rows that were written before callers had keys."""
    from quantlab_assets.domain.telegram.callers import caller_key

    return caller_key("caller_id", "alert_chat_id", "caller_name_norm")


_TELEGRAM_MESSAGES_1 = _type(
    "telegram_messages",
    "chat_id:i64 chat_name:utf8? message_id:i64 ts_utc:ts edited_ts_utc:ts? sender_name:utf8?"
    " sender_id:utf8? sender_kind:utf8 reply_to_message_id:i64? forwarded_from:utf8?"
    " is_service:bool text:utf8 entities_json:utf8 ingest_source:utf8 seen_at_utc:ts",
    "chat_id message_id edited_ts_utc",
    "chat={chat}/day={day}",
    time_column="ts_utc",
    dictionary="chat_name sender_name sender_id sender_kind ingest_source",
    description="Telegram messages, one row for each version of a message.",
)
TELEGRAM_MESSAGES = _type(
    "telegram_messages",
    "chat_id:i64 chat_name:utf8? message_id:i64 ts_utc:ts edited_ts_utc:ts? sender_name:utf8?"
    " sender_id:utf8? sender_kind:utf8 author:utf8? via_bot:utf8? reply_to_message_id:i64?"
    " reply_to_service:bool? forwarded_from:utf8? is_service:bool has_buttons:bool?"
    " has_reactions:bool? text:utf8 entities_json:utf8 ingest_source:utf8 seen_at_utc:ts",
    "chat_id message_id edited_ts_utc",
    "day={day}/bucket={bucket}",
    version=2,
    time_column="ts_utc",
    dictionary="chat_name sender_name sender_id sender_kind author via_bot ingest_source",
    description="Telegram messages, one row for each version of a message.",
    upgrade=Upgrade(
        _TELEGRAM_MESSAGES_1,
        columns=dict.fromkeys(
            ("author", "via_bot", "reply_to_service", "has_buttons", "has_reactions")
        ),
        new_key=_bucket_key,
    ),
)
_ALERTS_1 = _type(
    "alerts_v1",
    "alert_ts_utc:ts known_ts_utc:ts chain:utf8 token_chain:utf8? mint:utf8 alert_chat_id:i64"
    " alert_message_id:i64 alert_id:utf8 caller_name:utf8 caller_name_norm:utf8 caller_id:utf8?"
    " mint_source:utf8 bot_name:utf8? raw_address:utf8 card_price_usd:f64? card_mcap_usd:f64?"
    " card_asof_ts_utc:ts? card_leaks:bool?",
    "alert_ts_utc chain mint alert_chat_id alert_message_id",
    "day={day}/chain={chain}",
    time_column="alert_ts_utc",
    dictionary="chain token_chain caller_name caller_name_norm caller_id mint_source bot_name",
    description="Calls: who called which token, when, and when its address became known.",
)
ALERTS = _type(
    "alerts_v1",
    "alert_ts_utc:ts known_ts_utc:ts known_basis:utf8 chain:utf8 token_chain:utf8? mint:utf8"
    " alert_chat_id:i64 alert_message_id:i64 alert_id:utf8 caller_key:utf8 caller_name:utf8"
    " caller_name_norm:utf8 caller_id:utf8? author:utf8? mint_source:utf8 bot_name:utf8?"
    " raw_address:utf8 card_price_usd:f64? card_mcap_usd:f64? card_asof_ts_utc:ts?"
    " card_leaks:bool?",
    "alert_ts_utc chain mint alert_chat_id alert_message_id",
    "day={day}/chain={chain}",
    version=2,
    time_column="alert_ts_utc",
    dictionary="known_basis chain token_chain caller_key caller_name caller_name_norm caller_id"
    " author mint_source bot_name",
    description="Calls: who called which token, when, and when its address became known.",
    upgrade=Upgrade(
        _ALERTS_1,
        columns={
            # What an edit proved was not kept then.
            "known_basis": _basis_of_alert,
            "caller_key": _caller_of_alert,
            "author": None,
        },
    ),
)
_ALERT_EVENTS_1 = _type(
    "alerts_event_v1",
    "alert_key:utf8 event_kind:utf8 event_ts_utc:ts seen_at_utc:ts ingest_source:utf8 chain:utf8"
    " mint:utf8 alert_chat_id:i64 alert_message_id:i64 alert_id:utf8 caller_name:utf8"
    " caller_name_norm:utf8 caller_id:utf8? mint_source:utf8 bot_name:utf8? bot_message_id:i64?"
    " bot_ts_utc:ts?",
    "alert_key event_ts_utc seen_at_utc",
    "day={day}",
    time_column="event_ts_utc",
    dictionary="event_kind ingest_source chain caller_name caller_name_norm mint_source bot_name",
    description="Every observation of a call: the call itself, bot replies to it, edits of it.",
)
ALERT_EVENTS = _type(
    "alerts_event_v1",
    "alert_key:utf8 event_kind:utf8 event_ts_utc:ts seen_at_utc:ts ingest_source:utf8 chain:utf8"
    " mint:utf8 alert_chat_id:i64 alert_message_id:i64 alert_id:utf8 caller_key:utf8"
    " caller_name:utf8 caller_name_norm:utf8 caller_id:utf8? mint_source:utf8 bot_name:utf8?"
    " bot_message_id:i64? bot_ts_utc:ts?",
    "alert_key event_ts_utc seen_at_utc",
    "day={day}",
    version=2,
    time_column="event_ts_utc",
    dictionary="event_kind ingest_source chain caller_key caller_name caller_name_norm mint_source"
    " bot_name",
    description="Every observation of a call: the call itself, bot replies to it, edits of it.",
    upgrade=Upgrade(_ALERT_EVENTS_1, columns={"caller_key": _caller_of_alert}),
)
ALERTS_QUARANTINE = _type(
    "alerts_quarantine",
    "chat_id:i64? message_id:i64? ts_utc:ts? sender_name:utf8? text:utf8? error_code:utf8"
    " error_reason:utf8",
    "chat_id message_id error_code",
    ("day={day}", "day=unknown/source={source}"),
    time_column="ts_utc",
    dictionary="error_code",
    description="Messages that look like calls, or like messages, but cannot be trusted; and why.",
)
OHLCV_SLICE = _type(
    "ohlcv_slice_v2",
    "token_address:utf8 chain:utf8 token_chain:utf8? interval_s:i64 ts:ts open:f64 high:f64 low:f64"
    " close:f64 volume:f64?",
    "token_address interval_s ts",
    "token={token}/res={res}/from={from}/to={to}",
    version=2,
    time_column="ts",
    dictionary="token_address chain token_chain interval_s",
    description="Candles of one token and interval in one window, at candle open.",
)
CANDLES_QUARANTINE = _type(
    "candles_quarantine",
    "row_number:i64 raw_values:utf8 error_code:utf8 error_reason:utf8",
    "row_number error_code",
    "source={source}",
    dictionary="error_code",
    description="Rows of a candle file that no backtest may see; with the reason.",
)
ALERT_FORWARD_COVERAGE = _type(
    "alert_forward_coverage",
    "alert_id:utf8 chain:utf8 mint:utf8 caller_name_norm:utf8 alert_ts_utc:ts horizon_h:i64"
    " interval_s:i64? expected_candles:i64 actual_candles:i64 traded_candles:i64 coverage_ratio:f64"
    " first_candle_delay_s:i64? longest_gap_s:i64? grade:utf8 reason:utf8",
    "alert_ts_utc alert_id horizon_h",
    "day={day}",
    time_column="alert_ts_utc",
    dictionary="chain mint caller_name_norm grade reason",
    description="How much of the time after each call the candles cover, by horizon in hours.",
)
COVERAGE_GAPS = _type(
    "coverage_gaps",
    "mint:utf8 chain:utf8 interval_s:i64 gap_start:ts gap_end:ts missing_candles:i64 kind:utf8",
    "chain mint interval_s gap_start",
    "day={day}",
    time_column="gap_start",
    dictionary="mint chain kind",
    description="Holes in the candles of the tokens called on a day.",
)
COVERAGE_SUMMARY = _type(
    "coverage_summary",
    "day:date chain:utf8 caller_name_norm:utf8 horizon_h:i64 alerts:i64 covered:i64 partial:i64"
    " poor:i64 none:i64 mean_ratio:f64",
    "day chain caller_name_norm horizon_h",
    "scope=all",
    dictionary="chain caller_name_norm",
    description="Coverage counted by day, chain, caller and horizon.",
)
STRATEGY = _type(
    "strategy",
    "name:utf8 strategy_json:utf8",
    "name",
    "strategy={strategy}",
    description="A named trading strategy as canonical JSON.",
)
EXPERIMENT_DEFINITION = _type(
    "experiment_definition",
    "experiment_id:utf8 definition_json:utf8",
    "experiment_id",
    "experiment={experiment}/definition",
    description="What an experiment froze: inputs, strategy, filters, parameters.",
)
EXPERIMENT_TRADES = _type(
    "experiment_trades",
    "trade_id:utf8 alert_id:utf8 caller_name_norm:utf8 chain:utf8 mint:utf8 alert_ts_utc:ts"
    " entry_ts:ts entry_price:f64 exit_ts:ts exit_price:f64 exit_reason:utf8 exit_legs:i64"
    " stake:f64 gross_pnl:f64 net_pnl:f64 net_return:f64 fees:f64 slippage_cost:f64"
    " peak_multiple:f64 trough_multiple:f64 duration_s:i64 candles_held:i64 ambiguous_candles:i64",
    "entry_ts alert_id",
    "experiment={experiment}/trades",
    time_column="entry_ts",
    dictionary="caller_name_norm chain mint exit_reason",
    description="Simulated trades of an experiment, one row a trade.",
)
EXPERIMENT_METRICS = _type(
    "experiment_metrics",
    "scope:utf8 scope_value:utf8 metric_name:utf8 metric_value:f64?",
    "scope scope_value metric_name",
    "experiment={experiment}/metrics",
    dictionary="scope scope_value metric_name",
    description="Metrics of an experiment: overall, by caller, by chain. Undefined ones are null.",
)
EXPERIMENT_CURVES = _type(
    "experiment_curves",
    "ts:ts equity:f64 cumulative_net_pnl:f64 open_positions:i64 drawdown:f64",
    "ts",
    "experiment={experiment}/curves",
    time_column="ts",
    description="Hourly equity curve of an experiment.",
)
EXPERIMENT_DIAGNOSTICS = _type(
    "experiment_diagnostics",
    "alert_id:utf8 level:utf8 code:utf8 message:utf8 ts:ts?",
    "alert_id code",
    "experiment={experiment}/diagnostics",
    time_column="ts",
    dictionary="level code",
    description="Alerts that did not trade in an experiment, and why.",
)

SEED_TYPES: tuple[ArtifactType, ...] = (
    TELEGRAM_MESSAGES,
    ALERTS,
    ALERT_EVENTS,
    ALERTS_QUARANTINE,
    OHLCV_SLICE,
    CANDLES_QUARANTINE,
    ALERT_FORWARD_COVERAGE,
    COVERAGE_GAPS,
    COVERAGE_SUMMARY,
    STRATEGY,
    EXPERIMENT_DEFINITION,
    EXPERIMENT_TRADES,
    EXPERIMENT_METRICS,
    EXPERIMENT_CURVES,
    EXPERIMENT_DIAGNOSTICS,
)

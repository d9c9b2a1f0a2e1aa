"""What each column of the seed types means, in a line: the comments on columns of projections.

A column means the same in every type that has its name, or it is told by type. Whoever adds a
column to `seed_types` adds its line here (a test looks). Columns that only tables of records or
views have are told beside their SQL, in `adapters.duckdb.content.research_sql`.
"""

from collections.abc import Mapping
from typing import Final

_EVERYWHERE: Final[Mapping[str, str]] = {
    # Messages and calls
    "chat_id": "Telegram's id of the chat.",
    "chat_name": "Title of the chat, null where the export has none.",
    "message_id": "Number of the message in its chat.",
    "ts_utc": "When the message was posted, UTC.",
    "edited_ts_utc": "Edit time that Telegram shows, UTC; reactions set it too; null without one.",
    "sender_name": "Name of the sender as exported.",
    "sender_id": "Id of the sender (user... or channel...), null where the export has none.",
    "sender_kind": "human, bot, feed, channel or service.",
    "author": "Who signed the channel's post, null without a signature.",
    "via_bot": "The inline bot by which the message was sent, null without one.",
    "reply_to_message_id": "The message that this one replies to, null if none.",
    "reply_to_service": "The message replied to is a service message; null where not known.",
    "forwarded_from": "From whom the message was forwarded, null if it was not.",
    "is_service": "A notice of Telegram, such as somebody joining.",
    "has_buttons": "The message has buttons, as bots' cards do; null where not known.",
    "has_reactions": "Somebody reacted, which sets the edit time too; null where not known.",
    "text": "Text of the message.",
    "entities_json": "Links and other formats of the text, as JSON.",
    "ingest_source": "Kind of export it was read from, such as telegram_json.",
    "seen_at_utc": "When an export first showed it, UTC.",
    "alert_id": "The call: <chat>:<message>:<mint>.",
    "alert_key": "The call that the observation is of: its alert_id.",
    "alert_chat_id": "Telegram's id of the chat of the call.",
    "alert_message_id": "Number of the call's message in its chat.",
    "alert_ts_utc": "When the call's message was posted, UTC.",
    "known_ts_utc": "When the token's address was known, UTC; nobody could have bought before.",
    "known_basis": "How that time is known: posted, edited, bot_reply, unproven_edit or seen.",
    "event_kind": "call, bot_reply or edit.",
    "event_ts_utc": "When it happened, UTC.",
    "chain": "Family of networks: solana or evm.",
    "token_chain": "Network, null where it is not known: an EVM address does not tell.",
    "mint": "Address of the token called; EVM in lower case.",
    "raw_address": "The address as the message writes it.",
    "caller_key": "The caller's id (user:, channel:), or chat and name (name:) where it has none.",
    "caller_name": "Name of the caller as written.",
    "caller_name_norm": "Name of the caller in one spelling; group by this.",
    "caller_id": "Id of the caller as exported, null where the export has none.",
    "mint_source": "Where the address was found: text, link or bot_reply.",
    "bot_name": "The bot whose card or answer is about the call, null without one.",
    "bot_message_id": "Number of the bot's message in the chat, null without one.",
    "bot_ts_utc": "When the bot's message was posted, UTC; null without one.",
    "card_price_usd": "Price on the bot's card in US dollars; it may be later than the call"
    " (card_leaks).",
    "card_mcap_usd": "Market capitalisation on the bot's card in US dollars; it may be later than"
    " the call (card_leaks).",
    "card_asof_ts_utc": "When the card was written or last edited, UTC.",
    "card_leaks": "The card is known to be later than the call.",
    # Candles and their coverage
    "token_address": "Address of the token; EVM in lower case.",
    "interval_s": "Length of a candle in seconds.",
    "open": "First price of the candle.",
    "high": "Highest price of the candle.",
    "low": "Lowest price of the candle.",
    "close": "Last price of the candle; known only at ts + interval_s.",
    "volume": "Volume in quote currency, null where it is not known.",
    "horizon_h": "Hours after the call; negative ones are before it.",
    "expected_candles": "Candles there should be in the horizon.",
    "actual_candles": "Candles there are.",
    "traded_candles": "Candles with a volume above zero.",
    "coverage_ratio": "Actual candles over expected ones, a fraction from 0 to 1.",
    "first_candle_delay_s": "Seconds from the horizon's start to its first candle; null without"
    " candles.",
    "longest_gap_s": "Longest stretch without a candle in the horizon, in seconds; null where none"
    " was expected.",
    "gap_start": "The first candle that is missing would begin then, UTC.",
    "gap_end": "When the hole ends, UTC; not part of it.",
    "missing_candles": "Candles missing in the hole.",
    "mean_ratio": "Mean coverage ratio of the calls, a fraction from 0 to 1.",
    # Experiments and their results
    "experiment_id": "The experiment; the same one has the same id in every lake.",
    "strategy_json": "The strategy as canonical JSON.",
    "definition_json": "Inputs, strategy, filters and parameters as canonical JSON.",
    "trade_id": "The trade, within its experiment.",
    "entry_ts": "When the position was opened, UTC.",
    "entry_price": "Price of the fill, without costs.",
    "exit_ts": "When the last part was sold, UTC.",
    "exit_price": "Price of the exits, weighted by fraction, without costs.",
    "exit_reason": "Why the last part was sold.",
    "exit_legs": "In how many parts the position was sold.",
    "stake": "Capital put into the trade; profits are in its unit.",
    "gross_pnl": "Profit before costs, in units of the stake.",
    "net_pnl": "Profit after costs, in units of the stake.",
    "net_return": "Profit over stake, after costs; 0.1 is 10 %.",
    "fees": "Fees of entry and exits, in units of the stake.",
    "slippage_cost": "What slippage cost, in units of the stake: gross_pnl - net_pnl - fees.",
    "peak_multiple": "Highest price while held, over the entry price.",
    "trough_multiple": "Lowest price while held, over the entry price.",
    "duration_s": "Seconds from entry to the last exit.",
    "candles_held": "Candles from the entry candle to the exit candle, both included.",
    "ambiguous_candles": "Candles that reached a stop and a target, in an order nobody knows.",
    "scope": "What is judged: all, caller or chain.",
    "scope_value": "Which caller or chain.",
    "metric_name": "Name of the metric, as docs/simulation.md defines it.",
    "metric_value": "Null where the metric is undefined.",
    "equity": "Capital with open positions at their last known price.",
    "cumulative_net_pnl": "Profit after costs of the trades closed by then.",
    "open_positions": "Positions open at that time.",
    "drawdown": "Fall from the highest equity so far, as a fraction of it.",
    # Quarantines
    "row_number": "Line or row of the file, from 1.",
    "raw_values": "The row as the file has it.",
    "error_code": "Reason it was refused, in a word to group by.",
    "error_reason": "Reason it was refused, in words.",
}

_BY_TYPE: Final[Mapping[str, Mapping[str, str]]] = {
    "ohlcv_slice_v2": {"ts": "When the candle begins, UTC."},
    "alert_forward_coverage": {
        "grade": "good, partial or poor; none without a candle.",
        "reason": "Why candles are missing; ok where enough are there.",
    },
    "coverage_gaps": {"kind": "Where in the window the hole is: head, inner or tail."},
    "coverage_summary": {
        "day": "UTC day of the calls.",
        "alerts": "Calls of the caller on the day.",
        "covered": "Calls whose coverage is graded good.",
        "partial": "Calls whose coverage is graded partial.",
        "poor": "Calls whose coverage is graded poor.",
        "none": "Calls without a candle.",
    },
    "strategy": {"name": "Name of the strategy."},
    "experiment_curves": {"ts": "The point of the curve, UTC: a full hour, or the last exit."},
    "experiment_diagnostics": {
        "level": "How serious it is, such as warning.",
        "code": "Why the call did not trade, in a word to group by.",
        "message": "Why the call did not trade, in words.",
        "ts": "When the order, or the entry refused for want of room, was due, UTC.",
    },
}


def column_comment(artifact_type: str | None, column: str) -> str | None:
    """What a column of a type means, in a line. None for one that is not told: it is of a type of a
    user's own, or of no type at all."""
    of_type = {} if artifact_type is None else _BY_TYPE.get(artifact_type, {})
    return of_type.get(column) or _EVERYWHERE.get(column)

"""What the values of each type may be: a good row of each passes, each broken rule is named."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from quantlab_assets.domain.artifacts import value_rules
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.seed_types import SEED_TYPES
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.artifacts.value_rules import check_values
from quantlab_assets.domain.errors import ValidationFailed

NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)
SOLANA = "So11111111111111111111111111111111111111112"
EVM = "0x" + "ab" * 20
NAN, INFINITY = float("nan"), float("inf")

CALL = {
    "chain": "solana",
    "mint": SOLANA,
    "alert_chat_id": -1,
    "alert_message_id": 2,
    "alert_id": f"-1:2:{SOLANA}",
    "caller_name": "Al",
    "caller_name_norm": "al",
    "caller_key": "name:-1:al",
    "mint_source": "text",
}
GOOD: dict[str, dict[str, Any]] = {
    "telegram_messages": {
        "chat_id": -1,
        "message_id": 1,
        "ts_utc": NOON,
        "sender_kind": "human",
        "is_service": False,
        "text": "",
        "entities_json": "[]",
        "ingest_source": "json",
        "seen_at_utc": NOON,
    },
    "alerts_v1": {
        **CALL,
        "alert_ts_utc": NOON,
        "known_ts_utc": NOON,
        "known_basis": "posted",
        "raw_address": SOLANA,
    },
    "alerts_event_v1": {
        **CALL,
        "alert_key": "k",
        "event_kind": "call",
        "event_ts_utc": NOON,
        "seen_at_utc": NOON,
        "ingest_source": "json",
    },
    "alerts_quarantine": {"error_code": "bad_date", "error_reason": "no date"},
    "ohlcv_slice_v2": {
        "token_address": SOLANA,
        "chain": "solana",
        "interval_s": 60,
        "ts": NOON,
        "open": 2.0,
        "high": 3.0,
        "low": 1.0,
        "close": 2.5,
    },
    "candles_quarantine": {
        "row_number": 0,
        "raw_values": "",
        "error_code": "bad_price",
        "error_reason": "x",
    },
    "alert_forward_coverage": {
        "alert_id": "a",
        "chain": "evm",
        "mint": EVM,
        "caller_name_norm": "al",
        "alert_ts_utc": NOON,
        "horizon_h": -4,
        "expected_candles": 10,
        "actual_candles": 9,
        "traded_candles": 9,
        "coverage_ratio": 0.9,
        "grade": "partial",
        "reason": "gaps",
    },
    "coverage_gaps": {
        "mint": EVM,
        "chain": "evm",
        "interval_s": 60,
        "gap_start": NOON,
        "gap_end": NOON + timedelta(minutes=1),
        "missing_candles": 1,
        "kind": "inner",
    },
    "coverage_summary": {
        "day": date(2025, 5, 1),
        "chain": "evm",
        "caller_name_norm": "al",
        "horizon_h": 4,
        "alerts": 1,
        "covered": 1,
        "partial": 0,
        "poor": 0,
        "none": 0,
        "mean_ratio": 1.0,
    },
    "strategy": {"name": "dip", "strategy_json": "{}"},
    "experiment_definition": {
        "experiment_id": "exp-0123456789abcdef",
        "definition_json": '{"a":1}',
    },
    "experiment_trades": {
        "trade_id": "a",
        "alert_id": "a",
        "caller_name_norm": "al",
        "chain": "evm",
        "mint": EVM,
        "alert_ts_utc": NOON,
        "entry_ts": NOON,
        "entry_price": 1.0,
        "exit_ts": NOON,
        "exit_price": 1.0,
        "exit_reason": "max_hold",
        "exit_legs": 1,
        "stake": 1.0,
        "gross_pnl": 0.0,
        "net_pnl": -0.1,
        "net_return": -0.1,
        "fees": 0.1,
        "slippage_cost": 0.0,
        "peak_multiple": 1.0,
        "trough_multiple": 0.5,
        "duration_s": 0,
        "candles_held": 1,
        "ambiguous_candles": 0,
    },
    "experiment_metrics": {"scope": "all", "scope_value": "", "metric_name": "win_rate"},
    "experiment_curves": {
        "ts": NOON,
        "equity": 100.0,
        "cumulative_net_pnl": 0.0,
        "open_positions": 0,
        "drawdown": 0.0,
    },
    "experiment_diagnostics": {
        "alert_id": "a",
        "level": "info",
        "code": "capacity",
        "message": "",
    },
}


def table(artifact_type: ArtifactType, **changes: object) -> pa.Table:
    row = dict.fromkeys(artifact_type.schema.names)
    return pa.Table.from_pylist(
        [row | GOOD[artifact_type.name], row | GOOD[artifact_type.name] | changes],
        schema=artifact_type.schema,
    )


WITHOUT_RULES: set[tuple[str, int]] = set()
"""Versions of seed types of whose values there is nothing to say."""


def test_every_version_of_every_seed_type_has_rules_about_columns_it_has() -> None:
    versions = {
        (version.name, version.schema_version): {*version.schema.names, ""}
        for seed_type in SEED_TYPES
        for version in seed_type.versions
    }
    assert set(value_rules._RULES) == set(versions) - WITHOUT_RULES
    unknown = {of: set(rules) - versions[of] for of, rules in value_rules._RULES.items()}
    assert {of: names for of, names in unknown.items() if names} == {}


@pytest.mark.parametrize("artifact_type", SEED_TYPES, ids=lambda one: one.name)
def test_good_rows_pass(artifact_type: ArtifactType) -> None:
    check_values(table(artifact_type), artifact_type)
    check_values(artifact_type.empty(), artifact_type)


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("telegram_messages", {"sender_kind": "alien"}, "sender_kind must be one of human, "),
        ("alerts_v1", {"chain": "btc"}, "chain must be one of solana, evm; one is 'btc'"),
        ("alerts_v1", {"mint": SOLANA.lower()[:31]}, "mint must be an address of its chain"),
        ("alerts_v1", {"mint": EVM}, "mint must be an address of its chain"),
        ("alerts_v1", {"chain": "evm", "mint": EVM.upper()}, "mint must be an address"),
        ("alerts_v1", {"chain": "evm", "mint": EVM + "\n"}, "mint must be an address"),
        ("alerts_v1", {"caller_key": "al"}, "caller_key must be user:, channel: or name:"),
        ("alerts_v1", {"known_basis": "guess"}, "known_basis must be one of posted"),
        ("alerts_v1", {"mint_source": "guess"}, "mint_source must be one of text, link"),
        (
            "alerts_v1",
            {"known_ts_utc": NOON - timedelta(seconds=1)},
            "known_ts_utc must not be before alert_ts_utc",
        ),
        ("alerts_v1", {"card_price_usd": NAN}, "card_price_usd must be a finite number"),
        ("alerts_event_v1", {"event_kind": "delete"}, "event_kind must be one of call"),
        ("alerts_quarantine", {"error_code": ""}, "error_code must not be empty"),
        ("ohlcv_slice_v2", {"open": 0.0}, "open must be a finite number above 0; one is 0.0"),
        ("ohlcv_slice_v2", {"high": INFINITY}, "high must be a finite number above 0"),
        ("ohlcv_slice_v2", {"close": NAN}, "close must be a finite number above 0"),
        ("ohlcv_slice_v2", {"low": -1.0}, "low must be a finite number above 0"),
        ("ohlcv_slice_v2", {"volume": -1.0}, "volume must be a finite number, 0 or more"),
        ("ohlcv_slice_v2", {"volume": NAN}, "volume must be a finite number, 0 or more"),
        ("ohlcv_slice_v2", {"high": 2.2}, "high must not be below open or close; one is token"),
        ("ohlcv_slice_v2", {"low": 2.2}, "low must not be above open or close"),
        ("ohlcv_slice_v2", {"interval_s": 7}, "interval_s must be one of 1, 60, 300"),
        ("ohlcv_slice_v2", {"token_address": "O0Il" * 10}, "token_address must be an address"),
        ("candles_quarantine", {"row_number": -1}, "row_number must be 0 or more"),
        ("alert_forward_coverage", {"coverage_ratio": 1.1}, "coverage_ratio must be between"),
        ("alert_forward_coverage", {"grade": "A+"}, "grade must be one of"),
        ("alert_forward_coverage", {"reason": "luck"}, "reason must be one of ok, "),
        (
            "alert_forward_coverage",
            {"actual_candles": 11},
            "actual_candles must not be above expected_candles",
        ),
        ("coverage_gaps", {"kind": "middle"}, "kind must be one of head, inner, tail"),
        ("coverage_gaps", {"gap_end": NOON}, "gap_end must be after gap_start"),
        ("coverage_summary", {"poor": -1}, "poor must be 0 or more"),
        ("strategy", {"strategy_json": "[]"}, "strategy_json must be a JSON object"),
        ("experiment_definition", {"experiment_id": "exp-1"}, "experiment_id must be exp-"),
        ("experiment_trades", {"exit_reason": "mood"}, "exit_reason must be one of stop_loss"),
        ("experiment_trades", {"net_pnl": NAN}, "net_pnl must be finite"),
        ("experiment_trades", {"peak_multiple": 0.9}, "peak_multiple must be finite and 1"),
        (
            "experiment_trades",
            {"exit_ts": NOON - timedelta(seconds=1)},
            "exit_ts must not be before entry_ts",
        ),
        ("experiment_metrics", {"metric_value": INFINITY}, "metric_value must be finite"),
        ("experiment_metrics", {"scope": "galaxy"}, "scope must be one of all, caller, chain"),
        ("experiment_curves", {"equity": NAN}, "equity must be finite"),
        ("experiment_diagnostics", {"code": ""}, "code must not be empty"),
    ],
)
def test_a_broken_rule_is_named_with_an_example(
    name: str, changes: dict[str, object], says: str
) -> None:
    artifact_type = TypeRegistry().get(name)

    with pytest.raises(ValidationFailed) as refusal:
        check_values(table(artifact_type, **changes), artifact_type)

    assert str(refusal.value).startswith(f"{name}: {says}")
    assert "\n" not in str(refusal.value)


def test_a_users_own_type_has_no_rules() -> None:
    own = ArtifactType(
        name="own",
        schema_version=1,
        schema=pa.schema([("x", pa.float64())]),
        sort_keys=("x",),
        keys=("day={day}",),
    )

    check_values(pa.table({"x": [NAN]}), own)


def test_an_example_is_never_endless() -> None:
    artifact_type = TypeRegistry().get("telegram_messages")

    with pytest.raises(ValidationFailed) as refusal:
        check_values(table(artifact_type, sender_kind="x" * 10_000), artifact_type)

    assert len(str(refusal.value)) < 500

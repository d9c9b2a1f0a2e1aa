"""What the values of each seed type may be, as pandera schemas over Polars.

Column types and nullability are checked before, by `canonical_order`; here are rules about values
only. pandera is slow to import and a schema costs 20 ms a call, so it is imported when there is
something to check, and `check_values` gets all rows of one type that a batch brings at once. Types
that have no rules here, such as a user's own, pass. A null passes every rule.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import pyarrow as pa

from quantlab_assets.domain.artifacts.type import INTERVALS, ArtifactType
from quantlab_assets.domain.coverage.counts import COUNTS, COVERAGE_GRADES
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.experiments.strategy import EXIT_REASONS
from quantlab_assets.domain.tokens.token import CHAINS

if TYPE_CHECKING:
    from pandera.errors import SchemaError

Rules = Mapping[str, pl.Expr]
"""What must hold (in words that follow the column's name) and how to tell."""

SENDER_KINDS: Final = ("human", "bot", "feed", "channel", "service")
MINT_SOURCES: Final = ("text", "link", "bot_reply")
KNOWN_BASES: Final = ("posted", "edited", "bot_reply", "unproven_edit", "seen", "assumed")
EVENT_KINDS: Final = ("call", "bot_reply", "edit")
COVERAGE_REASONS: Final = (
    "ok",
    "ambiguous_network",
    "no_slice",
    "starts_late",
    "ends_early",
    "gaps",
    "dead",
    "beyond_window",
    "not_elapsed",
)
GAP_KINDS: Final = ("head", "inner", "tail")
METRIC_SCOPES: Final = ("all", "caller", "chain")

_EXAMPLE: Final = 300
_EVM: Final = "^0x[0-9a-f]{40}$"
_SOLANA: Final = "^[1-9A-HJ-NP-Za-km-z]{32,44}$"


def check_values(table: pa.Table, artifact_type: ArtifactType) -> None:
    """Raise `ValidationFailed` naming type, column, rule and an example if a value breaks one."""
    schema = _schema(artifact_type.name, artifact_type.schema_version)
    if schema is None or table.num_rows == 0:
        return
    from pandera.errors import SchemaError

    frame = pl.from_arrow(table)
    try:
        schema.validate(frame)
    except SchemaError as error:
        column, rule = error.schema.name or "", error.check.error
        raise ValidationFailed(
            f"{artifact_type.name}: {column}{' ' if column else ''}{rule}; one is {_example(error)}"
        ) from error


def _example(error: "SchemaError") -> str:
    """The first value, or row, that breaks the rule."""
    cases = error.failure_cases
    if not isinstance(cases, pl.DataFrame) or cases.height == 0:
        return str(cases)[:_EXAMPLE]
    row = {name: value for name, value in cases.row(0, named=True).items() if value is not None}
    if cases.width == 1:
        text = repr(next(iter(row.values()), None))
    else:
        text = ", ".join(f"{name}={_shown(value)}" for name, value in row.items())
    return text if len(text) <= _EXAMPLE else f"{text[: _EXAMPLE - 3]}..."


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)


@cache
def _schema(name: str, version: int) -> Any:
    rules = _RULES.get((name, version))
    if rules is None:
        return None
    import pandera.polars as pandera

    columns = {
        column: pandera.Column(checks=_checks(of_column), nullable=True)
        for column, of_column in rules.items()
        if column
    }
    return pandera.DataFrameSchema(columns, checks=_checks(rules.get("", {})))


def _checks(rules: Rules) -> list[Any]:
    import pandera.polars as pandera

    return [pandera.Check(_Judge(holds), error=rule) for rule, holds in rules.items()]


class _Judge:
    """A rule as pandera calls it: a column's rule speaks of `VALUE`, a row's of any column."""

    def __init__(self, holds: pl.Expr) -> None:
        self._holds = holds

    def __call__(self, data: Any) -> pl.LazyFrame:
        frame: pl.LazyFrame = data.lazyframe
        if data.key is not None and data.key != "*":
            frame = frame.select(pl.col(data.key).alias("value"))
        return frame.select(self._holds.fill_null(True).alias("holds"))


VALUE: Final = pl.col("value")

_FINITE: Final[Rules] = {"must be finite": VALUE.is_finite()}
_PRICE: Final[Rules] = {"must be a finite number above 0": VALUE.is_finite() & (VALUE > 0)}
_AMOUNT: Final[Rules] = {"must be a finite number, 0 or more": VALUE.is_finite() & (VALUE >= 0)}
_COUNT: Final[Rules] = {"must be 0 or more": VALUE >= 0}
_POSITIVE: Final[Rules] = {"must be above 0": VALUE > 0}
_RATIO: Final[Rules] = {"must be between 0 and 1": VALUE.is_between(0.0, 1.0)}
_TEXT: Final[Rules] = {"must not be empty": VALUE.str.len_bytes() > 0}
_CALLER_KEY: Final[Rules] = {
    "must be user:, channel: or name: and what follows": VALUE.str.contains(
        "^(user|channel|name):."
    )
}
_INTERVAL: Final[Rules] = {
    f"must be one of {', '.join(map(str, INTERVALS.values()))} s": VALUE.is_in(
        list(INTERVALS.values())
    )
}


def _one_of(*allowed: str) -> Rules:
    return {f"must be one of {', '.join(allowed)}": VALUE.is_in(list(allowed))}


def _address(column: str) -> Rules:
    address, chain = pl.col(column), pl.col("chain")
    return {
        f"{column} must be an address of its chain (0x and 40 lower-case hex digits, or 32 to 44"
        " base58 characters)": pl.when(chain == "evm")
        .then(address.str.contains(_EVM))
        .otherwise(address.str.contains(_SOLANA))
    }


def _not_before(later: str, earlier: str) -> Rules:
    return {f"{later} must not be before {earlier}": pl.col(later) >= pl.col(earlier)}


def _not_above(part: str, whole: str) -> Rules:
    return {f"{part} must not be above {whole}": pl.col(part) <= pl.col(whole)}


_MESSAGE_RULES: Final = {"sender_kind": _one_of(*SENDER_KINDS), "ingest_source": _TEXT}
_ALERT_RULES: Final = {
    "chain": _one_of(*CHAINS),
    "mint_source": _one_of(*MINT_SOURCES),
    "alert_id": _TEXT,
    "raw_address": _TEXT,
    "card_price_usd": _AMOUNT,
    "card_mcap_usd": _AMOUNT,
    "": {**_not_before("known_ts_utc", "alert_ts_utc"), **_address("mint")},
}
_EVENT_RULES: Final = {
    "chain": _one_of(*CHAINS),
    "event_kind": _one_of(*EVENT_KINDS),
    "mint_source": _one_of(*MINT_SOURCES),
    "alert_key": _TEXT,
    "alert_id": _TEXT,
    "": _address("mint"),
}
_RULES: Final[Mapping[tuple[str, int], Mapping[str, Rules]]] = {
    ("telegram_messages", 1): _MESSAGE_RULES,
    ("telegram_messages", 2): _MESSAGE_RULES,
    ("alerts_v1", 1): _ALERT_RULES,
    ("alerts_v1", 2): {
        **_ALERT_RULES,
        "known_basis": _one_of(*KNOWN_BASES),
        "caller_key": _CALLER_KEY,
    },
    ("alerts_event_v1", 1): _EVENT_RULES,
    ("alerts_event_v1", 2): {**_EVENT_RULES, "caller_key": _CALLER_KEY},
    ("alerts_quarantine", 1): {"error_code": _TEXT, "error_reason": _TEXT},
    ("ohlcv_slice_v2", 2): {
        "chain": _one_of(*CHAINS),
        "interval_s": _INTERVAL,
        "open": _PRICE,
        "high": _PRICE,
        "low": _PRICE,
        "close": _PRICE,
        "volume": _AMOUNT,
        "": {
            **_address("token_address"),
            "high must not be below open or close": (pl.col("high") >= pl.col("open"))
            & (pl.col("high") >= pl.col("close")),
            "low must not be above open or close": (pl.col("low") <= pl.col("open"))
            & (pl.col("low") <= pl.col("close")),
        },
    },
    ("candles_quarantine", 1): {"row_number": _COUNT, "error_code": _TEXT, "error_reason": _TEXT},
    ("alert_forward_coverage", 1): {
        "chain": _one_of(*CHAINS),
        "horizon_h": {"must not be 0": VALUE != 0},
        "interval_s": _INTERVAL,
        "expected_candles": _COUNT,
        "actual_candles": _COUNT,
        "traded_candles": _COUNT,
        "coverage_ratio": _RATIO,
        "first_candle_delay_s": _COUNT,
        "longest_gap_s": _COUNT,
        "grade": _one_of(*COVERAGE_GRADES),
        "reason": _one_of(*COVERAGE_REASONS),
        "": {
            **_not_above("actual_candles", "expected_candles"),
            **_not_above("traded_candles", "actual_candles"),
            **_address("mint"),
        },
    },
    ("coverage_gaps", 1): {
        "chain": _one_of(*CHAINS),
        "interval_s": _INTERVAL,
        "missing_candles": _POSITIVE,
        "kind": _one_of(*GAP_KINDS),
        "": {
            "gap_end must be after gap_start": pl.col("gap_end") > pl.col("gap_start"),
            **_address("mint"),
        },
    },
    ("coverage_summary", 1): {
        "chain": _one_of(*CHAINS),
        "horizon_h": {"must not be 0": VALUE != 0},
        **dict.fromkeys(COUNTS, _COUNT),
        "mean_ratio": _RATIO,
    },
    ("strategy", 1): {
        "name": _TEXT,
        "strategy_json": {"must be a JSON object": VALUE.str.contains(r"(?s)^\{.*\}$")},
    },
    ("experiment_definition", 1): {
        "experiment_id": {
            "must be exp- and 16 hex digits": VALUE.str.contains("^exp-[0-9a-f]{16}$")
        },
        "definition_json": {"must be a JSON object": VALUE.str.contains(r"(?s)^\{.*\}$")},
    },
    ("experiment_trades", 1): {
        "trade_id": _TEXT,
        "alert_id": _TEXT,
        "chain": _one_of(*CHAINS),
        "entry_price": _PRICE,
        "exit_price": _PRICE,
        "exit_reason": _one_of(*EXIT_REASONS),
        "exit_legs": _POSITIVE,
        "stake": _PRICE,
        "gross_pnl": _FINITE,
        "net_pnl": _FINITE,
        "net_return": _FINITE,
        "fees": _AMOUNT,
        "slippage_cost": _FINITE,
        "peak_multiple": {"must be finite and 1 or more": VALUE.is_finite() & (VALUE >= 1.0)},
        "trough_multiple": _AMOUNT,
        "duration_s": _COUNT,
        "candles_held": _POSITIVE,
        "ambiguous_candles": _COUNT,
        "": _not_before("exit_ts", "entry_ts"),
    },
    ("experiment_metrics", 1): {
        "scope": _one_of(*METRIC_SCOPES),
        "metric_name": _TEXT,
        "metric_value": _FINITE,
    },
    ("experiment_curves", 1): {
        "equity": _FINITE,
        "cumulative_net_pnl": _FINITE,
        "open_positions": _COUNT,
        "drawdown": _FINITE,
    },
    ("experiment_diagnostics", 1): {"alert_id": _TEXT, "level": _TEXT, "code": _TEXT},
}

"""A tiny lab for tests of experiments: a store, projections, a ledger, and calls with candles."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.adapters.duckdb import DuckdbProjections
from quantlab_assets.adapters.manifest.as_tables import ManifestRecords
from quantlab_assets.adapters.manifest.ledger import ExperimentLedger
from quantlab_assets.adapters.manifest.projection_requests import ManifestRequests
from quantlab_assets.domain.artifacts.records import Provenance, PublishRequest
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.seed_types import ALERTS, OHLCV_SLICE
from quantlab_assets.domain.experiments.records import ExperimentRecord
from quantlab_assets.domain.experiments.strategy import Exit, Strategy, TakeProfit
from quantlab_assets.domain.slices.key import SliceKey
from quantlab_assets.domain.tokens.token import Token
from quantlab_assets.handlers.experiments.create import create_experiment
from quantlab_assets.handlers.experiments.execute import ExecutedExperiment, execute_experiment
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.projection_builder import ProjectionBuilder
from quantlab_assets.simulation import engine_version
from quantlab_tests.in_memory.artifact_store import InMemoryArtifactStore
from quantlab_tests.in_memory.experiment_tracker import InMemoryTracker
from quantlab_tests.in_memory.projection_builder import InMemoryProjections

PROVENANCE = Provenance("test", "1")
T0 = datetime(2025, 11, 7, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RUNNER = "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump"
DUD = "55WZGGCwE66xnCxBcAxKSNT49wzeaHhT9jE2xWSXpump"
EVM = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"
DOUBLE_OR_NOTHING = Strategy(
    exit=Exit(stop_loss_pct=0.5, take_profits=(TakeProfit(gain_pct=1.0, fraction=1.0),))
)


@dataclass(frozen=True)
class Lab:
    store: Any
    projections: ProjectionBuilder
    tracker: Any


def memory_lab(types: TypeRegistry | None = None) -> Lab:
    types = types or TypeRegistry()
    store: ArtifactStore = InMemoryArtifactStore(types)
    return Lab(store, InMemoryProjections(store, types), InMemoryTracker(store))


def real_lab(root: Path, types: TypeRegistry | None = None) -> Lab:
    """The lab in files; opened again with other types, it is the same lab with another program."""
    types = types or TypeRegistry()
    store = ParquetStore.at(
        artifacts_root=root / "artifacts",
        manifest=root / "manifest" / "manifest.sqlite",
        staging=root / "staging",
        types=types,
        create=True,
    )
    return Lab(
        store,
        DuckdbProjections(
            root / "cache",
            store,
            store,
            types,
            records=ManifestRecords(store.database),
            requests=ManifestRequests(store.database),
        ),
        ExperimentLedger(store.database, store),
    )


@dataclass(frozen=True)
class Call:
    mint: str
    at: datetime
    caller: str = "bob"
    message: int = 1
    network: str | None = None
    known_after: timedelta = timedelta(0)

    @property
    def alert_id(self) -> str:
        return f"-100:{self.message}:{self.mint}"

    @property
    def chain(self) -> str:
        return "evm" if self.mint.startswith("0x") else "solana"


def alerts_table(calls: Sequence[Call]) -> pa.Table:
    rows = [
        {
            "alert_ts_utc": call.at,
            "known_ts_utc": call.at + call.known_after,
            "chain": call.chain,
            "token_chain": call.network,
            "mint": call.mint,
            "alert_chat_id": -100,
            "alert_message_id": call.message,
            "alert_id": call.alert_id,
            "caller_name": call.caller.title(),
            "caller_name_norm": call.caller,
            "caller_id": None,
            "caller_key": f"name:-100:{call.caller}",
            "known_basis": "edited" if call.known_after else "posted",
            "author": None,
            "mint_source": "text",
            "bot_name": None,
            "raw_address": call.mint,
            "card_price_usd": None,
            "card_mcap_usd": None,
            "card_asof_ts_utc": None,
            "card_leaks": None,
        }
        for call in calls
    ]
    return pa.Table.from_pylist(rows, schema=ALERTS.schema)


def publish_alerts(store: ArtifactStore, *calls: Call, day: str | None = None) -> str:
    """Publish the calls as the alerts of the first one's day and chain; the artifact id."""
    key = ALERTS.key(day=day or f"{calls[0].at:%Y-%m-%d}", chain=calls[0].chain)
    request = PublishRequest(ALERTS.name, key, alerts_table(calls), PROVENANCE)
    return store.publish_artifact(request).artifact_id


def publish_candles(store: ArtifactStore, mint: str, closes: Sequence[float], **rest: Any) -> str:
    """Publish the candles of `candle_request`; the artifact id."""
    return store.publish_artifact(candle_request(mint, closes, **rest)).artifact_id


def candle_request(
    mint: str,
    closes: Sequence[float],
    *,
    start: datetime = T0,
    network: str | None = None,
    window: int | None = None,
) -> PublishRequest:
    """One-minute candles that go straight from close to close.

    `window` is how many minutes the slice was asked for; as many as there are candles by default.
    """
    chain = "evm" if mint.startswith("0x") else "solana"
    opens = [closes[0], *closes[:-1]]
    columns = {
        "token_address": [mint] * len(closes),
        "chain": [chain] * len(closes),
        "token_chain": [network] * len(closes),
        "interval_s": [60] * len(closes),
        "ts": [start + i * MINUTE for i in range(len(closes))],
        "open": opens,
        "high": [max(pair) for pair in zip(opens, closes, strict=True)],
        "low": [min(pair) for pair in zip(opens, closes, strict=True)],
        "close": list(closes),
        "volume": [1.0] * len(closes),
    }
    token = Token(chain, mint, network)  # type: ignore[arg-type]
    return PublishRequest(
        OHLCV_SLICE.name,
        SliceKey(token, 60, start, start + (window or len(closes)) * MINUTE).format(),
        pa.table(columns, schema=OHLCV_SLICE.schema),
        PROVENANCE,
    )


def line(first: float, last: float, count: int = 60) -> list[float]:
    """Closes that go evenly from `first` to `last`."""
    step = (last - first) / (count - 1)
    return [first + step * i for i in range(count)]


def create(lab: Lab, **changes: Any) -> ExperimentRecord:
    asked: dict[str, Any] = {
        "name": "test",
        "strategy": DOUBLE_OR_NOTHING,
        "alerts": "all",
        "slices": "auto",
        "engine_version": engine_version(),
        **changes,
    }
    return create_experiment(lab.store, lab.tracker, **asked)[0]


def execute(lab: Lab, record: ExperimentRecord, **options: Any) -> ExecutedExperiment:
    return execute_experiment(
        lab.store,
        lab.projections,
        lab.tracker,
        record.experiment_id,
        provenance=PROVENANCE,
        **options,
    )


def one_win_one_loss(lab: Lab) -> tuple[str, str, str]:
    """A call that doubles, one that is cut in half: alerts and the two slices."""
    alerts = publish_alerts(lab.store, Call(RUNNER, T0), Call(DUD, T0, message=2))
    return (
        alerts,
        publish_candles(lab.store, RUNNER, line(1, 3)),
        publish_candles(lab.store, DUD, line(1, 0.1)),
    )

"""What an experiment froze, and which life it may lead."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Literal

from quantlab_assets.domain.artifacts.identity import canonical_json, input_set_id_of
from quantlab_assets.domain.errors import Conflict
from quantlab_assets.domain.experiments.strategy import Strategy

ExperimentStatus = Literal["pending", "running", "completed", "failed", "cancelled"]

TRANSITIONS: Final[Mapping[ExperimentStatus, frozenset[ExperimentStatus]]] = {
    "pending": frozenset({"running", "cancelled"}),
    "running": frozenset({"completed", "failed", "cancelled"}),
    "failed": frozenset({"running"}),
    "cancelled": frozenset({"running"}),
    "completed": frozenset(),
}
"""Which status may follow which. A failed or cancelled experiment can be resumed."""


def looks_like_id(text: str) -> bool:
    """Whether the text can only be an id, or the beginning of one, and no name."""
    return text.lower().startswith("exp-") or bool(re.fullmatch(r"[0-9a-fA-F]{8,16}", text))


def check_transition(experiment_id: str, old: ExperimentStatus, new: ExperimentStatus) -> None:
    """Raise `Conflict` unless `new` may follow `old`."""
    if new not in TRANSITIONS[old]:
        raise Conflict(f"experiment {experiment_id} is {old} and cannot become {new}")


@dataclass(frozen=True, slots=True)
class AlertFilters:
    """Which alerts of the frozen artifacts take part.

    `start` and `end` bound alert_ts_utc, both included; `first_call_only` keeps the earliest call
    of each token among the alerts that pass the other filters.
    """

    start: datetime | None = None
    end: datetime | None = None
    caller_name_norm: str | None = None
    chain: str | None = None
    first_call_only: bool = False

    def canonical(self) -> dict[str, Any]:
        """As JSON values, for hashing."""
        return {
            "start": self.start.isoformat() if self.start else None,
            "end": self.end.isoformat() if self.end else None,
            "caller_name_norm": self.caller_name_norm,
            "chain": self.chain,
            "first_call_only": self.first_call_only,
        }


@lru_cache(maxsize=8)
def _distinct(alerts: tuple[str, ...], slices: tuple[str, ...]) -> tuple[str, ...]:
    """Remembered, like `_set_id`: thousands of ids are asked for again with every look at an id."""
    return tuple(sorted({*alerts, *slices}))


@lru_cache(maxsize=8)
def _set_id(ids: tuple[str, ...]) -> str:
    return input_set_id_of(ids)


@dataclass(frozen=True, slots=True)
class ExperimentDefinition:
    """Everything that decides an experiment's result. `name` is only a label.

    `min_coverage` (fraction of expected candles) refuses alerts' slices under it; None refuses
    none.
    """

    name: str
    alert_artifact_ids: tuple[str, ...]
    slice_artifact_ids: tuple[str, ...]
    strategy: Strategy
    engine_version: str
    filters: AlertFilters = field(default_factory=AlertFilters)
    params: Mapping[str, Any] = field(default_factory=dict)
    min_coverage: float | None = None

    @property
    def input_ids(self) -> tuple[str, ...]:
        """All input artifacts, sorted and distinct."""
        return _distinct(tuple(self.alert_artifact_ids), tuple(self.slice_artifact_ids))

    def canonical(self) -> dict[str, Any]:
        """What the id is the hash of: inputs, strategy, filters, params, gate, engine."""
        return {
            "input_set": _set_id(self.input_ids),
            "strategy": self.strategy.model_dump(mode="json"),
            "filters": self.filters.canonical(),
            "params": dict(self.params),
            "min_coverage": self.min_coverage,
            "engine_version": self.engine_version,
        }

    @property
    def experiment_id(self) -> str:
        """The same experiment has the same id everywhere."""
        return f"exp-{hashlib.sha256(canonical_json(self.canonical())).hexdigest()[:16]}"

    @property
    def seed(self) -> int:
        """The strategy's seed, or a number derived from the id."""
        if self.strategy.seed is not None:
            return self.strategy.seed
        return int(self.experiment_id[4:12], 16)


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    """An experiment in the ledger. `outputs` maps the part (`trades`, ...) to its artifact id.

    `parent_id` is the experiment that this one was made from with newer inputs; `stale`: an input
    has been superseded since it was frozen. The frozen bytes are used all the same.
    """

    experiment_id: str
    definition: ExperimentDefinition
    status: ExperimentStatus
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    parent_id: str | None = None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class ExperimentEvent:
    """A change of status. `error` tells why a run ended early; `details` how a run began (where, by
    which code) or what it came to."""

    at: datetime
    old_status: ExperimentStatus | None
    new_status: ExperimentStatus
    error: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExperimentFilter:
    """Which experiments to list. Empty fields do not restrict.

    `stale` keeps those of which an input has been superseded (or, if False, of which none has).
    """

    status: ExperimentStatus | None = None
    name: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    parent_id: str | None = None
    stale: bool | None = None

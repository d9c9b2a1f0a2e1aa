"""`ExperimentTracker` in a dictionary."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from quantlab_assets.domain.errors import NotFound
from quantlab_assets.domain.experiments.records import (
    ExperimentDefinition,
    ExperimentEvent,
    ExperimentFilter,
    ExperimentRecord,
    ExperimentStatus,
    check_transition,
)
from quantlab_assets.ports.artifact_store import ArtifactStore


class InMemoryTracker:
    """Tests put ids into `alive`: experiments that a living run holds."""

    def __init__(self, store: ArtifactStore) -> None:
        self.alive: set[str] = set()
        self._store = store
        self._held: dict[str, ExperimentRecord] = {}
        self._events: dict[str, list[ExperimentEvent]] = {}
        self._ticks = 0

    def create(
        self, definition: ExperimentDefinition, *, parent_id: str | None = None
    ) -> tuple[ExperimentRecord, bool]:
        experiment_id = definition.experiment_id
        created = experiment_id not in self._held
        self._store.freeze_inputs(definition.input_ids)
        if created:
            if parent_id is not None:
                self.get(parent_id)
            frozen = replace(
                definition,
                alert_artifact_ids=tuple(sorted(set(definition.alert_artifact_ids))),
                slice_artifact_ids=tuple(sorted(set(definition.slice_artifact_ids))),
            )
            self._held[experiment_id] = ExperimentRecord(
                experiment_id, frozen, "pending", self._now(), parent_id=parent_id
            )
            self._events[experiment_id] = [ExperimentEvent(self._now(), None, "pending")]
        return self.get(experiment_id), created

    def get(self, experiment_id: str) -> ExperimentRecord:
        if experiment_id not in self._held:
            raise NotFound(f"no experiment {experiment_id}")
        return replace(self._held[experiment_id], stale=bool(self.superseded_inputs(experiment_id)))

    def list(
        self, where: ExperimentFilter | None = None, *, limit: int | None = None
    ) -> Sequence[ExperimentRecord]:
        wanted = where or ExperimentFilter()
        newest_first = sorted(self._held, key=lambda i: self._held[i].created_at, reverse=True)
        return [
            record
            for record in map(self.get, newest_first)
            if wanted.status in (None, record.status)
            and wanted.name in (None, record.definition.name)
            and wanted.parent_id in (None, record.parent_id)
            and wanted.stale in (None, record.stale)
            and (wanted.created_from is None or record.created_at >= wanted.created_from)
            and (wanted.created_to is None or record.created_at <= wanted.created_to)
        ][:limit]

    def events(self, experiment_id: str) -> Sequence[ExperimentEvent]:
        self.get(experiment_id)
        return tuple(self._events[experiment_id])

    def update_status(
        self,
        experiment_id: str,
        status: ExperimentStatus,
        *,
        error: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> ExperimentRecord:
        old = self.get(experiment_id)
        check_transition(experiment_id, old.status, status)
        record = replace(old, status=status, error=error)
        if status == "running":
            record = replace(record, started_at=self._now())
            details = {**(details or {}), "host": "here", "pid": 1}
        if status == "completed":
            record = replace(record, completed_at=self._now())
        self._held[experiment_id] = record
        self._events[experiment_id].append(
            ExperimentEvent(self._now(), old.status, status, error, dict(details or {}))
        )
        return record

    def store_results(
        self,
        experiment_id: str,
        outputs: Mapping[str, str],
        *,
        details: Mapping[str, Any] | None = None,
    ) -> ExperimentRecord:
        self._store.get_artifacts(list(outputs.values()))
        record = self.update_status(experiment_id, "completed", details=details)
        self._held[experiment_id] = replace(record, outputs=dict(outputs))
        return self.get(experiment_id)

    @contextmanager
    def hold_run(self, experiment_id: str, *, take_over: bool = False) -> Iterator[bool]:
        self.get(experiment_id)
        if experiment_id in self.alive:
            yield False
            return
        self.alive.add(experiment_id)
        try:
            yield True
        finally:
            self.alive.discard(experiment_id)

    def superseded_inputs(self, experiment_id: str) -> Mapping[str, str | None]:
        if experiment_id not in self._held:
            raise NotFound(f"no experiment {experiment_id}")
        # Past the port: tests break its methods, and the ledger does not need them for this.
        state = self._store._state  # type: ignore[attr-defined]
        held = state.artifacts
        inputs = [held[one] for one in self._held[experiment_id].definition.input_ids]
        replaced = {old: new for new, old, _ in state.supersedes}
        ends: dict[str, str | None] = {}
        for old in inputs:
            if old.status != "superseded":
                continue
            at = replaced.get(old.artifact_id)
            while at is not None and held[at].status == "superseded":
                at = replaced.get(at)
            under_key = self._store.find_by_logical_key(old.artifact_type, old.logical_key)
            active = [one.artifact_id for one in under_key if one.status == "active"]
            ends[old.artifact_id] = at or (active[0] if active else None)
        return ends

    def find_by_input_artifacts(
        self, artifact_ids: Sequence[str], *, match: Literal["any", "all"] = "any"
    ) -> Sequence[ExperimentRecord]:
        wanted = set(artifact_ids)

        def matches(record: ExperimentRecord) -> bool:
            shared = wanted & set(record.definition.input_ids)
            return bool(shared) and (match == "any" or shared == wanted)

        return [record for record in self.list() if matches(record)]

    def _now(self) -> datetime:
        self._ticks += 1
        return datetime(2025, 11, 7, tzinfo=UTC) + timedelta(seconds=self._ticks)

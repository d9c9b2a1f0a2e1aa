"""`ExperimentTracker` in a dictionary."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from quantlab_assets.domain.errors import NotFound
from quantlab_assets.domain.experiments import (
    ExperimentDefinition,
    ExperimentFilter,
    ExperimentRecord,
    ExperimentStatus,
    check_transition,
)
from quantlab_assets.ports.artifact_store import ArtifactStore


class InMemoryTracker:
    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._held: dict[str, ExperimentRecord] = {}
        self._ticks = 0

    def create(self, definition: ExperimentDefinition) -> tuple[ExperimentRecord, bool]:
        experiment_id = definition.experiment_id
        created = experiment_id not in self._held
        self._store.freeze_inputs(definition.input_ids)
        if created:
            frozen = replace(
                definition,
                alert_artifact_ids=tuple(sorted(set(definition.alert_artifact_ids))),
                slice_artifact_ids=tuple(sorted(set(definition.slice_artifact_ids))),
            )
            self._held[experiment_id] = ExperimentRecord(
                experiment_id, frozen, "pending", self._now()
            )
        return self._held[experiment_id], created

    def get(self, experiment_id: str) -> ExperimentRecord:
        if experiment_id not in self._held:
            raise NotFound(f"no experiment {experiment_id}")
        return self._held[experiment_id]

    def list(self, where: ExperimentFilter | None = None) -> Sequence[ExperimentRecord]:
        wanted = where or ExperimentFilter()
        return [
            record
            for record in sorted(self._held.values(), key=lambda r: r.created_at, reverse=True)
            if wanted.status in (None, record.status)
            and wanted.name in (None, record.definition.name)
            and (wanted.created_from is None or record.created_at >= wanted.created_from)
            and (wanted.created_to is None or record.created_at <= wanted.created_to)
        ]

    def update_status(
        self, experiment_id: str, status: ExperimentStatus, *, error: str | None = None
    ) -> ExperimentRecord:
        record = self.get(experiment_id)
        check_transition(experiment_id, record.status, status)
        record = replace(record, status=status, error=error)
        if status == "running":
            record = replace(record, started_at=self._now())
        if status == "completed":
            record = replace(record, completed_at=self._now())
        self._held[experiment_id] = record
        return record

    def store_results(self, experiment_id: str, outputs: Mapping[str, str]) -> ExperimentRecord:
        self._store.get_artifacts(list(outputs.values()))
        record = self.update_status(experiment_id, "completed")
        self._held[experiment_id] = replace(record, outputs=dict(outputs))
        return self._held[experiment_id]

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

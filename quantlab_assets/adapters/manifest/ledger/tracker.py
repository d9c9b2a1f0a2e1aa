"""The ledger of experiments, in the manifest database beside the artifacts it speaks of.

A row holds what decides the result, except the ids of its inputs: those are input sets, stored once
however many experiments share them. Every change of status is checked and written in one
transaction with an event, so a status never moves without a trace and two processes cannot both
start one run. Nothing here runs an experiment.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, select

from quantlab_assets.adapters.code_provenance import code_state, keep_diff, this_process
from quantlab_assets.adapters.file_lock import exclusive
from quantlab_assets.adapters.manifest.engine import MOST_ROWS, ManifestDatabase, in_lists, utc_now
from quantlab_assets.adapters.manifest.ledger.documents import (
    from_document,
    keep_patches,
    to_document,
)
from quantlab_assets.adapters.manifest.ledger.inputs import sets_that_hold, superseded_members
from quantlab_assets.adapters.manifest.ledger.rows import (
    definition_json,
    experiment_row,
    filtered,
    insert_event,
    newest_first,
    sets_with_superseded,
    to_event,
    to_record,
)
from quantlab_assets.adapters.manifest.rows import existing_input_sets, input_set_artifacts
from quantlab_assets.adapters.manifest.tables import (
    experiment_events,
    experiments,
    input_set_members,
)
from quantlab_assets.domain.artifacts.identity import canonical_json, input_set_id_of
from quantlab_assets.domain.errors import Conflict, NotFound, StoreUnavailable, ValidationFailed
from quantlab_assets.domain.experiments.records import (
    ExperimentDefinition,
    ExperimentEvent,
    ExperimentFilter,
    ExperimentRecord,
    ExperimentStatus,
    check_transition,
)
from quantlab_assets.domain.time_us import to_us
from quantlab_assets.ports.artifact_store import ArtifactStore

EXPERIMENT_ID: Final = re.compile(r"exp-[0-9a-f]{16}")
PREFIX_DIGITS: Final = 8
"""Fewest digits of an id that may stand for it."""

SETS_KEPT: Final = 64
"""How many sets of inputs a ledger remembers; of thousands of ids each."""

_WAIT_FOR_LOCK_S: Final = 1.0
"""Who only looks whether a run is alive holds its lock for less."""


class ExperimentLedger:
    """`ExperimentTracker` over the manifest database. `clock` tells when things happened.

    Beside the manifest, `running/` has a lock file for each run, which the system unlocks when the
    run's process dies, and `code/` the uncommitted changes that runs were made with.
    """

    def __init__(
        self,
        database: ManifestDatabase,
        store: ArtifactStore,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._sets: dict[str, tuple[str, ...]] = {}

    def create(
        self, definition: ExperimentDefinition, *, parent_id: str | None = None
    ) -> tuple[ExperimentRecord, bool]:
        """Record an experiment; True if it is new, False if the same one was there already.

        Raises `NotFound` naming inputs, or the parent, that do not exist.
        """
        experiment_id = definition.experiment_id
        # Frozen first: a set nobody refers to does no harm, an experiment without its set would.
        alerts, slices, inputs = self._freeze(
            definition.alert_artifact_ids, definition.slice_artifact_ids, definition.input_ids
        )
        values = {
            "experiment_id": experiment_id,
            "name": definition.name,
            "status": "pending",
            "definition_json": definition_json(definition),
            "alert_set_id": alerts,
            "slice_set_id": slices,
            "input_set_id": inputs,
            "engine_version": definition.engine_version,
            "parent_id": parent_id,
            "created_at": to_us(self._clock()),
        }
        with self._database.writing() as connection:
            known = select(experiments.c.experiment_id).where(
                experiments.c.experiment_id == experiment_id
            )
            created = connection.execute(known).first() is None
            if created:
                if parent_id is not None:
                    experiment_row(connection, parent_id)
                connection.execute(experiments.insert().values(values))
                self._log(connection, experiment_id, None, "pending")
        return self.get(experiment_id), created

    def get(self, experiment_id: str) -> ExperimentRecord:
        """The experiment. Raises `NotFound`."""
        with self._database.reading() as connection:
            return self._records(connection, [experiment_row(connection, experiment_id)])[0]

    def resolve_id(self, prefix: str) -> str:
        """The experiment id that begins so: 8 digits or more, with or without `exp-`.

        Raises `NotFound`, `Conflict` if several begin so, `ValidationFailed` if it is no prefix.
        """
        digits = prefix.lower().removeprefix("exp-")
        if not re.fullmatch(r"[0-9a-f]{8,16}", digits):
            raise ValidationFailed(
                f"{prefix[:64]!r} is no experiment id: give exp- and {PREFIX_DIGITS} to 16 hex"
                " digits of it"
            )
        found_at = experiments.c.experiment_id
        with self._database.reading() as connection:
            ids = list(
                connection.scalars(
                    select(found_at)
                    .where(found_at >= f"exp-{digits}", found_at < f"exp-{digits}g")
                    .order_by(found_at)
                    .limit(6)
                )
            )
        if not ids:
            raise NotFound(f"no experiment {prefix[:64]}; see: quantlab experiments list")
        if len(ids) > 1:
            raise Conflict(f"{prefix[:64]} is ambiguous: {', '.join(ids)}")
        return str(ids[0])

    def list(
        self, where: ExperimentFilter | None = None, *, limit: int | None = None
    ) -> Sequence[ExperimentRecord]:
        """Experiments that match, newest first; all of them unless `limit` is given."""
        if limit is not None and limit < 1:
            raise ValidationFailed(f"limit must be 1 or more, not {limit}")
        most = None if limit is None else min(limit, MOST_ROWS)
        query = filtered(newest_first(), where or ExperimentFilter()).limit(most)
        with self._database.reading() as connection:
            return self._records(connection, connection.execute(query).all())

    def events(self, experiment_id: str) -> Sequence[ExperimentEvent]:
        """Every change of its status, oldest first. Raises `NotFound`."""
        query = (
            select(experiment_events)
            .where(experiment_events.c.experiment_id == experiment_id)
            .order_by(experiment_events.c.event_id)
        )
        with self._database.reading() as connection:
            experiment_row(connection, experiment_id)
            return tuple(to_event(row) for row in connection.execute(query))

    def update_status(
        self,
        experiment_id: str,
        status: ExperimentStatus,
        *,
        error: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> ExperimentRecord:
        """Move to another status. Raises `NotFound`, and `Conflict` if it may not follow."""
        if status == "running":
            details = {**(details or {}), **this_process()}
            try:
                keep_diff(self._code, code_state())
            except OSError as fault:
                raise StoreUnavailable(
                    f"cannot keep the code's changes beside {self._database.path}: {fault.strerror}"
                ) from fault
        self._move(experiment_id, status, error=error, details=details)
        return self.get(experiment_id)

    def store_results(
        self,
        experiment_id: str,
        outputs: Mapping[str, str],
        *,
        details: Mapping[str, Any] | None = None,
    ) -> ExperimentRecord:
        """Record the output artifacts by part and complete the running experiment.

        Raises `NotFound` (the experiment, or an output), `Conflict`.
        """
        self._store.get_artifacts(sorted(set(outputs.values())))
        self._move(experiment_id, "completed", outputs=outputs, details=details)
        return self.get(experiment_id)

    @contextmanager
    def hold_run(self, experiment_id: str, *, take_over: bool = False) -> Iterator[bool]:
        """Hold the right to run the experiment while inside; False if a living run holds it."""
        with self._database.reading() as connection:
            row = experiment_row(connection, experiment_id)
        if not EXPERIMENT_ID.fullmatch(experiment_id):
            raise ValidationFailed(f"{experiment_id[:64]!r} is no experiment id")
        if row.status == "running" and not take_over and self._runs_elsewhere(experiment_id):
            yield False
            return
        folder = self._database.path.parent / "running"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as fault:
            raise StoreUnavailable(f"cannot create {folder}: {fault.strerror}") from fault
        deadline = time.monotonic() + _WAIT_FOR_LOCK_S
        while True:
            with exclusive(folder / f"{experiment_id}.lock", wait=False) as ours:
                if ours or time.monotonic() >= deadline:
                    yield ours
                    return
            time.sleep(0.05)

    def superseded_inputs(self, experiment_id: str) -> Mapping[str, str | None]:
        """The frozen inputs that have been superseded, each with what took its place."""
        with self._database.reading() as connection:
            row = experiment_row(connection, experiment_id)
            return superseded_members(connection, row.input_set_id)

    def find_by_input_artifacts(
        self, artifact_ids: Sequence[str], *, match: Literal["any", "all"] = "any"
    ) -> Sequence[ExperimentRecord]:
        """Experiments that froze any (or all) of the artifacts, newest first."""
        with self._database.reading() as connection:
            matching = sets_that_hold(connection, artifact_ids, match)
            rows = [
                row
                for sets in in_lists(matching)
                for row in connection.execute(
                    newest_first().where(experiments.c.input_set_id.in_(sets))
                ).all()
            ]
            rows.sort(key=lambda row: (-row.created_at, row.experiment_id))
            return self._records(connection, rows)

    def to_document(self, experiment_id: str) -> dict[str, Any]:
        """All that the ledger has of an experiment, as JSON for another lake (see `adopt`)."""
        with self._database.reading() as connection:
            row = experiment_row(connection, experiment_id)
            alerts = input_set_artifacts(connection, row.alert_set_id)
            slices = input_set_artifacts(connection, row.slice_set_id)
        return to_document(row, alerts, slices, self.events(experiment_id), self._code)

    def adopt(self, document: Mapping[str, Any]) -> bool:
        """Take in an experiment of another lake, whose artifacts are here already; False if the
        same experiment is on record here.

        One that was not completed there is pending here. Raises `ValidationFailed` for what is no
        such document, `IntegrityError` if its id does not fit, `NotFound` for artifacts not here.
        """
        carried = from_document(document)
        definition = carried.definition
        self._store.get_artifacts(sorted(set(carried.outputs.values())))
        alerts, slices, inputs = self._freeze(
            definition.alert_artifact_ids, definition.slice_artifact_ids, definition.input_ids
        )
        keep_patches(carried.patches, self._code)
        with self._database.writing() as connection:
            this, parent = experiments.c.experiment_id, str(carried.values["parent_id"])
            known = connection.scalars(
                select(this).where(this.in_([definition.experiment_id, parent]))
            ).all()
            if definition.experiment_id in known:
                return False
            outputs = canonical_json(dict(carried.outputs)).decode()
            values = {
                **carried.values,
                "name": definition.name,
                "status": "completed" if carried.completed else "pending",
                "parent_id": parent if parent in known else None,
                "error": None,
                "definition_json": definition_json(definition),
                "alert_set_id": alerts,
                "slice_set_id": slices,
                "input_set_id": inputs,
                "outputs_json": outputs if carried.completed else None,
            }
            connection.execute(experiments.insert().values(values))
            if not carried.completed:
                self._log(connection, definition.experiment_id, None, "pending")
            elif carried.events:
                connection.execute(
                    experiment_events.insert(),
                    [{"experiment_id": definition.experiment_id, **row} for row in carried.events],
                )
        return True

    @property
    def _code(self) -> Path:
        """Where the uncommitted changes are kept that runs were made with."""
        return self._database.path.parent / "code"

    def _freeze(self, *groups: Sequence[str]) -> tuple[str, ...]:
        """The names of the sets; those that are there already were checked when they were made."""
        names = [input_set_id_of(group) for group in groups]
        with self._database.reading() as connection:
            there = existing_input_sets(connection, names)
        return tuple(
            name if name in there else self._store.freeze_inputs(group)
            for name, group in zip(names, groups, strict=True)
        )

    def _records(
        self, connection: Connection, rows: Sequence[Row[Any]]
    ) -> tuple[ExperimentRecord, ...]:
        wanted = {set_id for row in rows for set_id in (row.alert_set_id, row.slice_set_id)}
        # A set never changes, so what was read once is true for ever; it may only get too much.
        if len(self._sets) > SETS_KEPT:
            self._sets = {}
        sets = self._sets
        members = {
            set_id: sets.get(set_id) or input_set_artifacts(connection, set_id) for set_id in wanted
        }
        self._sets = {**sets, **members}
        stale: set[str] = set()
        for some in in_lists(row.input_set_id for row in rows):
            stale.update(
                connection.scalars(
                    sets_with_superseded().where(input_set_members.c.input_set_id.in_(some))
                )
            )
        return tuple(
            to_record(
                row,
                alerts=members[row.alert_set_id],
                slices=members[row.slice_set_id],
                stale=row.input_set_id in stale,
            )
            for row in rows
        )

    def _runs_elsewhere(self, experiment_id: str) -> bool:
        runs = [event for event in self.events(experiment_id) if event.new_status == "running"]
        return bool(runs) and runs[-1].details.get("host") != this_process()["host"]

    def _move(
        self,
        experiment_id: str,
        status: ExperimentStatus,
        *,
        error: str | None = None,
        outputs: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        now = to_us(self._clock())
        changes: dict[str, Any] = {"status": status, "error": error}
        if status == "running":
            changes["started_at"] = now
        if status == "completed":
            changes["completed_at"] = now
        if outputs is not None:
            changes["outputs_json"] = canonical_json(dict(outputs)).decode()
        with self._database.writing() as connection:
            old: ExperimentStatus = experiment_row(connection, experiment_id).status
            check_transition(experiment_id, old, status)
            connection.execute(
                experiments.update()
                .where(experiments.c.experiment_id == experiment_id)
                .values(changes)
            )
            self._log(connection, experiment_id, old, status, error, details)

    def _log(
        self,
        connection: Connection,
        experiment_id: str,
        old: ExperimentStatus | None,
        new: ExperimentStatus,
        error: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        insert_event(connection, experiment_id, self._clock(), old, new, error, details)

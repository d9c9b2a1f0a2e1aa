"""The ledger of experiments, in the manifest database beside the artifacts it speaks of.

A row holds what decides the result, except the ids of its inputs: those are input sets, stored
once however many experiments share them. Every change of status is checked and written in one
transaction with an event, so a status never moves without a trace and two processes cannot both
start one run.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, Select, func, select

from quantlab_assets.adapters.code_provenance import (
    CodeState,
    code_state,
    keep_diff,
    this_process,
)
from quantlab_assets.adapters.file_lock import exclusive
from quantlab_assets.adapters.manifest.engine import (
    MOST_ROWS,
    ManifestDatabase,
    in_lists,
)
from quantlab_assets.adapters.manifest.tables import (
    artifacts,
    experiment_events,
    experiments,
    input_set_members,
    input_sets,
    supersedes,
)
from quantlab_assets.domain.artifacts.identity import canonical_json, input_set_id_of
from quantlab_assets.domain.artifacts.records import SHA256
from quantlab_assets.domain.errors import (
    Conflict,
    IntegrityError,
    NotFound,
    StoreUnavailable,
    ValidationFailed,
)
from quantlab_assets.domain.experiments.records import (
    AlertFilters,
    ExperimentDefinition,
    ExperimentEvent,
    ExperimentFilter,
    ExperimentRecord,
    ExperimentStatus,
    check_transition,
)
from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_assets.domain.time_us import from_us, to_us
from quantlab_assets.ports.artifact_store import ArtifactStore

EXPERIMENT_ID: Final = re.compile(r"exp-[0-9a-f]{16}")
PREFIX_DIGITS: Final = 8
"""Fewest digits of an id that may stand for it."""

DOCUMENT_FORMAT: Final = 1
_CARRIED: Final = (
    "experiment_id",
    "status",
    "engine_version",
    "parent_id",
    "created_at",
    "started_at",
    "completed_at",
)

SETS_KEPT: Final = 64
"""How many sets of inputs a ledger remembers; of thousands of ids each."""

_WAIT_FOR_LOCK_S: Final = 1.0
"""Who only looks whether a run is alive holds its lock for less."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


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
        clock: Callable[[], datetime] = _utc_now,
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
            "definition_json": _definition_json(definition),
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
                    _row(connection, parent_id)
                connection.execute(experiments.insert().values(values))
                self._log(connection, experiment_id, None, "pending")
        return self.get(experiment_id), created

    def get(self, experiment_id: str) -> ExperimentRecord:
        """The experiment. Raises `NotFound`."""
        with self._database.reading() as connection:
            return self._records(connection, [_row(connection, experiment_id)])[0]

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
            found = list(
                connection.scalars(
                    select(found_at)
                    .where(found_at >= f"exp-{digits}", found_at < f"exp-{digits}g")
                    .order_by(found_at)
                    .limit(6)
                )
            )
        if not found:
            raise NotFound(f"no experiment {prefix[:64]}; see: quantlab experiments list")
        if len(found) > 1:
            raise Conflict(f"{prefix[:64]} is ambiguous: {', '.join(found)}")
        return str(found[0])

    def list(
        self, where: ExperimentFilter | None = None, *, limit: int | None = None
    ) -> Sequence[ExperimentRecord]:
        """Experiments that match, newest first; all of them unless `limit` is given."""
        if limit is not None and limit < 1:
            raise ValidationFailed(f"limit must be 1 or more, not {limit}")
        most = None if limit is None else min(limit, MOST_ROWS)
        query = _filtered(_newest_first(), where or ExperimentFilter()).limit(most)
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
            _row(connection, experiment_id)
            return tuple(_event(row) for row in connection.execute(query))

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
                keep_diff(self._database.path.parent / "code", code_state())
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
            row = _row(connection, experiment_id)
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
            row = _row(connection, experiment_id)
            of_this = select(input_set_members.c.artifact_id).where(
                input_set_members.c.input_set_id == row.input_set_id,
                input_set_members.c.artifact_id == artifacts.c.artifact_id,
            )
            gone = connection.execute(
                select(artifacts.c.artifact_id, artifacts.c.artifact_type, artifacts.c.logical_key)
                .where(artifacts.c.status == "superseded", of_this.exists())
                .order_by(artifacts.c.artifact_id)
            ).all()
            followed = _followed(connection, [one.artifact_id for one in gone])
            # Put back under its key after it had left its partition: no row tells of that.
            lost = [one for one in gone if followed[one.artifact_id] is None]
            again = _active_under(connection, lost)
        return {**followed, **again}

    def find_by_input_artifacts(
        self, artifact_ids: Sequence[str], *, match: Literal["any", "all"] = "any"
    ) -> Sequence[ExperimentRecord]:
        """Experiments that froze any (or all) of the artifacts, newest first."""
        wanted = set(artifact_ids)
        member = input_set_members.c
        with self._database.reading() as connection:
            held: dict[str, int] = {}
            for ids in in_lists(sorted(wanted)):
                counts = (
                    select(member.input_set_id, func.count())
                    .where(member.artifact_id.in_(ids))
                    .where(member.input_set_id.in_(select(experiments.c.input_set_id)))
                    .group_by(member.input_set_id)
                )
                for set_id, count in connection.execute(counts).all():
                    held[set_id] = held.get(set_id, 0) + count
            matching = {s for s, count in held.items() if match == "any" or count == len(wanted)}
            rows = [
                row
                for sets in in_lists(sorted(matching))
                for row in connection.execute(
                    _newest_first().where(experiments.c.input_set_id.in_(sets))
                ).all()
            ]
            rows.sort(key=lambda row: (-row.created_at, row.experiment_id))
            return self._records(connection, rows)

    def to_document(self, experiment_id: str) -> dict[str, Any]:
        """All that the ledger has of an experiment, as JSON for another lake (see `adopt`)."""
        with self._database.reading() as connection:
            row = _row(connection, experiment_id)
            held = {
                "format": DOCUMENT_FORMAT,
                "name": row.name,
                "definition": json.loads(row.definition_json),
                "alerts": list(_members(connection, row.alert_set_id)),
                "slices": list(_members(connection, row.slice_set_id)),
                "outputs": json.loads(row.outputs_json or "{}"),
                **{name: getattr(row, name) for name in _CARRIED},
            }
        held["events"] = [
            {
                "at": to_us(event.at),
                "old_status": event.old_status,
                "new_status": event.new_status,
                "error": event.error,
                "details": dict(event.details),
            }
            for event in self.events(experiment_id)
        ]
        hashes = {event["details"].get("git_diff_hash") for event in held["events"]}
        held["patches"] = {
            one: text for one in sorted(filter(None, hashes)) if (text := self._patch(one))
        }
        return held

    def adopt(self, document: Mapping[str, Any]) -> bool:
        """Take in an experiment of another lake, whose artifacts are here already; False if the
        same experiment is on record here.

        One that was not completed there is pending here. Raises `ValidationFailed` for what is no
        such document, `IntegrityError` if its id does not fit, `NotFound` for artifacts not here.
        """
        try:
            if document["format"] != DOCUMENT_FORMAT:
                raise ValidationFailed(
                    f"an experiment in format {document['format']!r}: upgrade quantlab to read it"
                )
            definition = _definition(
                str(document["name"]),
                document["definition"],
                str(document["engine_version"]),
                alerts=tuple(sorted(map(str, document["alerts"]))),
                slices=tuple(sorted(map(str, document["slices"]))),
            )
            events = [_carried_event(event) for event in document["events"]]
            outputs = {str(k): str(v) for k, v in document["outputs"].items()}
            values = {name: document[name] for name in _CARRIED}
            times = [values[name] for name in ("created_at", "started_at", "completed_at")]
            patches = dict(document["patches"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValidationFailed(f"this is no experiment of a lake: {error!r}") from None
        if definition.experiment_id != values["experiment_id"]:
            raise IntegrityError(
                f"the definition belongs to {definition.experiment_id}, not to"
                f" {str(values['experiment_id'])[:40]}: the document was altered"
            )
        if not all(one is None or isinstance(one, int) for one in times):
            raise ValidationFailed("the times of an experiment are whole microseconds")
        completed = values["status"] == "completed"
        self._store.get_artifacts(sorted(set(outputs.values())))
        alerts, slices, inputs = self._freeze(
            definition.alert_artifact_ids, definition.slice_artifact_ids, definition.input_ids
        )
        self._keep_patches(patches)
        with self._database.writing() as connection:
            this = experiments.c.experiment_id
            known = connection.scalars(
                select(this).where(this.in_([definition.experiment_id, str(values["parent_id"])]))
            ).all()
            if definition.experiment_id in known:
                return False
            connection.execute(
                experiments.insert().values(
                    **values
                    | {
                        "name": definition.name,
                        "status": "completed" if completed else "pending",
                        "parent_id": values["parent_id"] if values["parent_id"] in known else None,
                        "error": None,
                        "definition_json": _definition_json(definition),
                        "alert_set_id": alerts,
                        "slice_set_id": slices,
                        "input_set_id": inputs,
                        "outputs_json": canonical_json(outputs).decode() if completed else None,
                    }
                )
            )
            if completed:
                connection.execute(
                    experiment_events.insert(),
                    [{"experiment_id": definition.experiment_id, **event} for event in events],
                )
            else:
                self._log(connection, definition.experiment_id, None, "pending")
        return True

    def _patch(self, diff_hash: str) -> str | None:
        """The uncommitted changes of that hash, if they are kept here and are text."""
        if not SHA256.fullmatch(diff_hash):
            return None
        path = self._database.path.parent / "code" / f"{diff_hash.removeprefix('sha256:')}.patch"
        try:
            return path.read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            return None

    def _keep_patches(self, patches: Mapping[Any, Any]) -> None:
        for diff_hash, text in patches.items():
            content = str(text).encode()
            if f"sha256:{hashlib.sha256(content).hexdigest()}" != diff_hash:
                raise IntegrityError(f"the code changes {str(diff_hash)[:80]} were altered")
            keep_diff(
                self._database.path.parent / "code", CodeState(None, True, diff_hash, content)
            )

    def _freeze(self, *groups: Sequence[str]) -> tuple[str, ...]:
        """The names of the sets; those that are there already were checked when they were made."""
        names = [input_set_id_of(group) for group in groups]
        known = select(input_sets.c.input_set_id).where(input_sets.c.input_set_id.in_(names))
        with self._database.reading() as connection:
            there = set(connection.scalars(known))
        return tuple(
            name if name in there else self._store.freeze_inputs(group)
            for name, group in zip(names, groups, strict=True)
        )

    def _records(
        self, connection: Connection, rows: Sequence[Row[Any]]
    ) -> tuple[ExperimentRecord, ...]:
        wanted = {one for row in rows for one in (row.alert_set_id, row.slice_set_id)}
        # A set never changes, so what was read once is true for ever; it may only get too much.
        if len(self._sets) > SETS_KEPT:
            self._sets = {}
        sets = self._sets
        members = {one: sets.get(one) or _members(connection, one) for one in wanted}
        self._sets = {**sets, **members}
        stale: set[str] = set()
        for some in in_lists(row.input_set_id for row in rows):
            stale.update(
                connection.scalars(
                    _sets_with_superseded().where(input_set_members.c.input_set_id.in_(some))
                )
            )
        return tuple(
            _record(
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
            old: ExperimentStatus = _row(connection, experiment_id).status
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
        kept = canonical_json(dict(details)).decode() if details else None
        connection.execute(
            experiment_events.insert().values(
                experiment_id=experiment_id,
                at=to_us(self._clock()),
                old_status=old,
                new_status=new,
                detail=error if error is not None else kept,
            )
        )


def _followed(connection: Connection, ids: Sequence[str]) -> dict[str, str | None]:
    """What stands at the end of the chain of replacements of each superseded artifact."""
    ends: dict[str, str | None] = dict.fromkeys(ids)
    at = {one: one for one in ids}
    seen: set[str] = set()
    while at:
        after = _replaced_by(connection, set(at.values()))
        seen |= set(at.values())
        at = {
            one: new for one, place in at.items() if (new := after.get(place)) and new not in seen
        }
        active: set[str] = set()
        for some in in_lists(at.values()):
            active.update(
                connection.scalars(
                    select(artifacts.c.artifact_id).where(
                        artifacts.c.artifact_id.in_(some), artifacts.c.status == "active"
                    )
                )
            )
        ends |= {one: place for one, place in at.items() if place in active}
        at = {one: place for one, place in at.items() if place not in active}
    return ends


def _replaced_by(connection: Connection, ids: set[str]) -> dict[str, str | None]:
    """The newest replacement of each; None where it was only no longer produced."""
    found: dict[str, str | None] = {}
    for some in in_lists(sorted(ids)):
        newest = (
            select(func.max(supersedes.c.supersede_id))
            .where(supersedes.c.old_id.in_(some))
            .group_by(supersedes.c.old_id)
        )
        for row in connection.execute(
            select(supersedes.c.old_id, supersedes.c.new_id).where(
                supersedes.c.supersede_id.in_(newest)
            )
        ):
            found[row.old_id] = row.new_id
    return found


def _active_under(
    connection: Connection, gone: Sequence[Row[Any, Any, Any]]
) -> dict[str, str | None]:
    """For rows of artifacts: what is active under the same key by now, where something is."""
    active: dict[tuple[str, str], str] = {}
    for some in in_lists(one.logical_key for one in gone):
        for row in connection.execute(
            select(artifacts.c.artifact_type, artifacts.c.logical_key, artifacts.c.artifact_id)
            .where(artifacts.c.artifact_type.in_({one.artifact_type for one in gone}))
            .where(artifacts.c.logical_key.in_(some))
            .where(artifacts.c.status == "active")
            .order_by(artifacts.c.sequence)
        ):
            active[row.artifact_type, row.logical_key] = row.artifact_id
    return {one.artifact_id: active.get((one.artifact_type, one.logical_key)) for one in gone}


def _filtered(query: Select[Any], wanted: ExperimentFilter) -> Select[Any]:
    if wanted.status is not None:
        query = query.where(experiments.c.status == wanted.status)
    if wanted.name is not None:
        query = query.where(experiments.c.name == wanted.name)
    if wanted.created_from is not None:
        query = query.where(experiments.c.created_at >= to_us(wanted.created_from))
    if wanted.created_to is not None:
        query = query.where(experiments.c.created_at <= to_us(wanted.created_to))
    if wanted.parent_id is not None:
        query = query.where(experiments.c.parent_id == wanted.parent_id)
    if wanted.stale is not None:
        stale = experiments.c.input_set_id.in_(_sets_with_superseded())
        query = query.where(stale if wanted.stale else ~stale)
    return query


def _sets_with_superseded() -> Select[Any]:
    """Sets of which a member has been superseded. Written so that SQLite looks the superseded ones
    up in a set: there are few of them, and thousands of members."""
    superseded = select(artifacts.c.artifact_id).where(artifacts.c.status == "superseded")
    return (
        select(input_set_members.c.input_set_id)
        .where(input_set_members.c.artifact_id.in_(superseded))
        .distinct()
    )


def _members(connection: Connection, input_set_id: str) -> tuple[str, ...]:
    query = select(input_set_members.c.artifact_id).where(
        input_set_members.c.input_set_id == input_set_id
    )
    return tuple(sorted(connection.scalars(query)))


def _event(row: Row[Any]) -> ExperimentEvent:
    ended_early = row.new_status in ("failed", "cancelled")
    return ExperimentEvent(
        at=from_us(row.at),
        old_status=row.old_status,
        new_status=row.new_status,
        error=row.detail if ended_early else None,
        details=json.loads(row.detail) if row.detail and not ended_early else {},
    )


@lru_cache(maxsize=256)
def _strategy(text: str) -> Strategy:
    return Strategy.from_json(text)


def _carried_event(event: Mapping[str, Any]) -> dict[str, Any]:
    details = canonical_json(dict(event["details"])).decode() if event["details"] else None
    return {
        "at": int(event["at"]),
        "old_status": event["old_status"],
        "new_status": str(event["new_status"]),
        "detail": event["error"] if event["error"] is not None else details,
    }


def _newest_first() -> Select[Any]:
    return select(experiments).order_by(
        experiments.c.created_at.desc(), experiments.c.experiment_id
    )


def _row(connection: Connection, experiment_id: str) -> Row[Any]:
    query = select(experiments).where(experiments.c.experiment_id == experiment_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"no experiment {experiment_id[:80]}; list the experiments to see their ids")
    return row


def _definition_json(definition: ExperimentDefinition) -> str:
    """What decides the result, without the inputs, which are sets, and the engine, a column."""
    return canonical_json(
        {
            "strategy": definition.strategy.model_dump(mode="json"),
            "filters": definition.filters.canonical(),
            "params": dict(definition.params),
            "min_coverage": definition.min_coverage,
        }
    ).decode()


def _record(
    row: Row[Any], *, alerts: tuple[str, ...], slices: tuple[str, ...], stale: bool
) -> ExperimentRecord:
    return ExperimentRecord(
        experiment_id=row.experiment_id,
        definition=_definition(
            row.name,
            json.loads(row.definition_json),
            row.engine_version,
            alerts=alerts,
            slices=slices,
        ),
        status=row.status,
        created_at=from_us(row.created_at),
        started_at=None if row.started_at is None else from_us(row.started_at),
        completed_at=None if row.completed_at is None else from_us(row.completed_at),
        error=row.error,
        outputs=json.loads(row.outputs_json) if row.outputs_json else {},
        parent_id=row.parent_id,
        stale=stale,
    )


def _definition(
    name: str,
    held: Mapping[str, Any],
    engine_version: str,
    *,
    alerts: tuple[str, ...],
    slices: tuple[str, ...],
) -> ExperimentDefinition:
    filters = held["filters"]
    return ExperimentDefinition(
        name=name,
        alert_artifact_ids=alerts,
        slice_artifact_ids=slices,
        strategy=_strategy(json.dumps(held["strategy"])),
        engine_version=engine_version,
        filters=AlertFilters(
            start=_moment(filters["start"]),
            end=_moment(filters["end"]),
            caller_name_norm=filters["caller_name_norm"],
            chain=filters["chain"],
            first_call_only=filters["first_call_only"],
        ),
        params=held["params"],
        min_coverage=held["min_coverage"],
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

"""The transaction of a publish batch: everything the manifest has to say about it, or nothing.

What a batch must fulfil is checked here, before its files are written and again when it is
recorded; how things are written down, and what that does to what is there, is in the files beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, select

from quantlab_assets.adapters.manifest.changes.heads import head_of, replace_heads
from quantlab_assets.adapters.manifest.changes.insert import (
    Event,
    insert_artifacts,
    insert_publications,
    insert_tags,
    set_files,
)
from quantlab_assets.adapters.manifest.changes.succession import (
    Active,
    Key,
    active_by_key,
    decide,
    key_of,
)
from quantlab_assets.adapters.manifest.engine import in_lists
from quantlab_assets.adapters.manifest.rows import (
    artifacts_by_id,
    existing_ids,
    existing_input_sets,
    require,
)
from quantlab_assets.adapters.manifest.tables import input_set_members
from quantlab_assets.domain.artifacts.records import (
    SHA256,
    Artifact,
    HeadReplacement,
    PartitionRef,
    PublishRequest,
    PublishResult,
    Unset,
)
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.errors import Conflict, ValidationFailed
from quantlab_assets.domain.moving_inputs import InputsMoved


@dataclass(frozen=True, slots=True)
class Draft:
    """What a request comes to. With `has_new_file`, its file was written or adopted just now."""

    artifact: Artifact
    has_new_file: bool


class FileNeeded(InputsMoved):
    """A file that was there at the look has been purged since: the batch must be prepared again."""


class Recording:
    """One batch: its requests, the heads it replaces, the time it bears.

    `look` is asked before the files are written, so that what must fail fails early; `record` asks
    everything again inside the write transaction, where nothing can change any more.
    """

    def __init__(
        self,
        requests: Sequence[PublishRequest],
        heads: Sequence[HeadReplacement],
        types: TypeRegistry,
        now: datetime,
    ) -> None:
        self.now = now
        self._types = types
        self._requests = requests
        self._heads = heads
        self._looked: list[Artifact] = []
        _check_heads(requests, heads)
        for request in requests:
            _check_request(request)
        self._events = [_event(request, now) for request in requests]

    def look(self, connection: Connection, artifacts: Sequence[Artifact]) -> dict[str, Artifact]:
        """Which of the next artifacts of the batch exist. Raises as `record` would now, but for
        heads."""
        there = artifacts_by_id(connection, (artifact.artifact_id for artifact in artifacts))
        start = len(self._looked)
        self._looked += artifacts
        self._check(connection, self._looked, start, there)
        return there

    def record(self, connection: Connection, drafts: Sequence[Draft]) -> list[PublishResult]:
        """Write the batch. Raises `Conflict`, `NotFound`, `ValidationFailed`."""
        made = [_as_active(draft.artifact) for draft in drafts]
        there = artifacts_by_id(connection, (artifact.artifact_id for artifact in made))
        active = self._check(connection, made, 0, there)
        self._check_head_expectations(connection, made)
        _require_files(drafts, there)

        succession = decide(made, active, displaces=True)
        self._refuse_heads_of_earlier_versions(made, succession.yielded)
        insert_artifacts(connection, made, there, succession, reason="republished", at=self.now)
        refilled = [draft.artifact for draft in drafts if draft.has_new_file]
        set_files(connection, [artifact for artifact in refilled if artifact.artifact_id in there])
        events = self._events_of(made, there)
        numbers = insert_publications(connection, events)
        insert_tags(
            connection,
            (
                (artifact.artifact_id, request.tags)
                for request, artifact in zip(self._requests, made, strict=True)
            ),
            replace=True,
        )
        replace_heads(
            connection,
            {head.ref: self._members(head.ref, made) for head in self._heads},
            published=(artifact.artifact_id for artifact in made),
            types=self._types,
            at=self.now,
        )

        stored = artifacts_by_id(connection, (artifact.artifact_id for artifact in made))
        return [
            PublishResult(
                artifact=stored[event.artifact_id],
                publication_id=number,
                deduped=event.deduped,
                superseded=succession.displaced.get(event.artifact_id, ()),
                superseded_by=succession.yielded.get(event.artifact_id),
            )
            for number, event in zip(numbers, events, strict=True)
        ]

    def _check(
        self,
        connection: Connection,
        made: Sequence[Artifact],
        start: int,
        there: Mapping[str, Artifact],
    ) -> dict[Key, list[Active]]:
        """Check the batch from position `start` on; returns what is active under its keys."""
        active = active_by_key(connection, map(key_of, made[start:]))
        _refuse_tombstoned(there)
        _refuse_rivals(made)
        for request, artifact in zip(self._requests[start:], made[start:], strict=False):
            ids = [holder.artifact_id for holder in active.get(key_of(artifact), ())]
            _check_expected_active(request, artifact, ids)
        _check_inputs(connection, self._requests, made, start)
        return active

    def _check_head_expectations(self, connection: Connection, made: Sequence[Artifact]) -> None:
        for head in self._heads:
            if isinstance(head.expected, Unset):
                continue
            current = head_of(connection, head.ref)
            if current not in (head.expected, self._members(head.ref, made)):
                raise Conflict(
                    f"{head.ref.asset} {head.ref.partition!r} has another head by now:"
                    " read it again, then publish again"
                )

    def _refuse_heads_of_earlier_versions(
        self, made: Sequence[Artifact], yielded: Mapping[str, str]
    ) -> None:
        for request, artifact in zip(self._requests, made, strict=True):
            if request.head is not None and artifact.artifact_id in yielded:
                raise Conflict(
                    f"{artifact.artifact_type} {artifact.logical_key}:"
                    f" {yielded[artifact.artifact_id]} of a newer schema version is active,"
                    f" so one of version {artifact.schema_version} cannot be"
                    f" in the head of {request.head.asset} {request.head.partition!r}"
                )

    def _members(self, ref: PartitionRef, made: Sequence[Artifact]) -> frozenset[str]:
        return frozenset(
            artifact.artifact_id
            for request, artifact in zip(self._requests, made, strict=True)
            if request.head == ref
        )

    def _events_of(self, made: Sequence[Artifact], there: Mapping[str, Artifact]) -> list[Event]:
        known = set(there)
        events: list[Event] = []
        for event, artifact in zip(self._events, made, strict=True):
            events.append(
                replace(
                    event, artifact_id=artifact.artifact_id, deduped=artifact.artifact_id in known
                )
            )
            known.add(artifact.artifact_id)
        return events


def _as_active(artifact: Artifact) -> Artifact:
    """As it arrives; what was found by its bytes may have been superseded."""
    return artifact if artifact.status == "active" else replace(artifact, status="active")


def _require_files(drafts: Sequence[Draft], there: Mapping[str, Artifact]) -> None:
    """What has no file from this batch must have one from before."""
    for draft in drafts:
        before = there.get(draft.artifact.artifact_id)
        if not draft.has_new_file and (before is None or before.purged_at is not None):
            raise FileNeeded


def _check_heads(requests: Sequence[PublishRequest], heads: Sequence[HeadReplacement]) -> None:
    replaced = [head.ref for head in heads]
    if len(set(replaced)) != len(replaced):
        raise ValidationFailed("a batch replaces the head of a partition once")
    for request in requests:
        if request.head is not None and request.head not in replaced:
            raise ValidationFailed(
                f"{request.head.asset} {request.head.partition!r}: a request names this head,"
                " so its batch must replace it"
            )


def _check_request(request: PublishRequest) -> None:
    where = f"{request.artifact_type} {request.logical_key[:120]}"
    for name, value in request.tags.items():
        if not name or not isinstance(name, str) or not isinstance(value, str):
            raise ValidationFailed(f"{where}: a tag is a name and a text, not {name!r}={value!r}")
    for raw in request.sources:
        if not SHA256.fullmatch(raw.sha256):
            raise ValidationFailed(f"{where}: source {raw.name!r} needs its sha256:<hex>")
    provenance = request.provenance
    texts = [
        *request.tags,
        *request.tags.values(),
        *(text for raw in request.sources for text in (raw.name, raw.kind)),
        provenance.writer_name,
        provenance.writer_version,
        *(
            text
            for text in (
                provenance.run_id,
                provenance.step,
                provenance.git_commit,
                provenance.git_diff_hash,
            )
            if text is not None
        ),
        *((request.head.asset, request.head.partition) if request.head else ()),
    ]
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValidationFailed(f"{where}: {text!r} is not UTF-8 text") from error


def _refuse_tombstoned(there: Mapping[str, Artifact]) -> None:
    for artifact in there.values():
        if artifact.status == "tombstoned":
            raise Conflict(
                f"artifact {artifact.artifact_id} ({artifact.artifact_type}"
                f" {artifact.logical_key}) was tombstoned: its content cannot be published again"
            )


def _refuse_rivals(made: Sequence[Artifact]) -> None:
    """Two contents under one key in one batch: neither is meant to replace the other."""
    chosen: dict[Key, str] = {}
    for artifact in made:
        if (
            not artifact.keeps_many
            and chosen.setdefault(key_of(artifact), artifact.artifact_id) != artifact.artifact_id
        ):
            raise ValidationFailed(
                f"{artifact.artifact_type} {artifact.logical_key}:"
                " the batch has two contents for this key"
            )


def _check_expected_active(request: PublishRequest, made: Artifact, active: list[str]) -> None:
    """The content itself being active already is no conflict: somebody published the same."""
    if isinstance(request.expected_active, Unset) or made.artifact_id in active:
        return
    if active != ([] if request.expected_active is None else [request.expected_active]):
        raise Conflict(
            f"{request.artifact_type} {request.logical_key}:"
            f" {', '.join(active) or 'no artifact'} is active by now,"
            f" not {request.expected_active or 'none'}; read it again, then publish again"
        )


def _check_inputs(
    connection: Connection,
    requests: Sequence[PublishRequest],
    made: Sequence[Artifact],
    start: int,
) -> None:
    """Every input was there before the publication that names it, so publications have no cycle."""
    named = {
        made_from.artifact_id: None
        for request in requests[start : len(made)]
        for made_from in request.inputs
        if made_from.artifact_id is not None
    }
    sets = {
        made_from.input_set_id: None
        for request in requests[start : len(made)]
        for made_from in request.inputs
        if made_from.input_set_id is not None
    }
    if not named and not sets:
        return
    require(existing_input_sets(connection, sets), sets, "input set")
    known = existing_ids(connection, named) | {artifact.artifact_id for artifact in made[:start]}
    members: dict[str, set[str]] = {name: set() for name in sets}
    for some in in_lists(sets):
        own = [artifact.artifact_id for artifact in made[start:]]
        for ids in in_lists(own):
            for row in connection.execute(
                select(input_set_members).where(
                    input_set_members.c.input_set_id.in_(some),
                    input_set_members.c.artifact_id.in_(ids),
                )
            ):
                members[row.input_set_id].add(row.artifact_id)
    for request, artifact in zip(requests[start : len(made)], made[start:], strict=True):
        inputs = [
            made_from.artifact_id
            for made_from in request.inputs
            if made_from.artifact_id is not None
        ]
        through = [
            made_from.input_set_id
            for made_from in request.inputs
            if made_from.input_set_id is not None
        ]
        if artifact.artifact_id in inputs or any(
            artifact.artifact_id in members[name] for name in through
        ):
            raise ValidationFailed(
                f"{artifact.artifact_type} {artifact.logical_key}:"
                " an artifact cannot be made from itself"
            )
        require(known, inputs)
        known.add(artifact.artifact_id)


def _event(request: PublishRequest, now: datetime) -> Event:
    """The publication that a request asks for; of which artifact is not known yet."""
    try:
        return Event.of(
            "",
            request.provenance,
            at=now,
            deduped=False,
            inputs=request.inputs,
            sources=request.sources,
        )
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValidationFailed(
            f"{request.artifact_type} {request.logical_key[:120]}: params and environment must be"
            f" plain JSON: {error}"
        ) from error

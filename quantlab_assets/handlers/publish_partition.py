"""Publish all that asset partitions consist of: each whole, several in one transaction.

The one way in which the asset graph writes to the lake. A partition that grows (`AdditiveOutput`)
is built from what it holds, published on the condition that it still holds that, and built again if
another writer was faster: no update is lost.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from quantlab_assets.domain.artifacts.records import (
    UNSET,
    AdditiveOutput,
    Artifact,
    ArtifactDraft,
    HeadReplacement,
    HeldArtifact,
    LineageInput,
    PartitionOutput,
    PartitionRef,
    Provenance,
    PublishRequest,
    PublishResult,
    Unset,
)
from quantlab_assets.domain.errors import Conflict
from quantlab_assets.domain.moving_inputs import PARTITION_GREW, InputsMoved
from quantlab_assets.ports.artifact_store import ArtifactStore


@dataclass(frozen=True, slots=True)
class PublishedPartition:
    """What a partition came to: its artifacts by logical key, the loose ones, the counts."""

    ref: PartitionRef
    results: tuple[PublishResult, ...]
    loose: tuple[PublishResult, ...] = ()
    counts: Mapping[str, int | float | str] = field(default_factory=dict)

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """What the partition now consists of."""
        return tuple(result.artifact for result in self.results)


@dataclass(frozen=True, slots=True)
class FinishedPartition:
    """A partition to publish: its artifacts, what they were made from, and who made them.

    `expected` are the ids of the artifacts that its head must still consist of when it is
    published; None: it must have no head; unset: its head may be any.
    """

    ref: PartitionRef
    output: PartitionOutput
    inputs: tuple[LineageInput, ...]
    provenance: Provenance
    expected: frozenset[str] | None | Unset = UNSET


def publish_partition(
    store: ArtifactStore,
    ref: PartitionRef,
    output: PartitionOutput | AdditiveOutput,
    *,
    inputs: Callable[[], tuple[LineageInput, ...]],
    provenance: Provenance,
) -> PublishedPartition:
    """Make the head of `ref` exactly the drafts of `output`; publish its loose drafts beside it.

    Raises what `ArtifactStore.publish_many` raises; `Conflict` for a growing partition only when
    others kept changing it through every attempt.
    """

    def publish() -> PublishedPartition:
        finished = finish_partition(store, ref, output, inputs=inputs, provenance=provenance)
        try:
            [published] = publish_partitions(store, [finished])
        except Conflict as error:
            if finished.expected is UNSET or _head(store, ref) == finished.expected:
                raise  # nobody moved the head: the content itself is refused
            raise InputsMoved from error
        return published

    return PARTITION_GREW.run(publish, f"{ref.asset} {ref.partition}".rstrip())


def finish_partition(
    store: ArtifactStore,
    ref: PartitionRef,
    output: PartitionOutput | AdditiveOutput,
    *,
    inputs: Callable[[], tuple[LineageInput, ...]],
    provenance: Provenance,
) -> FinishedPartition:
    """The partition as it is to be published; one that grows is built from what it holds now.

    `inputs` is asked after the output was built, since building it is what reads the inputs.
    """
    if isinstance(output, PartitionOutput):
        return FinishedPartition(ref, output, inputs(), provenance)
    held_artifacts = _held_artifacts(store, ref)
    built = output.build(held_artifacts or {})
    expected = (
        None if held_artifacts is None else _ids(item.artifact for item in held_artifacts.values())
    )
    return FinishedPartition(ref, built, inputs(), provenance, expected)


def publish_partitions(
    store: ArtifactStore, partitions: Sequence[FinishedPartition]
) -> list[PublishedPartition]:
    """Make the head of each partition exactly its drafts, in one transaction: all or nothing.

    Of many small partitions much faster than one after the other. A loose draft that several of
    them have is published once, with the first. Raises what `ArtifactStore.publish_many` raises.
    """
    requests: list[PublishRequest] = []
    shares: list[tuple[int, int]] = []
    loose_keys: set[tuple[str, str]] = set()
    for finished in partitions:
        for draft in finished.output.drafts:
            requests.append(_request(draft, finished.provenance, finished.ref, finished.inputs))
        loose = {(draft.artifact_type, draft.logical_key): draft for draft in finished.output.loose}
        fresh = [draft for key, draft in loose.items() if key not in loose_keys]
        loose_keys.update(loose)
        requests += [_request(draft, finished.provenance, None, ()) for draft in fresh]
        shares.append((len(finished.output.drafts), len(fresh)))
    heads = [HeadReplacement(partition.ref, partition.expected) for partition in partitions]
    results = iter(store.publish_many(requests, heads=heads))
    return [
        PublishedPartition(
            ref=finished.ref,
            results=tuple(
                sorted(islice(results, own), key=lambda result: result.artifact.logical_key)
            ),
            loose=tuple(islice(results, beside)),
            counts=finished.output.counts,
        )
        for finished, (own, beside) in zip(partitions, shares, strict=True)
    ]


def _request(
    draft: ArtifactDraft,
    provenance: Provenance,
    head: PartitionRef | None,
    inputs: tuple[LineageInput, ...],
) -> PublishRequest:
    return PublishRequest(
        artifact_type=draft.artifact_type,
        logical_key=draft.logical_key,
        table=draft.table,
        provenance=replace(provenance, params={**provenance.params, **draft.params}),
        tags=draft.tags,
        inputs=inputs,
        sources=draft.sources,
        head=head,
    )


def _held_artifacts(store: ArtifactStore, ref: PartitionRef) -> dict[str, HeldArtifact] | None:
    artifacts = store.get_heads(ref.asset, [ref.partition])[ref.partition]
    if artifacts is None:
        return None
    sources = store.get_sources([artifact.artifact_id for artifact in artifacts])
    return {
        artifact.logical_key: HeldArtifact(
            artifact=artifact,
            table=store.open(artifact.artifact_id, verify=True).to_table(),
            sources=sources[artifact.artifact_id],
        )
        for artifact in artifacts
    }


def _head(store: ArtifactStore, ref: PartitionRef) -> frozenset[str] | None:
    artifacts = store.get_heads(ref.asset, [ref.partition])[ref.partition]
    return None if artifacts is None else _ids(artifacts)


def _ids(artifacts: Iterable[Artifact]) -> frozenset[str]:
    return frozenset(artifact.artifact_id for artifact in artifacts)

"""Publish all that one asset partition consists of, in one transaction.

The one way in which the asset graph writes to the lake. A partition that grows (`AdditiveOutput`)
is built from what it holds, published on the condition that it still holds that, and built again if
another writer was faster: no update is lost.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from quantlab_assets.domain.artifacts import (
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
from quantlab_assets.ports.artifact_store import ArtifactStore

ATTEMPTS = 25
"""How often a growing partition is built again before its writers are declared stuck."""


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


def publish_partition(
    store: ArtifactStore,
    ref: PartitionRef,
    output: PartitionOutput | AdditiveOutput,
    *,
    inputs: Callable[[], tuple[LineageInput, ...]],
    provenance: Provenance,
) -> PublishedPartition:
    """Make the head of `ref` exactly the drafts of `output`; publish its loose drafts beside it.

    `inputs` is asked after the output was built, since building it is what reads the inputs.
    Raises what `ArtifactStore.publish_many` raises; `Conflict` for a growing partition only when
    others kept changing it through every attempt.
    """
    if isinstance(output, PartitionOutput):
        return _publish(store, ref, output, UNSET, inputs=inputs, provenance=provenance)
    for _ in range(ATTEMPTS):
        held = _held(store, ref)
        expected = None if held is None else _ids(held)
        built = output.build(held or {})
        try:
            return _publish(store, ref, built, expected, inputs=inputs, provenance=provenance)
        except Conflict:
            now = _held(store, ref)
            if (None if now is None else _ids(now)) == expected:
                raise  # nobody moved the head: the content itself is refused
    raise Conflict(
        f"{ref.asset} {ref.partition}: other writers changed it {ATTEMPTS} times in a row; run it "
        "again"
    )


def _publish(
    store: ArtifactStore,
    ref: PartitionRef,
    output: PartitionOutput,
    expected: frozenset[str] | None | Unset,
    *,
    inputs: Callable[[], tuple[LineageInput, ...]],
    provenance: Provenance,
) -> PublishedPartition:
    lineage = inputs()
    requests = [
        *(_request(draft, provenance, ref, lineage) for draft in output.drafts),
        *(_request(draft, provenance, None, ()) for draft in output.loose),
    ]
    results = store.publish_many(requests, heads=[HeadReplacement(ref, expected)])
    count = len(output.drafts)
    return PublishedPartition(
        ref=ref,
        results=tuple(sorted(results[:count], key=lambda result: result.artifact.logical_key)),
        loose=tuple(results[count:]),
        counts=output.counts,
    )


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


def _held(store: ArtifactStore, ref: PartitionRef) -> dict[str, HeldArtifact] | None:
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


def _ids(held: Mapping[str, HeldArtifact]) -> frozenset[str]:
    return frozenset(item.artifact.artifact_id for item in held.values())

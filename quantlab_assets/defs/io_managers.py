"""`ArtifactIOManager`: the only way in which data enters or leaves the lake in the graph."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import dagster as dg
import pyarrow as pa

from quantlab_assets.defs.lineage import current_ledger, set_data_version, upstream_partitions
from quantlab_assets.defs.metadata import column_schema, partition_metadata
from quantlab_assets.defs.partitions import UNPARTITIONED
from quantlab_assets.defs.read_ledger import PartitionFrames
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifact_types import ArtifactType
from quantlab_assets.domain.artifacts import (
    AdditiveOutput,
    HeldArtifact,
    LineageInput,
    PartitionOutput,
    PartitionRef,
)
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.handlers.publish_partition import publish_partition

PartitionValue = PartitionOutput | AdditiveOutput
RangeValue = Iterable[tuple[str, PartitionValue]]

TYPE_KEY = "artifact_type"


def artifact_metadata(artifact_type: ArtifactType) -> dict[str, Any]:
    """Definition metadata of an asset that publishes artifacts of one type.

    `artifact_type` is what the IO manager reads back; the rest is for the UI.
    """
    return {
        TYPE_KEY: artifact_type.name,
        "schema_version": artifact_type.schema_version,
        "logical_keys": dg.MetadataValue.json(list(artifact_type.keys)),
        "dagster/column_schema": column_schema(artifact_type),
    }


class ArtifactIOManager(dg.ConfigurableIOManager):
    """Loads partitions from heads, publishes partitions with exact lineage.

    An asset hands over a `PartitionOutput` (unpartitioned), or an iterable of (partition, output)
    that covers exactly the partitions of the run, in any order. It is consumed one partition at a
    time, and each partition is published in one transaction before the next is computed: memory
    holds one, and a run that dies keeps the partitions it finished.
    """

    lake: dg.ResourceDependency[LakeResource]

    def load_input(self, context: dg.InputContext) -> PartitionFrames:
        """The upstream partitions that the run's partitions map to."""
        upstream = context.upstream_output
        if upstream is None:
            raise ValidationFailed(f"input {context.name} comes from no asset")
        partitions = (
            sorted(context.asset_partition_keys)
            if context.has_asset_partitions
            else [UNPARTITIONED]
        )
        metadata = upstream.definition_metadata or {}
        return self.lake.load(context.asset_key.to_user_string(), _type_name(metadata), partitions)

    def handle_output(self, context: dg.OutputContext, obj: PartitionValue | RangeValue) -> None:
        """Publish every partition of the run; see the class for what `obj` may be."""
        expected = (
            sorted(context.asset_partition_keys)
            if context.has_asset_partitions
            else [UNPARTITIONED]
        )
        execution = dg.AssetExecutionContext.get()
        key = context.asset_key
        lake = self.lake.lake
        artifact_type = lake.types.get(_type_name(context.definition_metadata))
        provenance = self.lake.provenance(execution, key.to_user_string())
        pending = set(expected)
        loose: set[str] = set()
        content_hashes: list[str] = []
        rows = 0
        for partition, output in _by_partition(obj):
            if partition not in pending:
                raise ValidationFailed(
                    f"{key.to_user_string()} produced partition {partition!r} twice, or it is not "
                    "one of "
                    f"this run ({expected[0]} to {expected[-1]})"
                )
            pending.discard(partition)
            shown: list[pa.Table] = []
            published = publish_partition(
                lake.store,
                PartitionRef(key.to_user_string(), partition),
                _watched(output, artifact_type, shown, loose),
                inputs=partial(self._edges, key, partition),
                provenance=replace(provenance, params={"partition": partition}),
            )
            execution.add_asset_metadata(
                partition_metadata(
                    published, artifact_type, shown, str(lake.settings.artifacts_root)
                ),
                asset_key=key,
                partition_key=partition or None,
            )
            content_hashes += [artifact.content_hash for artifact in published.artifacts]
            rows += sum(artifact.row_count for artifact in published.artifacts)
        if pending:
            raise ValidationFailed(
                f"{key.to_user_string()} did not produce {len(pending)} of {len(expected)} "
                "partitions, "
                f"the first being {min(pending)}"
            )
        if len(expected) == 1:
            execution.add_asset_metadata({"dagster/row_count": rows}, asset_key=key)
        set_data_version(key, content_hashes)

    def _edges(self, key: dg.AssetKey, partition: str) -> tuple[LineageInput, ...]:
        return current_ledger().edges(self.lake.lake.store, upstream_partitions(key, partition))


def _type_name(metadata: Mapping[str, Any]) -> str:
    if TYPE_KEY not in metadata:
        raise ValidationFailed(
            "an asset that goes through the lake names its type: metadata=artifact_metadata(...), "
            "key "
            f"{TYPE_KEY!r}"
        )
    return str(metadata[TYPE_KEY])


def _by_partition(obj: PartitionValue | RangeValue) -> Iterator[tuple[str, PartitionValue]]:
    if isinstance(obj, PartitionOutput | AdditiveOutput):
        yield UNPARTITIONED, obj
    else:
        yield from obj


def _watched(
    output: PartitionValue, artifact_type: ArtifactType, shown: list[pa.Table], loose: set[str]
) -> PartitionValue:
    """The same output, noting the tables it is published with, and refusing drafts of another type.

    Loose drafts whose keys are in `loose` have been published by this run: they belong to a raw
    file, which many days may name.
    """

    def note(built: PartitionOutput) -> PartitionOutput:
        for draft in built.drafts:
            if draft.artifact_type != artifact_type.name:
                raise ValidationFailed(
                    f"an asset of {artifact_type.name} produced a draft of {draft.artifact_type}"
                )
        shown[:] = [draft.table for draft in built.drafts]
        fresh = tuple(draft for draft in built.loose if draft.logical_key not in loose)
        loose.update(draft.logical_key for draft in fresh)
        return replace(built, loose=fresh)

    if isinstance(output, PartitionOutput):
        return note(output)

    def build(held: Mapping[str, HeldArtifact]) -> PartitionOutput:
        return note(output.build(held))

    return AdditiveOutput(build)

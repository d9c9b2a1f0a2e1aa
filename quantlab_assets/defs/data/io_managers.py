"""`ArtifactIOManager`: the only way in which data enters or leaves the lake in the graph."""

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import dagster as dg
import pyarrow as pa

from quantlab_assets.defs.data.background_publisher import BackgroundPublisher
from quantlab_assets.defs.data.lineage import (
    current_ledger,
    data_version,
    set_data_version,
    upstream_partitions,
)
from quantlab_assets.defs.data.metadata import column_schema, partition_metadata
from quantlab_assets.defs.data.read_ledger import PartitionFrames
from quantlab_assets.defs.partitions import UNPARTITIONED
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.records import (
    AdditiveOutput,
    HeldArtifact,
    LineageInput,
    PartitionOutput,
    PartitionRef,
    Provenance,
)
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import (
    Conflict,
    QuantlabError,
    StoreUnavailable,
    ValidationFailed,
)
from quantlab_assets.domain.moving_inputs import UPSTREAM_MADE_ANEW
from quantlab_assets.handlers.publish_partition import (
    PublishedPartition,
    finish_partition,
    publish_partition,
)
from quantlab_assets.ports.artifact_store import ArtifactStore

PartitionValue = PartitionOutput | AdditiveOutput
RangeValue = Iterable[tuple[str, PartitionValue | Callable[[], PartitionValue]]]

TYPE_KEY = "artifact_type"
DATA_VERSION_TAG = "dagster/data_version"


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


@dataclass(frozen=True, slots=True)
class _Made:
    """What one partition came to: for the UI, and the content for Dagster's data version."""

    metadata: Mapping[str, Any]
    content_hashes: tuple[str, ...]
    rows: int


@dataclass(slots=True)
class _UnderWay:
    """A partition on its way into the lake, and what to show of it."""

    partition: str
    future: Future[PublishedPartition] = field(default_factory=Future)
    tables: tuple[pa.Table, ...] = ()
    _again: Callable[[], PublishedPartition] | None = None

    def begin(
        self,
        store: ArtifactStore,
        publisher: BackgroundPublisher,
        ref: PartitionRef,
        output: PartitionValue,
        inputs: Callable[[], tuple[LineageInput, ...]],
        provenance: Provenance,
    ) -> None:
        """Build the output and let it be published."""
        finished = finish_partition(store, ref, output, inputs=inputs, provenance=provenance)
        self.tables = tuple(draft.table for draft in finished.output.drafts)
        if isinstance(output, AdditiveOutput):
            self._again = partial(
                publish_partition, store, ref, output, inputs=inputs, provenance=provenance
            )
        self.future = publisher.put(finished)

    def published(self) -> PublishedPartition:
        """What it came to. One that grows is built again, here, if another writer was faster: only
        the thread of the step knows what was read."""
        try:
            return self.future.result()
        except Conflict:
            if self._again is None:
                raise
            return self._again()


class ArtifactIOManager(dg.ConfigurableIOManager):
    """Loads partitions from heads, publishes partitions with exact lineage.

    An asset hands over a `PartitionOutput` (unpartitioned), or an iterable of (partition, output)
    that covers exactly the partitions of the run, in any order. It is consumed one partition at a
    time. Finished partitions are published while the next one is computed, each whole, together
    with others that wait: memory holds a bounded number, and a run that dies keeps those published.

    An output may be a function that makes it. A partition whose function, or whose publishing,
    fails does not hold up the others: they are published, Dagster is told so, and the step fails at
    the end, naming the partitions to run again.
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
        key = context.asset_key
        made: dict[str, _Made] = {}
        failed: dict[str, Exception] = {}
        try:
            self._publish(context, obj, frozenset(expected), made, failed)
        except BaseException:  # of an interrupted run too: what is in the lake is told
            _log_materialised(context, made)
            raise
        ledger = current_ledger()
        ledger.stored.add(key.to_user_string())
        execution = dg.AssetExecutionContext.get()
        if failed:
            _log_materialised(context, made)
            self._start_over_if_moved(execution)
            raise _failure(key, failed, len(expected), _not_reached(ledger.stored))
        if len(made) < len(expected):
            _log_materialised(context, made)
            raise ValidationFailed(
                f"{key.to_user_string()} did not produce {len(expected) - len(made)} of "
                f"{len(expected)} partitions, the first being {min(set(expected) - made.keys())}"
            )
        moved = self._start_over_if_moved(execution)
        if moved:
            _log_materialised(context, made)
            raise UPSTREAM_MADE_ANEW.lost(f"{key.to_user_string()} (reading {moved})")
        for partition, published in made.items():
            execution.add_asset_metadata(
                published.metadata, asset_key=key, partition_key=partition or None
            )
        if len(expected) == 1:
            execution.add_asset_metadata(
                {"dagster/row_count": made[expected[0]].rows}, asset_key=key
            )
        set_data_version(
            key, [digest for partition in made.values() for digest in partition.content_hashes]
        )

    def _start_over_if_moved(self, execution: dg.AssetExecutionContext) -> str:
        """Ask for another attempt if an input was made anew after it was read.

        Returns the inputs that moved under the last attempt, "" if none did.

        Another run may have published from the new inputs already, and what this one published has
        taken its place: whoever publishes last looks once more, so the newest inputs win.
        """
        moved = current_ledger().moved(self.lake.lake.store)
        if not moved:
            return ""
        named = ", ".join(moved[:5]) + (", ..." if len(moved) > 5 else "")
        retries = UPSTREAM_MADE_ANEW.attempts - 1
        if execution.retry_number < retries:
            execution.log.info(f"made anew since it was read: {named}; starting over")
            raise dg.RetryRequested(max_retries=retries)
        return named

    def _publish(
        self,
        context: dg.OutputContext,
        obj: PartitionValue | RangeValue,
        expected: frozenset[str],
        made: dict[str, _Made],
        failed: dict[str, Exception],
    ) -> None:
        """Publish one partition after another, noting what was made and what failed."""
        key = context.asset_key
        lake = self.lake.lake
        artifact_type = lake.types.get(_type_name(context.definition_metadata))
        provenance = self.lake.provenance(dg.AssetExecutionContext.get(), key.to_user_string())
        root = str(lake.settings.artifacts_root)
        loose: set[str] = set()
        under_way: deque[_UnderWay] = deque()

        def settle(started: _UnderWay) -> None:
            try:
                published = started.published()
            except (StoreUnavailable, MemoryError):
                raise  # it would be the same for every other partition
            except Exception as error:
                if len(expected) == 1:
                    raise
                context.log.exception(f"{key.to_user_string()} {started.partition} failed")
                failed[started.partition] = error
                return
            loose.update(result.artifact.logical_key for result in published.loose)
            made[started.partition] = _Made(
                partition_metadata(published, artifact_type, started.tables, root),
                tuple(artifact.content_hash for artifact in published.artifacts),
                sum(artifact.row_count for artifact in published.artifacts),
            )

        seen: set[str] = set()
        # While partitions are written, mostly waiting for the disk, the next ones are computed.
        with BackgroundPublisher(lake.store) as publisher, ExitStack() as last:

            @last.callback
            def finish() -> None:
                """Wait for the partitions that are being written, also where the asset fails.

                If it raises on the fifth day, days one to four are published all the same, and
                Dagster is told of them.
                """
                while under_way:
                    settle(under_way.popleft())

            for partition, output in _by_partition(obj):
                if partition not in expected or partition in seen:
                    raise ValidationFailed(
                        f"{key.to_user_string()} produced partition {partition!r} twice, or it is "
                        f"not one of this run ({min(expected)} to {max(expected)})"
                    )
                seen.add(partition)
                started = _UnderWay(partition)
                try:
                    started.begin(
                        lake.store,
                        publisher,
                        PartitionRef(key.to_user_string(), partition),
                        _checked(output() if callable(output) else output, artifact_type, loose),
                        partial(self._edges, key, partition),
                        replace(provenance, params={"partition": partition}),
                    )
                except Exception as error:
                    started.future.set_exception(error)
                under_way.append(started)
                while under_way and (under_way[0].future.done() or publisher.is_full):
                    settle(under_way.popleft())

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


def _log_materialised(context: dg.OutputContext, made: Mapping[str, _Made]) -> None:
    """Tell Dagster of the partitions that were published although the step fails.

    Of a failed step it would otherwise show none, and ask for all of them again.
    """
    for partition, published in made.items():
        context.log_event(
            dg.AssetMaterialization(
                context.asset_key,
                partition=partition or None,
                metadata=published.metadata,
                tags={DATA_VERSION_TAG: data_version(published.content_hashes).value},
            )
        )


def _not_reached(stored: Container[str]) -> list[str]:
    """The assets that the running step was to make, and that no longer have their turn."""
    selected = dg.AssetExecutionContext.get().selected_asset_keys
    names = sorted(key.to_user_string() for key in selected)
    return [name for name in names if name not in stored]


def _failure(
    key: dg.AssetKey, failed: Mapping[str, Exception], partitions: int, not_reached: Sequence[str]
) -> Exception:
    """The error of a step of which some partitions failed; of the class of the first of them."""
    first = min(failed)
    error = failed[first]
    named = ", ".join(sorted(failed)[:10]) + (", ..." if len(failed) > 10 else "")
    rest = f", and all {partitions} for {', '.join(not_reached)}" if not_reached else ""
    kind = type(error) if isinstance(error, QuantlabError) else QuantlabError
    failure = kind(
        f"{key.to_user_string()}: {len(failed)} of {partitions} partitions failed, the others are "
        f"published; run again: {named}{rest}. The first: {error}"
    )
    failure.__cause__ = error
    return failure


def _by_partition(
    obj: PartitionValue | RangeValue,
) -> Iterator[tuple[str, PartitionValue | Callable[[], PartitionValue]]]:
    if isinstance(obj, PartitionOutput | AdditiveOutput):
        yield UNPARTITIONED, obj
    else:
        yield from obj


def _checked(
    output: PartitionValue, artifact_type: ArtifactType, published: Container[str]
) -> PartitionValue:
    """The same output, refusing drafts of another type than the asset's.

    Loose drafts whose keys are in `published` are left out: they belong to a raw file, which many
    days may name.
    """

    def check(built: PartitionOutput) -> PartitionOutput:
        for draft in built.drafts:
            if draft.artifact_type != artifact_type.name:
                raise ValidationFailed(
                    f"an asset of {artifact_type.name} produced a draft of {draft.artifact_type}"
                )
        fresh = tuple(draft for draft in built.loose if draft.logical_key not in published)
        return replace(built, loose=fresh)

    if isinstance(output, PartitionOutput):
        return check(output)

    def build(held: Mapping[str, HeldArtifact]) -> PartitionOutput:
        return check(output.build(held))

    return AdditiveOutput(build)

"""What one attempt of one step was handed to read: the source of its `loaded` lineage edges.

The ledger lives as long as the step's execution context, so a retry starts with an empty one. It
knows nothing of Dagster.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from quantlab_assets.domain.artifacts.records import Artifact, LineageInput
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.errors import NotFound
from quantlab_assets.ports.artifact_store import ArtifactStore


@dataclass(slots=True)
class ReadLedger:
    """Artifact ids handed out, by (asset, partition); and what of the step was stored."""

    reads: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)
    """The assets of the step that had their turn to be published."""

    def record(self, asset: str, partition: str, artifacts: Iterable[Artifact]) -> None:
        """Note that a partition of an asset was handed out, and what it consists of."""
        self.reads[asset, partition] = tuple(artifact.artifact_id for artifact in artifacts)

    def moved(self, store: ArtifactStore) -> list[str]:
        """The partitions that were handed out and consist of something else by now."""
        partitions: dict[str, list[str]] = {}
        for asset, partition in self.reads:
            partitions.setdefault(asset, []).append(partition)
        return [
            f"{asset} {partition}".strip()
            for asset, names in sorted(partitions.items())
            for partition, artifacts in sorted(store.get_heads(asset, names).items())
            if self.reads[asset, partition]
            != tuple(artifact.artifact_id for artifact in artifacts or ())
        ]

    def edges(
        self, store: ArtifactStore, wanted: Mapping[str, Iterable[str]]
    ) -> tuple[LineageInput, ...]:
        """The edges of an output that depends on the `wanted` partitions of some assets.

        What was handed out is `loaded`. An asset of which nothing was handed out at all contributes
        its heads as `declared`: the graph says that the output depends on it, nobody saw it read.
        """
        loaded: set[str] = set()
        declared: set[str] = set()
        read_assets = {asset for asset, _ in self.reads}
        for asset, partitions in wanted.items():
            if asset in read_assets:
                for partition in partitions:
                    loaded.update(self.reads.get((asset, partition), ()))
            else:
                for artifacts in store.get_heads(asset, sorted(partitions)).values():
                    declared.update(artifact.artifact_id for artifact in artifacts or ())
        return (
            *(LineageInput(artifact_id=i, role="loaded") for i in sorted(loaded)),
            *(LineageInput(artifact_id=i, role="declared") for i in sorted(declared - loaded)),
        )


class PartitionFrames(Mapping[str, pl.LazyFrame]):
    """Partitions of one asset as lazy frames, in partition order; each is opened when first read.

    Heads are resolved once, when the step starts, so that a step sees one state of the lake. A
    partition that never ran is absent; one that ran and produced nothing is an empty frame. Bytes
    are verified before a decoder sees them.
    """

    def __init__(
        self,
        asset: str,
        heads: Mapping[str, tuple[Artifact, ...] | None],
        *,
        artifact_type: str,
        store: ArtifactStore,
        types: TypeRegistry,
        ledger: ReadLedger,
    ) -> None:
        self._asset = asset
        self._heads = {p: heads[p] for p in sorted(heads) if heads[p] is not None}
        self._type = artifact_type
        self._store = store
        self._types = types
        self._ledger = ledger

    def __getitem__(self, partition: str) -> pl.LazyFrame:
        artifacts = self.artifacts(partition)
        ids = [artifact.artifact_id for artifact in artifacts]
        if not ids:
            return pl.LazyFrame(self._types.get(self._type).empty())
        return pl.scan_pyarrow_dataset(self._store.open_many(ids, verify=True))

    def __contains__(self, partition: object) -> bool:
        """Whether a partition ever ran. Does not count as reading it."""
        return partition in self._heads

    def __iter__(self) -> Iterator[str]:
        return iter(self._heads)

    def __len__(self) -> int:
        return len(self._heads)

    def __repr__(self) -> str:
        return f"PartitionFrames({self._asset}, {len(self)} partitions)"

    def artifacts(self, partition: str) -> tuple[Artifact, ...]:
        """The artifacts of one partition, by logical key. Counts as reading it.

        Raises `KeyError` if the partition never ran.
        """
        artifacts = self._heads[partition]
        assert artifacts is not None
        self._ledger.record(self._asset, partition, artifacts)
        return artifacts

    def row_count(self, partition: str) -> int:
        """How many rows a partition has, 0 if it never ran. Does not count as reading it."""
        return sum(artifact.row_count for artifact in self._heads.get(partition) or ())

    def read(self, partitions: Iterable[str]) -> pl.DataFrame:
        """The rows of several partitions; those that never ran have none.

        Of many small partitions much faster than one after the other. Raises what
        `ArtifactStore.read_verified` raises.
        """
        ids: list[str] = []
        for partition in partitions:
            if partition in self._heads:
                ids += [artifact.artifact_id for artifact in self.artifacts(partition)]
            else:
                # That it never ran was read too: the step has to know if it runs meanwhile.
                self._ledger.record(self._asset, partition, ())
        if not ids:
            return pl.DataFrame(self._types.get(self._type).empty())
        return self._store.read_verified(ids)

    def require(self, partition: str) -> pl.LazyFrame:
        """The frame of a partition that must have run. Raises `NotFound` saying what to run."""
        self.check(partition)
        return self[partition]

    def check(self, partition: str) -> None:
        """Raise `NotFound`, saying what to run, if the partition never ran."""
        if partition not in self._heads:
            where = f" --partition {partition}" if partition else ""
            raise NotFound(
                f"{self._asset} has no partition {partition!r} yet; materialise it first: dagster "
                "asset "
                f"materialize -m quantlab_assets.definitions --select {self._asset}{where}"
            )

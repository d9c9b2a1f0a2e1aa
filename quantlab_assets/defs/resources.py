"""The lake as a Dagster resource: one of the places where adapters meet ports.

Settings come from the environment when a step starts, not when definitions load, unless a lake was
named in `build_defs`.
"""

from functools import lru_cache
from pathlib import Path

import dagster as dg

from quantlab_assets.adapters.code_provenance import code_state, environment
from quantlab_assets.defs.lineage import check_declared, current_ledger
from quantlab_assets.defs.partitions import UNPARTITIONED
from quantlab_assets.defs.read_ledger import PartitionFrames
from quantlab_assets.domain.artifacts import Provenance
from quantlab_assets.lake import Lake, open_lake
from quantlab_assets.settings import Settings


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake that the graph works on.

    `root` is its folder; without it the environment decides (`QUANTLAB_LAKE`, else `./lake`).
    """

    root: str | None = None

    @property
    def lake(self) -> Lake:
        """The opened lake, made if it is not there yet."""
        return _opened(Settings.from_environment(Path(self.root) if self.root else None))

    def frames(
        self, asset: str, artifact_type: str, partitions: list[str] | None = None
    ) -> PartitionFrames:
        """Partitions of an upstream asset, recorded as read when they are.

        For bodies that read beyond their arguments. Raises `ValidationFailed` if the running asset
        does not declare the dependency.
        """
        check_declared(asset)
        return self.load(asset, artifact_type, partitions or [UNPARTITIONED])

    def load(self, asset: str, artifact_type: str, partitions: list[str]) -> PartitionFrames:
        """As `frames`, for the IO manager, whose inputs are declared by being inputs."""
        store = self.lake.store
        return PartitionFrames(
            asset,
            store.get_heads(asset, partitions),
            artifact_type=artifact_type,
            store=store,
            types=self.lake.types,
            ledger=current_ledger(),
        )

    def provenance(self, context: dg.AssetExecutionContext, asset: str) -> Provenance:
        """Who writes: the asset, its code version, the run, the step, the code and environment."""
        key = dg.AssetKey.from_user_string(asset)
        code = code_state()
        return Provenance(
            writer_name=asset,
            writer_version=context.assets_def.code_versions_by_key.get(key) or "0",
            run_id=context.run.run_id,
            step=context.assets_def.op.name,
            git_commit=code.git_commit,
            git_dirty=code.git_dirty,
            git_diff_hash=code.git_diff_hash,
            environment=environment(),
        )


@lru_cache(maxsize=8)
def _opened(settings: Settings) -> Lake:
    return open_lake(settings, create=True)

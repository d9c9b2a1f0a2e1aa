"""The seam to Dagster's private side: which upstream partitions an output partition depends on.

Dagster's public contexts answer this only for a whole run, and its provenance tags are wrong for
range runs, so the asset graph itself is asked. Nothing else in the project touches a name that
Dagster does not publish; `quantlab_tests/defs/test_dagster_behaviour.py` pins what is relied on.
"""

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg

from quantlab_assets.defs.data.read_ledger import ReadLedger
from quantlab_assets.defs.partitions import UNPARTITIONED
from quantlab_assets.domain.artifacts.identity import content_digest
from quantlab_assets.domain.errors import ValidationFailed

_LEDGERS: "WeakKeyDictionary[dg.AssetExecutionContext, ReadLedger]" = WeakKeyDictionary()


def current_ledger() -> ReadLedger:
    """The ledger of the running step attempt: one a context, gone with it."""
    return _LEDGERS.setdefault(dg.AssetExecutionContext.get(), ReadLedger())


def declared_dependencies(asset: dg.AssetKey) -> frozenset[dg.AssetKey]:
    """The assets that `asset` says it depends on."""
    return frozenset(_graph().get(asset).parent_keys)


def check_declared(upstream: str) -> None:
    """Raise `ValidationFailed` unless every output of the running step depends on `upstream`."""
    context = dg.AssetExecutionContext.get()
    key = dg.AssetKey.from_user_string(upstream)
    for asset in context.selected_asset_keys:
        if key not in declared_dependencies(asset):
            raise ValidationFailed(
                f"{asset.to_user_string()} reads {upstream} but does not declare it; add it to its "
                "deps"
            )


def upstream_partitions(asset: dg.AssetKey, partition: str) -> dict[str, list[str]]:
    """The partitions of each upstream asset that one partition of `asset` depends on.

    Partitions are those the mapping names, also where they never ran; an unpartitioned asset has
    the one partition ''.
    """
    graph = _graph()
    partitioned = graph.get(asset).partitions_def is not None
    wanted: dict[str, list[str]] = {}
    with dg.partition_loading_context(
        dynamic_partitions_store=dg.AssetExecutionContext.get().instance
    ):
        for parent in declared_dependencies(asset):
            if parent == asset:
                continue
            if graph.get(parent).partitions_def is None:
                wanted[parent.to_user_string()] = [UNPARTITIONED]
            else:
                mapped = graph.get_parent_partition_keys_for_child(
                    partition if partitioned else None, parent, asset
                )
                wanted[parent.to_user_string()] = sorted(
                    mapped.partitions_subset.get_partition_keys()
                )
    return wanted


def set_data_version(asset: dg.AssetKey, content_hashes: Iterable[str]) -> None:
    """Tell Dagster the content of what was made."""
    dg.AssetExecutionContext.get().set_data_version(asset, data_version(content_hashes))


def data_version(content_hashes: Iterable[str]) -> dg.DataVersion:
    """The content as Dagster's data version: the hash, or the hash of the sorted hashes."""
    return dg.DataVersion(content_digest(content_hashes))


def _graph() -> Any:
    """The running job's asset graph; Dagster does not publish its type."""
    step = dg.AssetExecutionContext.get().get_step_execution_context()
    return step.job_def.asset_layer.asset_graph

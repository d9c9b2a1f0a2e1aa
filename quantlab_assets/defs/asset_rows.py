"""Rows of `domain.assets` as Dagster takes them, and the shapes that bodies of assets share.

What a single asset reads and computes is in `assets`.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import partial
from typing import Any, Final

import dagster as dg

from quantlab_assets.defs.data.io_managers import PartitionValue, artifact_metadata
from quantlab_assets.defs.partitions import DAYS, ONE_RUN
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.assets import ASSETS, Asset, Job

OWNERS: Final = ["team:quantlab"]
PARQUET: Final = frozenset({"parquet", "polars"})
_TYPES: Final = TypeRegistry()

Output = Callable[[date], PartitionValue]
"""What makes an asset's output for a day."""


def in_job(job: Job) -> dg.AssetSelection:
    """The assets whose rows name the job, a user's own among them."""
    return dg.AssetSelection.tag(_tag(job), "")


def described(
    asset: Asset | str,
    artifact_type: ArtifactType | None = None,
    *,
    kinds: frozenset[str] = PARQUET,
    code_version: str = "1",
) -> dict[str, Any]:
    """What `dg.asset`, `dg.AssetOut` and `dg.AssetSpec` are told of an asset, by its row.

    A name stands for a row of the lab's own. A type of a user's own must be given.
    """
    row = ASSETS[asset] if isinstance(asset, str) else asset
    if artifact_type is None and row.artifact_type is not None:
        artifact_type = _TYPES.get(row.artifact_type)
    arguments: dict[str, Any] = {
        "group_name": row.group,
        "kinds": set(kinds),
        "owners": OWNERS,
        "code_version": code_version,
        "tags": {_tag(job): "" for job in row.jobs},
    }
    if artifact_type is not None:
        arguments["metadata"] = artifact_metadata(artifact_type)
    if row.description:
        arguments["description"] = row.description
    return arguments


def lab_asset(
    asset: Asset | str,
    artifact_type: ArtifactType | None = None,
    *,
    kinds: frozenset[str] = PARQUET,
    code_version: str = "1",
    **how: Any,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """`dg.asset`, told of the asset by its row; `how` is what else `dg.asset` is to be told."""
    row = described(asset, artifact_type, kinds=kinds, code_version=code_version)
    decorator: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(**row, **how)
    return decorator


def daily_asset(
    asset: Asset | str, artifact_type: ArtifactType | None = None, **how: Any
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """As `lab_asset`, for an asset by UTC day of which a range of days is one run."""
    return lab_asset(asset, artifact_type, partitions_def=DAYS, backfill_policy=ONE_RUN, **how)


def outs(*names: str) -> dict[str, dg.AssetOut]:
    """The outputs of a body that makes several assets, none of which must be selected."""
    return {name: dg.AssetOut(key=name, is_required=False, **described(name)) for name in names}


def raw_files(name: str, kind: str, description: str) -> dg.AssetSpec:
    """Raw files as an asset that nothing makes."""
    return dg.AssetSpec(
        name,
        description=description,
        group_name=ASSETS[name].group,
        kinds={kind},
        owners=OWNERS,
    )


def day_by_day(context: dg.AssetExecutionContext, output: Output) -> dg.MaterializeResult[Any]:
    """The days of the run, each made when its turn comes."""
    return dg.MaterializeResult(value=_days(context, output))


def selected_outputs(
    context: dg.AssetExecutionContext, outputs: Mapping[str, Output]
) -> Iterator[dg.MaterializeResult[Any]]:
    """As `day_by_day`, for each output of a body that makes several, if it is wanted."""
    for name, output in outputs.items():
        key = dg.AssetKey(name)
        if key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key, value=_days(context, output))


def _days(
    context: dg.AssetExecutionContext, output: Output
) -> list[tuple[str, Callable[[], PartitionValue]]]:
    days = sorted(context.partition_keys)
    return [(day, partial(output, date.fromisoformat(day))) for day in days]


def _tag(job: Job) -> str:
    return f"quantlab/{job}"

"""Telegram messages by day, from the exports in the inbox."""

from datetime import date
from functools import partial
from typing import Any

import dagster as dg

from quantlab_assets.defs.data.io_managers import artifact_metadata
from quantlab_assets.defs.partitions import DAYS, ONE_RUN
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.seed_types import TELEGRAM_MESSAGES
from quantlab_assets.handlers.ingest.messages import messages_of_day

telegram_exports = dg.AssetSpec(
    "telegram_exports",
    description="Telegram exports in the inbox: raw files, named by their hash in lineage.",
    group_name="sources",
    kinds={"json"},
    owners=["team:quantlab"],
)


@dg.asset(
    deps=[telegram_exports],
    partitions_def=DAYS,
    backfill_policy=ONE_RUN,
    group_name="telegram",
    kinds={"parquet", "polars"},
    owners=["team:quantlab"],
    code_version="1",
    metadata=artifact_metadata(TELEGRAM_MESSAGES),
)
def telegram_messages(
    context: dg.AssetExecutionContext, lake: LakeResource
) -> dg.MaterializeResult[Any]:
    """Messages of one UTC day, one row for each version of a message, one artifact a chat.

    Grows: the union of what the lake holds and what the exports in the inbox bring, whatever the
    order in which they came. Nothing that was once seen is lost, also if a later export lacks it.
    """
    source, rules, key = lake.lake.readable_exports, lake.lake.rules, lake.lake.pseudonyms
    fingerprint = None if key is None else key.fingerprint
    ingest = partial(messages_of_day, source, rules=rules, pseudonym_key=fingerprint)
    return dg.MaterializeResult(
        value=(
            (day, partial(ingest, date.fromisoformat(day)))
            for day in sorted(context.partition_keys)
        )
    )

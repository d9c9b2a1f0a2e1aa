"""Telegram messages by day, and the exports in the inbox they come from.

How exports are read is in `lake.ingestion` and its adapters, how versions of a message are united
in `handlers.ingest.messages`; what is a call is asked in `defs.assets.alerts`.
"""

from functools import partial
from typing import Any

import dagster as dg

from quantlab_assets.defs.asset_rows import daily_asset, day_by_day, raw_files
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.assets import MESSAGES
from quantlab_assets.handlers.ingest.messages import messages_of_day

telegram_exports = raw_files(
    "telegram_exports",
    "json",
    "Telegram exports in the inbox: raw files, named by their hash in lineage.",
)


@daily_asset(MESSAGES, deps=[telegram_exports])
def telegram_messages(
    context: dg.AssetExecutionContext, lake: LakeResource
) -> dg.MaterializeResult[Any]:
    """Messages of one UTC day, one row for each version of a message, one artifact a chat.

    Grows: the union of what the lake holds and what the exports in the inbox bring, whatever the
    order in which they came. Nothing that was once seen is lost, also if a later export lacks it.
    """
    inbox = lake.lake.ingestion
    source, people = inbox.readable_exports, inbox.pseudonyms
    key = None if people is None else people.fingerprint
    ingest = partial(messages_of_day, source, rules=inbox.rules, pseudonym_key=key)
    return day_by_day(context, ingest)

"""What `quantlab ingest telegram` came to: what the command fills in and its report prints.

Only the data: how it is gathered is `telegram`'s, how it is shown is `report`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any


@dataclass(frozen=True, slots=True)
class Ingestion:
    """What an ingestion came to, or would come to. `counts` has the names of the partitions'
    figures, summed over the days; `unreadable` counts records by code."""

    files: Sequence[Mapping[str, Any]]
    days: Sequence[date]
    left_out: Sequence[date]
    counts: Mapping[str, int]
    unreadable: Mapping[str, int]
    new_artifacts: int
    deduped_artifacts: int
    dry_run: bool

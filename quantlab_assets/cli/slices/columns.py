"""How slices are shown: intervals by name, times by the minute."""

from datetime import UTC, datetime
from typing import Any, Final

from quantlab_assets.cli.shell.output import Column
from quantlab_assets.domain.artifacts.type import INTERVALS

_NAMES: Final = {seconds: name for name, seconds in INTERVALS.items()}


def interval_name(interval_s: Any) -> str:
    """`300` as `5m`."""
    return _NAMES.get(interval_s, f"{interval_s}s")


def minute(moment: datetime) -> str:
    """A UTC time; seconds only where there are some."""
    utc = moment.astimezone(UTC)
    return (
        f"{utc:%Y-%m-%d %H:%M}"
        if utc.second == utc.microsecond == 0
        else f"{utc:%Y-%m-%d %H:%M:%S}"
    )


INTERVAL: Final = Column("interval_s", show=interval_name, right=True)

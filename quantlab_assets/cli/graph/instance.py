"""Which Dagster instance the shell and the UI share.

One instance a lake: `DAGSTER_HOME` if it is set, else the `dagster.yaml` of the current folder,
else `<lake>/dagster`, which is created. Dagster itself looks at the first two in the same order.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantlab_assets.domain.errors import StoreUnavailable
from quantlab_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

CONFIGURATION: Final = "dagster.yaml"

LAKE_INSTANCE: Final = """\
# Dagster's own storage for this lake: runs, events, schedules, kept in this folder.
# The record of what the lab made is the manifest.
nux:
  enabled: false
telemetry:
  enabled: false
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
concurrency:
  runs:
    max_concurrent_runs: 2
  pools:
    default_limit: 1
    granularity: op
retention:
  schedule:
    purge_after_days: 30
  sensor:
    purge_after_days:
      skipped: 1
      success: 30
      failure: 30
freshness:
  enabled: false
"""


def instance_home(settings: Settings, current_folder: Path) -> Path:
    """The `DAGSTER_HOME` of a lake's instance, created if it is the lake's own and not there yet.

    A child process is given it even where it is the current folder: left to itself `dagster dev`
    would copy the configuration to a temporary home, and what that does not name would go there.

    Raises `StoreUnavailable` if the folder does not exist or cannot be written.
    """
    if settings.dagster_home is not None:
        if not settings.dagster_home.is_dir():
            raise StoreUnavailable(
                f"DAGSTER_HOME is {settings.dagster_home}, which is no folder; "
                "create it or unset it"
            )
        return settings.dagster_home
    if (current_folder / CONFIGURATION).is_file():
        return current_folder
    own = settings.lake / "dagster"
    try:
        own.mkdir(parents=True, exist_ok=True)
        configuration = own / CONFIGURATION
        if not configuration.exists():
            configuration.write_text(LAKE_INSTANCE, encoding="utf-8")
    except OSError as error:
        raise StoreUnavailable(f"cannot create {own}: {error.strerror}") from error
    return own


@contextmanager
def open_instance(settings: Settings, current_folder: Path) -> "Iterator[dg.DagsterInstance]":
    """The lake's Dagster instance, closed on leaving."""
    import dagster as dg

    with dg.DagsterInstance.from_config(str(instance_home(settings, current_folder))) as instance:
        yield instance

"""Drives the asset graph from the shell, in this process, on the instance that the UI shows.

What the shell does therefore stands in the UI: the same assets, runs and events.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from quantlab_assets.cli.graph.instance import open_instance
from quantlab_assets.domain.errors import QuantlabError
from quantlab_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

RANGE_START: Final = "dagster/asset_partition_range_start"
RANGE_END: Final = "dagster/asset_partition_range_end"
EXPERIMENTS: Final = "experiments"
"""The dynamic partitions of the experiment assets, by experiment id."""

QUIET: Final[Mapping[str, object]] = {
    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
}
"""Keeps Dagster's log off the terminal; the event log has it all the same."""


@dataclass(frozen=True, slots=True)
class GraphRun:
    """A finished run: its id, and the assets it materialised."""

    run_id: str
    assets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartitionFigures:
    """The whole numbers in the metadata of one materialised partition."""

    asset: str
    partition: str
    numbers: Mapping[str, int]


class Graph:
    """The asset graph of one lake and its Dagster instance. Use `open_graph`."""

    def __init__(self, definitions: "dg.Definitions", instance: "dg.DagsterInstance") -> None:
        self._definitions = definitions
        self._job = definitions.resolve_implicit_global_asset_job_def()
        self._instance = instance

    def days(self, asset: str) -> tuple[date, date]:
        """The first and the last UTC day that are partitions of an asset now."""
        partitions = self._definitions.resolve_assets_def(asset).partitions_def
        keys = [] if partitions is None else [partitions.get_first_partition_key()]
        keys += [] if partitions is None else [partitions.get_last_partition_key()]
        first, last = (date.fromisoformat(key) for key in keys if key is not None)
        return first, last

    def figures(self, run: "GraphRun") -> list["PartitionFigures"]:
        """What a run's materialisations say in numbers, asset by asset and day by day."""
        import dagster as dg

        figures = []
        for entry in self._instance.all_logs(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ):
            event = entry.dagster_event
            if event is None or event.asset_key is None:
                continue
            metadata = event.step_materialization_data.materialization.metadata
            numbers = {
                name: value.value
                for name, value in metadata.items()
                if isinstance(value, dg.IntMetadataValue) and value.value is not None
            }
            asset = event.asset_key.to_user_string()
            figures.append(PartitionFigures(asset, event.partition or "", numbers))
        return figures

    def materialize(
        self,
        assets: Sequence[str],
        *,
        days: tuple[date, date] | None = None,
        experiment: str | None = None,
        on_step: Callable[[str], None] | None = None,
    ) -> GraphRun:
        """Materialise assets: a range of UTC days (both included), or one experiment, or neither.

        `on_step` is called with the name of each step that starts. Raises the `QuantlabError` of
        the step that failed; any other exception of a step as it is; `KeyboardInterrupt` on Ctrl-C.
        """
        import dagster as dg

        tags: dict[str, str] = {}
        if days is not None:
            tags = {RANGE_START: days[0].isoformat(), RANGE_END: days[1].isoformat()}
        if experiment is not None:
            self._instance.add_dynamic_partitions(EXPERIMENTS, [experiment])
        run_id = str(uuid4())
        if on_step is not None:
            self._instance.add_event_listener(run_id, _step_starts(on_step))
        try:
            self._job.execute_in_process(
                run_config=QUIET,
                instance=self._instance,
                asset_selection=[dg.AssetKey.from_user_string(name) for name in assets],
                partition_key=experiment,
                tags=tags,
                run_id=run_id,
            )
        except dg.DagsterExecutionInterruptedError:
            # Dagster's own Ctrl-C is no KeyboardInterrupt, and nobody else would know it.
            raise KeyboardInterrupt from None
        except Exception as error:
            raise raised_on_purpose(error) or error from None
        return GraphRun(run_id, tuple(assets))


@contextmanager
def open_graph(settings: Settings) -> Iterator[Graph]:
    """The asset graph of a lake, its instance closed on leaving."""
    from quantlab_assets.definitions import build_defs

    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    with open_instance(settings, Path.cwd()) as instance:
        yield Graph(build_defs(settings), instance)


def _step_starts(on_step: Callable[[str], None]) -> "Callable[[dg.EventLogEntry], None]":
    def listen(entry: "dg.EventLogEntry") -> None:
        event = entry.dagster_event
        if event is not None and event.is_step_start and event.step_key:
            on_step(event.step_key)

    return listen


def raised_on_purpose(error: BaseException) -> QuantlabError | None:
    """The project's own error among the causes: Dagster wraps what a step raises.

    The wrapper is the context of what it wraps, so the causes can go round in a circle.
    """
    seen: list[BaseException] = []
    wanted: BaseException | None = error
    while wanted is not None and not any(wanted is known for known in seen):
        if isinstance(wanted, QuantlabError):
            return wanted
        seen.append(wanted)
        wanted = getattr(wanted, "user_exception", None) or wanted.__cause__ or wanted.__context__
    return None

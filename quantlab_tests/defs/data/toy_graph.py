"""A small graph over a real lake: daily `raw`, `derived` (two days of it), `total` of all."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import dagster as dg
import polars as pl

from quantlab_assets.defs.data.io_managers import ArtifactIOManager, artifact_metadata
from quantlab_assets.defs.data.read_ledger import PartitionFrames
from quantlab_assets.defs.partitions import ONE_RUN
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.records import ArtifactDraft, LineageInput, PartitionOutput
from quantlab_assets.domain.artifacts.seed_types import ALERTS_QUARANTINE, EXPERIMENT_DEFINITION

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2027-01-01", timezone="UTC")
TEXTS = {f"2025-11-0{n}": f"text {n}" for n in range(1, 6)}
PARTITIONED = {"partitions_def": DAYS, "backfill_policy": ONE_RUN}


def quarantine(day: str, text: str, copies: int = 1) -> ArtifactDraft:
    """A draft of one text a day: the toy's raw data."""
    frame = pl.DataFrame(
        {
            "chat_id": [1] * copies,
            "message_id": list(range(copies)),
            "ts_utc": [None] * copies,
            "sender_name": [None] * copies,
            "text": [text] * copies,
            "error_code": ["unknown_shape"] * copies,
            "error_reason": ["toy"] * copies,
        },
        schema=pl.DataFrame(ALERTS_QUARANTINE.empty()).schema,
    )
    return ArtifactDraft("alerts_quarantine", f"day={day}", frame.to_arrow())


def definition(number: int, text: str) -> ArtifactDraft:
    """A draft derived from texts; `number` makes its key."""
    experiment = f"exp-{number:016x}"
    frame = pl.DataFrame({"experiment_id": [experiment], "definition_json": [f'{{"t":"{text}"}}']})
    return ArtifactDraft(
        "experiment_definition", f"experiment={experiment}/definition", frame.to_arrow()
    )


def number_of(day: str) -> int:
    return int(day.replace("-", ""))


@dataclass
class Toy:
    """The toy's texts by day, and the graph over them. A day without text produces nothing."""

    root: Path
    texts: dict[str, str] = field(default_factory=dict)
    fail_on: str | None = None
    """The day whose output cannot be made; the others can."""
    die_on: str | None = None
    """The day at which the whole body dies."""
    retries: int = 0
    dies: int = 1_000_000
    """How often it dies there."""
    fails_after_reading: int = 0
    """How many attempts of `derived` read all of `raw` and then fail."""
    before_body: Callable[[], None] = lambda: None
    """Called in the body of `derived`, after its input was resolved."""

    def assets(self) -> list[dg.AssetsDefinition]:
        toy = self

        @dg.asset(
            metadata=artifact_metadata(ALERTS_QUARANTINE),
            retry_policy=dg.RetryPolicy(max_retries=self.retries) if self.retries else None,
            **PARTITIONED,
        )
        def raw(context: dg.AssetExecutionContext):
            def output(day: str) -> PartitionOutput:
                if day == toy.fail_on:
                    raise ValueError(f"no data for {day}")
                text = toy.texts.get(day)
                return PartitionOutput((quarantine(day, text),) if text else ())

            def days() -> Iterator[tuple[str, Callable[[], PartitionOutput]]]:
                for day in context.partition_keys:
                    if day == toy.die_on and toy.dies > 0:
                        toy.dies -= 1
                        raise RuntimeError(f"died at {day}")
                    yield day, partial(output, day)

            return dg.MaterializeResult(value=days())

        @dg.asset(
            ins={
                "raw": dg.AssetIn(partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1))
            },
            retry_policy=dg.RetryPolicy(max_retries=1) if toy.fails_after_reading else None,
            metadata=artifact_metadata(EXPERIMENT_DEFINITION),
            **PARTITIONED,
        )
        def derived(context: dg.AssetExecutionContext, raw: PartitionFrames):
            toy.before_body()

            def days() -> Iterator[tuple[str, PartitionOutput]]:
                if context.retry_number < toy.fails_after_reading:
                    for day in raw:
                        raw.artifacts(day)
                    raise RuntimeError("failed after reading everything")
                for day in context.partition_keys:
                    texts = [
                        text
                        for upstream in raw
                        if upstream <= day and upstream >= _before(day)
                        for text in raw[upstream].select("text").collect()["text"]
                    ]
                    yield day, PartitionOutput((definition(number_of(day), "+".join(texts)),))

            return dg.MaterializeResult(value=days())

        @dg.asset(metadata=artifact_metadata(EXPERIMENT_DEFINITION))
        def total(raw: PartitionFrames):
            texts = [t for day in raw for t in raw[day].select("text").collect()["text"]]
            return dg.MaterializeResult(value=PartitionOutput((definition(1, "+".join(texts)),)))

        @dg.asset(deps=["raw"], metadata=artifact_metadata(EXPERIMENT_DEFINITION), **PARTITIONED)
        def unread(context: dg.AssetExecutionContext):
            return dg.MaterializeResult(
                value=[
                    (day, PartitionOutput((definition(2 * 10**9 + number_of(day), "x"),)))
                    for day in context.partition_keys
                ]
            )

        @dg.asset(metadata=artifact_metadata(EXPERIMENT_DEFINITION), **PARTITIONED)
        def naughty(context: dg.AssetExecutionContext, lake: LakeResource):
            lake.frames("raw", "alerts_quarantine", context.partition_keys)
            return dg.MaterializeResult(value=[])

        return [raw, derived, total, unread, naughty]

    def defs(self, executor: dg.ExecutorDefinition = dg.in_process_executor) -> dg.Definitions:
        lake = LakeResource(root=str(self.root))
        return dg.Definitions(
            assets=self.assets(),
            resources={"lake": lake, "io_manager": ArtifactIOManager(lake=lake)},
            executor=executor,
        )

    def run(
        self,
        instance: dg.DagsterInstance,
        assets: list[str],
        days: tuple[str, str] | None = None,
        *,
        raise_on_error: bool = True,
    ) -> dg.ExecuteInProcessResult:
        tags: Mapping[str, str] = (
            {
                "dagster/asset_partition_range_start": days[0],
                "dagster/asset_partition_range_end": days[1],
            }
            if days
            else {}
        )
        return (
            self.defs()
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(name) for name in assets],
                tags=tags,
                raise_on_error=raise_on_error,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
        )

    @property
    def store(self):
        return LakeResource(root=str(self.root)).lake.store

    def head(self, asset: str, partition: str = "") -> tuple[str, ...] | None:
        """The ids that a partition consists of."""
        artifacts = self.store.get_heads(asset, [partition])[partition]
        return None if artifacts is None else tuple(a.artifact_id for a in artifacts)

    def edges(self, asset: str, partition: str = "") -> set[LineageInput]:
        """What the partition's artifacts were made from, one level up."""
        found: set[LineageInput] = set()
        for artifact_id in self.head(asset, partition) or ():
            lineage = self.store.get_lineage(artifact_id, depth=1, all_publications=True)
            found |= {LineageInput(artifact_id=e.input_id, role=e.role) for e in lineage.edges}
        return found


def _before(day: str) -> str:
    from datetime import date, timedelta

    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()

"""Experiments as the records that the commands print."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from quantlab_assets.cli.shell.output import Column, Format, Verbatim, to_json, write_record
from quantlab_assets.domain.experiments.records import ExperimentEvent, ExperimentRecord

if TYPE_CHECKING:
    from quantlab_assets.lake.experiments import Experiments


def yes_no(value: bool) -> str:
    """A truth for people."""
    return "yes" if value else "no"


def moment(value: Any) -> str:
    """A time for people, in UTC."""
    return f"{value:%Y-%m-%d %H:%M:%S}"


LISTED: Final = (
    Column("experiment_id"),
    Column("name"),
    Column("status"),
    Column("stale", show=yes_no),
    Column("created_at", show=moment),
    Column("completed_at", show=moment),
    Column("alert_artifacts", right=True),
    Column("ohlcv_artifacts", right=True),
    Column("parent_id"),
)
SHOWN: Final = (
    *LISTED[:4],
    Column(
        "superseded", show=lambda inputs: f"{len(inputs.value)} inputs" if inputs.value else "none"
    ),
    *LISTED[4:],
    Column("started_at", show=moment),
    Column("strategy", show=to_json),
    Column("filters"),
    Column("params", show=to_json),
    Column("min_coverage"),
    Column("seed"),
    Column("engine_version"),
    Column("git_commit"),
    Column("git_diff_hash"),
    Column("outputs"),
    Column("error", show=lambda error: error.splitlines()[0]),
)


def listed_record(record: ExperimentRecord) -> dict[str, Any]:
    """An experiment in a list: what it is called and how it stands."""
    definition = record.definition
    return {
        "experiment_id": record.experiment_id,
        "name": definition.name,
        "status": record.status,
        "stale": record.stale,
        "created_at": record.created_at,
        "completed_at": record.completed_at,
        "alert_artifacts": len(definition.alert_artifact_ids),
        "ohlcv_artifacts": len(definition.slice_artifact_ids),
        "parent_id": record.parent_id,
    }


def full_record(experiments: "Experiments", record: ExperimentRecord) -> dict[str, Any]:
    """All that the ledger knows of an experiment, without the lists of its inputs."""
    definition = record.definition
    events = experiments.events(record.experiment_id)
    runs = [event for event in events if event.new_status == "running"]
    began = runs[-1].details if runs else {}
    return {
        **listed_record(record),
        "started_at": record.started_at,
        "strategy": Verbatim(definition.strategy.model_dump(mode="json", exclude_none=True)),
        "filters": Verbatim(
            {name: value for name, value in definition.filters.canonical().items() if value}
        ),
        "params": Verbatim(definition.params),
        "min_coverage": definition.min_coverage,
        "seed": definition.seed,
        "engine_version": definition.engine_version,
        "git_commit": began.get("git_commit"),
        "git_diff_hash": began.get("git_diff_hash"),
        "outputs": Verbatim(record.outputs),
        "superseded": Verbatim(
            experiments.superseded_inputs(record.experiment_id) if record.stale else {}
        ),
        "error": record.error,
    }


def write_experiment(
    experiments: "Experiments",
    record: ExperimentRecord,
    output_format: Format,
    *,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Print one experiment. JSON has its inputs and events too, and what is `beside` them."""
    write_record(
        full_record(experiments, record),
        SHOWN,
        output_format,
        whole=lambda: {**document(experiments, record), **(beside or {})},
    )


def document(experiments: "Experiments", record: ExperimentRecord) -> dict[str, Any]:
    """All that the ledger knows of an experiment, for programs."""
    definition = record.definition
    return {
        **full_record(experiments, record),
        "alert_artifact_ids": definition.alert_artifact_ids,
        "ohlcv_artifact_ids": definition.slice_artifact_ids,
        "events": [_event(event) for event in experiments.events(record.experiment_id)],
    }


def _event(event: ExperimentEvent) -> dict[str, Any]:
    return {
        "at": event.at,
        "old_status": event.old_status,
        "new_status": event.new_status,
        "error": event.error,
        "details": Verbatim(event.details),
    }

"""`quantlab experiments execute|cancel|rerun`: what changes how an experiment stands.

Executing goes through the asset graph, so that the UI shows it like any other run.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from quantlab_assets.cli.experiments.records import LISTED, listed_record, write_experiment
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import id_argument
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    Verbatim,
    format_option,
    say,
    write_records,
)
from quantlab_assets.domain.errors import Conflict
from quantlab_assets.domain.experiments.records import ExperimentRecord

if TYPE_CHECKING:
    from quantlab_assets.lake import Lake

METRICS: Final = (Column("metric"), Column("value", show=lambda value: f"{value:,.4f}", right=True))


@quantlab_command(
    "execute",
    examples="""
    quantlab experiments execute exp-4f1c09aa
    quantlab experiments execute exp-4f1c09aa --format json
    """,
)
@id_argument("experiment_id")
@click.option(
    "--take-over",
    is_flag=True,
    help="Run it although it is running on another machine: that run has died.",
)
@format_option
@pass_session
def execute(session: Session, experiment_id: str, take_over: bool, output_format: Format) -> None:
    """Run an experiment: check its inputs, simulate, publish the results, all of them or none.

    Ctrl-C leaves it cancelled, and it can be executed again; so can one that failed, or whose run
    was killed. A completed one is left as it is.
    """
    lake = session.open_lake()
    record = lake.experiments.get(experiment_id)
    _execute(session, lake, record, take_over=take_over)
    _show(lake, record.experiment_id, output_format)


@quantlab_command("cancel", examples="quantlab experiments cancel exp-4f1c09aa")
@id_argument("experiment_id")
@format_option
@pass_session
def cancel(session: Session, experiment_id: str, output_format: Format) -> None:
    """Cancel an experiment that is pending or running; a run stops before it publishes anything."""
    experiments = session.open_lake().experiments
    record = experiments.cancel(experiment_id)
    write_records([listed_record(record)], LISTED, output_format)
    say(f"cancelled; resume it: quantlab experiments execute {record.experiment_id}")


@quantlab_command(
    "rerun",
    examples="""
    quantlab experiments rerun exp-4f1c09aa
    quantlab experiments rerun exp-4f1c09aa --reselect --no-execute
    """,
)
@id_argument("experiment_id")
@click.option(
    "--reselect",
    is_flag=True,
    help="Choose alerts and slices anew by the filters, instead of only what was superseded.",
)
@click.option("--execute/--no-execute", default=True, show_default=True, help="Run the child too.")
@format_option
@pass_session
def rerun(
    session: Session, experiment_id: str, reselect: bool, execute: bool, output_format: Format
) -> None:
    """Ask the same question of what the inputs have become, by today's engine: a child experiment.

    The child names its parent, which stays as it is.
    """
    lake = session.open_lake()
    made = lake.experiments.rerun(experiment_id, reselect=reselect, execute=False)
    for old, new in made.replaced.items():
        say(f"{old} was superseded by {new or 'nothing, and is left out'}")
    if made.engine_changed:
        say("the engine has changed since")
    if made.unchanged:
        say("nothing has changed since: there is no child to make")
    elif execute:
        _execute(session, lake, made.record, take_over=False)
    _show(lake, made.record.experiment_id, output_format)


def _execute(session: Session, lake: "Lake", record: ExperimentRecord, *, take_over: bool) -> None:
    name = record.experiment_id
    if record.status == "completed":
        say(f"{name} is completed already; nothing was run")
        return
    if take_over:
        lake.experiments.execute(name, take_over=True)
    elif record.status == "running":
        from quantlab_assets.handlers.experiments.dead_runs import running_elsewhere

        raise Conflict(running_elsewhere(lake.experiments.tracker, record))
    if record.status == "failed":
        say(f"resuming: {(record.error or 'the last run failed').splitlines()[0]}")
    _materialize(session, lake.assets.of(group="experiments"), name)


def _materialize(session: Session, assets: Sequence[str], experiment_id: str) -> None:
    from quantlab_assets.cli.graph.runs import open_graph
    from quantlab_assets.cli.shell.progress import show_progress

    with show_progress() as progress, open_graph(session.settings) as graph:
        try:
            graph.materialize(
                assets, experiment=experiment_id, on_step=progress.steps(experiment_id)
            )
        except BaseException as error:
            # Dagster's own class for Ctrl-C is no Exception, and means nothing to click.
            if type(error).__name__ == "DagsterExecutionInterruptedError":
                raise KeyboardInterrupt from None
            raise


def _show(lake: "Lake", experiment_id: str, output_format: Format) -> None:
    record = lake.experiments.get(experiment_id)
    metrics = _metrics(lake, record)
    write_experiment(lake.experiments, record, output_format, beside={"metrics": Verbatim(metrics)})
    if metrics and output_format is Format.TABLE:
        rows = [{"metric": name, "value": value} for name, value in metrics.items()]
        write_records(rows, METRICS, output_format)
    if record.stale:
        say(
            "stale: inputs were superseded, and the frozen ones used;"
            f" see: quantlab experiments get {experiment_id}"
        )


def _metrics(lake: "Lake", record: ExperimentRecord) -> dict[str, Any]:
    """The metrics over all trades, by name; none of what has not run."""
    if "metrics" not in record.outputs:
        return {}
    overall = lake.metrics(record.experiment_id).filter(scope="all").sort("metric_name")
    return dict(overall.select("metric_name", "metric_value").iter_rows())

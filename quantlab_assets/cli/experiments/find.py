"""`quantlab experiments list|get|find-by-inputs|project`: what the ledger knows."""

from datetime import datetime
from typing import Final, get_args

import click

from quantlab_assets.cli.experiments.records import (
    LISTED,
    listed_record,
    write_experiment,
)
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import TEXT, MomentType, id_argument, limit_option
from quantlab_assets.cli.shell.output import (
    Format,
    format_option,
    plural,
    say,
    write_records,
)
from quantlab_assets.domain.experiments.records import ExperimentFilter, ExperimentStatus

STATUSES: Final = get_args(ExperimentStatus)


@quantlab_command(
    "list",
    examples="""
    quantlab experiments list
    quantlab experiments list --status failed --limit 10
    quantlab experiments list --stale --format json
    """,
)
@click.option("--status", type=click.Choice(STATUSES), help="Only experiments of this status.")
@click.option("--name", type=TEXT, help="Only experiments of this name.")
@click.option("--from", "start", type=MomentType(), metavar="D", help="Created on or after.")
@click.option("--to", "end", type=MomentType(end=True), metavar="D", help="Created until.")
@click.option("--parent", metavar="ID", help="Only reruns of this experiment.")
@click.option(
    "--stale/--fresh", default=None, help="Only those with, or without, a superseded input."
)
@limit_option
@format_option
@pass_session
def list_experiments(
    session: Session,
    status: ExperimentStatus | None,
    name: str | None,
    start: datetime | None,
    end: datetime | None,
    parent: str | None,
    stale: bool | None,
    limit: int | None,
    output_format: Format,
) -> None:
    """List experiments, newest first."""
    experiments = session.open_lake().experiments
    where = ExperimentFilter(
        status=status,
        name=name,
        created_from=start,
        created_to=end,
        parent_id=None if parent is None else experiments.resolve_id(parent),
        stale=stale,
    )
    records = experiments.list(where, limit=limit)
    write_records([listed_record(record) for record in records], LISTED, output_format)


@quantlab_command(
    "get",
    examples="""
    quantlab experiments get exp-4f1c09aa
    quantlab experiments get exp-4f1c09aa --format json
    """,
)
@id_argument("experiment_id")
@format_option
@pass_session
def get(session: Session, experiment_id: str, output_format: Format) -> None:
    """Show an experiment: what it froze, how it stands, where and by which code it ran.

    JSON has the ids of all inputs and every event besides.
    """
    experiments = session.open_lake().experiments
    record = experiments.get(experiment_id)
    write_experiment(experiments, record, output_format)
    if output_format is Format.TABLE:
        for old, new in experiments.superseded_inputs(record.experiment_id).items():
            say(f"{old} was superseded by {new or 'nothing'}")
        if record.stale:
            say(f"run it on the new inputs: quantlab experiments rerun {record.experiment_id}")


@quantlab_command(
    "find-by-inputs",
    examples="""
    quantlab experiments find-by-inputs --artifacts 4f1c09aa,9be2c117
    quantlab experiments find-by-inputs --artifacts 4f1c09aa --match all --format json
    """,
)
@click.option(
    "--artifacts", required=True, metavar="ID,ID", help="Ids of artifacts, divided by commas."
)
@click.option(
    "--match",
    type=click.Choice(["any", "all"]),
    default="any",
    show_default=True,
    help="Whether one of them is enough.",
)
@format_option
@pass_session
def find_by_inputs(session: Session, artifacts: str, match: str, output_format: Format) -> None:
    """List the experiments that froze any, or all, of some artifacts."""
    lake = session.open_lake()
    wanted = [
        lake.store.resolve_id(artifact_id.strip())
        for artifact_id in artifacts.split(",")
        if artifact_id.strip()
    ]
    if not wanted:
        raise click.BadParameter("name an artifact", param_hint="--artifacts")
    records = lake.experiments.find_by_input_artifacts(
        wanted, match="all" if match == "all" else "any"
    )
    write_records([listed_record(record) for record in records], LISTED, output_format)


@quantlab_command("project", examples="quantlab experiments project")
@pass_session
def project(session: Session) -> None:
    """Build experiments.duckdb, the ledger as tables for SQL, and print its path."""
    lake = session.open_lake()
    path = lake.experiments.project()
    click.echo(str(path))
    say(f"{plural(len(lake.experiments.list()), 'experiment')}; disposable, built from the ledger")

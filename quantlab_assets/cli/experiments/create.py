"""`quantlab experiments create`: freeze inputs, strategy and filters."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from quantlab_assets.cli.experiments.records import write_experiment
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import TEXT, MomentType, shortened
from quantlab_assets.cli.shell.output import (
    Format,
    format_option,
    plural,
    say,
)
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.experiments.records import AlertFilters
from quantlab_assets.domain.tokens.token import CHAINS

if TYPE_CHECKING:
    from quantlab_assets.domain.experiments.strategy import Strategy
    from quantlab_assets.lake import Lake

STRATEGY_BYTES: Final = 1 << 20
"""A strategy has a few hundred bytes; a file of more is not one."""


@quantlab_command(
    "create",
    examples="""
    quantlab experiments create --name first --strategy strategy.json
    quantlab experiments create --name november --strategy runner --from 2025-11-01 --to 2025-11-30
    quantlab experiments create --name two --alerts 4f1c09aa,9be2c117 --ohlcv auto --strategy runner
    """,
)
@click.option("--name", required=True, type=TEXT, help="A label; it does not change the id.")
@click.option(
    "--alerts",
    default="all",
    show_default=True,
    metavar="ID,ID|all",
    help="Which alerts to freeze.",
)
@click.option(
    "--ohlcv",
    default="auto",
    show_default=True,
    metavar="ID,ID|auto",
    help="Which slices to freeze; auto: of all tokens that the alerts call.",
)
@click.option(
    "--strategy", required=True, metavar="NAME|FILE.json", help="A named strategy, or a file."
)
@click.option("--from", "start", type=MomentType(), metavar="D", help="First call that counts.")
@click.option("--to", "end", type=MomentType(end=True), metavar="D", help="Last call that counts.")
@click.option("--caller", type=TEXT, help="Only calls of this caller (as in alerts list).")
@click.option("--chain", type=click.Choice(CHAINS), help="Only calls on this chain.")
@click.option("--first-call", is_flag=True, help="Only the first call of each token.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="K=V",
    help="Anything to record, JSON or text; part of the id. Repeat it for several.",
)
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 1),
    metavar="F",
    help="Refuse to run on slices with less than this share of their candles.",
)
@format_option
@pass_session
def create(
    session: Session,
    name: str,
    alerts: str,
    ohlcv: str,
    strategy: str,
    start: datetime | None,
    end: datetime | None,
    caller: str | None,
    chain: str | None,
    first_call: bool,
    params: tuple[str, ...],
    min_coverage: float | None,
    output_format: Format,
) -> None:
    """Freeze an experiment: alerts, slices, strategy and filters, found once and kept by id.

    The same experiment is the same id, whatever its name: creating it twice changes nothing.
    """
    lake = session.open_lake()
    before = {record.experiment_id for record in lake.experiments.list()}
    record = lake.experiments.create(
        name,
        find_strategy(lake, strategy),
        alerts=_ids(lake, alerts, "all"),
        slices=_ids(lake, ohlcv, "auto"),
        filters=AlertFilters(start, end, caller, chain, first_call),
        params=_params(params),
        min_coverage=min_coverage,
    )
    _show_in_graph(session, record.experiment_id)
    write_experiment(lake.experiments, record, output_format)
    definition = record.definition
    if record.experiment_id in before:
        say(f"{record.experiment_id} was there already, as {definition.name!r}: {record.status}")
    else:
        say(
            f"froze {plural(len(definition.alert_artifact_ids), 'alerts artifact')} and"
            f" {plural(len(definition.slice_artifact_ids), 'slice')};"
            f" run it: quantlab experiments execute {record.experiment_id}"
        )


def find_strategy(lake: "Lake", named: str) -> "Strategy":
    """The strategy in a file, or of a name. Raises `NotFound`, `ValidationFailed`."""
    from quantlab_assets.domain.experiments.strategy import Strategy

    if not (named.endswith(".json") or "/" in named):
        return lake.experiments.strategy(named).strategy
    path = Path(named)
    with path.open("rb") as file:
        text = file.read(STRATEGY_BYTES + 1)
    if len(text) > STRATEGY_BYTES:
        raise ValidationFailed(f"{named}: more than {STRATEGY_BYTES} bytes are no strategy")
    return Strategy.from_json(text)


def _ids(lake: "Lake", given: str, everything: Any) -> Literal["all", "auto"] | list[str]:
    if given == everything:
        return everything  # type: ignore[no-any-return]
    return [
        lake.store.resolve_id(artifact_id.strip())
        for artifact_id in given.split(",")
        if artifact_id.strip()
    ]


def _params(given: tuple[str, ...]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for pair in given:
        key, divided, value = pair.partition("=")
        if not divided or not key:
            raise click.BadParameter(f"{shortened(pair)}: write k=v", param_hint="--param")
        try:
            params[key] = json.loads(value)
        except ValueError:
            params[key] = value
    return params


def _show_in_graph(session: Session, experiment_id: str) -> None:
    """Make the experiment a partition of the asset graph, so that the UI can run it too."""
    from quantlab_assets.cli.graph.instance import open_instance
    from quantlab_assets.cli.graph.runs import EXPERIMENTS

    with open_instance(session.settings, Path.cwd()) as instance:
        instance.add_dynamic_partitions(EXPERIMENTS, [experiment_id])

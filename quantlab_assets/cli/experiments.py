"""`quantlab experiments`: the group; each module beside this one has commands of one purpose."""

import click

from quantlab_assets.cli.command import LazyGroup

COMMANDS = {
    "create": "quantlab_assets.cli.experiments_create:create",
    "execute": "quantlab_assets.cli.experiments_run:execute",
    "list": "quantlab_assets.cli.experiments_find:list_experiments",
    "get": "quantlab_assets.cli.experiments_find:get",
    "find-by-inputs": "quantlab_assets.cli.experiments_find:find_by_inputs",
    "cancel": "quantlab_assets.cli.experiments_run:cancel",
    "rerun": "quantlab_assets.cli.experiments_run:rerun",
    "reproduce": "quantlab_assets.cli.experiments_judge:reproduce",
    "check-lookahead": "quantlab_assets.cli.experiments_judge:check_lookahead",
    "project": "quantlab_assets.cli.experiments_find:project",
}


@click.group(
    "experiments",
    cls=LazyGroup,
    commands_at=COMMANDS,
    examples="""
    quantlab experiments create --name first --strategy runner.json --from 2025-11-01
    quantlab experiments execute exp-4f1c09aa
    quantlab experiments reproduce exp-4f1c09aa
    """,
)
def experiments() -> None:
    """Freeze a question, run it, and show later that the answer still holds.

    Wherever an ID is asked for, its first 8 digits or more will do, or the experiment's name.
    """

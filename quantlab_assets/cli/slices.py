"""`quantlab slices`: the group; each module beside this one has commands of one purpose."""

import click

from quantlab_assets.cli.command import LazyGroup

COMMANDS = {
    "plan": "quantlab_assets.cli.slices_plan:plan",
    "export": "quantlab_assets.cli.slices_export:export",
    "list": "quantlab_assets.cli.slices_list:list_slices",
    "export-dataset": "quantlab_assets.cli.slices_dataset:export_dataset",
}


@click.group(
    "slices",
    cls=LazyGroup,
    commands_at=COMMANDS,
    examples="""
    quantlab slices plan --from 2025-11-06 --to 2025-11-08
    quantlab slices export
    quantlab slices list --grade poor
    """,
)
def slices() -> None:
    """Candles around the calls: what the source has for them, and what the lake holds."""

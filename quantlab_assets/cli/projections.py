"""`quantlab projections`: the group; each module beside this one has commands of one purpose."""

import click

from quantlab_assets.cli.command import LazyGroup

COMMANDS = {
    "build": "quantlab_assets.cli.projections_build:build",
    "rebuild": "quantlab_assets.cli.projections_keep:rebuild",
    "list": "quantlab_assets.cli.projections_keep:list_projections",
    "dispose": "quantlab_assets.cli.projections_keep:dispose",
    "sql": "quantlab_assets.cli.projections_sql:sql",
}


@click.group(
    "projections",
    cls=LazyGroup,
    commands_at=COMMANDS,
    examples="""
    quantlab projections sql "SELECT caller_name, count(*) FROM alerts GROUP BY ALL"
    quantlab projections build --table calls=alerts_v1 --from 2025-11-07 --name november
    quantlab projections list
    """,
)
def projections() -> None:
    """DuckDB files built from artifacts, to query and to throw away.

    Whatever is deleted here can be built again: nothing is lost.
    """

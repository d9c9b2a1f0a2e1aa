"""`quantlab artifacts`: the group; each module beside this one has the commands of one purpose."""

import click

from quantlab_assets.cli.command import LazyGroup

COMMANDS = {
    "list": "quantlab_assets.cli.artifacts_find:list_artifacts",
    "get": "quantlab_assets.cli.artifacts_find:get",
    "find": "quantlab_assets.cli.artifacts_find:find",
    "types": "quantlab_assets.cli.artifacts_find:types",
    "lineage": "quantlab_assets.cli.artifacts_lineage:lineage",
    "downstream": "quantlab_assets.cli.artifacts_lineage:downstream",
    "cat": "quantlab_assets.cli.artifacts_cat:cat",
    "publish": "quantlab_assets.cli.artifacts_publish:publish",
    "supersede": "quantlab_assets.cli.artifacts_change:supersede",
    "tombstone": "quantlab_assets.cli.artifacts_change:tombstone",
    "verify": "quantlab_assets.cli.artifacts_upkeep:verify",
    "gc": "quantlab_assets.cli.artifacts_upkeep:gc",
    "export": "quantlab_assets.cli.artifacts_bundle:export",
    "import": "quantlab_assets.cli.artifacts_bundle:import_",
    "rebuild-manifest": "quantlab_assets.cli.artifacts_upkeep:rebuild_manifest",
}


@click.group(
    "artifacts",
    cls=LazyGroup,
    commands_at=COMMANDS,
    examples="""
    quantlab artifacts list --type alerts_v1 --status active --limit 10
    quantlab artifacts lineage 4f1c09aa
    """,
)
def artifacts() -> None:
    """Find, read, publish and look after the immutable data of the lake.

    Wherever an ID is asked for, its first 8 digits or more will do.
    """

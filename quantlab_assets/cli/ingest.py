"""`quantlab ingest`: raw files into the lake, through the asset graph."""

import click

from quantlab_assets.cli.command import LazyGroup


@click.group(
    "ingest",
    cls=LazyGroup,
    commands_at={
        "telegram": "quantlab_assets.cli.ingest_telegram:telegram",
        "candles": "quantlab_assets.cli.ingest_candles:candles",
    },
    examples="""
    quantlab ingest telegram ~/Downloads/ChatExport_2025-11-09
    quantlab ingest candles ~/Downloads/candles
    """,
)
def ingest() -> None:
    """Bring raw files into the lake, and make from them what the graph makes."""

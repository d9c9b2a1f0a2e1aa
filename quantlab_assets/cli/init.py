"""`quantlab init`: an empty lake."""

import click

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command


@quantlab_command(
    "init",
    examples="""
    quantlab init
    quantlab init --lake ~/research/lake
    """,
)
@pass_session
def init(session: Session) -> None:
    """Create a lake: its folders and an empty manifest. Harmless where there is one already."""
    from quantlab_assets.lake.sources import candle_setup

    settings = session.settings
    candles = candle_setup(settings)
    existed = settings.manifest.exists()
    settings.create_folders()
    session.open_lake(create=True).store.is_available()
    click.echo(f"{'Found' if existed else 'Created'} the lake {settings.lake}")
    click.echo("")
    click.echo("What to do next:")
    click.echo(f"  1. put Telegram exports (JSON or HTML) into  {settings.telegram_inbox}/")
    click.echo(f"     {candles.first_step}")
    click.echo(f"  2. quantlab ui --lake {settings.lake}       and materialise the days you want")
    click.echo(f"  3. quantlab status --lake {settings.lake}")

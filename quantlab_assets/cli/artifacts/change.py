"""`quantlab artifacts supersede|tombstone`: what changes the standing of artifacts, never them."""

import click

from quantlab_assets.cli.artifacts.records import short_id
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import TEXT, id_argument
from quantlab_assets.cli.shell.output import say


@quantlab_command(
    "supersede",
    examples="""
    quantlab artifacts supersede 4f1c09aa 9be00210 --reason wrong-prices
    """,
)
@click.argument("new", type=TEXT)
@click.argument("old", type=TEXT)
@click.option("--reason", type=TEXT, required=True, help="Why; kept for good.")
@pass_session
def supersede(session: Session, new: str, old: str, reason: str) -> None:
    """Say that the artifact NEW replaces the active artifact OLD of the same type."""
    store = session.open_lake().store
    new_id, old_id = store.resolve_id(new), store.resolve_id(old)
    store.supersede(new_id, old_id, reason=reason)
    say(f"{short_id(new_id)} replaces {short_id(old_id)}")


@quantlab_command(
    "tombstone",
    examples="""
    quantlab artifacts tombstone 4f1c09aa --reason author-asked-for-it
    """,
)
@id_argument("artifact_id")
@click.option("--reason", type=TEXT, required=True, help="Why; kept for good.")
@pass_session
def tombstone(session: Session, artifact_id: str, reason: str) -> None:
    """Hide an artifact for good. Its row and hashes stay, so that what used it can be judged.

    Refused while an experiment or a tag pins it.
    """
    store = session.open_lake().store
    whole_id = store.resolve_id(artifact_id)
    store.tombstone(whole_id, reason)
    say(
        f"{short_id(whole_id)} is tombstoned;"
        " its bytes stay until `quantlab artifacts gc` purges them"
    )

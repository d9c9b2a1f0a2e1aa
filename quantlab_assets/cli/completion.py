"""`quantlab completion`: the script that lets a shell complete commands and options."""

import click
from click.shell_completion import get_completion_class

from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.domain.errors import NotFound


@quantlab_command(
    "completion",
    examples="""
    quantlab completion bash > ~/.local/share/bash-completion/completions/quantlab
    quantlab completion zsh > ~/.zfunc/_quantlab
    quantlab completion fish > ~/.config/fish/completions/quantlab.fish
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise NotFound(f"there is no completion for {shell}; choose bash, zsh or fish")
    root = ctx.find_root().command
    # `source()` would first ask the bash of this machine for its version: none is needed here.
    script = kind(root, {}, "quantlab", "_QUANTLAB_COMPLETE")
    click.echo(script.source_template % script.source_vars())

"""``exk completion``: commands, options and accounts completed by the shell."""

from __future__ import annotations

import click

SHELLS = {
    "bash": 'eval "$(exk completion bash)"          # in ~/.bashrc',
    "zsh": 'eval "$(exk completion zsh)"           # in ~/.zshrc',
    "fish": "exk completion fish | source           # in ~/.config/fish/config.fish",
}


@click.command("completion", epilog="\b\n" + "\n".join(SHELLS.values()))
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that completes exk in your shell."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    click.echo(kind(context.find_root().command, {}, "exk", "_EXK_COMPLETE").source())

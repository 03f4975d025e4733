"""`watcherd completion`: the script that teaches a shell our commands."""

from __future__ import annotations

import click

_EPILOG = """\b
Examples:
  watcherd completion bash >> ~/.bash_completion
  watcherd completion zsh > ~/.zfunc/_watcherd
  watcherd completion fish > ~/.config/fish/completions/watcherd.fish
"""


@click.command(epilog=_EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL."""
    from click.shell_completion import shell_complete

    shell_complete(context.find_root().command, {}, "watcherd", "_WATCHERD_COMPLETE", f"{shell}_source")

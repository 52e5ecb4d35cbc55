"""`partsong completion`: what a shell is told to complete commands and options."""

from __future__ import annotations

import click

__all__ = ["command"]

_SHELLS = ("bash", "zsh", "fish")


@click.command(epilog="Example: partsong completion fish")
@click.argument("shell", type=click.Choice(_SHELLS))
def command(shell: str) -> None:
    """Print a script by which SHELL completes commands and options.

    In bash and zsh put eval "$(partsong completion bash)" into ~/.bashrc or ~/.zshrc; in fish write what is printed to
    ~/.config/fish/completions/partsong.fish.
    """
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root().command
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101  # click has all three
    click.echo(found(root, {}, "partsong", "_PARTSONG_COMPLETE").source())

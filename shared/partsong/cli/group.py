"""`Group`: a group of commands, with what all groups have: the output's options, and a word for who mistypes."""

from __future__ import annotations

import difflib

import click

from partsong.cli.output import output_options

__all__ = ["Group"]


class Group(click.Group):
    """Groups commands; takes `-o`, `--quiet` and `--no-color` for all of them, and advises whoever mistypes a name."""

    def __init__(self, *args: object, **named: object) -> None:
        super().__init__(*args, **named)  # type: ignore[arg-type]
        self.params += output_options()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant.

        Raises:
            UsageError: there is none; it names those that may be meant.
        """
        word = args[0]
        if word.startswith("-") or self.get_command(ctx, word) is not None:
            return super().resolve_command(ctx, args)
        meant = difflib.get_close_matches(word, self.list_commands(ctx)) or self._inside(ctx, word)
        did = f" Did you mean {' or '.join(repr(one) for one in meant)}?" if meant else ""
        raise click.UsageError(f"No such command {word!r}.{did}", ctx)

    def _inside(self, ctx: click.Context, word: str) -> list[str]:
        """Commands of that name one level further down: who types `partsong start` means one of them."""
        groups = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        return [
            f"{name} {word}"
            for name, group in groups
            if isinstance(group, click.Group) and word in group.commands
        ]

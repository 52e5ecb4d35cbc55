"""`partsong`: the root command. A subcommand's module is imported only when it is used, so that help is instant."""

from __future__ import annotations

import importlib
import sys

import click

__all__ = ["main"]

_COMMANDS = {
    "up": ("up", "Run the whole platform on this machine."),
    "run": ("run", "Start runs, watch them, read them again."),
    "approval": ("approval", "See what waits for a person, and decide."),
    "graph": ("graph", "Check a graph, look at it."),
    "bus": ("bus", "Streams, queues and workers."),
    "worker": ("worker", "Run one service in this process."),
    "schema": ("schema", "The schemas of everything that travels."),
    "doctor": ("doctor", "Check this machine and the bus."),
    "version": ("version", "Print the version."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"partsong.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
def root() -> None:
    """Durable multi-agent orchestration on NATS."""


def main() -> None:
    """The entry point of the `partsong` script."""
    try:
        root(prog_name="partsong")
    except Exception as error:
        from partsong.contracts.errors import PartsongError  # pydantic costs more than all of click

        if not isinstance(error, PartsongError):
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

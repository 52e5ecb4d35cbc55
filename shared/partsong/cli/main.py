"""`partsong`: the root command. A subcommand's module is imported only when it is used, so that help is instant."""

from __future__ import annotations

import importlib
import sys

import click

from partsong.cli.group import Group
from partsong.cli.output import EXIT, Output
from partsong.cli.version import version_option

__all__ = ["main"]

_COMMANDS = {
    "new": ("new", "Make a project that runs."),
    "up": ("up", "Run NATS and all services on this machine."),
    "down": ("down", "Stop the `partsong up` of this directory."),
    "run": ("run", "Start runs, watch them, read them again."),
    "schedule": ("schedule", "Start runs again and again."),
    "approval": ("approval", "See what waits for a person, and decide."),
    "graph": ("graph", "Check a graph, look at it."),
    "tool": ("tool", "See the tools, and call one here."),
    "plugin": ("plugin", "See the plugins that are asked at hook points."),
    "mcp": ("mcp", "Tools of MCP servers, and Partsong as one."),
    "log": ("log", "Verify the log, back it up, restore it."),
    "bus": ("bus", "Streams, queues, workers and dead letters."),
    "worker": ("worker", "Run one service in this process."),
    "schema": ("schema", "The schemas of everything that travels."),
    "doctor": ("doctor", "Check this machine and the bus."),
    "completion": ("completion", "Print a script by which SHELL completes commands and options."),
    "version": ("version", "Print the versions of Partsong, Python and nats-server."),
}


class _Lazy(Group):
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
    """Durable multi-agent orchestration on NATS.

    Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 the run did not complete, 5 timeout, 78 the log is damaged,
    130 interrupted.
    """


root.params.append(version_option())


def main() -> int:
    """The entry point of the `partsong` script; the exit code."""
    out = Output()
    try:
        root.main(prog_name="partsong", standalone_mode=False, obj=out)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT["interrupted"]
    except Exception as error:
        from partsong.cli.failures import report  # pydantic costs more than all of click

        return report(error, out)
    return EXIT["ok"]


if __name__ == "__main__":
    sys.exit(main())

"""`partsong worker start ROLE`: one service in this process. This is what containers run."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click

from partsong.cli.group import Group
from partsong.cli.options import Address, address_options, data_option
from partsong.cli.output import EXIT, run_async
from partsong.cli.process_list import out_of_sight
from partsong.contracts.services import AGENT_GATEWAY, APPROVAL, GRAPH_ENGINE, SERVICES, TOOL_RUNNER
from partsong.runtime.visible import visible

if TYPE_CHECKING:
    from partsong.contracts.errors import InvalidInput

__all__ = ["command"]

_SAID_WHEN_CALLED = frozenset({"anthropic", "google-genai", "httpx2", "openai", "sqlglot"})
"""Packages without which a worker does less: who calls for one of them is told then."""
_EXTRA = {
    GRAPH_ENGINE: "engine",
    AGENT_GATEWAY: "gateway",
    TOOL_RUNNER: "tools",
    APPROVAL: "approval",
}


@click.group(cls=Group)
def command() -> None:
    """Run one service in this process."""


@command.command(epilog="Example: partsong worker start tool-runner --load shop.nodes")
@click.argument("role", type=click.Choice(SERVICES))
@click.option(
    "--nats",
    "nats_url",
    metavar="URL",
    help="NATS server; default: the one of the `partsong up` on the data directory.  [env: PARTSONG_NATS_URL]",
)
@data_option(
    "Data directory: marks and projections; a running `partsong up` says there where it is."
)
@click.option(
    "--prefix", help="First token of every subject.  [env: PARTSONG_PREFIX; default: partsong]"
)
@click.option("--name", help="Name that is stable over restarts.  [env: PARTSONG_WORKER]")
@click.option(
    "--load",
    "loads",
    multiple=True,
    metavar="MODULE",
    help="Module with functions and tools; may be repeated.  [env: PARTSONG_LOAD]",
)
@click.option(
    "--mcp",
    "mcp",
    multiple=True,
    metavar="NAME=URL|COMMAND",
    help="MCP server with tools, for the tool-runner; may be repeated.  [env: PARTSONG_MCP]",
)
def start(
    role: str,
    nats_url: str | None,
    data: Path,
    prefix: str | None,
    name: str | None,
    loads: tuple[str, ...],
    mcp: tuple[str, ...],
) -> None:
    """Run ROLE until it is told to stop (SIGTERM, Ctrl-C), then drain.

    Exit codes: 0 drained, 1 failed, 2 told something wrong, 78 the log is damaged.
    """
    from partsong.client.where import settings_nearby
    from partsong.runtime.serve import serve
    from partsong.runtime.settings import from_env

    given = {
        "PARTSONG_NATS_URL": out_of_sight(nats_url),
        "PARTSONG_DATA": str(data),
        "PARTSONG_PREFIX": prefix,
        "PARTSONG_WORKER": name,
        "PARTSONG_LOAD": ",".join(loads),
        "PARTSONG_MCP": ";".join(mcp),
    }
    env = {**os.environ, **{key: value for key, value in given.items() if value}}
    from_env(env)  # what was told wrong is said before what was not told
    settings = from_env(settings_nearby(env))
    if (role == TOOL_RUNNER and settings.loads) or any(
        ":" in one for one in (*settings.plugins, *settings.tools)
    ):
        sys.path.insert(
            0, str(Path.cwd())
        )  # where the modules are that are named; else nobody's code is wanted
    sys.exit(serve(_app(role).service(settings), settings))


def _app(role: str) -> ModuleType:
    """The module that wires a service.

    Raises:
        InvalidInput: `extra.missing`, naming what to install.
    """
    from partsong.runtime.extras import lacking

    if missing := [name for name in lacking(_EXTRA[role]) if name not in _SAID_WHEN_CALLED]:
        raise _missing(role, ", ".join(missing))
    try:
        return importlib.import_module(f"partsong.{role.replace('-', '_')}.app")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "partsong":
            raise
        raise _missing(role, str(error.name)) from error


def _missing(role: str, what: str) -> InvalidInput:
    from partsong.contracts.errors import InvalidInput

    return InvalidInput(
        "extra.missing",
        f"{role} needs what is not installed: {what}",
        where=role,
        fix=f"pip install 'partsong[{_EXTRA[role]}]'",
        fault="platform",
    )


@command.command(epilog="Example: partsong worker health --name tool-runner")
@address_options
@click.option("--name", help="Name of the worker.  [env: PARTSONG_WORKER; default: any]")
@click.option(
    "--alive",
    is_flag=True,
    help="Be content if it beats: also while it starts, which takes minutes where a long log is to be read.",
)
def health(name: str | None, address: Address, *, alive: bool) -> None:
    """Whether a worker is ready: exit code 0 if it says so within three seconds. For health checks of containers."""
    wanted = name or os.environ.get("PARTSONG_WORKER", "")

    async def work() -> tuple[str | None, str | None]:
        from partsong.runtime.heartbeat.monitor import LivenessMonitor

        async with address.client() as client:
            watch = LivenessMonitor(client.nats, client.subjects)
            await watch.start()
            try:
                ready = await watch.heard(wanted, within=3.0, ready=not alive)
                return ready, ready or await watch.heard(wanted, within=0.0)
            finally:
                await watch.stop()

    well, living = run_async(work())
    if living is None:
        said = f"no heartbeat of {wanted or 'any worker'}"
    elif well is None:
        said = f"{living} is alive, and not ready: it starts"
    else:
        said = f"{living} is {'alive' if alive else 'ready'}"
    click.echo(visible(said), err=True)
    sys.exit(EXIT["failure" if well is None else "ok"])

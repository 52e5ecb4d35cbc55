"""`partsong mcp`: the tools of MCP servers, and Partsong as an MCP server."""

from __future__ import annotations

import getpass
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from partsong.cli.group import Group
from partsong.cli.options import Address, address_options, data_option
from partsong.cli.output import Output, output_option, run_async

if TYPE_CHECKING:
    from partsong.tools.mcp import McpServers
    from partsong.tools.tool import AnyTool

__all__ = ["command", "mcp_option", "servers", "tools_data_option"]

mcp_option = click.option(
    "--mcp", "mcp", multiple=True, metavar="NAME=URL|COMMAND",
    help="MCP server with tools; may be repeated.  [env: PARTSONG_MCP]",
)  # fmt: skip

tools_data_option = data_option(
    "Data directory of the tool-runner: what MCP servers said of their tools, and what `remember` keeps."
)


@click.group(cls=Group)
def command() -> None:
    """Tools of MCP servers, and Partsong as one."""


@command.command("list", epilog="Example: partsong mcp list --mcp 'files=npx server-files .'")
@mcp_option
@tools_data_option
@output_option
def list_(mcp: tuple[str, ...], data: Path, out: Output) -> None:
    """The tools of the MCP servers, and whether each is allowed, new or changed."""

    async def work() -> list[dict[str, object]]:
        async with servers(mcp, out, data=data) as connected:
            return [
                {"server": name, "tool": one.tool, "is": one.how, "says": one.says}
                for name in connected.names
                for one in connected.standing(name)
            ]

    out.rows(run_async(work()), ("server", "tool", "is", "says"))


@command.command(epilog="Example: partsong mcp allow files --mcp 'files=npx server-files .'")
@click.argument("name")
@mcp_option
@tools_data_option
@output_option
def allow(name: str, mcp: tuple[str, ...], data: Path, out: Output) -> None:
    """Allow the tools of the server NAME as they are now. The tool-runner takes them up at its next start."""
    from partsong.contracts.errors import NotFound

    async def work() -> list[dict[str, object]]:
        async with servers(mcp, out, data=data) as connected:
            if name not in connected.names or name in connected.unreachable:
                raise NotFound(
                    "mcp.unknown",
                    f"no MCP server {name!r} is connected",
                    where=name,
                    fix="give --mcp NAME=URL|COMMAND, or set PARTSONG_MCP",
                )
            before = connected.standing(name)
            connected.allow(name)
            return [{"tool": one.tool, "was": one.how, "says": one.says} for one in before]

    out.rows(run_async(work()), ("tool", "was", "says"))


@command.command(epilog="Example: partsong mcp serve --http 8430")
@click.option(
    "--http",
    "port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Serve http://127.0.0.1:PORT/mcp instead of stdin and stdout.",
)
@click.option("--url", help="Approval service.  [env: PARTSONG_URL]")
@click.option(
    "--by",
    help="Whose name decisions are made in.  [default: your login name, and that it was MCP]",
)
@address_options
def serve(port: int | None, url: str | None, by: str | None, address: Address) -> None:
    """Offer start_run, get_run, list_approvals and approve to any MCP client."""
    _installed()
    from partsong.cli.mcp_server import platform_server
    from partsong.client.approvals import Approvals

    async def work() -> None:
        async with address.client() as client:
            name = by or f"{getpass.getuser()} (MCP)"
            server = platform_server(client, Approvals(url, data=address.data), by=name)
            if port is None:
                await server.run_stdio_async()
            else:
                await server.run_streamable_http_async(port=port)

    run_async(work())


@asynccontextmanager
async def servers(
    mcp: tuple[str, ...],
    out: Output,
    *,
    data: Path,
    register: Callable[[AnyTool], None] | None = None,
) -> AsyncIterator[McpServers]:
    """The MCP servers given, or those of the settings; who cannot be reached is said on stderr.

    What they said of their tools when these were allowed is in the `data` directory.
    """
    from partsong.runtime.settings import from_env
    from partsong.tools.mcp import McpServers, Pins
    from partsong.tools.mcp.pins import FILE

    logging.getLogger("partsong.tools.mcp").addHandler(logging.NullHandler())  # it is said below
    settings = from_env(os.environ)
    pins = Pins(data / FILE)
    async with McpServers(mcp or settings.mcp, pins=pins, register=register) as connected:
        for name, why in connected.unreachable.items():
            out.say(f"MCP server {name} cannot be reached: {why}")
        yield connected


def _installed() -> None:
    from importlib.util import find_spec

    from partsong.contracts.errors import Unavailable

    if find_spec("mcp") is None:
        raise Unavailable(
            "mcp.not_installed", "mcp is not installed", fix="pip install 'partsong[mcp]'"
        )

"""`partsong tool`: see the tools of this machine, and call one in this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from partsong.cli.group import Group
from partsong.cli.mcp import mcp_option, tools_data_option
from partsong.cli.options import parse_inputs
from partsong.cli.output import Output, output_option, run_async

if TYPE_CHECKING:
    from pydantic import JsonValue

    from partsong.tools.registry import ToolRegistry
    from partsong.tools.tool import AnyTool

__all__ = ["command"]

_RUN = "cli"
"""The run and the node a tool is told it is called from."""
_DATA = "PARTSONG_DATA"

allow_option = click.option(
    "--allow", "allowed", multiple=True, metavar="NAME",
    help="Entry point with tools, or MODULE:NAME; may be repeated.  [env: PARTSONG_TOOLS]",
)  # fmt: skip


@click.group(cls=Group)
def command() -> None:
    """See the tools, and call one here."""


@command.command("list", epilog="Example: partsong tool list -o json")
@allow_option
@mcp_option
@tools_data_option
@output_option
def list_(allowed: tuple[str, ...], mcp: tuple[str, ...], data: Path, out: Output) -> None:
    """The tools that agents and graphs may name."""

    async def work() -> list[dict[str, object]]:
        async with _registry(allowed, mcp, data, out) as registry:
            return [_row(registry.get(name)) for name in registry.names]

    out.rows(run_async(work()), ("name", "side_effect", "approval", "does"))


@command.command(epilog="Example: partsong tool show calculator")
@click.argument("name")
@allow_option
@mcp_option
@tools_data_option
@output_option
def show(
    name: str, allowed: tuple[str, ...], mcp: tuple[str, ...], data: Path, out: Output
) -> None:
    """One tool: what it does, its manners, and the schema of its arguments."""

    async def work() -> AnyTool:
        async with _registry(allowed, mcp, data, out) as registry:
            return registry.get(name)

    tool = run_async(work())
    out.record(
        {
            "name": tool.name,
            "description": tool.description,
            "side_effect": tool.side_effect,
            "idempotent": tool.idempotent,
            "approval": tool.approval,
            "timeout": tool.timeout,
            "retries": tool.retries,
            "output_cap": tool.output_cap,
            "redact": sorted(tool.redact),
            "parameters": tool.parameters.schema,
        }
    )


@command.command(epilog="Example: partsong tool call calculator -i expression='2 * 21'")
@click.argument("name")
@click.option(
    "-i", "--arg", "pairs", multiple=True, metavar="K=V|@FILE", help="Argument; may be repeated."
)
@click.option("--yes", is_flag=True, help="Approve the call of a tool that needs approval.")
@allow_option
@mcp_option
@tools_data_option
@output_option
def call(
    name: str,
    pairs: tuple[str, ...],
    *,
    yes: bool,
    allowed: tuple[str, ...],
    mcp: tuple[str, ...],
    data: Path,
    out: Output,
) -> None:
    """Call a tool here, as the tool-runner would: arguments checked, time and output limited.

    V is JSON if it is JSON, and text where the tool takes text. Exit code 2 if the arguments do not fit.
    """

    async def work() -> JsonValue:
        async with _registry(allowed, mcp, data, out) as registry:
            tool = registry.get(name)
            args = parse_inputs(tuple(_as_text(tool, pair) for pair in pairs))
            if not yes:
                _check_approval(tool, args)
            return await _called(registry, name, args, out)

    content = run_async(work())
    shown = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    out.line({"tool": name, "content": content}, shown)


@asynccontextmanager
async def _registry(
    allowed: tuple[str, ...], mcp: tuple[str, ...], data: Path, out: Output
) -> AsyncIterator[ToolRegistry]:
    """The registry that a tool-runner with the same settings has, with its MCP servers connected."""
    from partsong.cli.mcp import servers
    from partsong.runtime.settings import from_env
    from partsong.tools.registry import ToolRegistry

    sys.path.insert(0, str(Path.cwd()))
    registry = ToolRegistry(allow=allowed or from_env(os.environ).tools)
    with _data_directory(data):
        async with servers(mcp, out, data=data, register=registry.register):
            yield registry


@contextmanager
def _data_directory(data: Path) -> Iterator[None]:
    """Have the tools that are built in keep what they keep in the directory: they read it from the environment."""
    before = os.environ.get(_DATA)
    os.environ[_DATA] = str(data)
    try:
        yield
    finally:
        os.environ.pop(_DATA)
        if before is not None:
            os.environ[_DATA] = before


def _check_approval(tool: AnyTool, args: dict[str, JsonValue]) -> None:
    from partsong.contracts.errors import InvalidInput, PartsongError

    try:
        asks = tool.bind(args).needs_approval()
    except PartsongError:
        return  # the call itself says what is wrong with them
    if asks:
        raise InvalidInput(
            "tool.needs_approval",
            f"{tool.name} needs a person's approval",
            where=tool.name,
            fix="look at it with `partsong tool show`, and call it with --yes",
        )


async def _called(
    registry: ToolRegistry, name: str, args: dict[str, JsonValue], out: Output
) -> JsonValue:
    """The result of one call; what the tool shows meanwhile goes to stderr.

    Raises:
        PartsongError: the call failed, and this is why.
    """
    from partsong.contracts.errors import InvalidInput, PartsongError
    from partsong.contracts.events import CallCompleted, CallFailed
    from partsong.contracts.talk.chunks import Chunk, Text
    from partsong.contracts.wire.work import ToolWork
    from partsong.execution.executor import Executor
    from partsong.execution.functions import Functions

    def show(chunk: Chunk) -> None:
        if isinstance(chunk, Text):
            out.say(chunk.text)

    executor = Executor(Functions(), registry, slots=1)
    try:
        work = ToolWork(run_id=_RUN, call_id="1", node=_RUN, tool=name, args=args, approved=_RUN)
        outcome = await executor.run(work, show)
    finally:
        executor.close()
    if isinstance(outcome, CallFailed):
        typed = outcome.error.code == "tool.invalid_arguments"
        raise (InvalidInput if typed else PartsongError).of(outcome.error)
    assert isinstance(outcome, CallCompleted)  # noqa: S101  # code was given no tools to wait for
    return outcome.content


def _row(tool: AnyTool) -> dict[str, object]:
    return {
        "name": tool.name,
        "side_effect": tool.side_effect,
        "approval": tool.approval,
        "does": tool.description.partition("\n")[0],
    }


def _as_text(tool: AnyTool, pair: str) -> str:
    """The pair, its value made JSON text if that is what the parameter takes: `query=2024` is not a number."""
    key, equals, text = pair.partition("=")
    properties = tool.parameters.schema.get("properties")
    wanted = properties.get(key) if isinstance(properties, dict) else None
    if not equals or not isinstance(wanted, dict) or wanted.get("type") != "string":
        return pair
    return f"{key}={json.dumps(text)}"

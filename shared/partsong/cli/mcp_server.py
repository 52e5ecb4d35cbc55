"""Partsong as an MCP server: runs and approvals as tools, for any MCP client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field, JsonValue

from partsong.client import Client
from partsong.client.approvals import Approvals, Record
from partsong.contracts.errors import PartsongError
from partsong.contracts.state.state import RunState

__all__ = ["platform_server"]

T = TypeVar("T")

_ABOUT = """Durable runs of multi-agent graphs. start_run answers at once: ask get_run how the run stands. A run that
waits for an approval goes on when a person has decided: show the person what list_approvals says before approve."""

RunId = Annotated[str, Field(description="As start_run returned it.")]
Status = Literal["pending", "approved", "rejected", "expired", "cancelled", "damaged"]


def platform_server(client: Client, api: Approvals, *, by: str) -> MCPServer:
    """A server whose tools ask a connected client and an approval service; decisions are made in the name `by`."""
    server = MCPServer("partsong", instructions=_ABOUT, log_level="WARNING")
    _add_runs(server, client)
    _add_approvals(server, api, by)
    return server


def _add_runs(server: MCPServer, client: Client) -> None:
    @server.tool(annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False))
    async def start_run(
        graph: Annotated[
            str | dict[str, JsonValue],
            Field(description="The name or hash of a graph the bus knows, or a whole graph."),
        ],
        input: dict[str, JsonValue] | None = None,
        run_id: Annotated[
            str | None, Field(description="An id of your own: starting twice is then one run.")
        ] = None,
    ) -> dict[str, JsonValue]:
        """Start a run of a graph. Returns its id at once; the run goes on by itself."""
        try:
            return {"run_id": await client.start(graph, input, run_id=run_id)}
        except PartsongError as error:
            raise _told(error) from error

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def get_run(run_id: RunId) -> dict[str, JsonValue]:
        """How a run stands: its status, what it waits for, its state, and why it failed if it did."""
        try:
            return _shown(await client.state(run_id))
        except PartsongError as error:
            raise _told(error) from error


def _add_approvals(server: MCPServer, api: Approvals, by: str) -> None:
    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def list_approvals(
        status: Status = "pending",
        run_id: RunId | None = None,
        limit: Annotated[int, Field(ge=1, le=100)] = 20,
    ) -> dict[str, JsonValue]:
        """Approvals, the newest first: those that wait for a person, or have been decided."""
        found, more = await _asked(lambda: api.newest(limit=limit, status=status, run_id=run_id))
        return {"approvals": [dict(one) for one in found], "more": more}

    @server.tool(annotations=ToolAnnotations(read_only_hint=False, destructive_hint=True))
    async def approve(
        approval_id: Annotated[str, Field(description="As list_approvals says it.")],
        decision: Literal["approve", "reject"],
        reason: Annotated[str, Field(min_length=1, description="Why; it is kept in the log.")],
        edit: Annotated[
            JsonValue,
            Field(description="Approve this in the place of the value that `editable` names."),
        ] = None,
    ) -> Record:
        """Decide an approval in the name of the person at the client. The first decision counts, and is final."""
        return await _asked(lambda: api.decide(approval_id, decision, by, reason, edit=edit))


async def _asked(question: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(question)
    except PartsongError as error:
        raise _told(error) from error


def _shown(state: RunState) -> dict[str, JsonValue]:
    problem = state.error.model_dump(mode="json", exclude_none=True) if state.error else None
    values: Mapping[str, JsonValue] = state.values
    return {
        "run_id": state.run_id,
        "status": state.phase,
        "waits_on": str(state.waits_on) if state.waits_on else None,
        "state": dict(values),
        "error": problem,
    }


def _told(error: PartsongError) -> ToolError:
    """The error with its reason: of any other exception a client is told nothing."""
    problem = error.problem
    fix = f"; {problem.fix}" if problem.fix else ""
    return ToolError(f"{problem.code}: {problem.message}{fix}")

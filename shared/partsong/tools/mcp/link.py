"""The connection to one MCP server: opened, kept and opened again by a task of its own.

The SDK wants a connection closed by the task that opened it, so one task does both; calls come from any other.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CONNECTION_CLOSED, CallToolResult, Implementation, Tool
from pydantic import JsonValue

from partsong.contracts.errors import Unavailable
from partsong.tools.mcp.place import Place

__all__ = ["Heard", "Link"]

_log = logging.getLogger(__name__)

Heard = Callable[[Place, Sequence[Tool]], Awaitable[None]]
"""Is told which tools a server has, each time it is connected."""

_OPENING = 30.0
_PAUSES = (1.0, 2.0, 5.0, 15.0)
"""Seconds before each new attempt to connect; the last one for all that follow."""
_PATIENCE = 10.0
"""Seconds that a call, or a start, waits for a connection."""
_PAGES = 100


class Link:
    """One server. `start` once, then `call` from any task of the same loop, then `stop`."""

    def __init__(self, place: Place, heard: Heard) -> None:
        self._place, self._heard = place, heard
        self._client: Client | None = None
        self._tried, self._there = asyncio.Event(), asyncio.Event()
        self._leave, self._stopping = asyncio.Event(), False
        self._why = "not connected yet"
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to connect; returns after the first attempt, whatever became of it, or when that takes long."""
        self._task = asyncio.get_running_loop().create_task(self._keep())
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._tried.wait()

    @property
    def why(self) -> str:
        """Why there is no connection; empty if there is one."""
        return "" if self._client is not None else self._why

    async def stop(self) -> None:
        """Disconnect; a server that was started is ended."""
        self._stopping, self._why = True, "it has been disconnected"
        self._leave.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=_OPENING)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def call(
        self, tool: str, args: Mapping[str, JsonValue], *, repeatable: bool
    ) -> CallToolResult:
        """Call a tool; `repeatable` says whether a call that was lost may be made again.

        Raises:
            Unavailable: `mcp.unreachable` before anything was sent, `mcp.lost` after that.
        """
        client = await self._connected()
        try:
            return await client.call_tool(tool, dict(args))
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                raise self._lost(error, repeatable=repeatable) from error
            raise Unavailable(
                "mcp.refused",
                f"{self._place.name} refused: {error.message}",
                where=tool,
                fault="tool",
            ) from error
        except Exception as error:  # whatever the transports raise
            raise self._lost(error, repeatable=repeatable) from error

    async def _connected(self) -> Client:
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if self._stopping else _PATIENCE):
                await self._there.wait()
        if self._client is None:
            raise Unavailable(
                "mcp.unreachable",
                f"MCP server {self._place.name} cannot be reached: {self._why}",
                where=self._place.name,
                fix="start it, or correct its place",
                retryable=True,
                fault="tool",
            )
        return self._client

    def _lost(self, error: Exception, *, repeatable: bool) -> Unavailable:
        self._there.clear()
        self._leave.set()
        return Unavailable(
            "mcp.lost",
            f"the connection to MCP server {self._place.name} was lost: {_said(error)}",
            where=self._place.name,
            fix="see what became of the call before you make it again",
            retryable=repeatable,
            fault="tool",
        )

    async def _keep(self) -> None:
        attempt = 0
        while not self._stopping:
            self._leave.clear()
            try:
                async with AsyncExitStack() as stack:
                    async with asyncio.timeout(_OPENING):
                        client = await stack.enter_async_context(await _client(self._place, stack))
                        await self._heard(self._place, await _listed(client))
                    self._client, attempt = client, 0
                    self._there.set()
                    self._tried.set()
                    await self._leave.wait()
            except Exception as error:
                self._why = _said(error)
                _log.warning("mcp lost", extra={"server": self._place.name, "why": self._why})
            finally:
                self._client = None
                self._there.clear()
                self._tried.set()
            if not self._stopping:
                await self._pause(_PAUSES[min(attempt, len(_PAUSES) - 1)])
                attempt += 1

    async def _pause(self, seconds: float) -> None:
        self._leave.clear()
        if self._stopping:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leave.wait()


async def _client(place: Place, stack: AsyncExitStack) -> Client:
    info = Implementation(name="partsong", version="1")
    if place.command:
        program, *args = place.command
        return Client(StdioServerParameters(command=program, args=args), client_info=info)
    headers = {"Authorization": f"Bearer {token}"} if (token := _token(place)) else {}
    http = await stack.enter_async_context(
        httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(_OPENING, read=300.0))
    )
    return Client(streamable_http_client(place.url, http_client=http), client_info=info)


def _token(place: Place) -> str:
    """The server's bearer token, from a variable with its name: PARTSONG_MCP_TOKEN_MY_FILES for my-files."""
    return os.environ.get(f"PARTSONG_MCP_TOKEN_{place.name.upper().replace('-', '_')}", "")


async def _listed(client: Client) -> list[Tool]:
    found: list[Tool] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        if (cursor := page.next_cursor) is None:
            break
    return found


def _said(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".removesuffix(": ")

"""The tests' MCP server over HTTP on loopback, inside the test's own process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from tests.support.mcp_shelf import shelf

__all__ = ["over_http"]


@asynccontextmanager
async def over_http(said: Path, port: int = 0) -> AsyncIterator[str]:
    """The server over HTTP; its URL."""
    listening = socket.create_server(("127.0.0.1", port))
    app = shelf(said).streamable_http_app()
    server = uvicorn.Server(uvicorn.Config(app, ws="none", log_level="warning"))
    serving = asyncio.create_task(server.serve([listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        server.should_exit = server.force_exit = True
        await serving

"""A server that speaks as a nats-server of a given version does, up to the client's first PONG."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["a_server_of"]


@asynccontextmanager
async def a_server_of(version: str) -> AsyncIterator[str]:
    """Its URL."""
    info = {"server_id": "S", "version": version, "max_payload": 1 << 20, "headers": True}
    greeting = f"INFO {json.dumps(info)}\r\n".encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"

"""A web server on loopback that answers as a test says, byte for byte."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

__all__ = ["Answer", "Asked", "Web", "answer", "redirect", "stall", "web"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Web:
    """What the server does, by path, and what it was asked."""

    port: int = 0
    routes: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    @property
    def here(self) -> str:
        """Host and port, as in an allowance."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            lines = (line.partition(": ") for line in head[1:] if line)
            headers = {name.lower(): value for name, _, value in lines}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.asked.append(Asked(method, target, headers, body))
            await self.routes[target.partition("?")[0]](writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has seen enough
        finally:
            writer.close()


@asynccontextmanager
async def web(tls: ssl.SSLContext | None = None) -> AsyncIterator[Web]:
    """A server for one test; what it still does when the test ends is cancelled."""
    site, tasks = Web(), set[asyncio.Task[None]]()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(site.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answer(
    body: bytes | str = b"",
    *,
    status: int = 200,
    type: str = "text/plain",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """This body; the connection's end is its end."""
    data = body.encode() if isinstance(body, str) else body

    async def write(writer: asyncio.StreamWriter) -> None:
        fields = {"Content-Type": type, "Connection": "close", **(headers or {})}
        lines = [f"HTTP/1.1 {status} Status", *(f"{k}: {v}" for k, v in fields.items() if v)]
        writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        await writer.drain()

    return write


def redirect(to: str, status: int = 302) -> Answer:
    """A redirect."""
    return answer(status=status, headers={"Location": to})


def stall(begin: bytes = b"") -> Answer:
    """A beginning, and then nothing."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        await writer.drain()
        await asyncio.get_running_loop().create_future()

    return write

"""HTTP/1.1, as much of it as a fake needs: requests with a length, chunked answers, and knowing when the client left."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from http.client import responses
from urllib.parse import unquote

from partsong.runtime.clock import now

__all__ = ["Connection", "Request", "listen"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read to its end."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class _Protocol(asyncio.StreamReaderProtocol):
    """A stream protocol that says at once when the client has gone: a handler that only writes would not notice."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        made: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None],
    ) -> None:
        super().__init__(reader, made)
        self.gone = asyncio.Event()

    def eof_received(self) -> bool:
        """The client closed its side; nobody reads what we would still say."""
        self.gone.set()
        return bool(super().eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        self.gone.set()
        super().connection_lost(exc)


class Connection:
    """One client connection; requests on it come one after the other."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: asyncio.Event
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.gone = gone
        """Set when the client has left."""

    async def request(self) -> Request | None:
        """The next request; None when the client has closed."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip().split("\r\n")
            method, target, _ = first.split(" ", 2)
            pairs = (line.partition(":") for line in lines)
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return Request(method, unquote(target.partition("?")[0]), headers, body)

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer."""
        self._head(
            status, {"content-type": "application/json", **headers}, f"content-length: {len(body)}"
        )
        self._writer.write(body)
        await self._writer.drain()

    async def begin(self, headers: Mapping[str, str]) -> None:
        """The head of a stream of server-sent events."""
        self._head(
            200, {"content-type": "text/event-stream", **headers}, "transfer-encoding: chunked"
        )
        await self._writer.drain()

    async def write(self, data: bytes) -> None:
        """One piece of the stream."""
        self._writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self._writer.drain()

    async def end(self) -> None:
        """The stream ends as HTTP wants it."""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    def drop(self) -> None:
        """Close in the middle of the stream; what was written before still arrives."""
        self._writer.close()

    def reset(self) -> None:
        """Reset the TCP connection: the client gets an error, not an end."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        """Close, whatever is still to be written."""
        self._writer.transport.abort()

    def _head(self, status: int, headers: Mapping[str, str], length: str) -> None:
        phrase = responses.get(status, "Unknown")
        date = {"date": format_datetime(now(), usegmt=True)}
        lines = [f"{name}: {value}" for name, value in {**date, **headers}.items()]
        head = "\r\n".join([f"HTTP/1.1 {status} {phrase}", *lines, length, "", ""])
        self._writer.write(head.encode("latin-1"))


async def listen(connected: Callable[[Connection], None], host: str, port: int) -> asyncio.Server:
    """A server that hands each connection to `connected`, which starts what serves it."""

    def protocol() -> _Protocol:
        def made(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected(Connection(reader, writer, created.gone))

        created = _Protocol(asyncio.StreamReader(), made)
        return created

    return await asyncio.get_running_loop().create_server(protocol, host, port)

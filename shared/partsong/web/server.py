"""An HTTP server in the event loop that is there already: no signal handlers of its own, and a port of one's choice."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn
from litestar import Litestar

from partsong.contracts.errors import Unavailable

__all__ = ["Server"]

_GRACE = 3
"""Seconds that requests have to end when the server stops."""


class Server:
    """Serves an application from `start` to `stop`."""

    def __init__(self, app: Litestar, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                ws="websockets-sansio",
                ws_max_size=64 * 1024,
                timeout_graceful_shutdown=_GRACE,
                server_header=False,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Listen; the URL, with the port that was found if 0 was asked for.

        Raises:
            Unavailable: `http.cannot_listen`.
        """
        listening = await self._bind()
        host, port = listening.getsockname()[:2]
        self._task = asyncio.get_running_loop().create_task(
            self._uvicorn.serve(sockets=[listening]), name="http"
        )
        await self._uvicorn.ready(self._task)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def stop(self) -> None:
        """Listen no more, let running requests end within a few seconds."""
        if self._task is not None:
            self._uvicorn.should_exit = True
            await self._task

    async def _bind(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            family, kind, proto, _, address = found[0]
            listening = socket.socket(family, kind, proto)
            try:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind(address)
                listening.listen()
            except OSError:
                listening.close()
                raise
        except OSError as error:
            raise Unavailable(
                "http.cannot_listen",
                f"cannot listen on {self._host}:{self._port}: {error.strerror}",
                where="PARTSONG_HTTP_PORT",
                fix="stop what listens there, or set PARTSONG_HTTP_PORT to another port, 0 for a free one",
            ) from error
        return listening


class _Uvicorn(uvicorn.Server):
    """Signals belong to the process, not to its HTTP server; and who starts it wants to know when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._listens = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listens.set()

    async def ready(self, serving: asyncio.Task[None]) -> None:
        """Wait until it listens, or raise what kept it from that."""
        listens = asyncio.ensure_future(self._listens.wait())
        await asyncio.wait((listens, serving), return_when=asyncio.FIRST_COMPLETED)
        listens.cancel()
        if serving.done():
            await serving

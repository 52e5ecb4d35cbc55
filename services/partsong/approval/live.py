"""`/ws/approvals`: a snapshot of what is pending, then every change, for as long as both sides stay.

Sending alone would not notice that the client has left (the handler, and with it the process, would stay), and neither
would a send that waits for a client that reads nothing. So three tasks race: one sends, one listens for the client
leaving, one for the hub sending it away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import WebsocketRouteHandler

from partsong.approval.hub import LAST_WORD, Hub, Viewer, snapshot
from partsong.approval.projector import Projector
from partsong.approval.views import Ping
from partsong.web.origin import refusal

__all__ = ["live"]

log = logging.getLogger("partsong.approval")

_FOREIGN = 4403

Socket = WebSocket[Any, Any, Any]


def live(hub: Hub, projector: Projector, *, loopback: bool, ping: float) -> WebsocketRouteHandler:
    """The route's handler."""

    @websocket("/ws/approvals")
    async def approvals(socket: Socket) -> None:
        """See the module."""
        headers = socket.headers
        problem = refusal(headers.get("host", ""), headers.get("origin"), loopback=loopback)
        if problem is not None:
            log.warning("viewer refused", extra={"problem": problem.code, "why": problem.message})
            await socket.close(code=_FOREIGN, reason=problem.code)
            return
        await socket.accept()
        with hub.join() as viewer:
            if projector.current:
                viewer.give(snapshot(projector.pending(), projector.position))
            await _first(lambda: _send(socket, viewer, ping), lambda: _listen(socket), viewer.over)
            with suppress(TimeoutError, WebSocketDisconnect, RuntimeError, OSError):
                async with asyncio.timeout(LAST_WORD):
                    await socket.close(code=viewer.code)

    return approvals


async def _send(socket: Socket, viewer: Viewer, ping: float) -> None:
    """Give the client what comes, and a sign of life when nothing does."""
    still_here = Ping().model_dump_json()
    while True:
        try:
            async with asyncio.timeout(ping):
                message = await viewer.take()
        except TimeoutError:
            message = still_here
        await socket.send_text(message)


async def _listen(socket: Socket) -> None:
    """Read until the client leaves; there is nothing for it to say."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _first(*works: Callable[[], Awaitable[None]]) -> None:
    """Run all, until one of them ends or fails; then end the others."""
    tasks = [asyncio.ensure_future(work()) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
